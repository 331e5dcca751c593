/* checks.h - what the programs that check a directory have in common: each check is a function that
 * works in a directory of its own and leaves it empty. */
#ifndef CATENA_TESTS_POSIX_CHECKS_H
#define CATENA_TESTS_POSIX_CHECKS_H
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern int failures;
extern const char *current;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("FAILED %s: line %d: %s (errno: %s)\n", current, __LINE__,          \
			       #condition, strerror(errno));                                       \
			failures++;                                                                \
			return;                                                                    \
		}                                                                                  \
	} while (0)
#define FAILS(call, wanted)                                                                        \
	do {                                                                                       \
		errno = 0;                                                                         \
		CHECK((call) == -1 && errno == (wanted));                                          \
	} while (0)

int make(const char *name, const char *text);

struct check {
	const char *name;
	void (*run)(void);
};

/* Those named (none: all), each in a new directory below the working directory. The exit status. */
int run_checks(const char *program, const struct check *checks, size_t count, char **names);
#endif
