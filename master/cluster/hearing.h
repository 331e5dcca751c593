/* hearing.h - may this master serve? It may when it has heard the targets of its chains since it
 * started, and none of them has seen anything that its store does not know.
 *
 * Until then nobody is shown a map or gets a lease, no client is let in, nothing is decided about
 * chains, and nothing is removed: an older copy of the store would have all of that done by what
 * was true once. Heard is enough when
 *   - every target that is in some chain, and not offline there, has registered, or was refused
 *     (it has told what it has seen); or
 *   - HEARING_SHORT_NS are over, and each chain has an in-sync member that has registered; or
 *   - the time of [recovery] hear_wait is over.
 * Before, no server is registered that has only targets which the store does not know, if it knows
 * any. While nothing is placed yet, all targets are waited for in place of those of
 * chains.
 * A target that knows more than the store, at whatever time it comes, ends all service for good:
 * only an administrator can say which of the two is to go on (catena-master(8)).
 *
 * Threading: with the state lock held. */
#ifndef CATENA_MASTER_CLUSTER_HEARING_H
#define CATENA_MASTER_CLUSTER_HEARING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct master;

/* To chunkservers: come again in a moment. */
#define HEARING_FIRST EAGAIN

/* At start, after publisher_start(). -ENOMEM. */
int hearing_start(struct master *master, uint64_t now_ns);
/* Looks whether it is over; after a registration, and each tick. */
void hearing_look(struct master *master, uint64_t now_ns);
/* The target was registered, or has been refused alone or with its server, until it registers: an
 * old copy of a disk must not keep an administrator waiting who could help. */
void hearing_target(struct master *master, uint32_t target, bool refused);
void hearing_free(struct master *master);
/* A target knows more: @why, for people. */
void hearing_found_behind(struct master *master, const char *why);
/* One line about it for the status; false: nothing to say. */
bool hearing_describe(const struct master *master, char *out, size_t size);
#endif
