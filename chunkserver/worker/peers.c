/* Connections from clients and from predecessors of chains.
 *
 * A frame is checked, then goes to the member that it is for; the chain answers by peer_answer().
 * A frame that breaks the protocol closes the connection. One that cannot be taken now is answered
 * with a status. When a connection is over, all chains hear of it.
 *
 * Memory. Payloads of clients come from the process's bounded pool. When it is empty, clients are
 * not read until a request has been answered. Payloads of chunkservers come from a pool without a
 * limit: members that stopped reading their predecessors could wait for each other in a ring. What
 * is in that pool is bounded all the same, by what heads have admitted from clients. */
#include "chunkserver/worker/peers.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/worker/members.h"
#include "common/base/expects.h"
#include "common/cluster/ids.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "worker"

struct peer *peer_find(struct worker *worker, uint64_t id)
{
	struct peer *peer;

	HASH_FIND(hh, worker->peers, &id, sizeof(id), peer);
	return peer;
}

static void peer_forget(struct peer *peer)
{
	struct worker *worker = peer->worker;
	struct member *member;

	expects(peer_find(worker, peer->id) == peer);
	HASH_DEL(worker->peers, peer);
	worker_event_begin(worker);
	DL_FOREACH(worker->member_list, member)
	{
		chain_source_lost(member->chain, peer->id);
	}
	worker_event_end(worker);
	if (peer->server_id == 0)
		client_connections_leave(&worker->clients, peer->client, peer->id);
	free(peer);
}

static void refuse(struct peer *peer, const char *why)
{
	static struct log_rate rate;
	struct conn *conn = peer->conn;

	if (log_rate_ok(&rate, 5))
		log_warn("connection closed peer=%s name=%s reason=\"%s\"", conn_peer_name(conn),
			 conn_identity(conn)->name, why);
	peer_forget(peer);
	conn_close(conn);
}

/* ---- flow control ---- */

static bool has_too_much(const struct peer *peer, uint32_t part)
{
	return peer->requests > PEER_REQUESTS_MAX / part || peer->bytes > PEER_BYTES_MAX / part ||
	       conn_queued(peer->conn) > PEER_QUEUED_MAX / part;
}

static void peer_throttle(struct peer *peer)
{
	/* A predecessor is always read: see the top. */
	if (peer->server_id != 0 || peer->paused == has_too_much(peer, peer->paused ? 2 : 1))
		return;
	peer->paused = !peer->paused;
	conn_pause(peer->conn, peer->paused);
}

/* Counts what a client moves or waits for, because copies leave room for that. */
static void count_client(const struct peer *peer, uint32_t bytes)
{
	struct worker *worker = peer->worker;

	if (peer->server_id == 0)
		copy_rate_count(worker->options.copy_rate, &worker->clients_moved,
				clock_monotonic_ns(), bytes);
}

void peer_answer(struct peer *peer, const struct frame_header *header, struct buf *payload)
{
	count_client(peer, header->length);
	/* The answer does not say how long the request was: the mean will do for flow control. */
	if (peer->requests > 0)
		peer->bytes -= peer->bytes / peer->requests--;
	expects(peer->requests > 0 || peer->bytes == 0);
	(void)conn_send(peer->conn, header, payload);
	peer_throttle(peer);
}

static void answer_status(struct peer *peer, const struct frame_header *request, uint32_t status,
			  uint64_t arg)
{
	struct frame_header header = *request;

	header.flags = FRAME_REPLY;
	header.length = 0;
	header.status = status;
	header.arg = arg;
	(void)conn_send(peer->conn, &header, NULL);
}

static void refuse_file(struct peer *peer, const struct frame_header *header)
{
	static struct log_rate rate;

	if (log_rate_ok(&rate, 5))
		log_error("a chunk of no file is refused: file ids have 52 bits op=%s file=%" PRIu64
			  " peer=%s name=%s",
			  frame_op_name(header->op), header->key.file_id,
			  conn_peer_name(peer->conn), conn_identity(peer->conn)->name);
	answer_status(peer, header, EINVAL, 0);
}

/* ---- which requests are allowed ---- */

/* True when the request is about a file id that no master gives, and may store it: other parts
 * would cut the id off. */
