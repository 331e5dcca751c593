#include "chunkserver/server/master_session.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "catena.pb-c.h"
#include "chunkserver/server/seen_chains.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/rpc/rpc.h"

#define LOG_MODULE "master_session"

#define STREAM_PATH        "/catena.Master/Chunkserver"
#define CONNECT_TIMEOUT_NS (3 * NS_PER_SEC)
#define RETRY_MIN_MS       50u
#define RETRY_MAX_MS       300u /* a master that is back waits for its chunkservers */
#define REFUSED_RETRY_MS   3000u
#define SENT_KEPT          64u /* heartbeats whose send time is remembered */
#define SILENCE_NS         (5 * NS_PER_SEC)
#define REMOVE_CHUNKS_MAX  4096u
#define LEASE_MAX_NS       (600 * NS_PER_SEC)
#define TELL_AGAIN_NS      (60 * NS_PER_SEC)

/* An event that the RPC thread hands to the loop. */
struct event {
	struct event *next;
	uint64_t connection;
	Catena__ServerPush *push; /* NULL: the stream is over, with error */
	int error;
};

struct master_session {
	struct master_session_options options;
	struct rpc_client *client;
	struct rpc_stream *stream;
	uint64_t connection; /* numbers the streams: late events of older ones are dropped */
	bool registered;
	uint32_t *target_ids;
	uint64_t lease_ns;
	uint64_t sequence; /* of heartbeats */
	uint64_t sent_ns[SENT_KEPT];
	uint64_t heard_ns;
	unsigned retry_ms;
	char told[400]; /* the last trouble that was logged, and when */
	uint64_t told_ns;
	uv_timer_t timer;
	uv_async_t async;
	unsigned open_handles;
	pthread_mutex_t lock; /* guards the queue alone */
	struct event *first, **last;
	bool closing;
};

/* One stream's context for the RPC thread. */
struct stream_user {
	struct master_session *session;
	uint64_t connection;
};

static void connect_now(struct master_session *s);

static void post(struct stream_user *from, Catena__ServerPush *push, int error)
{
	struct master_session *s = from->session;
	struct event *event = calloc(1, sizeof(*event));

	if (event == NULL)
		abort(); /* a map must not get lost; a crash is survived */
	event->connection = from->connection;
	event->push = push;
	event->error = error;
	pthread_mutex_lock(&s->lock);
	*s->last = event;
	s->last = &event->next;
	if (!s->closing)
		uv_async_send(&s->async);
	pthread_mutex_unlock(&s->lock);
}

static void on_stream_message(void *user, const uint8_t *data, size_t size)
{
	struct stream_user *from = user;
	Catena__ServerPush *push = catena__server_push__unpack(NULL, size, data);

	if (push == NULL) {
		log_error("master sent a message that cannot be decoded bytes=%zu", size);
		post(from, NULL, -EBADMSG);
		return;
	}
	post(from, push, 0);
}

static void on_stream_closed(void *user, int error)
{
	struct stream_user *from = user;

	post(from, NULL, error);
	free(from);
}

/* ---- sending ---- */

/* Takes @data, which may be NULL: out of memory. */
static void send_batch(struct master_session *s, uint8_t *data, size_t size)
{
	/* -EPIPE: closed() is on its way. */
	if (data != NULL && s->stream != NULL)
		(void)rpc_stream_send(s->stream, data, size);
	free(data);
}

/* Asks for the state of each target. NULL: out of memory. */
static struct target_report *ask_targets(struct master_session *s)
{
	struct target_report *reports = calloc(s->options.target_count, sizeof(*reports));

	for (unsigned i = 0; reports != NULL && i < s->options.target_count; i++)
		s->options.callbacks.report(s->options.user, i, &reports[i]);
	return reports;
}

