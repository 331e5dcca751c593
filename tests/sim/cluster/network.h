/* network.h - connections of the simulated cluster.
 *
 * Frames of a side arrive in order or not at all. Where the network is cut, in one direction or
 * both, what is sent is lost from then on, until the connection ends: by its own end, or because
 * somebody has heard nothing for too long. What was under way when a connection broke may still
 * arrive, also after what was sent again over the next one. */
#ifndef CATENA_TESTS_SIM_CLUSTER_NETWORK_H
#define CATENA_TESTS_SIM_CLUSTER_NETWORK_H
#include "tests/sim/cluster/world.h"

#define PING_ID (UINT64_MAX >> 1)

bool is_server(unsigned node);
bool is_client(unsigned node);
bool is_cut(const struct world *w, unsigned from, unsigned to);
struct conn *conn_of(struct world *w, uint64_t id);

/* NULL: it will not arrive. */
struct event *conn_message(struct world *w, uint64_t id, unsigned side, enum message_kind message);
void conn_frame(struct world *w, uint64_t id, unsigned side, const struct frame_header *header,
		struct buf *payload);

/* The side's end hears that the connection is over, if anything reaches it. */
void conn_tell_closed(struct world *w, uint64_t id, unsigned side);
void sim_conn_close(struct world *w, uint64_t id, unsigned side);

/* All of a node whose process has ended; @silent: its machine, too. */
void conns_end(struct world *w, unsigned node, bool silent);

/* Is somebody there to take the message? */
bool message_comes(struct world *w, const struct event *event);

/* ---- ways: connections that a node wants to have ---- */

struct way *way_of(struct world *w, unsigned node, unsigned peer);
void way_connect(struct world *w, unsigned node, unsigned peer);
void way_lost(struct world *w, unsigned node, unsigned peer);
struct client_name name_of(const struct conn *c);

/* The server knows that this session is over. */
bool is_over_at(const struct world *w, unsigned s, uint64_t session);

/* False: it has to wait. */
bool connect_arrives(struct world *w, struct event *event);

/* What has been heard of the peer; the connection ends when that is nothing for long. True: so it
 * has. */
bool way_watch(struct world *w, unsigned node, unsigned peer);
void way_up(struct world *w, unsigned node, unsigned peer, uint64_t conn);
void way_heard(struct world *w, unsigned node, unsigned peer);
#endif
