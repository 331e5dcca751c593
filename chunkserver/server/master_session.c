#include "chunkserver/server/master_session.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "catena.pb-c.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/rpc/rpc.h"

#define LOG_MODULE "master_session"

#define STREAM_PATH        "/catena.Master/Chunkserver"
#define PROTOCOL           1u
#define CONNECT_TIMEOUT_NS (3 * NS_PER_SEC)
#define RETRY_MIN_MS       50u
#define RETRY_MAX_MS       300u /* a master that is back waits for its chunkservers */
#define REFUSED_RETRY_MS   3000u
#define SENT_KEPT          64u /* heartbeats whose send time is remembered */
#define SILENCE_NS         (5 * NS_PER_SEC)
#define REMOVE_CHUNKS_MAX  4096u
#define SEEN_AT_ONCE       512u
#define LEASE_MAX_NS       (600 * NS_PER_SEC)
#define TELL_AGAIN_NS      (60 * NS_PER_SEC)

/* What the RPC thread hands to the loop. */
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

static void send_batch(struct master_session *s, const Catena__ServerBatch *batch)
{
	size_t size = catena__server_batch__get_packed_size(batch);
	uint8_t *data = malloc(size);

	if (data == NULL || s->stream == NULL) {
		free(data);
		return;
	}
	catena__server_batch__pack(batch, data);
	/* -EPIPE: closed() is on its way. */
	(void)rpc_stream_send(s->stream, data, size);
	free(data);
}

static void fill_reports(struct master_session *s, bool with_seen, Catena__TargetReport *reports,
			 Catena__TargetReport **pointers)
{
	for (unsigned i = 0; i < s->options.target_count; i++) {
		struct target_report report = {0};

		s->options.callbacks.report(s->options.user, i, &report);
		catena__target_report__init(&reports[i]);
		reports[i].uuid = (char *)(uintptr_t)report.uuid;
		reports[i].target_id = s->target_ids[i];
		reports[i].capacity = report.capacity;
		reports[i].used = report.used;
		reports[i].full = report.full;
		reports[i].error = report.error;
		reports[i].life = report.life;
		reports[i].damaged = report.damaged;
		if (with_seen) {
			reports[i].seen_life = report.seen.life;
			reports[i].seen_chance = report.seen.chance;
			reports[i].seen_version = report.seen.version;
			reports[i].seen_index = report.seen.index;
			reports[i].settled = report.settled;
		}
		pointers[i] = &reports[i];
	}
}

static char *text(const char *value)
{
	return (char *)(uintptr_t)(value == NULL ? "" : value);
}

static void send_register(struct master_session *s)
{
	const struct master_session_options *o = &s->options;
	Catena__TargetReport *reports = calloc(o->target_count, sizeof(*reports));
	Catena__TargetReport **pointers = calloc(o->target_count, sizeof(*pointers));
	Catena__Register message = CATENA__REGISTER__INIT, *messages[1] = {&message};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;

	if (reports != NULL && pointers != NULL) {
		fill_reports(s, true, reports, pointers);
		message.cluster = text(o->cluster);
		message.name = text(o->name);
		message.address = text(o->address);
		message.host = text(o->host);
		message.rack = text(o->rack);
		message.zone = text(o->zone);
		message.workers = o->workers;
		message.protocol = PROTOCOL;
		message.instance = o->instance(o->user);
		message.targets = pointers;
		message.n_targets = o->target_count;
		batch.registrations = messages;
		batch.n_registrations = 1;
		send_batch(s, &batch);
	}
	free(pointers);
	free(reports);
}

static void fill_chain_reports(const struct report *reports, size_t count,
			       Catena__ChainReport *messages, Catena__ChainReport **pointers)
{
	for (size_t i = 0; i < count; i++) {
		catena__chain_report__init(&messages[i]);
		messages[i].pool = reports[i].pool;
		messages[i].partition = reports[i].partition;
		messages[i].epoch = reports[i].epoch;
		messages[i].target_id = reports[i].target_id;
		messages[i].kind = reports[i].kind;
		pointers[i] = &messages[i];
	}
}

/* What a heartbeat points to. */
struct heartbeat {
	struct server_status status;
	Catena__SyncProgress syncs[MASTER_CATCHUPS_MAX], *sync_pointers[MASTER_CATCHUPS_MAX];
	Catena__ChainReport reports[MASTER_REPORTS_MAX], *report_pointers[MASTER_REPORTS_MAX];
};

