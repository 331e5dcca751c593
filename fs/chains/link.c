/* link.c - the connection to one worker of one server: made when somebody needs it,
 * watched, and made again. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/net/hello.h"
#include "common/os/log.h"
#include "common/base/expects.h"
#include "common/os/lock.h"
#include "fs/chains/internal.h"
#include "fs/chains/link.h"
#include "fs/chains/ops.h"
#include "fs/chains/retry.h"
#include "fs/chains/watch.h"

#define LOG_MODULE "chain"

#define PING_AFTER_NS (500 * NS_PER_MSEC)
#define IDLE_PING_NS  (15 * NS_PER_SEC)
/* The transport has its own deadline for the connection, but not for the answer to HELLO. */
#define CONNECT_MAX_NS (CHAINS_SILENCE_NS + NS_PER_SEC)
/* Request ids that are no slots. */
#define HELLO_ID UINT64_MAX
#define PING_ID  (UINT64_MAX - 1)

static const struct chains_transport_ops *ops_of(const struct chains_link *link)
{
	return link->client->transport->ops;
}

static uint64_t link_now(const struct chains_link *link)
{
	return ops_of(link)->now(link->client->transport);
}

static void link_wake(struct chains_link *link, uint64_t at)
{
	ops_of(link)->wake(link->client->transport, link->loop, at);
}

/* ---- all links: found without a lock, made under the client's, never removed ---- */

static struct chains_link *table_find(struct chains_client *client, uint64_t server_id,
				      uint32_t worker)
{
	struct chains_link *link = atomic_load_explicit(
		&client->buckets[(server_id * 31 + worker) % CHAINS_LINK_BUCKETS],
		memory_order_acquire);

	while (link != NULL && (link->server_id != server_id || link->worker != worker))
		link = link->bucket_next;
	return link;
}

static struct chains_link *link_new(struct chains_client *client, uint64_t server_id,
				    uint32_t worker)
{
	struct chains_link *link = calloc(1, sizeof(*link));

	if (link == NULL)
		return NULL;
	link->client = client;
	link->server_id = server_id;
	link->worker = worker;
	link->loop = client->link_count++ % client->transport->loops;
	link->free_slot = CHAINS_LINK_NO_SLOT;
	link->waiting_end = &link->waiting;
	pthread_mutex_init(&link->lock, NULL);
	return link;
}

struct chains_link *chains_link_get(struct chains_client *client, uint64_t server_id,
				    uint32_t worker, bool make)
{
	_Atomic(struct chains_link *) *bucket =
		&client->buckets[(server_id * 31 + worker) % CHAINS_LINK_BUCKETS];
	struct chains_link *link = table_find(client, server_id, worker);

	if (link != NULL || !make)
		return link;
	pthread_rwlock_wrlock(&client->lock);
	link = table_find(client, server_id, worker);
	if (link == NULL) {
		link = link_new(client, server_id, worker);
		if (link != NULL) {
			link->bucket_next = atomic_load_explicit(bucket, memory_order_relaxed);
			link->all_next = atomic_load_explicit(&client->links, memory_order_relaxed);
			atomic_store_explicit(bucket, link, memory_order_release);
			atomic_store_explicit(&client->links, link, memory_order_release);
		}
	}
	pthread_rwlock_unlock(&client->lock);
	return link;
}

/* ---- requests under way. Locks: the link's. ---- */

static int slot_take(struct chains_link *link, struct chains_request *request, uint64_t *id)
{
	struct chains_link_slot *slot;

	lock_held(&link->lock);
	if (link->free_slot == CHAINS_LINK_NO_SLOT) {
		uint32_t count = link->slot_count == 0 ? 32 : link->slot_count * 2;
		struct chains_link_slot *slots = reallocarray(link->slots, count, sizeof(*slots));

		if (slots == NULL)
			return -ENOMEM;
		for (uint32_t i = count; i-- > link->slot_count;) {
			slots[i] = (struct chains_link_slot){.next_free = link->free_slot};
			link->free_slot = i;
		}
		link->slots = slots;
		link->slot_count = count;
	}
	request->slot = link->free_slot;
	request->sent_ns = link_now(link);
	slot = &link->slots[request->slot];
	expects(slot->request == NULL);
	link->free_slot = slot->next_free;
	slot->request = request;
	*id = (uint64_t)slot->generation << 32 | request->slot;
	if (atomic_fetch_add_explicit(&link->under_way, 1, memory_order_relaxed) == 0)
		link->quiet_since = request->sent_ns;
	return 0;
}