static void send_register(struct master_session *s)
{
	const struct master_session_options *o = &s->options;
	const struct server_registration server = {.cluster = o->cluster,
						   .name = o->name,
						   .address = o->address,
						   .host = o->host,
						   .rack = o->rack,
						   .zone = o->zone,
						   .workers = o->workers,
						   .instance = o->instance(o->user)};
	struct target_report *reports = ask_targets(s);
	const struct target_reports targets = {reports, s->target_ids, o->target_count};
	size_t size = 0;
	uint8_t *data;

	if (reports != NULL) {
		data = server_batch_register(&server, &targets, &size);
		send_batch(s, data, size);
	}
	free(reports);
}

static void send_heartbeat(struct master_session *s)
{
	const struct master_session_options *o = &s->options;
	struct server_status *status = calloc(1, sizeof(*status));
	struct target_report *reports = ask_targets(s);
	const struct target_reports targets = {reports, s->target_ids, o->target_count};
	size_t size = 0;
	uint8_t *data;

	if (reports != NULL && status != NULL) {
		o->callbacks.status(o->user, status);
		s->sequence++;
		s->sent_ns[s->sequence % SENT_KEPT] = clock_boottime_ns();
		data = server_batch_heartbeat(s->sequence, status, &targets, &size);
		send_batch(s, data, size);
	}
	free(reports);
	free(status);
}

void master_session_heartbeat(struct master_session *session)
{
	if (session->registered)
		send_heartbeat(session);
}

bool master_session_registered(const struct master_session *session)
{
	return session->registered;
}

void master_session_report(struct master_session *session, const struct report *reports,
			   size_t count)
{
	size_t size = 0;
	uint8_t *data;

	if (!session->registered)
		return;
	data = server_batch_reports(reports, count, &size);
	send_batch(session, data, size);
}

void master_session_removed(struct master_session *session, unsigned index, uint64_t sequence,
			    int error, const struct chunk_order *again, size_t count)
{
	size_t size = 0;
	uint8_t *data;

	expects(index < session->options.target_count);
	data = server_batch_removed(session->target_ids[index], sequence, error, again, count,
				    &size);
	send_batch(session, data, size);
}

/* ---- receiving, on the loop ---- */

/* Finds the master's answer about a target. NULL: there is none. */
static const Catena__TargetReport *find_target(const Catena__Registered *message, const char *uuid)
{
	for (size_t i = 0; i < message->n_targets; i++) {
		if (strcmp(message->targets[i]->uuid, uuid) == 0)
			return message->targets[i];
	}
	return NULL;
}

/* Takes the number of one target. A refused target gets none: it has no part in any chain, and
 * keeps its chunks. One that may be in chains already cannot be refused alone. False: the answer
 * cannot be taken. */
static bool take_target(struct master_session *s, const Catena__Registered *message, unsigned index)
{
	struct target_report report = {0};
	const Catena__TargetReport *said;

	s->options.callbacks.report(s->options.user, index, &report);
	said = find_target(message, report.uuid);
	if (said != NULL && said->target_id != 0) {
		/* Its chunks are in chains by the number that it had. */
		if (s->target_ids[index] != 0 && s->target_ids[index] != said->target_id) {
			log_error("master gives a target another number uuid=%s number=%" PRIu32
				  " was=%" PRIu32 ": it has to be started anew to get it",
				  report.uuid, said->target_id, s->target_ids[index]);
			return false;
		}
		for (unsigned i = 0; i < s->options.target_count; i++)
			if (i != index && s->target_ids[i] == said->target_id) {
				log_error("master gives two targets one number=%" PRIu32
					  " uuid=%s: it is refused",
					  said->target_id, report.uuid);
				return false;
			}
		s->target_ids[index] = said->target_id;
		return true;
	}
	if (said == NULL || said->error == 0) {
		log_error("master gave no id for target uuid=%s", report.uuid);
		return false;
	}
	log_error("master refuses a target uuid=%s error=\"%s\" reason=\"%s\" master=%s",
		  report.uuid, strerror(said->error), message->message, s->options.master);
	return s->target_ids[index] == 0;
}

