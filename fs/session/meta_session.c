/* meta_session.c - the stream to the master: its beginning, its messages, its end. */
#define LOG_MODULE "meta"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "common/base/expects.h"
#include "fs/session/meta_internal.h"

static struct log_rate noise;

static void stream_send(struct meta *meta, const void *data, size_t size)
{
	int rc;

	if (meta->stream_state != META_STREAM_UP)
		return;
	rc = rpc_stream_send(meta->stream, data, size);
	/* -EPIPE: closed() is on its way, and the next stream sends everything unanswered again. */
	if (rc != 0 && rc != -EPIPE)
		meta_session_break(meta, strerror(-rc));
}

void meta_session_send_later(struct meta *meta)
{
	lock_held(&meta->lock);
	if (meta->later_size > 0)
		stream_send(meta, meta->later, meta->later_size);
	meta->later_size = meta->later_count = 0;
}

static bool append(struct meta *meta, const void *data, size_t size)
{
	if (size > META_LATER_BYTES - meta->later_size)
		return false;
	memcpy(meta->later + meta->later_size, data, size);
	meta->later_size += (uint32_t)size;
	return true;
}

void meta_session_send(struct meta *meta, const void *data, size_t size)
{
	lock_held(&meta->lock);
	if (meta->later_size > 0 && append(meta, data, size)) {
		meta_session_send_later(meta);
		return;
	}
	meta_session_send_later(meta);
	stream_send(meta, data, size);
}

void meta_session_queue(struct meta *meta, const void *data, size_t size)
{
	lock_held(&meta->lock);
	if (meta->stream_state != META_STREAM_UP)
		return;
	if (meta->later_count >= META_LATER_COUNT || !append(meta, data, size)) {
		meta_session_send(meta, data, size);
		return;
	}
	if (meta->later_count++ == 0) {
		meta->later_due_ns = clock_boottime_ns() + META_LATER_NS;
		pthread_cond_broadcast(&meta->changed);
	}
}

void meta_session_break(struct meta *meta, const char *why)
{
	lock_held(&meta->lock);
	if (meta->stream_state != META_STREAM_UP && meta->stream_state != META_STREAM_OPENING)
		return;
	if (log_rate_ok(&noise, 2))
		log_warn("giving up the stream to the master reason=\"%s\"", why);
	meta->stream_state = META_STREAM_CLOSING;
	rpc_stream_close(meta->stream);
}

int meta_session_add(struct meta *meta, struct meta_pending *pending)
{
	int rc;

	lock_held(&meta->lock);
	pending->in_lane = pending->in_lane && meta->lanes;
	/* Only while we are the sole client is the outcome of a repetition known. */
	pending->kept = pending->in_lane || (meta->lanes && pending->command && !pending->durable &&
					     atomic_load(&meta->lease.sole));
	if (pending->kept && pending->takes_numbers && !pending->in_lane) {
		pending->kept = false;
		pending->durable = true;
	}
	rc = meta_pending_add(&meta->pending, pending);
	atomic_store_explicit(&meta->full, meta_pending_full(&meta->pending), memory_order_relaxed);
	return rc;
}

void meta_session_send_pending(struct meta *meta, struct meta_pending *pending,
			       void (*send)(struct meta *meta, const void *data, size_t size))
{
	uint64_t answered = meta->pending.first - 1;
	uint32_t start = pending->start;

	lock_held(&meta->lock);
	if (meta->stream_state != META_STREAM_UP)
		return;
	if (answered >= meta->answered_told + META_ANSWERED_EVERY) {
		start = meta_pending_prepend_answered(pending, answered);
		meta->answered_told = answered;
	}
	send(meta, pending->bytes + start, pending->start + pending->size - start);
}

/* ---- a new session takes the place of one that the master does not know any more ---- */

void meta_session_end_held(struct meta *meta, bool all, struct meta_pending_list *ended)
{
	lock_held(&meta->lock);
	for (struct meta_hold *hold = meta->holds; hold != NULL; hold = hold->next) {
		struct meta_pending_list kept;
		struct meta_pending *pending, *next;

		meta_pending_list_init(&kept);
		for (pending = hold->waiting.head; pending != NULL; pending = next) {
			next = pending->next;
			meta_pending_list_add(all || !pending->repeatable ? ended : &kept, pending);
		}
		meta_pending_list_init(&hold->waiting);
		for (pending = kept.head; pending != NULL; pending = next) {
			next = pending->next;
			meta_pending_list_add(&hold->waiting, pending);
		}
	}
}

