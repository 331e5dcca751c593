/* store.h - checks the store of a stopped master, without a change to it. */
#ifndef CATENA_TOOLS_FSCK_STORE_H
#define CATENA_TOOLS_FSCK_STORE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

struct fsck_options {
	const char *directory; /* the master's data directory */
	const char *place; /* where more is sorted than memory should hold; NULL: TMPDIR or /tmp */
	bool json;
	bool all;                /* show people all findings of a code */
	bool information;        /* say what is no fault, too */
	FILE *progress;          /* NULL: none */
	bool progress_on_a_line; /* which is written over and over */
	const atomic_bool *cancel;
};

/* Checks, and prints the answer to @out. Returns bits of enum fsck_status. */
int fsck_store(const struct fsck_options *options, FILE *out);
#endif