static int send_seen(void *user, const uint8_t *data, size_t size)
{
	struct master_session *s = user;

	return s->stream != NULL ? rpc_stream_send(s->stream, data, size) : -EPIPE;
}

/* Tells a master that has an older store what the targets remember. Without memory it asks
 * again. */
static void send_all_seen(struct master_session *s)
{
	struct seen_chains *chains = seen_chains_new(send_seen, s);

	for (unsigned i = 0; chains != NULL && i < s->options.target_count; i++) {
		struct target_report report = {0};

		s->options.callbacks.report(s->options.user, i, &report);
		seen_chains_begin(chains, &report);
		if (s->options.callbacks.remembered(s->options.user, i, seen_chains_add, chains) ==
		    0)
			seen_chains_end(chains);
	}
	seen_chains_free(chains);
}

/* True when a trouble is to be logged: the same one comes with each attempt while it lasts. */
static bool is_news(struct master_session *s, const char *what)
{
	uint64_t now_ns = clock_boottime_ns();

	if (s->told_ns != 0 && now_ns < s->told_ns + TELL_AGAIN_NS &&
	    strncmp(s->told, what, sizeof(s->told) - 1) == 0)
		return false;
	snprintf(s->told, sizeof(s->told), "%s", what);
	s->told_ns = now_ns;
	return true;
}

static bool on_registered(struct master_session *s, const Catena__Registered *message)
{
	const struct master_identity master = {.instance = message->instance,
					       .life = message->life,
					       .chance = message->chance,
					       .index = message->index};

	if (message->error != 0) {
		if (is_news(s, message->message))
			log_error("master refuses this chunkserver reason=\"%s\" master=%s",
				  message->message[0] != '\0' ? message->message
							      : strerror(message->error),
				  s->options.master);
		/* A master that listens keeps the stream; silence ends it. */
		if (message->tell)
			send_all_seen(s);
		return message->tell;
	}
	if (s->options.callbacks.joined(s->options.user, &master) < 0)
		return false;
	for (unsigned i = 0; i < s->options.target_count; i++) {
		if (!take_target(s, message, i))
			return false;
	}
	s->lease_ns = message->lease_ns < LEASE_MAX_NS ? message->lease_ns : LEASE_MAX_NS;
	expects(s->stream != NULL);
	s->registered = true;
	s->retry_ms = RETRY_MIN_MS;
	s->told_ns = 0;
	log_info("registered server=%" PRIu64 " master=%s lease_ms=%" PRIu64, message->server_id,
		 s->options.master, (uint64_t)(s->lease_ns / NS_PER_MSEC));
	s->options.callbacks.registered(s->options.user, message->server_id, s->target_ids,
					message->map_version);
	send_heartbeat(s);
	return true;
}

static void on_renewed(struct master_session *s, const Catena__Renew *message)
{
	/* Of a heartbeat that was sent, and whose time is still known. */
	if (message->sequence == 0 || message->sequence > s->sequence ||
	    s->sequence - message->sequence >= SENT_KEPT)
		return;
	s->options.callbacks.lease(s->options.user,
				   s->sent_ns[message->sequence % SENT_KEPT] + s->lease_ns);
	s->options.callbacks.index(s->options.user, message->index);
}

static bool on_map(struct master_session *s, const Catena__ClusterMap *message)
{
	struct cluster_map *map = NULL;
	int rc = cluster_map_from_message(message, &map);

	if (rc < 0) {
		log_error("cluster map refused version=%" PRIu64 " error=\"%s\"", message->version,
			  strerror(-rc));
		return false;
	}
	s->options.callbacks.map(s->options.user, map);
	cluster_map_unref(map);
	return true;
}

