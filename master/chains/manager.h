/* manager.h - decides which targets are in which chain: liveness, change of chains, repair,
 * balance. Pure.
 *
 * The manager is told what happens: registrations, heartbeats, lost streams, refused connections,
 * reports of members. It looks at the chains of the state, and says which chains are to change. The
 * caller puts that into the log, and publishes it once it is durable; nothing new is decided
 * meanwhile. docs/chain.md has the argument for its safety. The rules:
 *
 *   out      A target leaves its chains as long as another in-sync member is there:
 *            - when its server's serving lease has surely run out: lease and margin are over since
 *              the last heartbeat came, by our clock; the server counts from when it sent it,
 *            - when its process is certainly gone: nobody listens at its address any more,
 *            - when its server leaves,
 *            - when its disk fails,
 *            - when its server has registered without it.
 *   last     The last in-sync members of a chain are never taken out: only they know what was
 *            answered. When all are gone, the chain waits until one of them is back, and a little
 *            longer for the others; or until an administrator accepts the loss.
 *   restart  A target of a new life has forgotten what was pending. It is out, and in again as
 *            syncing, unless no other member has forgotten less. A target of an older life than was
 *            seen is an old copy of a disk: it is never the last. One that lacks what it had
 *            flushed is treated alike.
 *   renewal  A server is not renewed from the decision that takes it out to the publication of the
 *            map that says so. Nor is one with a new life before its consequences are published.
 *   fence    A living server that loses its place may have a lease still: after a move, a
 *            complaint, a full disk, damage, or while it ends. Others hear of the new chain only
 *            when it has the map itself, or its lease is over.
 *   in       An offline member that is there again is syncing, last in its chain, one at a time. It
 *            becomes in-sync when the chain's tail has reported so for this very epoch.
 *   repair   A member that is not in-sync for replace_after gets a substitute, as does one on a
 *            draining or full target. The substitute is added first; once it is in-sync, the old
 *            one goes.
 *   balance  Partitions move from targets above their fair share (survey_pool()) to those below,
 *            a few at a time. Heads are spread by moving a head to the end.
 *
 * Times are of one monotonic clock, in ns. Threading: one caller at a time. */
#ifndef CATENA_MASTER_CHAINS_MANAGER_H
#define CATENA_MASTER_CHAINS_MANAGER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"
#include "master/servers/liveness.h"
#include "master/state/chain_change.h"

struct chain_manager;

struct chain_manager_options {
	uint64_t lease_ns;         /* serving lease, as told to the servers */
	uint64_t margin_ns;        /* how much later a lease is surely over: clock drift included */
	uint64_t replace_after_ns; /* a member not in-sync for so long gets a substitute */
	uint64_t gather_ns;        /* a death waits so long for others of the same moment */
	uint64_t return_ns;        /* the first member back waits so long for the others */
	uint64_t unreachable_ns;   /* complaints must last so long */
	uint32_t moves_max;        /* of repair, drain and balance at a time, for each target */
	uint32_t initial_targets;  /* chains are placed first when so many targets are there */
	uint64_t epoch_base;       /* their epochs begin above it (state_epoch_base()) */
};

struct chain_manager *chain_manager_new(const struct chain_manager_options *options); /* NULL */
void chain_manager_free(struct chain_manager *manager);

/* ---- what happens ---- */

/* Takes over a server that the store knows when the master starts. It may hold a lease that the
 * master's former life gave it. */
void chain_manager_restore(struct chain_manager *manager, uint64_t server, uint64_t now_ns);

/* Says which of these targets may not register now, by @refused of each: old copies of a disk, or
 * damaged ones, where no other member of some chain has what was answered. Returns how many. */
size_t chain_manager_check(struct chain_manager *manager, const struct cluster_map *map,
			   const struct liveness_report *targets, size_t count, bool *refused);
/* True: *server is there without a target that was refused and may be taken now. The server is to
 * register anew. It is named once. */
bool chain_manager_readmit(struct chain_manager *manager, const struct cluster_map *map,
			   uint64_t *server);
/* Takes all targets that the server has now. Those that it had before and does not list are out.
 * Errors: -ENOMEM. */
int chain_manager_registered(struct chain_manager *manager, uint64_t server,
			     const struct liveness_report *targets, size_t count, uint64_t now_ns);
/* Takes a heartbeat. True: renew the server's lease. @leaving: it is about to end. Of each target
 * id, capacity, used, full and error count. */
bool chain_manager_heartbeat(struct chain_manager *manager, uint64_t server, bool leaving,
			     const struct liveness_report *targets, size_t count, uint64_t now_ns);
/* True: a heartbeat that was answered with false may be answered now. The lease runs from when the
 * heartbeat was sent. */
