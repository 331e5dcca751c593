/* manager.h - decides who is in which chain: liveness, change of chains, repair, balance.
 * Pure.
 *
 * It is told what happens (registrations, heartbeats, lost streams, refused connections, reports of
 * members), looks at the chains of the state, and says which chains are to be changed. The caller
 * puts that into the log, and publishes it when it is durable; nothing new is decided meanwhile.
 * docs/chain.md, "Change of chains", has the argument for its safety. The rules:
 *
 *   out      A target is out of its chains, as long as another in-sync member is there:
 *            - when its server's serving lease has surely run out (lease + margin after it was last
 *              heard of, by our clock; the server counts from when it sent its heartbeat),
 *            - when its process is certainly gone (nobody listens at its address any more),
 *            - when it leaves,
 *            - when its disk fails,
 *            - or when its server has registered without it.
 *   last     The last in-sync members of a chain are never taken out, whatever happens to them:
 *            only they know what was answered. When all are gone, the chain waits until one of them
 *            is back (and a little for the others), or an administrator accepts the loss.
 *   restart  A target of a new life (store_life()) has forgotten what was pending: it is out, and
 *            in again as syncing, unless nobody of the chain has forgotten less. One of an older
 *            life than was seen is an old copy of a disk, and one that lacks what it had synced is
 *            as good as that: it is never the last.
 *   renewal  A server is not renewed between a decision that takes it out and the publication of
 *            the map that says so, nor with a new life before what follows from it is published.
 *   fence    Who is alive and loses its place all the same (a move, a complaint, a full disk,
 *            damage, its own end) may have a lease still. Nobody else hears of the new chain before
 *            it has it itself, or its lease is over.
 *   in       An offline member that is there again is syncing, last in its chain, one at a time; it
 *            becomes in-sync when the chain's tail has reported so for this very epoch.
 *   repair   A member not in-sync for replace_after, or a draining or full target's, gets a
 *            substitute: added first, and when that is in-sync the old one goes.
 *   balance  Partitions move from targets that have more than their fair share by capacity to those
 *            that have less, a few at a time; heads are spread by moving a head to the end.
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
	uint64_t lease_ns;  /* serving lease, as told to the servers */
	uint64_t margin_ns; /* how much later than that is surely over: clock drift included */
	uint64_t replace_after_ns; /* a member not in-sync for so long gets a substitute */
	uint64_t gather_ns;      /* a decision that takes somebody out waits so long for others that
				  * die at the same time */
	uint64_t return_ns;      /* chains without any member there wait so long for more than the
				  * first to come back */
	uint64_t unreachable_ns; /* complaints must last so long */
	uint32_t moves_max;      /* of repair, drain and balance at a time, for each target */
	uint32_t initial_targets; /* chains are placed first when so many targets are there */
};

struct chain_manager *chain_manager_new(const struct chain_manager_options *options); /* NULL */
void chain_manager_free(struct chain_manager *manager);

/* ---- what happens ---- */

/* A server that was in the store when the master started: it may hold a lease of the former
 * life. */
void chain_manager_restore(struct chain_manager *manager, uint64_t server, uint64_t now_ns);

/* With which of these may a server not register? @refused (of each): it is an older copy of a disk
 * than was seen, or damaged, and nobody else knows what was answered in some chain of it. Returns
 * how many are refused. */
size_t chain_manager_check(struct chain_manager *manager, const struct cluster_map *map,
			   const struct liveness_report *targets, size_t count, bool *refused);
/* True: *server is there without a target that was refused, and that may be taken now: it is to
 * register anew. It is named once. */
bool chain_manager_readmit(struct chain_manager *manager, const struct cluster_map *map,
			   uint64_t *server);
/* All targets that the server has now; what it had before and is not among them is out. -ENOMEM. */
int chain_manager_registered(struct chain_manager *manager, uint64_t server,
			     const struct liveness_report *targets, size_t count, uint64_t now_ns);
/* True: renew its lease. @leaving: it is about to end. Of each target id,
 * capacity, used, full, error count. */
bool chain_manager_heartbeat(struct chain_manager *manager, uint64_t server, bool leaving,
			     const struct liveness_report *targets, size_t count, uint64_t now_ns);
