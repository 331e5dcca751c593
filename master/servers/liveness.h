/* liveness.h - which servers and targets are there, as the chain manager sees it. Pure.
 *
 * A server is out when its serving lease has surely run out, or when it is certain that nothing of
 * it serves. Between "heard of just now" and "out" it is quiet: it may not be taken out yet, and it
 * is nobody's reason to take others out. */
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
	bool damaged; /* something synced is missing, says the target */
	bool full;
	int error; /* 0, or why it cannot serve */
};
/* Such a target is an old copy of its disk, or as good as one: it does not have all it said it had.
 * Once the chains reflect its life (as @seen), they reflect that too. */
static inline bool liveness_life_is_old(uint64_t life, uint64_t seen, bool damaged)
{
	return chain_life_is_old(life, seen) || (damaged && life != seen);
}

enum presence {
	PRESENT_HERE,      /* alive, heard of lately, has forgotten nothing */
	PRESENT_QUIET,     /* perhaps */
	PRESENT_RESTARTED, /* alive, of a new life that is not settled yet */
	PRESENT_OLD,    /* alive, of an older life than was seen; or its log lost what was synced */
	PRESENT_FAILED, /* its disk */
	PRESENT_OUT,
};

struct live_target {
	uint32_t id;
	uint64_t server;
	uint64_t life, seen_life; /* seen: what the chains reflect */
	uint64_t capacity, used;
	bool full, listed; /* listed: by its server, in its last registration */
	bool damaged;      /* something synced is missing, says this life */
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

/* The chain manager's functions of these names. */
void liveness_restore(struct liveness *live, uint64_t server, uint64_t now_ns);
int liveness_registered(struct liveness *live, uint64_t server,
			const struct liveness_report *targets, size_t count, uint64_t now_ns);
/* Whether its lease is to be renewed is the manager's to say. NULL:
 * unknown. */
struct live_server *liveness_heartbeat(struct liveness *live, uint64_t server, bool leaving,
				       const struct liveness_report *targets, size_t count,
				       uint64_t now_ns);
void liveness_disconnected(struct liveness *live, uint64_t server, uint64_t now_ns);
void liveness_refused(struct liveness *live, uint64_t server, uint64_t asked_ns);
void liveness_paused(struct liveness *live, uint64_t gap_ns);
bool liveness_probe(struct liveness *live, uint64_t now_ns, uint64_t *server);

/* Finds out who is out now; before liveness_presence() is asked. */
void liveness_update(struct liveness *live, uint64_t now_ns);
/* Of a target that the map says to be @server's. *certain: it will not come back as it was. */
enum presence liveness_presence(const struct liveness *live, uint32_t target, uint64_t server,
				uint64_t now_ns, bool *certain);
/* It does not have all that it said it had, and the chains do not reflect that yet. */
bool liveness_target_is_old(const struct live_target *target);
/* Its lease has surely run out, or nothing of it is left to use it. */
bool liveness_harmless(const struct liveness *live, uint64_t server, uint64_t now_ns);
bool liveness_holds(const struct liveness *live, uint64_t server, uint32_t target, uint64_t now_ns);
/* Somebody has just gone, or may have. */
bool liveness_soon(const struct liveness *live, uint64_t now_ns);
bool liveness_online(const struct liveness *live, uint64_t server, uint64_t now_ns);
#endif
