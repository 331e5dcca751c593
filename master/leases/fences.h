/* fences.h - when is nothing left of a client's session that was ended. Pure.
 *
 * An ended session may still have updates of data on their way through the chains. Only when its
 * fence is complete for all chains may others get what it had.
 *
 * 1. The cluster map names the session. From then on chunkservers take nothing of it.
 * 2. They let end what they have begun. When nothing of the session is left, they acknowledge the
 *    version of the map (Heartbeat.fence_version).
 * 3. The fence is complete for a chain when all in-sync members of its present epoch have
 *    acknowledged the version by which that epoch and the session's end were shown, or a later one.
 *    It stays so: a member that comes later comes by a map that names the session.
 *
 * Failures:
 * - A server whose serving lease has run out counts only when it is out of the chain. A head that
 *   is cut off from the master may still pass on an update to its successor.
 * - A chain without any in-sync member that has a lease reads and writes nothing, so it is not
 *   waited for. It is owed: none of its in-sync members gets a lease, and no member becomes
 *   in-sync, before all in-sync ones have acknowledged, or are out of the chain. The caller keeps
 *   this over a restart of the master.
 * - A member that does not acknowledge in time is expelled, if another one has.
 *
 * Locks: one caller at a time. */
#ifndef CATENA_MASTER_LEASES_FENCES_H
#define CATENA_MASTER_LEASES_FENCES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"

struct fences;

/* @overdue_ns: the time to acknowledge. @owed: chains may be owed since a former life of the
 * master; then all count as owed. NULL: out of memory. */
struct fences *fences_new(uint64_t overdue_ns, bool owed);
void fences_free(struct fences *fences); /* NULL is allowed */

/* The end of the session is durable. Again: no effect. -ENOMEM. */
int fences_begin(struct fences *fences, uint64_t session);
/* The session is out of the store. */
void fences_end(struct fences *fences, uint64_t session);
/* This map is shown to everybody, as @version, which grows; or it is told here again. -ENOMEM:
 * nothing is complete before it has been told. */
int fences_map(struct fences *fences, const struct cluster_map *map, uint64_t version,
	       uint64_t now_ns);
/* False: no map was told, or the last one came to nothing, and is to be told again. */
bool fences_has_map(const struct fences *fences);
/* A server has acknowledged this version; 0 when it registers. -ENOMEM. */
int fences_acknowledged(struct fences *fences, uint64_t server, uint64_t version);
/* True when the server may be given a lease. */
bool fences_may_renew(const struct fences *fences, uint64_t server);
/* True when any chain is owed. */
bool fences_owed(const struct fences *fences);
/* Calls @each for all chains. No member of an owed one may become in-sync: it may have a lease
 * already. */
void fences_each_chain(const struct fences *fences,
		       void (*each)(void *user, uint32_t pool, uint32_t partition, bool owed),
		       void *user);
/* True when there is a fence that is not complete. */
bool fences_busy(const struct fences *fences);

enum fence_action_kind {
	FENCE_COMPLETE, /* session: told once */
	FENCE_EXPEL,    /* target of server does not acknowledge; told again now and then */
};

struct fence_action {
	enum fence_action_kind kind;
	uint64_t session;
	uint32_t pool, partition, target;
	uint64_t epoch, server;
};

/* Says whether the lease of @server has surely run out, and no change of chains is under way. */
typedef bool fences_harmless_fn(void *user, uint64_t server);
/* Takes the next action; false: there is none now. */
bool fences_next(struct fences *fences, uint64_t now_ns, fences_harmless_fn *harmless, void *user,
		 struct fence_action *out);
#endif
