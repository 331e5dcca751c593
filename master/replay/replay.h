/* replay.h - applies the entries of a kept log to its checkpoints once more, and compares.
 *
 * Of each run (kept/keeper.h) the first checkpoint is copied and opened, and all entries behind it are
 * applied. The hash of each must be the one that was kept: else this state machine has come to another
 * result than the master that kept it, or by other changes. Where the run has later checkpoints, all
 * records must be theirs, too: else the master's store had what no command had put there.
 *
 * What is given is not changed. */
#ifndef CATENA_MASTER_REPLAY_REPLAY_H
#define CATENA_MASTER_REPLAY_REPLAY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct replay_options {
	const char *path; /* of the kept log's directory, or a copy of it */
	const char
		*work; /* a directory for stores that are changed; they are named store and later */
	unsigned batch; /* entries that are applied at a time */
	bool print;     /* each entry */
	FILE *out;
	/* Told before each entry is applied; NULL: nobody is. */
	void (*at)(uint64_t index);
};

/* 0: all is equal. 1: something differs, and @out says what; the store of this state machine is left
 * in work/store, before the entry's batch. An error, with a line in @error: nothing can be said, or
 * only about what @out names. -ENOENT: there is nothing to apply. -EBADMSG: damage.
 * -EPROTONOSUPPORT: of a later version. */
int replay(const struct replay_options *options, char *error, size_t error_size);
#endif
