/* hearing.h - after its start a master hears its targets before it serves.
 *
 * A master's store may be an older copy, put back or started by mistake. By what was true once it
 * would have old copies overwrite newer ones. So the master first hears its targets:
 *   1. At the start nothing is served: no map is shown, no lease given, no client let in, nothing
 *      decided about chains, nothing removed.
 *   2. Each target tells at registration what it has seen: the newest life of a master and the
 *      newest map. The store knows all of that, or it is behind (hearing_found_behind()).
 *   3. Enough was heard when one of these is so (older_store/hearing_rules.h):
 *      - Every target that is in some chain, and not offline there, has registered, or was refused:
 *        then it has told what it has seen.
 *      - HEARING_SHORT_NS are over, and each chain has an in-sync member that has registered.
 *      - The time of [recovery] hear_wait is over.
 *      While nothing is placed yet, all targets count in place of those of chains.
 *   4. The master serves: maps are shown, leases renewed, clients let in, removals begun.
 *
 * When something fails:
 *   - A server that has only targets which the store does not know waits until then
 *     (HEARING_FIRST), unless the store knows none.
 *   - A target that knows more than the store ends all service for good, whenever it comes. Only an
 *     administrator can say which of the two is to go on (catena-master(8)).
 *   - A change that the last life of the master had not told to all fenced servers is told to them
 *     first; maps stay hidden until then (publisher.h).
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_CLUSTER_HEARING_H
#define CATENA_MASTER_CLUSTER_HEARING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct master;

/* Tells a chunkserver to come again in a moment. */
#define HEARING_FIRST EAGAIN

/* Begins to hear; after publisher_start(). Errors: -ENOMEM. */
int hearing_start(struct master *master, uint64_t now_ns);
/* Looks whether enough was heard; after a registration, and each tick. */
void hearing_look(struct master *master, uint64_t now_ns);
/* Notes that the target was refused, alone or with its server, or that it registers now. A refused
 * one counts as heard: an old copy of a disk must not delay the help of an administrator. */
void hearing_target(struct master *master, uint32_t target, bool refused);
void hearing_free(struct master *master);
/* Ends all service: a target knows more than the store. @why: for people. */
void hearing_found_behind(struct master *master, const char *why);
/* Describes in one line, for the status, why the master does not serve. False: it serves. */
bool hearing_describe(const struct master *master, char *out, size_t size);
#endif
