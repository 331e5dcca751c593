/* store_model.h - a list of random updates, a runner that has several under way at once, and a
 * judge that says after any crash whether what is found may be.
 *
 * An update of a chunk gets the chunk's next version. The content of each version is known.
 * Progress is kept in memory that outlives the runner. After a crash a chunk that is sure must be
 * exactly one of its versions, none older than what was flushed; of an unsure one, every sector must
 * be of one of the versions since then. */
#ifndef CATENA_TESTS_LIB_STORE_MODEL_H
#define CATENA_TESTS_LIB_STORE_MODEL_H
#include "common/base/duration.h"
#include "tests/lib/store_fixture.h"

#define MODEL_CHUNKS 3u
#define MODEL_OPS    90u

enum model_kind { MODEL_UPDATE, MODEL_SYNC, MODEL_REMOVE, MODEL_ABORT, MODEL_PAUSE };

struct model_op {
	enum model_kind kind;
	enum store_op op;
	uint32_t chunk, offset, length;
	uint64_t version; /* of updates and removals: grows in each chunk */
	uint64_t bytes_seed;
};

/* What certainly or possibly happened; shared with a process that is killed. */
struct model_progress {
	volatile uint64_t started[MODEL_CHUNKS];   /* newest version of which something was begun */
	volatile uint64_t committed[MODEL_CHUNKS]; /* a commit was begun up to here ... */
	volatile uint64_t kept[MODEL_CHUNKS];      /* ... and has ended up to here */
	volatile uint64_t flushed[MODEL_CHUNKS];
};

struct model {
	uint64_t seed, random;
	struct model_op ops[MODEL_OPS];
	struct model_progress *progress;
	bool (*stop)(void); /* the machine is off: do nothing more */
	/* judging */
	uint8_t *versions[MODEL_OPS + 1]; /* of one chunk */
	uint32_t lengths[MODEL_OPS + 1];
	bool exists[MODEL_OPS + 1];
	uint8_t sectors_seen[MODEL_OPS + 1];
	char why[600];
};

uint64_t model_random(struct model *m);
void model_make(struct model *m, uint64_t seed, struct model_progress *progress);

/* ---- running ---- */

/* Runs the list until its end or until the machine is off; always leaves nothing under way. */
int model_run(struct fixture *f, struct model *m);

/* ---- judging ---- */

/* @from: the oldest version allowed. @damaged: blocks may be bad, but not wrong. 0, or -1 with
 * m->why. */
int model_judge_chunk(struct fixture *f, struct model *m, uint32_t chunk, uint64_t from,
		      bool damaged);
void model_end(struct model *m);
#endif