static void on_remove(struct master_session *s, const Catena__Remove *message)
{
	struct chunk_order *chunks;
	unsigned index = 0;

	while (index < s->options.target_count && s->target_ids[index] != message->target_id)
		index++;
	/* 0 is what refused targets have: they keep their chunks. */
	if (message->target_id == 0 || index == s->options.target_count ||
	    message->n_chunks > REMOVE_CHUNKS_MAX) {
		log_error("removal refused target=%" PRIu32 " chunks=%zu", message->target_id,
			  message->n_chunks);
		return;
	}
	chunks = calloc(message->n_chunks + 1, sizeof(*chunks));
	if (chunks == NULL)
		return; /* unanswered: the master sends it again */
	for (size_t i = 0; i < message->n_chunks; i++) {
		const Catena__RemoveChunk *from = message->chunks[i];

		chunks[i] = (struct chunk_order){.key = {.pool = from->pool,
							 .partition = from->partition,
							 .file_id = from->file_id,
							 .index = from->index},
						 .epoch = from->epoch};
	}
	s->options.callbacks.remove(s->options.user, index, message->sequence, chunks,
				    message->n_chunks);
	free(chunks);
}

static void retry_in(struct master_session *s, unsigned ms);

static void drop_stream(struct master_session *s)
{
	struct rpc_stream *stream = s->stream;

	s->stream = NULL;
	s->registered = false;
	s->connection++;
	if (stream != NULL) {
		rpc_stream_close(stream);
		rpc_stream_unref(stream);
	}
}

static bool take_push(struct master_session *s, const Catena__ServerPush *push)
{
	for (size_t i = 0; i < push->n_registered; i++) {
		if (!on_registered(s, push->registered[i]))
			return false;
	}
	if (!s->registered && (push->n_maps > 0 || push->n_renewed > 0 || push->n_removes > 0)) {
		log_error("master gives orders before it has registered this chunkserver master=%s",
			  s->options.master);
		return false;
	}
	/* Before renewals: see master_session.h. */
	for (size_t i = 0; i < push->n_maps; i++) {
		if (!on_map(s, push->maps[i]))
			return false;
	}
	for (size_t i = 0; i < push->n_renewed; i++)
		on_renewed(s, push->renewed[i]);
	for (size_t i = 0; i < push->n_removes; i++)
		on_remove(s, push->removes[i]);
	if (push->n_recoveries > 0) {
		const Catena__Recovery *last = push->recoveries[push->n_recoveries - 1];

		s->options.callbacks.recovery(s->options.user, last->rate, last->paused);
	}
	return true;
}

static void on_push(struct master_session *s, const Catena__ServerPush *push)
{
	s->heard_ns = clock_boottime_ns();
	if (!take_push(s, push)) {
		drop_stream(s);
		retry_in(s, REFUSED_RETRY_MS);
	}
}

static void on_lost(struct master_session *s, int error)
{
	char refusal[256] = "";

	rpc_client_refusal(s->client, refusal, sizeof(refusal));
	if (is_news(s, refusal[0] != '\0' ? refusal : rpc_strerror(error)))
		log_warn("no connection to the master master=%s error=\"%s\"%s%s",
			 s->options.master, rpc_strerror(error),
			 refusal[0] != '\0' ? " reason=" : "", refusal);
	drop_stream(s);
	retry_in(s, s->retry_ms);
	s->retry_ms = s->retry_ms * 2 < RETRY_MAX_MS ? s->retry_ms * 2 : RETRY_MAX_MS;
}

static struct event *take_events(struct master_session *s)
{
	struct event *first;

	pthread_mutex_lock(&s->lock);
	first = s->first;
	s->first = NULL;
	s->last = &s->first;
	pthread_mutex_unlock(&s->lock);
	return first;
}