static bool is_of_no_file(const struct frame_header *header)
{
	bool stores = frame_is_update(header->op) || header->op == FRAME_CATCHUP_DATA ||
		      header->op == FRAME_CATCHUP_COMMIT;
	bool names = (header->flags & FRAME_FORWARD) == 0 && header->op != FRAME_PING;

	return (stores || names) && !id_is_ours(header->key.file_id);
}

static const char *judge(const struct peer *peer, const struct frame_header *header)
{
	bool forward = (header->flags & FRAME_FORWARD) != 0;

	if ((header->flags & FRAME_REPLY) != 0)
		return "an answer to nothing";
	if (header->op == FRAME_HELLO)
		return "a second HELLO";
	if (header->op == FRAME_PING)
		return NULL;
	if (peer->server_id == 0 && forward)
		return "a client that pretends to be a chunkserver";
	if (peer->server_id != 0 && !forward)
		return "a chunkserver that asks as a client";
	return NULL;
}

/* True for clients, and when the map has the certificate's name for the server id of the HELLO. */
static bool server_is_known(struct peer *peer)
{
	const struct map_server *server;

	if (peer->server_id == 0 || peer->checked)
		return true;
	if (peer->worker->map == NULL)
		return false;
	server = cluster_map_server(peer->worker->map, peer->server_id);
	peer->checked =
		server != NULL && strcmp(server->name, conn_identity(peer->conn)->name) == 0;
	return peer->checked;
}

/* Finds the member that a frame is for; NULL: none. A predecessor names the target. A client does
 * not: should two targets of this server be in one chain, it is the one that can serve. */
static struct member *member_meant(struct worker *worker, const struct frame_header *header)
{
	bool named = (header->flags & FRAME_FORWARD) != 0 || header->op == FRAME_PING;
	struct member *first = member_find(worker, header->key.pool, header->key.partition,
					   named ? (uint32_t)header->arg : 0);
	bool read = frame_is_read(header->op);

	if (named || first == NULL || first->hash_next == NULL)
		return first;
	for (struct member *member = first; member != NULL; member = member->hash_next) {
		if (read ? chain_is_ready(member->chain) : chain_is_head(member->chain))
			return member;
	}
	return first;
}

/* True for a client's update whose client id is not that of its HELLO. A mount with a new session
 * may send before it has connected anew: it has to send again. */
static bool has_other_session(const struct peer *peer, const struct frame_header *header)
{
	return peer->server_id == 0 && frame_is_update(header->op) &&
	       header->client_id != peer->client.id;
}

static void on_frame(struct conn *conn, void *user, const struct frame_header *header,
		     struct buf *payload)
{
	struct peer *peer = user;
	struct worker *worker = peer->worker;
	struct chain_source source = {
		.conn = peer->id, .request_id = header->request_id, .server_id = peer->server_id};
	const char *why = judge(peer, header);
	struct member *member;

	(void)conn;
	if (why != NULL) {
		buf_unref(payload);
		refuse(peer, why);
		return;
	}
	if (payload != NULL && block_checksums_verify(buf_payload(payload), header->offset,
						      header->length, payload->crcs) >= 0) {
		buf_unref(payload);
		answer_status(peer, header, FRAME_STATUS_CHECKSUM, 0);
		return;
	}
	if (is_of_no_file(header)) {
		buf_unref(payload);
		refuse_file(peer, header);
		return;
	}
	member = member_meant(worker, header);
	if (header->op == FRAME_PING) {
		worker_time(worker);
		answer_status(peer, header, FRAME_OK,
			      member != NULL ? chain_probe(member->chain) : 0);
		worker_execute(worker);
		buf_unref(payload);
		return;
	}
	if (member == NULL || !server_is_known(peer)) {
		buf_unref(payload);
		/* A predecessor has a newer map, which is on its way here. */
		answer_status(peer, header,
			      worker->map == NULL || peer->server_id != 0 ? FRAME_STATUS_NOT_READY
									  : FRAME_STATUS_NOT_MINE,
			      0);
		return;
	}
	if (has_other_session(peer, header)) {
		buf_unref(payload);
		answer_status(peer, header, FRAME_STATUS_NOT_READY, 0);
		return;
	}
	count_client(peer, header->length);
	peer->requests++;
	peer->bytes += header->length;
	peer_throttle(peer);
	worker_time(worker);
	chain_frame(member->chain, &source, header, payload);
	worker_execute(worker);
}