static void fill_status(struct heartbeat *heartbeat, Catena__Heartbeat *message,
			Catena__ServerBatch *batch)
{
	struct server_status *status = &heartbeat->status;

	for (size_t i = 0; i < status->catchup_count; i++) {
		Catena__SyncProgress *sync = &heartbeat->syncs[i];

		catena__sync_progress__init(sync);
		sync->pool = status->catchups[i].pool;
		sync->partition = status->catchups[i].partition;
		sync->epoch = status->catchups[i].epoch;
		sync->target_id = status->catchups[i].target_id;
		sync->compared = status->catchups[i].compared;
		sync->copied = status->catchups[i].copied;
		sync->damaged = status->catchups[i].damaged;
		heartbeat->sync_pointers[i] = sync;
	}
	fill_chain_reports(status->reports, status->report_count, heartbeat->reports,
			   heartbeat->report_pointers);
	message->leaving = status->leaving;
	message->unreachable = status->unreachable;
	message->n_unreachable = status->unreachable_count;
	message->syncs = heartbeat->sync_pointers;
	message->n_syncs = status->catchup_count;
	batch->reports = heartbeat->report_pointers;
	batch->n_reports = status->report_count;
}

static void send_heartbeat(struct master_session *s)
{
	const struct master_session_options *o = &s->options;
	Catena__TargetReport *reports = calloc(o->target_count, sizeof(*reports));
	Catena__TargetReport **pointers = calloc(o->target_count, sizeof(*pointers));
	Catena__Heartbeat message = CATENA__HEARTBEAT__INIT, *messages[1] = {&message};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;
	struct heartbeat *heartbeat = calloc(1, sizeof(*heartbeat));

	if (reports != NULL && pointers != NULL && heartbeat != NULL) {
		fill_reports(s, false, reports, pointers);
		o->callbacks.status(o->user, &heartbeat->status);
		fill_status(heartbeat, &message, &batch);
		message.sequence = ++s->sequence;
		message.targets = pointers;
		message.n_targets = o->target_count;
		message.map_version = heartbeat->status.map_version;
		message.fence_version = heartbeat->status.fence_version;
		batch.heartbeats = messages;
		batch.n_heartbeats = 1;
		s->sent_ns[message.sequence % SENT_KEPT] = clock_boottime_ns();
		send_batch(s, &batch);
	}
	free(heartbeat);
	free(pointers);
	free(reports);
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
	Catena__ChainReport *messages = calloc(count, sizeof(*messages));
	Catena__ChainReport **pointers = calloc(count, sizeof(*pointers));
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;

	if (messages != NULL && pointers != NULL && session->registered) {
		fill_chain_reports(reports, count, messages, pointers);
		batch.reports = pointers;
		batch.n_reports = count;
		send_batch(session, &batch);
	}
	free(pointers);
	free(messages);
}

void master_session_removed(struct master_session *session, unsigned index, uint64_t sequence,
			    int error)
{
	Catena__Removed message = CATENA__REMOVED__INIT, *messages[1] = {&message};
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;

	message.sequence = sequence;
	message.target_id = session->target_ids[index];
	message.error = -error;
	batch.removed = messages;
	batch.n_removed = 1;
	send_batch(session, &batch);
}

/* ---- receiving, on the loop ---- */

/* What the master has said of the target @uuid; NULL: nothing. */
static const Catena__TargetReport *find_target(const Catena__Registered *message, const char *uuid)
{
	for (size_t i = 0; i < message->n_targets; i++) {
		if (strcmp(message->targets[i]->uuid, uuid) == 0)
			return message->targets[i];
	}
	return NULL;
}

/* A target that is refused gets no number: it has no part in any chain, and keeps what it has. One
 * that may be in chains already cannot be refused alone. */