/* Keeps requests that only ask, in their order, under new ids. Those that change something end:
 * another client may have changed the same since, and whether they were executed is not known.
 * Later calls come behind what is kept. */
static void keep_questions(struct meta *meta, struct meta_pending_list *ended)
{
	struct meta_pending_list all, kept;
	struct meta_pending *pending, *next;

	meta_pending_list_init(&all);
	meta_pending_list_init(&kept);
	meta_pending_empty(&meta->pending, &all);
	for (pending = all.head; pending != NULL; pending = next) {
		next = pending->next;
		meta_pending_list_add(pending->repeatable ? &kept : ended, pending);
	}
	meta_session_end_held(meta, false, ended);
	meta->answered_told = meta->command_done = 0;
	for (pending = kept.head; pending != NULL; pending = next) {
		next = pending->next;
		if (meta_session_add(meta, pending) != 0)
			meta_pending_list_add(ended, pending);
	}
}

/* Tells the user that the master is another process. Locks: the session's, free meanwhile. */
static void tell_restarted(struct meta *meta, bool lost)
{
	lock_held(&meta->lock);
	meta_lease_restarted(&meta->lease);
	if (lost)
		meta->command_done = 0;
	if (meta->options.callbacks.restarted == NULL)
		return;
	pthread_mutex_unlock(&meta->lock);
	meta->options.callbacks.restarted(meta->options.user, lost);
	pthread_mutex_lock(&meta->lock);
}

static void begin_session(struct meta *meta, const Catena__SessionOpened *opened, bool restarted)
{
	bool first = meta->session_id == 0;
	struct meta_pending_list ended;
	bool lost = meta_lease_drop(&meta->lease);

	lock_held(&meta->lock);
	meta->lease.held = false;
	meta_pending_list_init(&ended);
	/* What was done in the old session, and not flushed, may be lost. */
	if (!first && restarted)
		tell_restarted(meta, true);
	if (!first) {
		log_warn("the session is gone, a new one begins old=%llu new=%llu",
			 (unsigned long long)meta->session_id,
			 (unsigned long long)opened->session_id);
		keep_questions(meta, &ended);
	}
	meta->session_id = opened->session_id;
	meta->session_secret = opened->session_secret;
	meta->default_pool = opened->default_pool;
	pthread_mutex_unlock(&meta->lock);
	if (lost)
		meta->options.callbacks.lost(meta->options.user);
	meta->options.callbacks.session(meta->options.user, opened->session_id);
	meta_pending_list_end(&ended, -EIO);
	pthread_mutex_lock(&meta->lock);
}

/* Whether the lease outlived the break is not ours to guess: the master grants again. */
static void resume_session(struct meta *meta, bool restarted, bool forgotten)
{
	bool lost = meta_lease_drop(&meta->lease);

	lock_held(&meta->lock);
	meta->lease.held = false;
	log_info("session resumed session=%llu again=%llu", (unsigned long long)meta->session_id,
		 (unsigned long long)(meta->pending.next - meta->pending.first));
	if (restarted || forgotten)
		tell_restarted(meta, forgotten);
	if (!lost)
		return;
	pthread_mutex_unlock(&meta->lock);
	meta->options.callbacks.lost(meta->options.user);
	pthread_mutex_lock(&meta->lock);
}

static void resend(struct meta *meta)
{
	struct meta_pending_ring *ring = &meta->pending;
	uint8_t *batch = malloc(META_RESEND_BYTES);
	size_t used = 0;

	lock_held(&meta->lock);
	meta->later_size = meta->later_count = 0;
	meta_pending_send_again(ring, meta->lanes);
	for (uint64_t id = ring->first; id < ring->next && meta->stream_state == META_STREAM_UP;
	     id++) {
		struct meta_pending *pending = meta_pending_find(ring, id);

		if (pending == NULL)
			continue;
		if (batch == NULL || pending->size > META_RESEND_BYTES - used) {
			if (used != 0)
				meta_session_send(meta, batch, used);
			used = 0;
		}
		if (batch == NULL || pending->size > META_RESEND_BYTES) {
			meta_session_send(meta, pending->bytes + pending->start, pending->size);
		} else {
			memcpy(batch + used, pending->bytes + pending->start, pending->size);
			used += pending->size;
		}
	}
	if (used != 0)
		meta_session_send(meta, batch, used);
	free(batch);
}

