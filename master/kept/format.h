/* format.h - the bytes of a kept log: segments of records. docs/kept-log.md describes them.
 *
 * A segment begins with a head: what the state machine was when it was begun. Records follow: entries,
 * what came of each, and marks that say that the last entries were undone. Each is framed by its size
 * and a checksum.
 *
 * A segment ends where its last whole record does. What a process or a machine that stopped left of
 * the last write is a torn tail: no whole result is behind it. Anything else that does not fit is
 * damage.
 *
 * The bytes come from a disk and are not trusted. Pure. Thread: any. */
#ifndef CATENA_MASTER_KEPT_FORMAT_H
#define CATENA_MASTER_KEPT_FORMAT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "master/log/entry.h"
#include "master/log/log_hash.h"

#define KEPT_FORMAT 2u

#define KEPT_CLUSTER_MAX 64u /* with its end */
#define KEPT_HEAD_BYTES  192u
/* The frame of an entry's record before the entry's bytes; of a whole result or mark. */
#define KEPT_ENTRY_FRAME  17u
#define KEPT_RESULT_BYTES 61u
#define KEPT_MARK_BYTES   17u

struct kept_head {
	uint64_t instance;              /* of the store */
	uint64_t life, chance;          /* of the master, when the segment was begun */
	uint64_t index;                 /* of the entry before the first */
	uint8_t hash[LOG_HASH_BYTES];   /* of that entry; zeros: not known */
	int64_t time;                   /* CLOCK_REALTIME, for people */
	bool begins;                    /* a run: it does not go on where the segment before ends */
	uint32_t level;                 /* of the state then (master/state/level.h) */
	char cluster[KEPT_CLUSTER_MAX]; /* its name */
};

enum kept_kind { KEPT_ENTRY = 1, KEPT_RESULT = 2, KEPT_UNDONE = 3 };

struct kept_record {
	enum kept_kind kind;
	uint64_t index;       /* UNDONE: of the last entry that is not */
	const uint8_t *entry; /* ENTRY; borrowed */
	size_t entry_size;
	struct log_trace trace; /* RESULT */
};

/* Each writes one whole thing to @out, which has room for it. */
void kept_write_head(const struct kept_head *head, uint8_t out[KEPT_HEAD_BYTES]);
/* Writes what stands before the entry's bytes. */
void kept_write_entry(uint64_t index, const uint8_t *entry, size_t size,
		      uint8_t out[KEPT_ENTRY_FRAME]);
void kept_write_result(uint64_t index, const struct log_trace *trace,
		       uint8_t out[KEPT_RESULT_BYTES]);
void kept_write_undone(uint64_t index, uint8_t out[KEPT_MARK_BYTES]);

/* Reads a head. 0: *out is filled. -ENODATA: a torn one. -EPROTONOSUPPORT: of a later format.
 * -EBADMSG: damaged, or no kept log. */
int kept_read_head(const uint8_t *data, size_t size, struct kept_head *out);
/* Reads the record at data[*at] and moves *at behind it. 1: *out is filled, and borrows from @data.
 * 0: the end. -ENODATA: a torn tail begins here. -EPROTONOSUPPORT: a kind of record that a later
 * version writes. -EBADMSG: damage. */
int kept_read_record(const uint8_t *data, size_t size, size_t *at, struct kept_record *out);
#endif
