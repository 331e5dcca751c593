/* clients.h - clients of the simulation, and what the master does with chains. */
#ifndef CATENA_TESTS_SIM_CHAIN_CLIENTS_H
#define CATENA_TESTS_SIM_CHAIN_CLIENTS_H
#include "tests/sim/chain/servers.h"

#define FILE_TEMPORARY 1000u /* these and above: written, then removed */

/* ---- where to ask ---- */

void op_send(struct world *w, unsigned number, unsigned slot);

/* ---- what to do ---- */

void client_issues(struct world *w, unsigned number);

/* ---- what came of it ---- */

void client_told(struct world *w, struct event *event);
void client_waited(struct world *w, const struct event *event);

/* ---- the master ---- */

void tell_config(struct world *w);
uint32_t in_sync_count(const struct chain_config *config);

/* The server is dead: the others go on without it. */
void take_out(struct world *w, unsigned number);
bool take_in(struct world *w);

/* A temporary file is closed by all and unlinked: everyone is told to remove its chunk. */
void consider_removal(struct world *w);
void remove_at(struct world *w, unsigned number, unsigned temporary);
/* Notes that the server goes on with chunks of the partition that are partly another's. */
void note_mixture(struct world *w, unsigned server, unsigned p);
#endif
