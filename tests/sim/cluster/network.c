#include "tests/sim/cluster/network.h"

#define WAY_RETRY_MIN (20 * MS)
#define WAY_RETRY_MAX (500 * MS)
#define WAY_PING      (1 * SEC)
#define WAY_SILENCE   (5 * SEC)

bool is_server(unsigned node)
{
	return node < SERVERS_MAX;
}

bool is_client(unsigned node)
{
	return node >= NODE_CLIENT && node < NODES;
}

bool is_cut(const struct world *w, unsigned from, unsigned to)
{
	return w->cut_until[from][to] > w->now;
}

struct conn *conn_of(struct world *w, uint64_t id)
{
	return id == 0 || id > w->conn_count ? NULL : &w->conns[id - 1];
}

static uint64_t conn_new(struct world *w, unsigned opener, uint64_t life, unsigned other)
{
	struct conn *c;

	if (w->conn_count == w->conn_size) {
		w->conn_size = w->conn_size == 0 ? 64 : 2 * w->conn_size;
		w->conns = realloc(w->conns, w->conn_size * sizeof(*w->conns));
		if (w->conns == NULL)
			abort();
	}
	c = &w->conns[w->conn_count++];
	memset(c, 0, sizeof(*c));
	c->node[0] = opener;
	c->node[1] = other;
	c->life[0] = life;
	c->life[1] = w->nodes[other].life;
	c->open[0] = c->open[1] = true;
	return w->conn_count;
}

static uint64_t in_order(struct world *w, uint64_t *last)
{
	uint64_t time = w->now + latency(w);

	if (time <= *last)
		time = *last + 1;
	*last = time;
	return time;
}

struct event *conn_message(struct world *w, uint64_t id, unsigned side, enum message_kind message)
{
	struct conn *c = conn_of(w, id);
	struct event *event;

	if (c == NULL || !c->open[side])
		return NULL;
	if (is_cut(w, c->node[side], c->node[1 - side]))
		c->holed[side] = true;
	if (c->holed[side])
		return NULL;
	event = schedule(w, in_order(w, &c->last[side]), EV_MESSAGE, c->node[1 - side]);
	event->life = c->life[1 - side];
	event->conn = id;
	event->side = 1 - side;
	event->message = message;
	return event;
}

void conn_frame(struct world *w, uint64_t id, unsigned side, const struct frame_header *header,
		struct buf *payload)
{
	struct event *event = conn_message(w, id, side, MSG_FRAME);

	if (event == NULL)
		return;
	event->header = *header;
	event->payload = payload == NULL ? NULL : buf_ref(payload);
}

void conn_tell_closed(struct world *w, uint64_t id, unsigned side)
{
	struct conn *c = conn_of(w, id);
	struct event *event;

	if (!c->open[side] || is_cut(w, c->node[1 - side], c->node[side]))
		return;
	event = schedule(w, in_order(w, &c->last[1 - side]), EV_CLOSED, c->node[side]);
	event->life = c->life[side];
	event->conn = id;
	event->side = side;
}

void sim_conn_close(struct world *w, uint64_t id, unsigned side)
{
	struct conn *c = conn_of(w, id);

	if (c == NULL || !c->open[side])
		return;
	c->open[side] = false;
	c->dropped = c->dropped || chance(w, 2) == 0;
	conn_tell_closed(w, id, 1 - side);
}

void conns_end(struct world *w, unsigned node, bool silent)
{
	for (uint64_t id = 1; id <= w->conn_count; id++)
		for (unsigned side = 0; side < 2; side++) {
			struct conn *c = conn_of(w, id);

			if (c->node[side] != node || !c->open[side])
				continue;
			if (silent)
				c->open[side] = false;
			else
				sim_conn_close(w, id, side);
		}
}

bool message_comes(struct world *w, const struct event *event)
{
	struct conn *c = conn_of(w, event->conn);
	const struct node *node = &w->nodes[event->node];
	unsigned sender = 1 - event->side;

	if (!node->alive || node->life != event->life || !c->open[event->side]) {
		if (node->powered)
			conn_tell_closed(w, event->conn, sender);
		return false;
	}
	return c->open[sender] || !c->dropped;
}

/* ---- ways: connections that a node wants to have ---- */

struct way *way_of(struct world *w, unsigned node, unsigned peer)
{
	if (is_server(node))
		return peer == NODE_MASTER ? &w->servers[node].master : &w->servers[node].out[peer];
	return peer == NODE_MASTER ? &w->clients[node - NODE_CLIENT].master
				   : &w->clients[node - NODE_CLIENT].to[peer];
}

