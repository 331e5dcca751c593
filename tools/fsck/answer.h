/* answer.h - what fsck.catena says: findings, and whether the cluster is healthy.
 *
 * The first line says that. So findings are kept in a file without a name until all of them are
 * known, as they will be printed. Names in them are somebody's bytes: what a terminal would act on is
 * escaped. Thread: one. */
#ifndef CATENA_TOOLS_FSCK_ANSWER_H
#define CATENA_TOOLS_FSCK_ANSWER_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "master/check/check.h"

/* Bits of the exit status, as fsck(8) has them. */
enum fsck_status {
	FSCK_CLEAN = 0,
	FSCK_FOUND = 4,  /* a finding is left; information is none */
	FSCK_UNSEEN = 8, /* something was not seen: it may be healthy or not */
	FSCK_USAGE = 16,
	FSCK_CANCELLED = 32,
};

/* People are shown so many of each code, and how many more there are. */
#define FSCK_SHOWN 10u
#define FSCK_CODES 128u

struct fsck_answer {
	const char *what; /* that was looked at */
	bool json;
	bool all;                     /* people are shown all of them, too */
	uint64_t of_code[FSCK_CODES]; /* by their place in the table of codes */
	FILE *findings;
	uint64_t count;
	uint64_t found[CHECK_SEVERITIES];
	int error; /* of the first finding that could not be kept */
};

/* -ENOSPC and the like: there is no place for findings, below TMPDIR or /tmp. */
int fsck_answer_begin(struct fsck_answer *answer, const char *what, bool json, bool all);
/* Takes one finding. @path: of what it is about, NULL: it has none, or none was found. */
void fsck_answer_add(struct fsck_answer *answer, const struct check_finding *finding,
		     const char *path);
/* Prints all of it. @unseen: what could not be seen and why, in one line; "": everything was seen.
 * Returns bits of fsck_status. */
int fsck_answer_end(struct fsck_answer *answer, const struct check_result *seen, const char *unseen,
		    double seconds, FILE *out);
/* Writes what the bytes show on a terminal: whatever is not printable as \ooo. */
void fsck_escape(const char *text, char *out, size_t size);
#endif
