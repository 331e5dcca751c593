/* check.h - does each record of the master's store fit every other? Pure.
 *
 * check_namespace() looks at names, inodes, sessions and counters, check_map() at pools, servers,
 * targets and chains. Both read a store that nobody writes to meanwhile: a checkpoint, or one of a
 * stopped master. The store is taken as hostile: nothing in it makes a check fail in another way
 * than by an error. What the state machine may leave is never a finding (docs/store-format.md,
 * "What fits what").
 *
 * check_namespace() reads every family once, in order, and joins what it reads with what it has
 * sorted (common/base/sorter.h): 58 bytes of a file, 74 of a directory, in sorters alone, whose
 * supply decides where (one with a disk keeps to its memory), and 8 bytes for each session. check_map() keeps about 200 bytes of each
 * server, 100 of each target and a bit for each partition.
 *
 * 0 means that everything was seen; what was found has been reported. Any error means that
 * something was not seen: then there may be more than was reported, and a check that has reported
 * nothing must not be called clean. result->error says in one line what was not seen.
 * Errors: -ECANCELED; -ENOENT: not a master's store; -EPROTONOSUPPORT: of a later level; -ENOMEM;
 * those of the store and of the sorters. Thread: any. */
#ifndef CATENA_MASTER_CHECK_CHECK_H
#define CATENA_MASTER_CHECK_CHECK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/sorter.h"
#include "common/kv/kv.h"
#include "master/check/finding.h"

struct check_progress {
	const char *what; /* that is being read, as "inodes" */
	uint64_t done;
	uint64_t expected; /* as far as the counters tell; 0: not known */
};

struct check_options {
	struct sorter_supply *sorters; /* NULL: in memory, as much as it takes */
	const atomic_bool *cancel;     /* true: end soon, with -ECANCELED; NULL: never */
	/* Hears now and then how far it is; NULL: nobody does. */
	void (*progress)(void *user, const struct check_progress *progress);
	void *progress_user;
	bool information;   /* report CHECK_INFORMATION, too */
	uint64_t name_mask; /* of key_name_cookie(), for tests; 0: all ones */
};

struct check_result {
	uint64_t inodes, entries, sessions, partitions; /* seen */
	uint64_t found[CHECK_SEVERITIES];               /* how many of each were reported */
	char error[200];                                /* "" when everything was seen */
};

/* Gets one finding, borrowed. It must not write to the store. */
typedef void check_report_fn(void *user, const struct check_finding *finding);

/* @options NULL: none. @result is filled in any case. */
int check_namespace(struct kv *kv, const struct check_options *options, check_report_fn *report,
		    void *user, struct check_result *result);
int check_map(struct kv *kv, const struct check_options *options, check_report_fn *report,
	      void *user, struct check_result *result);
/* Gives about how many bytes the sorters of check_namespace() have together, by the store's
 * counters, so that a place without room for them is known before. 0 bytes: the counters cannot be
 * read. Errors: those of the store. */
int check_namespace_bytes(struct kv *kv, uint64_t *bytes);

/* ---- paths ---- */

/* Gives the path of directory @ino, found by its parents, for a person. Names are as they are. A
 * store that is damaged may have none: -ENOENT: a parent or its entry is missing; -ELOOP: it comes
 * back to itself; -ENOTDIR: @ino is none. -ENAMETOOLONG: longer than @size. -E2BIG: the directories
 * above have more entries together than are looked at for one path. Those of the store. */
int check_path(struct kv *kv, uint64_t ino, char *out, size_t size);
/* Gives the path of the finding's entry, else that of its inode. -ENOENT: it has neither; else as
 * check_path(). */
int check_finding_path(struct kv *kv, const struct check_finding *finding, char *out, size_t size);
#endif