/* A heartbeat that was not answered with true may be now: the lease runs from when it was sent. */
bool chain_manager_renew_late(struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* Nor is this one as long as it owes something (leases/fences.h). */
void chain_manager_owes(struct chain_manager *manager, uint64_t server, bool owes);
/* Nor does anybody become in-sync in this chain. */
void chain_manager_owes_chain(struct chain_manager *manager, uint32_t pool, uint32_t partition,
			      bool owes);
/* As long as no map can be told nobody is renewed: a server that was cut off for long may have one
 * by which it is still in-sync. */
void chain_manager_hold_leases(struct chain_manager *manager, bool held);
/* False: targets of it have a new life, and what follows from that is not published yet. Until then
 * it is told no map: by the old one it is in-sync with what it may have lost, and would make the
 * others equal to that. */
bool chain_manager_settled(const struct chain_manager *manager, uint64_t server);
void chain_manager_disconnected(struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* Nobody listened at its address, which was asked at @asked_ns. Of no account while its stream
 * stands, nor if that was before its stream was lost: it may have begun anew since. */
void chain_manager_refused(struct chain_manager *manager, uint64_t server, uint64_t asked_ns);
/* @from (a server) cannot reach @about, its successor. To be repeated with every heartbeat. */
void chain_manager_unreachable(struct chain_manager *manager, uint64_t from, uint64_t about,
			       uint64_t now_ns);
/* The same of a client's session. */
void chain_manager_client_unreachable(struct chain_manager *manager, uint64_t session,
				      uint64_t about, uint64_t now_ns);

struct chain_manager_report {
	uint64_t server; /* whose it is */
	uint32_t pool, partition;
	uint64_t epoch;
	uint32_t target; /* about whom */
};
/* What members say of a chain. It counts if it is of the very epoch that @map (the state's) has,
 * and of the server that must know: the chain's tail about its successor, a target's about that. */

/* The successor has all that the tail has. */
void chain_manager_caught_up(struct chain_manager *manager, const struct cluster_map *map,
			     const struct chain_manager_report *report);
/* This one does not have all that it should. */
void chain_manager_unfit(struct chain_manager *manager, const struct cluster_map *map,
			 const struct chain_manager_report *report);
/* The tail's successor is getting nearer: it is not given up. */
void chain_manager_progress(struct chain_manager *manager, const struct cluster_map *map,
			    const struct chain_manager_report *report, uint64_t now_ns);
/* The caller did not look for @gap_ns (a stopped process): heartbeats may be waiting unread. */
void chain_manager_paused(struct chain_manager *manager, uint64_t gap_ns);
void chain_manager_set_recovery(struct chain_manager *manager, bool paused);

/* ---- what is to be done ---- */

/* Connect to this server's address; if refused, say so. False: nobody to ask now. */
bool chain_manager_probe(struct chain_manager *manager, uint64_t now_ns, uint64_t *server);

/* Something has happened since the last plan() that may lead to one at once. The rest has time
 * until the next tick. */
bool chain_manager_pressing(const struct chain_manager *manager);
/* Something is going on that a decision within milliseconds may follow from: plan() is to be asked
 * every 10 ms or so. */
bool chain_manager_soon(const struct chain_manager *manager, uint64_t now_ns);

struct chain_plan {
	struct chain_change *changes;
	size_t change_count;
	struct chain_life *lives; /* to be stored with the changes, in one batch */
	size_t life_count;
	/* Servers that are alive and lose a place at which they may serve reads. When it is
	 * durable, the map goes to these first; to everybody else, and published(), when each of
	 * them has said that it has it, or chain_manager_harmless(). */
	uint64_t *fenced;
	size_t fenced_count;
};
/* What has to change in @map, which is the state's (its targets' draining flags count; liveness and
 * usage are the manager's own). True: put it into the log whole, then say planned(); belongs to the
 * manager, valid until the next call. */
bool chain_manager_plan(struct chain_manager *manager, const struct cluster_map *map,
			uint64_t now_ns, const struct chain_plan **out);
/* The plan is in the log: plan() says nothing before published(). */
void chain_manager_planned(struct chain_manager *manager);
/* Its lease has surely run out, or its process is gone: it serves nothing. */
bool chain_manager_harmless(const struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* @server, to whom the map gives @target, may serve it still or soon: it is online or not harmless,
 * and has not come without it since. */
bool chain_manager_holds(const struct chain_manager *manager, uint64_t server, uint32_t target,
			 uint64_t now_ns);
/* It is durable and the map with it on its way to everyone; @ok false: the log refused it, or
 * nobody knows: the map that the next plan() gets says what is so. */
void chain_manager_published(struct chain_manager *manager, bool ok);

/* An administrator's word: the plan makes @target the first of this chain, in-sync, with what it
 * has. When no member at all is there, that may be any target: it begins empty. -ENOENT: not a
 * member; -EBUSY: an in-sync member is there; -EAGAIN: the target is not there. Of a last member
 * that is old and was refused (chain_manager_check()): its next registration is taken. */
int chain_manager_accept_data_loss(struct chain_manager *manager, const struct cluster_map *map,
				   uint32_t pool, uint32_t partition, uint32_t target);

/* ---- for the status ---- */

bool chain_manager_online(const struct chain_manager *manager, uint64_t server, uint64_t now_ns);
/* As last reported. False: unknown. */
bool chain_manager_usage(const struct chain_manager *manager, uint32_t target,
			 struct liveness_report *out);
struct chain_manager_status {
	int error;
	uint32_t partitions, in_sync, heads, fair;
	uint64_t out_ns; /* 0: there */
};
/* -ENOENT. */
int chain_manager_target_status(const struct chain_manager *manager, const struct cluster_map *map,
				uint32_t target, uint64_t now_ns, struct chain_manager_status *out);
/* One line each of what an administrator should know (chains without members, failure domains that
 * are not kept, disks of an older life): @each is called for every one. */
void chain_manager_warnings(const struct chain_manager *manager, const struct cluster_map *map,
			    uint64_t now_ns, void (*each)(void *user, const char *line),
			    void *user);
#endif
