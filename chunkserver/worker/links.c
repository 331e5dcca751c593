/* Connections to the successors' servers.
 *
 * A link is made when the first chain wants it, and connects: TLS, HELLO, and then it stands;
 * chains hear of that by its id. A link that breaks is 0 to them, and is tried again for as long as
 * a chain wants it. */
#include "chunkserver/worker/links.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "worker"

struct link *link_find(struct worker *worker, uint64_t id)
{
	struct link *link;

	DL_FOREACH(worker->links, link)
	{
		if (id != 0 && link->id == id)
			return link;
	}
	return NULL;
}

static void link_tell(struct link *link)
{
	struct worker *worker = link->worker;
	struct member *member;

	worker_event_begin(worker);
	DL_FOREACH(worker->member_list, member)
	{
		if (member->link == link)
			chain_connection(member->chain, link->id);
	}
	worker_event_end(worker);
}

static void link_lost(struct link *link)
{
	bool stood = link->id != 0;

	expects(link->retry_ns >= LINK_RETRY_MIN_NS && link->retry_ns <= LINK_RETRY_MAX_NS);
	link->conn = NULL;
	link->id = 0;
	link->retry_at_ns = clock_monotonic_ns() + link->retry_ns;
	link->retry_ns =
		link->retry_ns * 2 < LINK_RETRY_MAX_NS ? link->retry_ns * 2 : LINK_RETRY_MAX_NS;
	if (stood)
		link_tell(link);
}

static void link_drop(struct link *link, const char *why)
{
	static struct log_rate rate;
	struct conn *conn = link->conn;

	expects(conn != NULL);
	if (log_rate_ok(&rate, 5))
		log_warn("link closed server=%" PRIu64 " address=%s reason=\"%s\"", link->server_id,
			 link->address, why);
	link_lost(link);
	conn_close(conn);
}

/* ---- HELLO ---- */

static void on_ready(struct conn *conn, void *user, const struct tls_identity *peer)
{
	struct link *link = user;
	struct worker *worker = link->worker;
	struct frame_header header = {.op = FRAME_HELLO, .request_id = 1, .length = HELLO_BYTES};
	struct hello hello = {.protocol = HELLO_PROTOCOL,
			      .worker = link->remote_worker,
			      .id = worker->server_id,
			      .instance = worker->instance};
	const struct map_server *server = cluster_map_server(worker->map, link->server_id);
	struct buf *payload;

	if (server == NULL || strcmp(server->name, peer->name) != 0) {
		link_drop(link, "its certificate has another name than the cluster map");
		return;
	}
	payload = buf_get(worker->peer_pool, HELLO_BYTES);
	if (payload == NULL) {
		link_drop(link, "out of memory");
		return;
	}
	memcpy(hello.cluster, worker->options.cluster,
	       strnlen(worker->options.cluster, sizeof(hello.cluster) - 1));
	hello_encode(&hello, payload->data);
	payload->length = HELLO_BYTES;
	block_checksums(payload->data, 0, HELLO_BYTES, payload->crcs);
	(void)conn_send(conn, &header, payload);
	buf_unref(payload);
}

static void hello_answered(struct link *link, const struct frame_header *header,
			   const struct buf *payload)
{
	struct hello hello;

	if (header->op == FRAME_HELLO && header->status == EXDEV) {
		link_drop(link, "HELLO was refused: the server is of another cluster of this name, "
				"or we are");
		return;
	}
	if (header->op != FRAME_HELLO || header->status != FRAME_OK || payload == NULL ||
	    hello_decode(buf_payload(payload), payload->length, &hello) < 0) {
		link_drop(link, "HELLO was refused");
		return;
	}
	if (hello.instance != link->worker->instance) {
		link_drop(link, "it is of another cluster of this name");
		return;
	}
	if (hello.id != link->server_id) {
		link_drop(link, hello.id == 0 ? "the server is not registered yet"
					      : "another server answers there");
		return;
	}
	expects(link->id == 0);
	link->id = ++link->worker->last_conn_id;
	link->retry_ns = LINK_RETRY_MIN_NS;
	link->unheard = 0;
	log_debug("link up server=%" PRIu64 " address=%s worker=%" PRIu32, link->server_id,
		  link->address, link->remote_worker);
	link_tell(link);
}

static void on_frame(struct conn *conn, void *user, const struct frame_header *header,
		     struct buf *payload)
{
	struct link *link = user;
	struct worker *worker = link->worker;
	struct member *member;

