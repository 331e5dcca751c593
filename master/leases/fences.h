/* fences.h - when is nothing left of a client's session that was ended: it may still have updates
 * of data on their way through the chains. Pure.
 *
 * A session that is ended by fence is named in the cluster map; chunkservers take nothing of it
 * from then on, let what they have begun come to its end, and acknowledge the version of the map
 * when nothing of it is left (Heartbeat.fence_version). A fence is complete for a chain when all
 * in-sync members of its present epoch have acknowledged the version by which that epoch and the
 * session's end were shown, or a later one. From then on it stays so: who comes into the chain
 * later comes by a map that names the session.
 *
 * - Whose serving lease has run out counts only when it is out of the chain: a head that is cut off
 *   from the master may still pass on an update to its successor.
 * - When no in-sync member of a chain has a lease, nobody reads or writes there, and nobody need
 *   wait for it. Such a chain is owed: none of its in-sync members is given a lease, and no member
 *   becomes in-sync, before all that are have acknowledged, or are out of the chain. That has to
 *   hold over a restart of the master: its keeping is the caller's.
 * - A member that does not acknowledge in time is to be taken out, if another one has.
 *
 * Only when a fence is complete everywhere may others get what the session had.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_LEASES_FENCES_H
#define CATENA_MASTER_LEASES_FENCES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"

struct fences;

/* @overdue_ns: the time to acknowledge. @owed: chains may be owed since a former life of the
 * master; then all are. NULL: out of memory. */
struct fences *fences_new(uint64_t overdue_ns, bool owed);
void fences_free(struct fences *fences); /* NULL is allowed */

/* The end of the session is durable. Again: no effect. -ENOMEM. */
int fences_begin(struct fences *fences, uint64_t session);
/* It is out of the store. */
void fences_end(struct fences *fences, uint64_t session);
/* Everybody is shown this map, as @version (which grows); or it is told again. -ENOMEM: nothing is
 * complete before it has been told. */
int fences_map(struct fences *fences, const struct cluster_map *map, uint64_t version,
	       uint64_t now_ns);
/* A server says what it has come to; 0 when it registers. -ENOMEM. */
int fences_acknowledged(struct fences *fences, uint64_t server, uint64_t version);
/* May the server be given a lease? */
bool fences_may_renew(const struct fences *fences, uint64_t server);
/* Is any chain owed? */
bool fences_owed(const struct fences *fences);
/* Nobody of such a chain may become in-sync: it may have a lease already. @each is called for all
 * chains. */
void fences_each_chain(const struct fences *fences,
		       void (*each)(void *user, uint32_t pool, uint32_t partition, bool owed),
		       void *user);
/* Is there a fence that is not complete? */
bool fences_busy(const struct fences *fences);

enum fence_action_kind {
	FENCE_COMPLETE, /* session: told once */
	FENCE_EXPEL,    /* target of server does not acknowledge; now and then */
};

struct fence_action {
	enum fence_action_kind kind;
	uint64_t session;
	uint32_t pool, partition, target;
	uint64_t epoch, server;
};

/* Whether the lease of @server has surely run out, and no change of chains is under way. */
typedef bool fences_harmless_fn(void *user, uint64_t server);
/* What is to be done now; false: nothing. */
bool fences_next(struct fences *fences, uint64_t now_ns, fences_harmless_fn *harmless, void *user,
		 struct fence_action *out);
#endif