static bool take_target(struct master_session *s, const Catena__Registered *message, unsigned index)
{
	struct target_report report = {0};
	const Catena__TargetReport *said;

	s->options.callbacks.report(s->options.user, index, &report);
	said = find_target(message, report.uuid);
	if (said != NULL && said->target_id != 0) {
		/* What we have in chains we have by the number that it had. */
		if (s->target_ids[index] != 0 && s->target_ids[index] != said->target_id) {
			log_error("master gives a target another number uuid=%s number=%" PRIu32
				  " was=%" PRIu32 ": it has to be started anew to get it",
				  report.uuid, said->target_id, s->target_ids[index]);
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

/* ---- what targets remember, for a master that has an older store ---- */

struct telling {
	struct master_session *session;
	Catena__SeenChains message;
	size_t count;
	Catena__SeenChain seen[SEEN_AT_ONCE], *pointers[SEEN_AT_ONCE];
	Catena__Chain chains[SEEN_AT_ONCE];
	Catena__ChainMember members[SEEN_AT_ONCE][CHAIN_MEMBERS_MAX];
	Catena__ChainMember *member_pointers[SEEN_AT_ONCE][CHAIN_MEMBERS_MAX];
};

static void tell(struct telling *t, bool last)
{
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;
	Catena__SeenChains *messages[1] = {&t->message};

	t->message.n_chains = t->count;
	t->message.chains = t->pointers;
	t->message.last = last;
	batch.seen = messages;
	batch.n_seen = 1;
	send_batch(t->session, &batch);
	t->count = 0;
}

static int tell_chain(void *user, uint32_t pool, uint32_t partition, const struct map_chain *chain)
{
	struct telling *t = user;
	size_t at;

	if (t->count == SEEN_AT_ONCE)
		tell(t, false);
	at = t->count++;
	catena__seen_chain__init(&t->seen[at]);
	catena__chain__init(&t->chains[at]);
	t->pointers[at] = &t->seen[at];
	t->seen[at].pool = pool;
	t->seen[at].partition = partition;
	t->seen[at].chain = &t->chains[at];
	t->chains[at].epoch = chain->epoch;
	t->chains[at].n_members = chain->count;
	t->chains[at].members = t->member_pointers[at];
	for (uint32_t i = 0; i < chain->count; i++) {
		Catena__ChainMember *member = &t->members[at][i];

		catena__chain_member__init(member);
		member->target_id = chain->members[i].target_id;
		member->state = (uint32_t)chain->members[i].state;
		t->member_pointers[at][i] = member;
	}
	return 0;
}

static void tell_all(struct master_session *s)
{
	struct telling *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return; /* asked again */
	t->session = s;
	for (unsigned i = 0; i < s->options.target_count; i++) {
		struct target_report report = {0};

		s->options.callbacks.report(s->options.user, i, &report);
		catena__seen_chains__init(&t->message);
		t->message.uuid = (char *)(uintptr_t)report.uuid;
		t->message.target_id = (uint32_t)report.seen.target_id;
		t->message.server_id = report.seen.server_id;
		if (s->options.callbacks.remembered(s->options.user, i, tell_chain, t) == 0)
			tell(t, true);
		t->count = 0;
	}
	free(t);
}

/* The same trouble comes again with each attempt, for as long as it lasts. */
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
		/* Then the stream stays, until it is silent for too long. */
		if (message->tell)
			tell_all(s);
		return message->tell;
	}
	if (s->options.callbacks.joined(s->options.user, &master) < 0)
		return false;
	for (unsigned i = 0; i < s->options.target_count; i++) {
		if (!take_target(s, message, i))
			return false;
	}
	s->lease_ns = message->lease_ns < LEASE_MAX_NS ? message->lease_ns : LEASE_MAX_NS;
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
	if (!s->registered || message->sequence > s->sequence ||
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
	struct chunk_key *keys;
	unsigned index = 0;

	while (index < s->options.target_count && s->target_ids[index] != message->target_id)
		index++;
	if (index == s->options.target_count || message->n_chunks > REMOVE_CHUNKS_MAX) {
		log_error("removal refused target=%" PRIu32 " chunks=%zu", message->target_id,
			  message->n_chunks);
		return;
	}
	keys = calloc(message->n_chunks + 1, sizeof(*keys));
	if (keys == NULL)
		return; /* unanswered: the master sends it again */
	for (size_t i = 0; i < message->n_chunks; i++) {
		keys[i].pool = message->chunks[i]->pool;
		keys[i].partition = message->chunks[i]->partition;
		keys[i].file_id = message->chunks[i]->file_id;
		keys[i].index = message->chunks[i]->index;
	}
	s->options.callbacks.remove(s->options.user, index, message->sequence, keys,
				    message->n_chunks);
	free(keys);
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
