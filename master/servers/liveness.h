/* liveness.h - says which servers and targets are there, for the chain manager. Pure.
 *
 * A server is out when its serving lease has surely run out, or when certainly nothing of it
 * serves. Between "heard of just now" and "out" it is quiet. A quiet server may not be taken out
 * yet, and is no reason to take others out.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_SERVERS_LIVENESS_H
#define CATENA_MASTER_SERVERS_LIVENESS_H
#include <uthash.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "master/state/chain_change.h"

struct liveness_report {
	uint32_t id;
	uint64_t life;      /* as the target says */
	uint64_t seen_life; /* as the store says; 0: never seen */
	uint64_t capacity, used;
	bool damaged; /* something flushed is missing, says the target */
	bool full;
	int error; /* 0, or why it cannot serve */
};
/* True when a target of @life does not have all that it said it had: it is an old copy of its disk,
 * or damaged. Once the chains reflect its life (as @seen), they reflect that too. */
static inline bool liveness_life_is_old(uint64_t life, uint64_t seen, bool damaged)
{
	return chain_life_is_old(life, seen) || (damaged && life != seen);
}

enum presence {
	PRESENT_HERE,      /* alive, heard of lately, has forgotten nothing */
	PRESENT_QUIET,     /* not heard of for a moment: it may be there or not */
	PRESENT_RESTARTED, /* alive, of a new life that is not settled yet */
	PRESENT_OLD, /* alive, of an older life than was seen; or its log lost what was flushed */
	PRESENT_FAILED, /* its disk */
	PRESENT_OUT,
};

struct live_target {
	uint32_t id;
	uint64_t server;
	uint64_t life, seen_life; /* seen: what the chains reflect */
	uint64_t capacity, used;
	bool full, listed; /* listed: by its server, in its last registration */
	bool damaged;      /* something flushed is missing, says this life */
	bool forgiven;     /* an administrator takes it though it is old */
	bool old_refused;  /* its server came with it being old */
	double fair;       /* part of all chains, when it was last planned */
	int error;
	uint64_t failed_ns;   /* last seen with an error; 0: never */
	uint64_t unlisted_ns; /* when it was not among its server's any more */
	UT_hash_handle hh;
};

struct live_server {
	uint64_t id;
	uint64_t heard_ns;   /* registration, heartbeat; or when the master started */
	uint64_t renewed_ns; /* last heartbeat answered: the lease runs from here */
	uint64_t probed_ns, disconnected_ns;
	uint64_t out_ns; /* since when it is out; 0: it is not */
	bool registered; /* since the master started */
	bool connected, leaving, refused;
	bool owes;     /* not to be renewed: see chain_manager_owes() */
	bool withheld; /* not to be renewed: a decision about it is not published */
	UT_hash_handle hh;
};

struct liveness {
	uint64_t lease_ns, margin_ns, gather_ns;
	struct live_server *servers;
	struct live_target *targets;
	bool lives_held; /* a plan has settled lives, and is not published */
	bool changed;    /* something that may lead to a decision; the user clears it */
};

void liveness_free(struct liveness *live);
struct live_server *liveness_server(const struct liveness *live, uint64_t id);
struct live_target *liveness_target(const struct liveness *live, uint32_t id);
/* The one that is known, or a new one; NULL: out of memory. */
struct live_target *liveness_target_make(struct liveness *live, uint32_t id);

/* These do what the chain manager's functions of the same names say (chains/manager.h). */
void liveness_restore(struct liveness *live, uint64_t server, uint64_t now_ns);
int liveness_registered(struct liveness *live, uint64_t server,
			const struct liveness_report *targets, size_t count, uint64_t now_ns);
/* Takes a heartbeat; the manager decides about the lease. NULL: the server is unknown. */
struct live_server *liveness_heartbeat(struct liveness *live, uint64_t server, bool leaving,
				       const struct liveness_report *targets, size_t count,
				       uint64_t now_ns);
void liveness_disconnected(struct liveness *live, uint64_t server, uint64_t now_ns);
void liveness_refused(struct liveness *live, uint64_t server, uint64_t asked_ns);
void liveness_paused(struct liveness *live, uint64_t gap_ns);
bool liveness_probe(struct liveness *live, uint64_t now_ns, uint64_t *server);

/* Finds out which servers are out now; before liveness_presence() is asked. */
void liveness_update(struct liveness *live, uint64_t now_ns);
/* Says whether a target, which the map gives to @server, is there. *certain: it will not come back
 * as it was. */
enum presence liveness_presence(const struct liveness *live, uint32_t target, uint64_t server,
				uint64_t now_ns, bool *certain);
/* True when the target does not have all that it said it had, and the chains do not reflect that
 * yet. */
bool liveness_target_is_old(const struct live_target *target);
/* True when the server's lease has surely run out, or no process is left that could use it. */
bool liveness_harmless(const struct liveness *live, uint64_t server, uint64_t now_ns);
bool liveness_holds(const struct liveness *live, uint64_t server, uint32_t target, uint64_t now_ns);
/* True when some server has just gone, or may have. */
bool liveness_soon(const struct liveness *live, uint64_t now_ns);
bool liveness_online(const struct liveness *live, uint64_t server, uint64_t now_ns);
#endif
