/* servers.h - the servers of the simulation: they execute what the chains decide. */
#ifndef CATENA_TESTS_SIM_CHAIN_SERVERS_H
#define CATENA_TESTS_SIM_CHAIN_SERVERS_H
#include "tests/lib/chain_halves.h"
#include "tests/sim/chain/world.h"

struct history *history_of(void *world, const struct chunk_key *key, uint32_t block);

/* ---- lookups of the chains ---- */

bool *damage_of(struct server *s, const struct chunk_key *key);

extern struct chain_ops world_ops;

/* ---- wires ---- */

uint64_t in_order(struct world *w, uint64_t *last);
void wire_break(struct world *w, unsigned from, unsigned to);

/* ---- the store ---- */

void server_run(struct world *w, unsigned number);
void server_time(struct world *w, unsigned number);
void removal_begin(struct world *w, unsigned temporary);
void operation_ended(struct world *w, struct event *event);

/* ---- life and death ---- */

void server_configure(struct world *w, unsigned number);

/* Those of the newest map, as it does before it hears of newer chains. */
void server_hears_sessions(struct world *w, unsigned number);
void server_start(struct world *w, unsigned number);
void server_kill(struct world *w, unsigned number, bool power);

/* A crash may leave chunks that were being overwritten marked so. */
void make_unsure(struct world *w, unsigned number);

/* ---- events of servers ---- */

void frame_arrived(struct world *w, struct event *event);
void client_asks(struct world *w, struct event *event);
void try_connect(struct world *w, unsigned from, unsigned to);
void connection_lost(struct world *w, const struct event *event);
#endif