static void on_async(uv_async_t *handle)
{
	struct master_session *s = handle->data;
	struct event *event = take_events(s), *next;

	for (; event != NULL; event = next) {
		next = event->next;
		if (!s->closing && event->connection == s->connection) {
			if (event->push != NULL)
				on_push(s, event->push);
			else
				on_lost(s, event->error);
		}
		if (event->push != NULL)
			catena__server_push__free_unpacked(event->push, NULL);
		free(event);
	}
}

/* ---- the timer: heartbeats while registered, else the next attempt ---- */

static void on_timer(uv_timer_t *timer)
{
	struct master_session *s = timer->data;

	if (s->stream == NULL) {
		connect_now(s);
		return;
	}
	if (clock_boottime_ns() - s->heard_ns > SILENCE_NS) {
		on_lost(s, -ETIMEDOUT);
		return;
	}
	if (s->registered)
		send_heartbeat(s);
}

static void retry_in(struct master_session *s, unsigned ms)
{
	uv_timer_start(&s->timer, on_timer, ms, MASTER_HEARTBEAT_MS);
}

static void connect_now(struct master_session *s)
{
	static const struct rpc_stream_events events = {
		.message = on_stream_message,
		.closed = on_stream_closed,
	};
	struct stream_user *user = calloc(1, sizeof(*user));
	int rc = -ENOMEM;

	expects(s->stream == NULL && !s->registered);
	if (user != NULL) {
		user->session = s;
		user->connection = ++s->connection;
		rc = rpc_stream_open(s->client, STREAM_PATH, &events, user, CONNECT_TIMEOUT_NS,
				     &s->stream);
	}
	if (rc < 0) {
		free(user);
		s->stream = NULL;
		on_lost(s, rc);
		return;
	}
	s->heard_ns = clock_boottime_ns();
	send_register(s);
	uv_timer_start(&s->timer, on_timer, MASTER_HEARTBEAT_MS, MASTER_HEARTBEAT_MS);
}

int master_session_open(const struct master_session_options *options, struct master_session **out,
			char *error, size_t error_size)
{
	struct rpc_client_options client = {
		.target = options->master,
		.tls = options->tls,
		.server_role = TLS_ROLE_MASTER,
	};
	struct master_session *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (s == NULL)
		return -ENOMEM;
	s->options = *options;
	s->last = &s->first;
	s->retry_ms = RETRY_MIN_MS;
	s->target_ids = calloc(options->target_count, sizeof(*s->target_ids));
	if (s->target_ids == NULL)
		goto err_after_alloc;
	rc = rpc_client_open(&client, &s->client, error, error_size);
	if (rc < 0)
		goto err_after_targets;
	pthread_mutex_init(&s->lock, NULL);
	rc = uv_async_init(options->loop, &s->async, on_async);
	if (rc < 0)
		goto err_after_client;
	uv_timer_init(options->loop, &s->timer);
	s->async.data = s;
	s->timer.data = s;
	s->open_handles = 2;
	*out = s;
	connect_now(s);
	return 0;

err_after_client:
	pthread_mutex_destroy(&s->lock);
	rpc_client_close(s->client);
err_after_targets:
	free(s->target_ids);
err_after_alloc:
	free(s);
	return rc;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct master_session *s = handle->data;
	struct event *event, *next;

	expects(s->open_handles > 0 && s->stream == NULL);
	if (--s->open_handles > 0)
		return;
	for (event = take_events(s); event != NULL; event = next) {
		next = event->next;
		if (event->push != NULL)
			catena__server_push__free_unpacked(event->push, NULL);
		free(event);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->target_ids);
	free(s);
}

void master_session_close(struct master_session *session)
{
	if (session == NULL)
		return;
	drop_stream(session);
	/* No callback comes once the client is closed, so the queue is ours alone after it. */
	rpc_client_close(session->client);
	pthread_mutex_lock(&session->lock);
	session->closing = true;
	pthread_mutex_unlock(&session->lock);
	uv_close((uv_handle_t *)&session->async, on_handle_closed);
	uv_close((uv_handle_t *)&session->timer, on_handle_closed);
}