/* Gives the stream up, because the master did not open the session. Locks: the session's. */
static void refused(struct meta *meta, const Catena__SessionOpened *opened)
{
	lock_held(&meta->lock);
	if (opened->error == ESTALE) {
		meta->session_secret =
			0; /* and ask for a new session, see meta_session_connect() */
		meta_session_break(meta, "the master does not know the session");
		return;
	}
	snprintf(meta->message, sizeof(meta->message), "%s",
		 opened->message[0] != '\0' ? opened->message : strerror(opened->error));
	meta->refused = true;
	meta_session_break(meta, meta->message);
}

/* The numbers of inodes and files that we know mean others in another cluster. Locks: the
 * session's. */
static bool same_cluster(struct meta *meta, uint64_t instance)
{
	lock_held(&meta->lock);
	if (meta->instance == 0)
		meta->instance = instance;
	if (meta->instance == instance)
		return true;
	snprintf(meta->message, sizeof(meta->message),
		 "the cluster was made anew (catena-master --init) since this was mounted: unmount "
		 "and mount again");
	meta->refused = true;
	meta_session_break(meta, meta->message);
	return false;
}

/* Gives the map to the user. False: it makes no sense, or memory is short. */
static bool on_map(struct meta *meta, const Catena__ClusterMap *message)
{
	struct cluster_map *map = NULL;
	int rc = cluster_map_from_message(message, &map);

	if (rc != 0) {
		if (log_rate_ok(&noise, 2))
			log_error("the master sent a bad map error=\"%s\"", strerror(-rc));
		return false;
	}
	meta->options.callbacks.map(meta->options.user, map);
	cluster_map_unref(map);
	return true;
}

static void on_opened(struct meta *meta, const Catena__SessionOpened *opened,
		      const Catena__ClientPush *push)
{
	bool restarted, taken = true;

	pthread_mutex_lock(&meta->lock);
	if (meta->stream_state != META_STREAM_OPENING)
		goto out;
	if (opened->error != 0) {
		refused(meta, opened);
		goto out;
	}
	if (opened->lease_ns < 20 * NS_PER_MSEC || opened->lease_ns > 86400 * NS_PER_SEC ||
	    opened->session_id == 0) {
		meta_session_break(meta, "the master sent a senseless session");
		goto out;
	}
	if (!same_cluster(meta, opened->instance))
		goto out;
	restarted = meta->life != 0 && meta->life != opened->life;
	meta_lease_session(&meta->lease, opened->lease_ns, meta->opened_ns);
	meta->lanes = opened->lanes;
	if (opened->session_id == meta->session_id)
		resume_session(meta, restarted, opened->forgotten);
	else
		begin_session(meta, opened, restarted);
	/* Not before it has been told: it is told again if the stream breaks now. */
	meta->life = opened->life;
	/* Whoever waits for the session may ask for data at once. */
	pthread_mutex_unlock(&meta->lock);
	for (size_t i = 0; i < push->n_maps; i++)
		taken = on_map(meta, push->maps[i]) && taken;
	pthread_mutex_lock(&meta->lock);
	if (!taken && meta->stream_state == META_STREAM_OPENING)
		meta_session_break(meta, "the master's map cannot be taken");
	if (meta->stream_state != META_STREAM_OPENING) /* it ended while the lock was free */
		goto out;
	meta->stream_state = META_STREAM_UP;
	meta->retry_wait_ns = 0;
	meta->refused = false;
	meta->message[0] = '\0';
	resend(meta);
	pthread_cond_broadcast(&meta->changed);
out:
	pthread_mutex_unlock(&meta->lock);
}

/* ---- messages ---- */

/* What a program was told is not so any more: something that was done before it is lost. */
static void told_otherwise(struct meta *meta, const struct meta_pending *pending, int error)
{
	lock_held(&meta->lock);
	log_error("a command has another end than a program was told: something before it is lost "
		  "request=%llu error=\"%s\"",
		  (unsigned long long)pending->id, strerror(error));
	tell_restarted(meta, true);
}