bool chain_manager_renew_late(struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* Withholds leases from a server as long as it owes something (master/leases/fences.h). */
void chain_manager_owes(struct chain_manager *manager, uint64_t server, bool owes);
/* Keeps members of this chain from becoming in-sync as long as the chain is owed. */
void chain_manager_owes_chain(struct chain_manager *manager, uint32_t pool, uint32_t partition,
			      bool owes);
/* Withholds all leases as long as no map can be told. A server that was cut off for long may have a
 * map by which it is still in-sync. */
void chain_manager_hold_leases(struct chain_manager *manager, bool held);
/* False: some target of the server has a new life, and its consequences are not published yet.
 * Until then the server is told no map. By the old one it is in-sync with what it may have lost,
 * and would make the others equal to that. */
bool chain_manager_settled(const struct chain_manager *manager, uint64_t server);
void chain_manager_disconnected(struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* Notes that nobody listened at the server's address, which was asked at @asked_ns. That counts
 * only while its stream is lost, and was lost before: else the server may have begun anew since. */
void chain_manager_refused(struct chain_manager *manager, uint64_t server, uint64_t asked_ns);
/* Notes that server @from cannot reach @about, its successor. To be repeated with each
 * heartbeat. */
void chain_manager_unreachable(struct chain_manager *manager, uint64_t from, uint64_t about,
			       uint64_t now_ns);
/* The same of a client's session. */
void chain_manager_client_unreachable(struct chain_manager *manager, uint64_t session,
				      uint64_t about, uint64_t now_ns);

/* What a member says of a chain. It counts when it is of the very epoch that the state's map has,
 * and comes from the server that must know: the chain's tail speaks of its successor, a target of
 * itself. */
struct chain_manager_report {
	uint64_t server; /* that reports */
	uint32_t pool, partition;
	uint64_t epoch;
	uint32_t target; /* that is spoken of */
};

/* The successor has all that the tail has. */
void chain_manager_caught_up(struct chain_manager *manager, const struct cluster_map *map,
			     const struct chain_manager_report *report);
/* The target does not have all that it should. */
void chain_manager_unfit(struct chain_manager *manager, const struct cluster_map *map,
			 const struct chain_manager_report *report);
/* The tail's successor is getting nearer: it is not given up. */
void chain_manager_progress(struct chain_manager *manager, const struct cluster_map *map,
			    const struct chain_manager_report *report, uint64_t now_ns);
/* The caller did not look for @gap_ns, as a stopped process does: heartbeats may wait unread. */
void chain_manager_paused(struct chain_manager *manager, uint64_t gap_ns);
void chain_manager_set_recovery(struct chain_manager *manager, bool paused);

/* ---- what is to be done ---- */

/* True: connect to the address of *server; if that is refused, say so. False: none to ask now. */
bool chain_manager_probe(struct chain_manager *manager, uint64_t now_ns, uint64_t *server);

/* True: something has happened since the last plan that may lead to one at once. The rest has time
 * until the next tick. */
bool chain_manager_pressing(const struct chain_manager *manager);
/* True: a decision may follow within milliseconds. A plan is to be asked for every 10 ms or so. */
bool chain_manager_soon(const struct chain_manager *manager, uint64_t now_ns);

struct chain_plan {
	struct chain_change *changes;
	size_t change_count;
	struct chain_life *lives; /* to be stored with the changes, in one batch */
	size_t life_count;
	/* Servers that are alive and lose a place at which they may serve reads. A durable plan's
	 * map goes to these first. All others, and chain_manager_published(), have to wait until
	 * each of them has said that it has the map, or is harmless. */
	uint64_t *fenced;
	size_t fenced_count;
};
/* Makes a plan: what has to change in @map, which is the state's. Its draining flags count;
 * liveness and usage are the manager's own. True: put *out into the log whole, then call
 * chain_manager_planned(). The plan belongs to the manager and is valid until the next call. */
bool chain_manager_plan(struct chain_manager *manager, const struct cluster_map *map,
			uint64_t now_ns, const struct chain_plan **out);
/* The plan is in the log. No other is made before chain_manager_published(). */
void chain_manager_planned(struct chain_manager *manager);
/* True: the server serves nothing. Its lease has surely run out, or its process is gone. */
bool chain_manager_harmless(const struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* True: @server, to which the map gives @target, may serve it still or soon. It is online or not
 * harmless, and has not registered without the target since. */
bool chain_manager_holds(const struct chain_manager *manager, uint64_t server, uint32_t target,
			 uint64_t now_ns);
/* The plan is durable, and the map with it on its way to everybody. @ok false: the log refused it,
 * or its fate is unknown; the map of the next plan shows which. */
void chain_manager_published(struct chain_manager *manager, bool ok);

/* Takes an administrator's word: the next plan makes @target the first of this chain, in-sync, with
 * what it has. When no member at all is there, that may be any target: it begins empty. Of a last
 * member that was refused as old (chain_manager_check()), the next registration is taken.
 * Errors: -ENOENT: not a member; -EBUSY: an in-sync member is there; -EAGAIN: the target is not. */
int chain_manager_accept_data_loss(struct chain_manager *manager, const struct cluster_map *map,
				   uint32_t pool, uint32_t partition, uint32_t target);

/* ---- for the status ---- */

bool chain_manager_online(const struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* Gives what was reported last. False: unknown. */
bool chain_manager_usage(const struct chain_manager *manager, uint32_t target,
			 struct liveness_report *out);
struct chain_manager_status {
	int error;
	uint32_t partitions, in_sync, heads, fair;
	uint64_t out_ns; /* 0: there */
};
/* Errors: -ENOENT. */
int chain_manager_target_status(const struct chain_manager *manager, const struct cluster_map *map,
				uint32_t target, uint64_t now_ns, struct chain_manager_status *out);
/* Calls @each with a line for each thing that an administrator should know: chains without members,
 * failure domains that are not kept, disks of an older life. */
void chain_manager_warnings(const struct chain_manager *manager, const struct cluster_map *map,
			    uint64_t now_ns, void (*each)(void *user, const char *line),
			    void *user);
#endif