static void on_closed(struct conn *conn, void *user, int error)
{
	(void)conn;
	(void)error;
	peer_forget(user);
}

static void on_drained(struct conn *conn, void *user)
{
	(void)conn;
	peer_throttle(user);
}

static bool is_over(const struct worker *worker, uint64_t session)
{
	return worker->map != NULL && cluster_map_session_over(worker->map, session);
}

/* Ends the client's older connection. A client without a session has no name, and sends no
 * updates. */
static int client_joins(struct peer *peer, const struct hello *hello)
{
	struct worker *worker = peer->worker;
	uint64_t older;
	int rc;

	peer->client = client_connections_name(hello->id, conn_identity(peer->conn)->name);
	if (hello->id == 0)
		return 0;
	/* The session has ended since its HELLO was answered; the next one will be refused. */
	if (is_over(worker, hello->id))
		return -ESTALE;
	rc = client_connections_join(&worker->clients, peer->client, peer->id, &older);
	if (rc == 0 && older != 0) {
		struct peer *former = peer_find(worker, older);

		expects(former != NULL && former != peer);
		refuse(former, "the client has connected anew");
	}
	return rc;
}

void peer_adopt(struct worker *worker, struct conn *conn, const struct hello *hello)
{
	static const struct conn_callbacks callbacks = {
		.frame = on_frame,
		.closed = on_closed,
		.drained = on_drained,
	};
	struct peer *peer = calloc(1, sizeof(*peer));
	bool server = conn_identity(conn)->role == TLS_ROLE_CHUNKSERVER;
	int rc = -ENOMEM;

	if (peer != NULL) {
		peer->worker = worker;
		peer->conn = conn;
		peer->id = ++worker->last_conn_id;
		/* A server without id could not be told from a client. */
		peer->server_id = !server ? 0 : hello->id != 0 ? hello->id : UINT64_MAX;
		if (server)
			conn_set_pool(conn, worker->peer_pool);
		HASH_ADD(hh, worker->peers, id, sizeof(peer->id), peer);
		rc = server ? 0 : client_joins(peer, hello);
		if (rc == 0)
			rc = conn_attach(conn, &worker->loop, &callbacks, peer);
		if (rc < 0)
			peer_forget(peer);
	}
	if (rc < 0) {
		log_error("connection lost peer=%s error=\"%s\"", conn_peer_name(conn),
			  strerror(-rc));
		conn_close(conn);
	}
}

void peers_close_predecessors(struct worker *worker, const char *why)
{
	struct peer *peer;

	/* Closing one may close others, so the list is begun again each time. */
again:
	for (peer = worker->peers; peer != NULL; peer = peer->hh.next) {
		if (peer->server_id != 0) {
			refuse(peer, why);
			goto again;
		}
	}
}

void peers_close_fenced(struct worker *worker)
{
	struct peer *peer;

	/* As above. */
again:
	for (peer = worker->peers; peer != NULL; peer = peer->hh.next) {
		if (peer->server_id == 0 && is_over(worker, peer->client.id)) {
			refuse(peer, "its session is over");
			goto again;
		}
	}
}

/* A client that does not read its answers must not keep memory that all others need. */
void peers_tick(struct worker *worker, uint64_t now_ns)
{
	struct peer *peer;

	for (peer = worker->peers; peer != NULL; peer = peer->hh.next) {
		size_t queued = conn_queued(peer->conn);

		if (queued == 0 || queued != peer->queued) {
			peer->queued = queued;
			peer->moved_ns = now_ns;
		} else if (now_ns - peer->moved_ns > PEER_STUCK_NS) {
			/* That may have closed others too: the rest is looked at next time. */
			refuse(peer, "it does not read its answers");
			return;
		}
	}
}

void peers_close(struct worker *worker)
{
	/* Closing one may close others. */
	while (worker->peers != NULL) {
		struct conn *conn = worker->peers->conn;

		peer_forget(worker->peers);
		conn_close(conn);
	}
}