static void slot_free(struct chains_link *link, uint32_t at)
{
	struct chains_link_slot *slot = &link->slots[at];

	lock_held(&link->lock);
	expects(slot->request != NULL);
	slot->request = NULL;
	/* A late answer to this id finds another generation. With 31 bits of it, no slot's id is
	 * HELLO_ID or PING_ID. */
	slot->generation = (slot->generation + 1) & 0x7fffffff;
	slot->next_free = link->free_slot;
	link->free_slot = at;
	atomic_fetch_sub_explicit(&link->under_way, 1, memory_order_relaxed);
}

static void wait_for_connection(struct chains_link *link, struct chains_request *request)
{
	request->next = NULL;
	request->slot = CHAINS_LINK_NO_SLOT;
	request->sent_ns = link_now(link);
	*link->waiting_end = request;
	link->waiting_end = &request->next;
}

struct chains_request *
chains_link_take(struct chains_link *link,
		 bool (*take)(struct chains_request *request, const void *arg), const void *arg)
{
	struct chains_request *list = NULL, **end = &list, **at = &link->waiting;

	lock_held(&link->lock);
	while (*at != NULL) {
		struct chains_request *request = *at;

		if (!take(request, arg)) {
			at = &request->next;
			continue;
		}
		*at = request->next;
		*end = request;
		end = &request->next;
	}
	link->waiting_end = at;
	for (uint32_t i = 0; i < link->slot_count; i++) {
		struct chains_request *request = link->slots[i].request;

		if (request == NULL || !take(request, arg))
			continue;
		slot_free(link, i);
		*end = request;
		end = &request->next;
	}
	*end = NULL;
	return list;
}

static bool take_all(struct chains_request *request, const void *arg)
{
	return true;
}

static bool take_old(struct chains_request *request, const void *arg)
{
	const uint64_t *start_ns = arg;

	return request->start_ns < *start_ns && !request->closing;
}

struct chains_request *chains_link_take_old(struct chains_link *link, uint64_t start_ns)
{
	struct chains_request *list;

	pthread_mutex_lock(&link->lock);
	list = chains_link_take(link, take_old, &start_ns);
	pthread_mutex_unlock(&link->lock);
	return list;
}

static void all_lost(struct chains_link *link, struct chains_request *list)
{
	while (list != NULL) {
		struct chains_request *request = list;

		list = request->next;
		chains_request_lost(link->client, request);
	}
}

/* ---- sending ---- */

static void send_now(struct chains_link *link, struct chains_request *request)
{
	struct frame_header header;
	struct buf *payload = request->payload;
	uint64_t id = 0;
	void *conn;
	int rc;

	if (!chains_ops_header(link->client, request, &header)) {
		chains_retry_fail(link->client, request, -EIO);
		return;
	}
	pthread_mutex_lock(&link->lock);
	if (link->state != CHAINS_LINK_UP) {
		wait_for_connection(link, request);
		pthread_mutex_unlock(&link->lock);
		link_wake(link, link_now(link));
		return;
	}
	rc = slot_take(link, request, &id);
	if (rc < 0) {
		pthread_mutex_unlock(&link->lock);
		chains_request_lost(link->client, request);
		return;
	}
	header.request_id = id;
	request->repeated = request->sends++ > 0;
	conn = link->conn;
	ops_of(link)->ref(conn);
	/* From here on an answer, or the end of the connection, may take the request away. */
	if (payload != NULL)
		buf_ref(payload);
	pthread_mutex_unlock(&link->lock);

	rc = ops_of(link)->send(conn, &header, payload);
	ops_of(link)->unref(conn);
	buf_unref(payload);
	if (rc != -EPIPE && rc < 0) {
		bool ours;

		pthread_mutex_lock(&link->lock);
		ours = link->slots[(uint32_t)id].request == request &&
		       link->slots[(uint32_t)id].generation == id >> 32;
		if (ours)
			slot_free(link, (uint32_t)id);
		pthread_mutex_unlock(&link->lock);
		if (ours)
			chains_request_lost(link->client, request);
	}
}

/* The member may have been chosen by a map before the newest one, whose search of this link may have
 * ended before the request came here. Then the loop searches again. */
static void check_map(struct chains_link *link, uint64_t map_count)
{
	if (atomic_load_explicit(&link->client->map_count, memory_order_acquire) == map_count)
		return;
	pthread_mutex_lock(&link->lock);
	link->recheck = true;
	pthread_mutex_unlock(&link->lock);
	link_wake(link, 0);
}

