#include "tests/sim/cluster/server_events.h"

/* A predecessor names the target; for a client it is the one that can do it, should two targets of
 * this server be in one chain. */
static struct disk *disk_meant(struct world *w, unsigned s, const struct frame_header *header)
{
	bool named = (header->flags & FRAME_FORWARD) != 0 || header->op == FRAME_PING;
	bool read = frame_is_read(header->op);
	struct disk *first = NULL;

	EACH_DISK(w, s, disk)
	{
		struct chain *chain = disk->chains[header->key.partition];

		if (chain == NULL || (named && disk->entry.target_id != header->arg))
			continue;
		if (named || (read ? chain_is_ready(chain) : chain_is_head(chain)))
			return disk;
		first = first == NULL ? disk : first;
	}
	return first;
}

static void answer_status(struct world *w, const struct event *event, uint32_t status, uint64_t arg)
{
	struct frame_header header = event->header;

	header.flags = FRAME_REPLY;
	header.length = 0;
	header.status = status;
	header.arg = arg;
	conn_frame(w, event->conn, 1, &header, NULL);
}

static void request_arrived(struct world *w, unsigned s, struct event *event)
{
	unsigned opener = conn_of(w, event->conn)->node[0];
	struct chain_source source = {.conn = event->conn, .request_id = event->header.request_id};
	struct disk *disk;

	if (is_server(opener))
		source.server_id = w->servers[opener].id;
	if (event->header.op == FRAME_PING && event->header.request_id == PING_ID) {
		answer_status(w, event, FRAME_OK, 0);
		return;
	}
	disk = disk_meant(w, s, &event->header);
	if (disk == NULL) {
		answer_status(w, event, FRAME_STATUS_NOT_MINE, 0);
		return;
	}
	if (event->header.op == FRAME_PING) {
		answer_status(w, event, FRAME_OK,
			      chain_probe(disk->chains[event->header.key.partition]));
		return;
	}
	if (is_client(opener))
		check_request(w, &event->header);
	chain_frame(disk->chains[event->header.key.partition], &source, &event->header,
		    event->payload);
	event->payload = NULL;
}

static void answer_arrived(struct world *w, unsigned s, const struct event *event)
{
	unsigned peer = conn_of(w, event->conn)->node[1];

	way_heard(w, s, peer);
	if (event->header.request_id == PING_ID)
		return;
	EACH_DISK(w, s, disk)
	{
		struct chain *chain = disk->chains[event->header.key.partition];

		if (chain != NULL && server_by_id(w, chain_next_server(chain, NULL)) == peer)
			chain_answer(chain, event->conn, &event->header, event->payload);
	}
}

static void server_message(struct world *w, unsigned s, struct event *event)
{
	if (conn_of(w, event->conn)->node[1] == NODE_MASTER)
		way_heard(w, s, NODE_MASTER);
	switch (event->message) {
	case MSG_FRAME:
		if ((event->header.flags & FRAME_REPLY) != 0)
			answer_arrived(w, s, event);
		else
			request_arrived(w, s, event);
		break;
	case MSG_REGISTERED:
		session_registered(w, s, event);
		break;
	case MSG_RENEW:
		session_renewed(w, s, event->number, event->index);
		break;
	case MSG_MAP:
		session_map(w, s, event->map);
		break;
	case MSG_REMOVE:
		sim_session_remove(w, s, event);
		break;
	default:
		abort();
	}
}

static void server_connected(struct world *w, unsigned s, unsigned peer, uint64_t conn)
{
	way_up(w, s, peer, conn);
	if (peer == NODE_MASTER)
		session_begins(w, s);
	else
		tell_connections(w, s);
}

static void server_lost(struct world *w, unsigned s, unsigned peer)
{
	struct way *way = way_of(w, s, peer);

	if (way->up || way->connecting) {
		if (way->up)
			way->quiet_since = local(w, s);
		way_lost(w, s, peer);
	}
	if (peer == NODE_MASTER)
		w->servers[s].registered = false;
	else
		tell_connections(w, s);
}

static void server_closed(struct world *w, unsigned s, const struct event *event)
{
	const struct conn *c = conn_of(w, event->conn);

	if (event->side == 1) {
		if (is_client(c->node[0]))
			client_connections_leave(&w->servers[s].clients, name_of(c), event->conn);
		EACH_DISK(w, s, disk)
		for (unsigned p = 0; p < w->options.partitions; p++)
			if (disk->chains[p] != NULL)
				chain_source_lost(disk->chains[p], event->conn);
	} else if (way_of(w, s, c->node[1])->conn == event->conn) {
		server_lost(w, s, c->node[1]);
	}
}

static void server_tick(struct world *w, unsigned s)
{
	struct server *server = &w->servers[s];

	EACH_DISK(w, s, disk)
	chain_tick(disk->env);
	for (unsigned peer = 0; peer < SERVERS_MAX; peer++) {
		struct way *way = &server->out[peer];

		if (way_watch(w, s, peer))
			server_lost(w, s, peer);
		else if (way->wanted && !way->up && local(w, s) >= way->retry_at)
			way_connect(w, s, peer);
	}
	schedule_local(w, s, SERVER_TICK, EV_TICK);
}

static void server_heartbeat(struct world *w, unsigned s)
{
	struct server *server = &w->servers[s];

	if (way_watch(w, s, NODE_MASTER))
		server_lost(w, s, NODE_MASTER);
	else if (!server->master.up && local(w, s) >= server->master.retry_at)
		way_connect(w, s, NODE_MASTER);
	if (server->registered)
		heartbeat(w, s);
	schedule_local(w, s, server->registered ? SERVER_HEARTBEAT : 50 * MS, EV_HEARTBEAT);
}

void at_server(struct world *w, struct event *event)
{
	unsigned s = event->node;

	server_time(w, s);
	switch (event->kind) {
	case EV_MESSAGE:
		server_message(w, s, event);
		break;
	case EV_CONNECTED:
		server_connected(w, s, event->a, event->conn);
		break;
	case EV_REFUSED:
		server_lost(w, s, event->a);
		break;
	case EV_CLOSED:
		server_closed(w, s, event);
		break;
	case EV_STORE:
		if (event->request == NULL && event->action == CHAIN_REMOVE)
			removed_by_master(w, s, event);
		else
			operation_ended(w, event);
		break;
	case EV_TICK:
		server_tick(w, s);
		break;
	case EV_HEARTBEAT:
		server_heartbeat(w, s);
		break;
	case EV_DISK_BACK:
		disk_back(w, &w->disks[event->a]);
		break;
	default:
		abort();
	}
	server_run(w, s);
	server_fence_look(w, s);
	EACH_DISK(w, s, disk)
	check_rest(w, disk);
}
