/* refusals.h - which chunkservers were refused, and why: for the status and the log. Pure.
 *
 * A refused chunkserver comes again every few seconds for as long as it runs, and is nowhere in the
 * map: without this the status would show a cluster that lacks it, and the log nothing else.
 *
 * Threads: the caller's lock. */
#ifndef CATENA_MASTER_SHARED_REFUSALS_H
#define CATENA_MASTER_SHARED_REFUSALS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "common/net/tls.h"

#define REFUSALS_MAX       16u
#define REFUSAL_REASON_MAX 400u
#define REFUSAL_LASTS_NS   (10 * NS_PER_SEC) /* of one that does not come again */
#define REFUSAL_LOG_NS     (60 * NS_PER_SEC) /* the same is not logged more often */

struct refusal {
	char name[TLS_NAME_MAX]; /* "": none */
	char reason[REFUSAL_REASON_MAX];
	uint64_t at_ns, logged_ns;
};

struct refusals { /* all zeros: none */
	struct refusal entries[REFUSALS_MAX];
};

/* @name was refused. True: it is to be logged. With more names than there is room for, the one that
 * was not heard of for longest goes. */
bool refusals_add(struct refusals *refusals, const char *name, const char *reason, uint64_t now_ns);
/* It was accepted. */
void refusals_forget(struct refusals *refusals, const char *name);
/* A line for each reason, with the names that were refused for it lately. */
void refusals_describe(const struct refusals *refusals, uint64_t now_ns,
		       void (*line)(void *user, const char *line), void *user);
#endif