void way_connect(struct world *w, unsigned node, unsigned peer)
{
	struct way *way = way_of(w, node, peer);
	struct event *event;

	if (way->up || way->connecting)
		return;
	way->connecting = true;
	event = schedule(w, w->now + latency(w), EV_CONNECT, NOWHERE);
	event->a = peer;
	event->side = node;
	event->number = w->nodes[node].life;
}

void way_lost(struct world *w, unsigned node, unsigned peer)
{
	struct way *way = way_of(w, node, peer);

	way->up = way->connecting = false;
	way->conn = 0;
	if (way->retry_ns < WAY_RETRY_MIN)
		way->retry_ns = WAY_RETRY_MIN;
	way->retry_at = local(w, node) + way->retry_ns;
	way->retry_ns = 2 * way->retry_ns < WAY_RETRY_MAX ? 2 * way->retry_ns : WAY_RETRY_MAX;
}

/* Somebody at @peer would take the connection now? */
static bool accepts(const struct world *w, unsigned peer)
{
	return !is_server(peer) || w->servers[peer].registered || w->servers[peer].id != 0;
}

static void connect_refused(struct world *w, const struct event *from, uint64_t after)
{
	struct event *event = schedule(w, w->now + after, EV_REFUSED, from->side);

	event->life = from->number;
	event->a = from->a;
}

struct client_name name_of(const struct conn *c)
{
	return client_connections_name(c->session, "client");
}

bool is_over_at(const struct world *w, unsigned s, uint64_t session)
{
	const struct cluster_map *map = w->servers[s].map;

	return w->options.fences && map != NULL && cluster_map_session_over(map, session) &&
	       !FAULTY(ACCEPT_FENCED);
}

/* Its older connection ends before it hears of the new one. */
static void client_joins(struct world *w, unsigned from, unsigned to, uint64_t conn)
{
	uint64_t older;
	struct event *event;

	conn_of(w, conn)->session = w->clients[from - NODE_CLIENT].session;
	if (client_connections_join(&w->servers[to].clients, name_of(conn_of(w, conn)), conn,
				    &older) != 0)
		abort();
	if (older == 0)
		return;
	event = schedule(w, w->now, EV_CLOSED, to);
	event->life = conn_of(w, older)->life[1];
	event->conn = older;
	event->side = 1;
	conn_tell_closed(w, older, 0);
}

bool connect_arrives(struct world *w, struct event *event)
{
	unsigned from = event->side, to = event->a;
	const struct node *node = &w->nodes[to];
	struct event *told;

	if (is_cut(w, from, to) || is_cut(w, to, from) || !node->powered) {
		connect_refused(w, event, 2 * SEC + chance(w, 1 * SEC));
		return true;
	}
	if (node->alive && node->frozen_until > w->now) {
		event->time = node->frozen_until;
		return false;
	}
	if (!node->alive || (is_server(from) && is_server(to) && !accepts(w, to)) ||
	    (is_client(from) && is_server(to) &&
	     is_over_at(w, to, w->clients[from - NODE_CLIENT].session))) {
		connect_refused(w, event, latency(w));
		return true;
	}
	told = schedule(w, w->now + latency(w), EV_CONNECTED, from);
	told->life = event->number;
	told->a = to;
	told->conn = conn_new(w, from, event->number, to);
	if (is_client(from) && is_server(to))
		client_joins(w, from, to, told->conn);
	return true;
}

bool way_watch(struct world *w, unsigned node, unsigned peer)
{
	struct frame_header ping = {.op = FRAME_PING, .request_id = PING_ID};
	struct way *way = way_of(w, node, peer);
	uint64_t now = local(w, node);

	if (!way->up)
		return false;
	if (now - way->heard > WAY_SILENCE) {
		uint64_t conn = way->conn;

		trace(w, "node %u hears nothing of %u", node, peer);
		way_lost(w, node, peer);
		sim_conn_close(w, conn, 0);
		return true;
	}
	if (now - way->heard > WAY_PING && !way->pinged &&
	    (is_client(node) || peer != NODE_MASTER)) {
		way->pinged = true;
		conn_frame(w, way->conn, 0, &ping, NULL);
	}
	return false;
}

void way_up(struct world *w, unsigned node, unsigned peer, uint64_t conn)
{
	struct way *way = way_of(w, node, peer);

	*way = (struct way){.wanted = way->wanted, .up = true, .conn = conn};
	way->heard = local(w, node);
}

void way_heard(struct world *w, unsigned node, unsigned peer)
{
	struct way *way = way_of(w, node, peer);

	way->heard = local(w, node);
	way->pinged = false;
}
