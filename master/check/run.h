/* run.h - a check that is under way: what its parts share. Internal to master/check. Pure. */
#ifndef CATENA_MASTER_CHECK_RUN_H
#define CATENA_MASTER_CHECK_RUN_H
#include "master/check/check.h"
#include "master/records/meta.h"
#include "master/records/values.h"

/* Numbers, ascending. */
struct check_numbers {
	uint64_t *at;
	size_t count, room;
};

/* What many parts go by. A part that cannot be read has been reported. */
struct check_store {
	bool has_super, has_counters;
	struct meta_super super;
	struct counters counters;
	struct check_numbers sessions; /* those whose record cannot be read, too */
	struct check_numbers pools;
};

/* The highest numbers that are taken; 0: none is. */
struct check_highest {
	uint64_t ino, file_id, session, removal, target, server;
};

struct check_tally {
	uint64_t inodes, marks, unnamed, removals, bytes;
	bool bytes_unknown; /* some inode cannot be read */
};

/* What is sorted. Records are big-endian numbers, the first is the key. */
struct check_sorters {
	struct sorter *names;       /* child, parent, cookie, type u8 */
	struct sorter *directories; /* directory, entries, entries of type DT_DIR, CHECK_DIR_* u8 */
	struct sorter *opens;       /* ino, session, count be32 */
	struct sorter *file_ids;    /* file id, kind u8, ino or sequence, parent, cookie */
	struct sorter *parents;     /* directory, parent, directory: for loops */
	struct sorter *miscounted;  /* directory, its nlink, 2 and its entries of type DT_DIR */
	struct sorter *mistyped;    /* directory; 0: no directory after all, 1: one */
};

#define CHECK_NAME_BYTES       25u
#define CHECK_DIRECTORY_BYTES  25u
#define CHECK_OPEN_BYTES       20u
#define CHECK_FILE_ID_BYTES    33u
#define CHECK_PARENT_BYTES     24u
#define CHECK_MISCOUNTED_BYTES 24u
#define CHECK_MISTYPED_BYTES   9u

/* Of a directory's entries. */
#define CHECK_DIR_CROWDED 1u /* some are not in the first place of their hash, or deleted */
#define CHECK_DIR_DAMAGED 2u /* some cannot be read: how many is not known */

/* The kinds of those who have a file id. */
#define CHECK_FILE_ID_INODE   0u
#define CHECK_FILE_ID_REMOVAL 1u

struct check_run {
	struct kv *kv;
	const struct check_options *options;
	check_report_fn *report;
	void *user;
	struct check_result *result;
	struct sorter_supply *supply;
	struct sorter_memory memory; /* the supply when there is no other */
	uint64_t name_mask;
	uint64_t steps;
	struct check_store store;
	struct check_highest highest;
	struct check_tally tally;
	struct check_sorters sorters;
};

/* Text of a key for messages: hexadecimal, its end left out when it is long. */
#define CHECK_KEY_TEXT 84
const char *check_key_text(const uint8_t *key, size_t size, char out[CHECK_KEY_TEXT]);

void check_run_init(struct check_run *run, struct kv *kv, const struct check_options *options,
		    check_report_fn *report, void *user, struct check_result *result);
/* Frees all that a run has. */
void check_run_end(struct check_run *run);
/* Notes that @what could not be seen, for the first error, and returns @rc. */
int check_run_failed(struct check_run *run, int rc, const char *what);
/* Says now and then how far it is; called for each record of the longer parts. */
void check_run_progress(struct check_run *run, const char *what, uint64_t done, uint64_t expected);

/* Reports @finding with its severity, the name of its entry and the text. */
void check_tell(struct check_run *run, struct check_finding finding, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- numbers ---- */

/* Adds a number that is not below the last one. -ENOMEM. */
int check_numbers_add(struct check_numbers *numbers, uint64_t number);
bool check_numbers_have(const struct check_numbers *numbers, uint64_t number);
static inline void check_highest_note(uint64_t *highest, uint64_t number)
{
	if (number > *highest)
		*highest = number;
}

/* ---- reading a family in its order ---- */

struct check_scan {
	struct kv_iter *iter;
	const char *what;           /* for errors */
	const uint8_t *key, *value; /* of the record at hand; borrowed until the next step */
	size_t key_size, value_size;
	bool ended;
};

/* Opens a scan of @family and goes to the first record. @tag: of FAMILY_META, only those; 0:
 * all. */
int check_scan_open(struct check_run *run, enum family family, uint8_t tag, const char *what,
		    struct check_scan *scan);
/* Goes to the next record. -ECANCELED, as all that step; the store's errors. */
int check_scan_step(struct check_run *run, struct check_scan *scan);
void check_scan_close(struct check_scan *scan);
/* The number that the key begins with, filled with zeros: keys in order have such numbers in
 * order. */
uint64_t check_scan_number(const struct check_scan *scan);

/* ---- reading what was sorted ---- */

struct check_sorted {
	struct sorter *sorter;
	const uint8_t *at; /* the record at hand; NULL: there is no more */
};

/* Sorts, and goes to the first record. */
int check_sorted_begin(struct check_run *run, struct sorter *sorter, struct check_sorted *sorted);
/* Goes to the first record again. */
int check_sorted_again(struct check_run *run, struct check_sorted *sorted);
int check_sorted_step(struct check_run *run, struct check_sorted *sorted);
int check_sorter_make(struct check_run *run, size_t record_size, struct sorter **out);
int check_sorter_add(struct check_run *run, struct sorter *sorter, const uint8_t *record);

/* ---- the parts, in the order in which they run ---- */

int check_store_read(struct check_run *run); /* store.c: what the others go by */
int check_sessions(struct check_run *run);   /* sessions.c: opens are sorted here */
int check_entries(struct check_run *run);    /* entries.c: names and directories are sorted here */
int check_inodes(struct check_run *run);     /* inodes.c: the join; the rest is sorted here */
int check_subdirectories(struct check_run *run); /* inodes.c */
int check_removals(struct check_run *run);       /* removals.c */
int check_file_ids(struct check_run *run);       /* removals.c */
int check_loops(struct check_run *run);          /* loops.c */
void check_counters(struct check_run *run);      /* store.c */
/* Reports a counter of numbers that is not above the @highest one taken. */
void check_next_number(struct check_run *run, const char *what, uint64_t next, uint64_t highest);
#endif