/* @index: see ClientPush. */
static void on_reply(struct meta *meta, const Catena__Reply *reply, uint64_t index)
{
	struct meta_pending *pending;
	enum meta_pending_news news;
	meta_done_fn *done = NULL;
	int error = reply->error;
	void *user = NULL;
	bool gone;

	if (error < 0 || error > 4095) {
		if (log_rate_ok(&noise, 2))
			log_error("the master answered with a senseless error error=%d", error);
		error = EIO;
	}
	pthread_mutex_lock(&meta->lock);
	news = meta_pending_answer(&meta->pending, reply->id, error, index, &pending, &gone);
	if (news == META_PENDING_NEWS) {
		done = pending->done;
		user = pending->user;
	}
	if (gone && pending->command && error == 0 && pending->id > meta->command_done)
		meta->command_done = pending->id;
	if (news == META_PENDING_OTHER_END)
		told_otherwise(meta, pending, error);
	pthread_mutex_unlock(&meta->lock);
	if (gone)
		free(pending);
	if (done != NULL)
		done(user, -error, reply);
}

static void on_lane_done(struct meta *meta, uint64_t through, uint64_t index)
{
	meta_done_fn *done;
	void *user;

	pthread_mutex_lock(&meta->lock);
	while (meta_pending_lane_done(&meta->pending, through, index, &done, &user)) {
		pthread_mutex_unlock(&meta->lock);
		done(user, 0, NULL);
		pthread_mutex_lock(&meta->lock);
	}
	pthread_mutex_unlock(&meta->lock);
}

static bool is_lane_refusal(struct meta *meta, const Catena__Reply *reply)
{
	const struct meta_pending *pending;
	bool yes;

	if (reply->error == 0)
		return false;
	pthread_mutex_lock(&meta->lock);
	pending = meta_pending_find(&meta->pending, reply->id);
	yes = pending != NULL && pending->lane != 0;
	pthread_mutex_unlock(&meta->lock);
	return yes;
}

/* What of the lane is refused, then what is done, and only then the rest: whoever waits for all that
 * was sent before finds it done. */
static void on_answers(struct meta *meta, const Catena__ClientPush *push)
{
	/* Without an index nothing is known to be durable before the next stream. */
	uint64_t index = push->n_index > 0 ? push->index[push->n_index - 1] : UINT64_MAX;

	for (size_t i = 0; i < push->n_replies; i++)
		if (is_lane_refusal(meta, push->replies[i]))
			on_reply(meta, push->replies[i], index);
	if (push->n_lane_done > 0)
		on_lane_done(meta, push->lane_done[push->n_lane_done - 1], index);
	for (size_t i = 0; i < push->n_replies; i++)
		if (!is_lane_refusal(meta, push->replies[i]))
			on_reply(meta, push->replies[i], index);
	if (push->n_durable == 0)
		return;
	pthread_mutex_lock(&meta->lock);
	meta_pending_durable(&meta->pending, push->durable[push->n_durable - 1]);
	atomic_store_explicit(&meta->full, meta_pending_full(&meta->pending), memory_order_relaxed);
	pthread_mutex_unlock(&meta->lock);
}

static void on_grant(struct meta *meta, const Catena__Lease *grant)
{
	bool news;

	if (grant->ino != 0 || grant->kind != CATENA__LEASE_KIND__LEASE_EXCLUSIVE)
		return;
	pthread_mutex_lock(&meta->lock);
	news = meta->stream_state == META_STREAM_UP &&
	       meta_lease_grant(&meta->lease, grant->sequence, clock_boottime_ns());
	if (news)
		pthread_cond_broadcast(&meta->changed);
	pthread_mutex_unlock(&meta->lock);
	if (news)
		meta->options.callbacks.granted(meta->options.user);
}

static void on_recall(struct meta *meta, const Catena__Lease *recall)
{
	bool news;

	if (recall->ino != 0)
		return;
	pthread_mutex_lock(&meta->lock);
	news = meta->stream_state == META_STREAM_UP &&
	       meta_lease_recall(&meta->lease, recall->sequence);
	pthread_mutex_unlock(&meta->lock);
	if (news)
		meta->options.callbacks.recalled(meta->options.user);
}