void chains_link_send(struct chains_link *link, struct chains_request *request)
{
	uint64_t now, map_count = request->map_count;
	bool first, refused = false;

	pthread_mutex_lock(&link->lock);
	if (link->state == CHAINS_LINK_UP) {
		first = atomic_load_explicit(&link->under_way, memory_order_relaxed) == 0;
		pthread_mutex_unlock(&link->lock);
		send_now(link, request);
		if (first)
			link_wake(link, link_now(link) + CHAINS_HEDGE_NS);
		check_map(link, map_count);
		return;
	}
	now = link_now(link);
	/* Just after a failure no new try is made for a request: another member may take it. */
	if (link->state == CHAINS_LINK_IDLE && now < link->not_before)
		refused = true;
	else
		wait_for_connection(link, request);
	pthread_mutex_unlock(&link->lock);
	if (refused) {
		chains_request_lost(link->client, request);
		return;
	}
	link_wake(link, now);
	check_map(link, map_count);
}

static void send_control(struct chains_link *link, uint8_t op, uint64_t id, struct buf *payload)
{
	struct frame_header header = {.op = op, .request_id = id};

	if (payload != NULL)
		header.length = payload->length;
	/* A send that fails needs nothing here: the connection ends, or its silence is noticed. */
	(void)ops_of(link)->send(link->conn, &header, payload);
}

/* ---- the connection; the loop's thread ---- */

/* Fills in what the newest map says of the server, and the HELLO for it. Errors: -ENOENT when the
 * server is not in the map. */
static int describe(struct chains_link *link, char address[MAP_NAME_MAX], char name[MAP_NAME_MAX],
		    struct hello *hello)
{
	struct chains_client *client = link->client;
	const struct map_server *server;
	int rc = -ENOENT;

	pthread_rwlock_rdlock(&client->lock);
	server = client->map == NULL ? NULL : cluster_map_server(client->map, link->server_id);
	if (server != NULL) {
		memcpy(address, server->address, MAP_NAME_MAX);
		memcpy(name, server->name, MAP_NAME_MAX);
		*hello = (struct hello){.protocol = HELLO_PROTOCOL, .worker = link->worker};
		memcpy(hello->cluster, client->map->cluster, sizeof(hello->cluster));
		hello->instance = client->map->instance;
		rc = 0;
	}
	pthread_rwlock_unlock(&client->lock);
	hello->id = atomic_load_explicit(&client->session_id, memory_order_acquire);
	return rc;
}

/* Notes that the connection is over, or could not be made. Its requests are lost. */
static void link_down(struct chains_link *link, int error)
{
	static struct log_rate rate;
	struct chains_request *list;
	bool was_up, news;

	pthread_mutex_lock(&link->lock);
	was_up = link->state == CHAINS_LINK_UP;
	news = was_up || link->failures == 0; /* else the log has it already */
	link->state = CHAINS_LINK_IDLE;
	link->conn = NULL;
	link->reset = false;
	link->pinged = false;
	link->not_before = link_now(link) + chains_route_backoff_ns(link->failures);
	if (!was_up && error != -ECANCELED) {
		link->failed_ns = link_now(link);
		if (link->failures < 10)
			link->failures++;
	}
	list = chains_link_take(link, take_all, NULL);
	pthread_mutex_unlock(&link->lock);
	atomic_store_explicit(&link->down, true, memory_order_relaxed);
	atomic_store_explicit(&link->silent, false, memory_order_relaxed);
	if (error != -ECANCELED && news && log_rate_ok(&rate, 2))
		log_warn("%s server=%" PRIu64 " worker=%u address=%s error=\"%s\"",
			 was_up ? "connection to chunkserver lost" : "no connection to chunkserver",
			 link->server_id, link->worker, link->address, strerror(-error));
	all_lost(link, list);
}

static void link_close(struct chains_link *link, int error)
{
	void *conn = link->conn;

	if (conn != NULL)
		ops_of(link)->close(conn);
	atomic_fetch_add_explicit(&link->client->stat_resets, 1, memory_order_relaxed);
	link_down(link, error);
}

static void link_connect(struct chains_link *link)
{
	struct chains_client *client = link->client;
	char address[MAP_NAME_MAX], name[MAP_NAME_MAX];
	struct hello hello;
	void *conn = NULL;
	int rc = describe(link, address, name, &hello);

	pthread_mutex_lock(&link->lock);
	link->state = CHAINS_LINK_CONNECTING;
	link->quiet_since = link_now(link);
	if (rc == 0)
		memcpy(link->address, address, sizeof(link->address));
	pthread_mutex_unlock(&link->lock);
	if (rc == 0)
		rc = ops_of(link)->connect(client->transport, link->loop, address, link, &conn);
	if (rc < 0) {
		link_down(link, rc);
		return;
	}
	pthread_mutex_lock(&link->lock);
	link->conn = conn;
	pthread_mutex_unlock(&link->lock);
	link_wake(link, link_now(link) + CHAINS_HEDGE_NS);
}