	(void)conn;
	link->silent = 0;
	if ((header->flags & FRAME_REPLY) == 0) {
		link_drop(link, "the successor asks instead of answering");
	} else if (link->id == 0) {
		hello_answered(link, header, payload);
	} else if (payload != NULL && block_checksums_verify(buf_payload(payload), header->offset,
							     header->length, payload->crcs) >= 0) {
		link_drop(link, "an answer does not match its checksum");
	} else {
		link->unheard = 0;
		/* Each chain knows its own requests. */
		member = member_find(worker, header->key.pool, header->key.partition, 0);
		worker_time(worker);
		for (; member != NULL; member = member->hash_next) {
			if (member->link == link)
				chain_answer(member->chain, link->id, header, payload);
		}
		worker_execute(worker);
	}
	buf_unref(payload);
}

static void on_closed(struct conn *conn, void *user, int error)
{
	static struct log_rate rate;
	struct link *link = user;

	(void)conn;
	if (log_rate_ok(&rate, 2))
		log_info("no link to successor server=%" PRIu64 " address=%s error=\"%s\"",
			 link->server_id, link->address, error == 0 ? "closed" : strerror(-error));
	link_lost(link);
}

static void link_connect(struct link *link)
{
	struct worker *worker = link->worker;
	struct conn_options options = {
		.loop = &worker->loop,
		.tls = worker->options.tls,
		.pool = worker->peer_pool,
		.callbacks = {.ready = on_ready, .frame = on_frame, .closed = on_closed},
		.user = link,
		.handshake_timeout_ns = 2 * NS_PER_SEC,
		.server_role = TLS_ROLE_CHUNKSERVER,
	};
	int rc;

	expects(link->conn == NULL && link->id == 0);
	link->silent = 0;
	rc = conn_connect(&options, link->address, &link->conn);
	if (rc < 0) {
		link->conn = NULL;
		on_closed(NULL, link, rc);
	}
}

/* ---- which chain wants which ---- */

static void link_release(struct link *link)
{
	if (link == NULL)
		return;
	expects(link->users > 0);
	if (--link->users > 0)
		return;
	DL_DELETE(link->worker->links, link);
	conn_close(link->conn);
	free(link);
}

static struct link *link_get(struct worker *worker, const struct map_server *server,
			     uint32_t remote)
{
	struct link *link;

	DL_FOREACH(worker->links, link)
	{
		if (link->server_id == server->id && link->remote_worker == remote &&
		    strcmp(link->address, server->address) == 0) {
			link->users++;
			return link;
		}
	}
	link = calloc(1, sizeof(*link));
	if (link == NULL)
		return NULL;
	link->worker = worker;
	link->server_id = server->id;
	link->remote_worker = remote;
	memcpy(link->address, server->address, sizeof(link->address));
	link->retry_ns = LINK_RETRY_MIN_NS;
	link->users = 1;
	DL_APPEND(worker->links, link);
	link_connect(link);
	return link;
}

void link_choose(struct worker *worker, struct member *member, bool configured)
{
	uint64_t id = chain_next_server(member->chain, NULL);
	const struct map_server *server = id != 0 ? cluster_map_server(worker->map, id) : NULL;
	struct link *old = member->link;

	member->link = NULL;
	if (server != NULL && server->address[0] != '\0' && server->workers > 0)
		member->link = link_get(worker, server, member->partition % server->workers);
	if (configured || member->link != old)
		chain_connection(member->chain, member->link != NULL ? member->link->id : 0);
	link_release(old);
}

/* Asks a silent successor whether it is there, and gives up one that stays silent. */
static void link_watch(struct link *link)
{
	struct frame_header ping = {.op = FRAME_PING, .request_id = UINT64_MAX >> 1};

	link->silent++;
	if (link->silent > LINK_SILENCE_TICKS)
		link_drop(link, "nothing heard for 5 s");
	else if (link->silent == LINK_PING_TICKS && link->id != 0)
		(void)conn_send(link->conn, &ping, NULL);
}

void links_tick(struct worker *worker, uint64_t now_ns)
{
	struct link *link, *next;

	DL_FOREACH_SAFE(worker->links, link, next)
	{
		link->unheard++;
		if (link->conn == NULL && now_ns >= link->retry_at_ns)
			link_connect(link);
		else if (link->conn != NULL)
			link_watch(link);
	}
}

void links_close(struct worker *worker)
{
	struct link *link, *next;

	DL_FOREACH_SAFE(worker->links, link, next)
	{
		struct conn *conn = link->conn;

		link->conn = NULL;
		link->id = 0;
		conn_close(conn);
	}
}

void links_free(struct worker *worker)
{
	struct member *member;
	struct link *link, *next;

	DL_FOREACH(worker->member_list, member)
	{
		member->link = NULL;
	}
	DL_FOREACH_SAFE(worker->links, link, next)
	{
		expects(link->conn == NULL);
		DL_DELETE(worker->links, link);
		free(link);
	}
}