/* Takes one message apart. Joined messages have lost their order across kinds. Recalls come last,
 * so that whatever was answered before one is known first. */
static void on_message(void *user, const uint8_t *data, size_t size)
{
	struct meta *meta = user;
	Catena__ClientPush *push;

	meta_arena_reset(&meta->arena);
	push = catena__client_push__unpack(&meta->arena.allocator, size, data);
	pthread_mutex_lock(&meta->lock);
	if (push == NULL)
		meta_session_break(meta, "the master sent what cannot be decoded");
	meta->heard_ns = clock_boottime_ns();
	for (size_t i = 0; push != NULL && i < push->n_renewed; i++)
		meta_lease_renewed(&meta->lease, push->renewed[i]->sequence, meta->heard_ns);
	pthread_mutex_unlock(&meta->lock);
	if (push == NULL)
		return;
	for (size_t i = 0; i < push->n_opened; i++)
		on_opened(meta, push->opened[i], push);
	for (size_t i = 0; i < push->n_maps && push->n_opened == 0; i++)
		(void)on_map(meta, push->maps[i]);
	on_answers(meta, push);
	for (size_t i = 0; i < push->n_grants; i++)
		on_grant(meta, push->grants[i]);
	for (size_t i = 0; i < push->n_recalls; i++)
		on_recall(meta, push->recalls[i]);
}

/* ---- the stream's life ---- */

static void on_closed(void *user, int error)
{
	struct meta *meta = user;
	struct rpc_stream *stream;

	pthread_mutex_lock(&meta->lock);
	stream = meta->stream;
	meta->stream = NULL;
	meta->stream_error = error;
	if (meta->stream_state != META_STREAM_ENDED) {
		if (meta->stream_state == META_STREAM_UP && log_rate_ok(&noise, 2))
			log_warn("the stream to the master is over error=\"%s\"",
				 rpc_strerror(error));
		meta->stream_state = META_STREAM_DOWN;
		meta->retry_at_ns = clock_boottime_ns() + meta->retry_wait_ns;
		meta->retry_wait_ns = meta->retry_wait_ns * 2 + META_RETRY_MIN_NS;
		if (meta->retry_wait_ns > META_RETRY_MAX_NS)
			meta->retry_wait_ns = META_RETRY_MAX_NS;
	}
	pthread_cond_broadcast(&meta->changed);
	pthread_mutex_unlock(&meta->lock);
	rpc_stream_unref(stream);
}

static void send_open(struct meta *meta)
{
	Catena__SessionOpen open = CATENA__SESSION_OPEN__INIT;
	Catena__SessionOpen *opens[1] = {&open};
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;
	uint8_t *data;
	size_t size;

	open.protocol = META_PROTOCOL;
	open.mount = meta->mount_name;
	open.instance = meta->instance;
	if (meta->session_secret != 0) {
		open.session_id = meta->session_id;
		open.session_secret = meta->session_secret;
		open.answered = meta->command_done;
	}
	batch.n_open = 1;
	batch.open = opens;
	size = catena__client_batch__get_packed_size(&batch);
	data = malloc(size);
	if (data == NULL) {
		meta_session_break(meta, "out of memory");
		return;
	}
	catena__client_batch__pack(&batch, data);
	meta->opened_ns = clock_boottime_ns();
	rpc_stream_send(meta->stream, data, size); /* on failure closed() comes */
	free(data);
}

void meta_session_connect(struct meta *meta, uint64_t timeout_ns)
{
	static const struct rpc_stream_events events = {.message = on_message, .closed = on_closed};
	int rc;

	lock_held(&meta->lock);
	expects(meta->stream == NULL);
	meta->stream_state = META_STREAM_OPENING;
	/* closed() may come before this returns, and waits for the lock: stream is set by then. */
	rc = rpc_stream_open(meta->client, META_PATH, &events, meta, timeout_ns, &meta->stream);
	if (rc == 0) {
		send_open(meta);
		return;
	}
	meta->stream_state = META_STREAM_DOWN;
	meta->stream_error = rc;
	meta->retry_at_ns = clock_boottime_ns() + META_RETRY_MAX_NS;
}