void chains_link_ready(struct chains_link *link, const struct tls_identity *peer)
{
	char address[MAP_NAME_MAX], name[MAP_NAME_MAX];
	struct hello hello;
	struct buf *payload;
	int rc = describe(link, address, name, &hello);

	if (rc == 0 && strcmp(peer->name, name) != 0) {
		log_warn("somebody else answers at a chunkserver's address address=%s name=%s "
			 "expected=%s",
			 address, peer->name, name);
		rc = -EACCES;
	}
	payload = rc < 0 ? NULL : buf_get(link->client->pool, HELLO_BYTES);
	if (payload == NULL) {
		link_close(link, rc < 0 ? rc : -ENOMEM);
		return;
	}
	payload->length = HELLO_BYTES;
	hello_encode(&hello, buf_payload(payload));
	block_checksums(buf_payload(payload), 0, HELLO_BYTES, payload->crcs);
	send_control(link, FRAME_HELLO, HELLO_ID, payload);
	buf_unref(payload);
	pthread_mutex_lock(&link->lock);
	link->quiet_since = link_now(link);
	pthread_mutex_unlock(&link->lock);
	link_wake(link, link_now(link) + CHAINS_HEDGE_NS);
}

static void link_up(struct chains_link *link)
{
	struct chains_request *list;

	pthread_mutex_lock(&link->lock);
	link->state = CHAINS_LINK_UP;
	link->failures = 0;
	link->not_before = 0;
	link->quiet_since = link_now(link);
	list = link->waiting;
	link->waiting = NULL;
	link->waiting_end = &link->waiting;
	pthread_mutex_unlock(&link->lock);
	atomic_store_explicit(&link->down, false, memory_order_relaxed);
	log_debug("connected to chunkserver server=%" PRIu64 " worker=%u address=%s",
		  link->server_id, link->worker, link->address);
	while (list != NULL) {
		struct chains_request *request = list;

		list = request->next;
		send_now(link, request);
	}
	link_wake(link, link_now(link) + CHAINS_HEDGE_NS);
}

static void hello_answered(struct chains_link *link, const struct frame_header *header,
			   const struct buf *payload)
{
	char address[MAP_NAME_MAX], name[MAP_NAME_MAX];
	struct hello hello = {0}, ours;
	int rc = header->status == FRAME_OK ? -EPROTO : -EACCES;

	if (link->state != CHAINS_LINK_CONNECTING) {
		link_close(link, -EPROTO);
		return;
	}
	if (header->status == FRAME_OK && payload != NULL &&
	    block_checksums_verify(buf_payload(payload), 0, payload->length, payload->crcs) < 0)
		rc = hello_decode(buf_payload(payload), payload->length, &hello);
	else if (header->status == EXDEV)
		rc = -EXDEV;
	if (rc == 0)
		rc = describe(link, address, name, &ours);
	/* Since the map was made, the cluster may have been made anew, or another server may have
	 * got the address. */
	if (rc == 0 && hello.instance != ours.instance)
		rc = -EXDEV;
	if (rc == 0 && hello.id != link->server_id)
		rc = -ESTALE;
	if (rc < 0) {
		log_warn("no agreement with a chunkserver server=%" PRIu64
			 " address=%s status=%s reason=\"%s\"",
			 link->server_id, link->address, frame_status_name(header->status),
			 rc == -EXDEV    ? "it is of another cluster of this name, or we are"
			 : rc == -ESTALE ? "another server answers there"
					 : "HELLO was refused");
		link_close(link, rc);
		return;
	}
	link_up(link);
}

/* Notes that the peer has said something. Returns the request that the frame answers, taken out of
 * its slot; NULL: it answers none. */
static struct chains_request *answered_request(struct chains_link *link,
					       const struct frame_header *header)
{
	bool answer = (header->flags & FRAME_REPLY) != 0 && header->op != FRAME_HELLO;
	uint32_t at = (uint32_t)header->request_id;
	struct chains_request *request = NULL;

	pthread_mutex_lock(&link->lock);
	link->quiet_since = link_now(link);
	link->pinged = false;
	if (atomic_load_explicit(&link->silent, memory_order_relaxed))
		atomic_store_explicit(&link->silent, false, memory_order_relaxed);
	if (answer && header->request_id < PING_ID && at < link->slot_count &&
	    link->slots[at].generation == header->request_id >> 32)
		request = link->slots[at].request;
	if (request != NULL)
		slot_free(link, at);
	pthread_mutex_unlock(&link->lock);
	return request;
}

void chains_link_frame(struct chains_link *link, const struct frame_header *header,
		       struct buf *payload)
{
	struct chains_request *request = answered_request(link, header);

	if ((header->flags & FRAME_REPLY) == 0) {
		if (header->op == FRAME_PING) {
			struct frame_header answer = *header;

			answer.flags = FRAME_REPLY;
			(void)ops_of(link)->send(link->conn, &answer, NULL);
		}
		buf_unref(payload);
		return;
	}
	if (header->op == FRAME_HELLO) {
		hello_answered(link, header, payload);
		buf_unref(payload);
		return;
	}
	/* The request was taken away meanwhile, and is asked elsewhere. */
	if (request == NULL) {
		buf_unref(payload);
		return;
	}
	if (header->op != request->op || !chunk_key_equal(&header->key, &request->key)) {
		log_warn("answer does not fit its request server=%" PRIu64 " op=%s expected=%s",
			 link->server_id, frame_op_name(header->op), frame_op_name(request->op));
		buf_unref(payload);
		chains_request_lost(link->client, request);
		link_close(link, -EPROTO);
		return;
	}
	chains_request_answered(link->client, request, header, payload);
}

void chains_link_closed(struct chains_link *link, int error)
{
	link_down(link, error == 0 ? -ECONNRESET : error);
}

void chains_link_reset(struct chains_link *link)
{
	pthread_mutex_lock(&link->lock);
	if (link->state != CHAINS_LINK_IDLE)
		link->reset = true;
	pthread_mutex_unlock(&link->lock);
	link_wake(link, link_now(link));
}

/* Decides what is due on a connection that is up: *ping now, and to look again at *next. Errors:
 * -ETIMEDOUT when the peer has been silent for too long. Locks: the link's. */
static int watch(struct chains_link *link, uint64_t now, bool *ping, uint64_t *next)
{
	bool busy = atomic_load_explicit(&link->under_way, memory_order_relaxed) > 0;

	*ping = false;
	if (link->pinged) {
		*next = link->pinged_ns + CHAINS_SILENCE_NS - PING_AFTER_NS;
		return now >= *next ? -ETIMEDOUT : 0;
	}
	/* An idle connection is asked, too, or only the next request would find out that it is dead.
	 */
	*next = link->quiet_since + (busy ? PING_AFTER_NS : IDLE_PING_NS);
	if (now < *next)
		return 0;
	*ping = true;
	link->pinged = true;
	link->pinged_ns = now;
	*next = now + CHAINS_SILENCE_NS - PING_AFTER_NS;
	return 0;
}

void chains_link_tick(struct chains_link *link, uint64_t now)
{
	bool stopping = atomic_load_explicit(&link->client->stopping, memory_order_acquire);
	bool ping = false, connect, recheck;
	uint64_t next = UINT64_MAX, hedge;
	int rc = 0;

	pthread_mutex_lock(&link->lock);
	recheck = link->recheck;
	link->recheck = false;
	pthread_mutex_unlock(&link->lock);
	if (recheck) {
		struct cluster_map *map = chains_client_map(link->client);

		if (map != NULL)
			chains_watch_new_map(link, map, map);
		cluster_map_unref(map);
	}
	hedge = chains_watch_hedge(link, now);
	pthread_mutex_lock(&link->lock);
	connect = link->state == CHAINS_LINK_IDLE && link->waiting != NULL;
	if (link->state == CHAINS_LINK_UP)
		rc = watch(link, now, &ping, &next);
	else if (link->state == CHAINS_LINK_CONNECTING) {
		next = link->quiet_since + CONNECT_MAX_NS;
		rc = now >= next ? -ETIMEDOUT : 0;
	}
	if (link->state != CHAINS_LINK_IDLE && (link->reset || stopping))
		rc = -ECANCELED;
	pthread_mutex_unlock(&link->lock);

	if (rc < 0)
		link_close(link, rc);
	else if (connect && stopping)
		link_down(link, -ECANCELED);
	else if (connect)
		link_connect(link);
	else if (ping)
		send_control(link, FRAME_PING, PING_ID, NULL);
	if (hedge < next)
		next = hedge;
	if (rc == 0 && next != UINT64_MAX)
		link_wake(link, next);
}
