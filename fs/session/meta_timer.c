/* meta_timer.c - the session's own thread: renewals, reconnecting, timeouts. It never blocks but
 * on the condition, so the renewals of a living process are never late.
 *
 * What is due is told in boot time, which goes on while the machine sleeps; the condition sleeps by
 * the monotonic clock, and while the lease is held never long: the machine may have slept
 * meanwhile. Soft timeouts are the exception: a program that slept with its machine has not waited.
 */
#define LOG_MODULE "meta"
#include <errno.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/session/meta_internal.h"

static void earlier(uint64_t *wake_ns, uint64_t at_ns)
{
	if (at_ns < *wake_ns)
		*wake_ns = at_ns;
}

static void send_renew(struct meta *meta, uint64_t now_ns, uint64_t *unreachable, size_t count)
{
	Catena__Renew renew = CATENA__RENEW__INIT;
	Catena__Renew *renews[1] = {&renew};
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;
	uint64_t answered = meta->pending.first - 1;
	uint8_t data[64 + META_UNREACHABLE_MAX * 10];

	renew.sequence = meta_lease_renew_begin(&meta->lease, now_ns);
	batch.n_renews = 1;
	batch.renews = renews;
	if (answered > meta->answered_told) {
		batch.n_answered = 1;
		batch.answered = &answered;
		meta->answered_told = answered;
	}
	batch.n_unreachable = count;
	batch.unreachable = unreachable;
	meta_session_send(meta, data, catena__client_batch__pack(&batch, data));
}

/* The network may be cut without a word, or the master frozen: then a new stream is tried. */
static bool unheard(const struct meta *meta, uint64_t now_ns)
{
	uint64_t patience_ns = 2 * meta->lease.length_ns;

	if (patience_ns < 5 * NS_PER_SEC)
		patience_ns = 5 * NS_PER_SEC;
	return now_ns > meta->heard_ns + patience_ns;
}

/* Returns the first request whose soft timeout is over. It stays in the ring, because it was sent
 * and will be answered; its program no longer waits. Locks: the session's. */
static struct meta_pending *overdue(struct meta *meta, uint64_t now_ns)
{
	lock_held(&meta->lock);
	for (uint64_t id = meta->pending.first; id < meta->pending.next; id++) {
		struct meta_pending *pending = meta_pending_find(&meta->pending, id);

		if (pending == NULL || pending->deadline_ns == 0)
			continue;
		return pending->deadline_ns <= now_ns ? pending : NULL;
	}
	return NULL;
}

static void end_overdue(struct meta *meta, uint64_t now_ns)
{
	struct meta_pending *pending;

	while ((pending = overdue(meta, now_ns)) != NULL) {
		meta_done_fn *done = pending->done;
		void *user = pending->user;

		pending->deadline_ns = 0;
		pending->done = NULL;
		pthread_mutex_unlock(&meta->lock);
		if (done != NULL)
			done(user, -EIO, NULL);
		pthread_mutex_lock(&meta->lock);
	}
}

/* Renewals wake this thread often enough for these. */
static void end_overdue_holds(struct meta *meta)
{
	struct meta_pending_list ended;

	meta_pending_list_init(&ended);
	meta_hold_expire_all(meta, clock_monotonic_ns(), &ended);
	if (ended.head == NULL)
		return;
	pthread_mutex_unlock(&meta->lock);
	meta_pending_list_end(&ended, -EIO);
	pthread_mutex_lock(&meta->lock);
}

/* The lock is free meanwhile, so the stream may be another after it. */
static void renew(struct meta *meta, uint64_t now_ns)
{
	uint64_t servers[META_UNREACHABLE_MAX];
	size_t count = 0;

	if (meta->options.callbacks.unreachable != NULL) {
		pthread_mutex_unlock(&meta->lock);
		count = meta->options.callbacks.unreachable(meta->options.user, servers,
							    META_UNREACHABLE_MAX);
		pthread_mutex_lock(&meta->lock);
	}
	if (meta->stream_state == META_STREAM_UP)
		send_renew(meta, now_ns, servers, count);
}

static void on_up(struct meta *meta, uint64_t now_ns, uint64_t *wake_ns)
{
	if (unheard(meta, now_ns)) {
		meta_session_break(meta, "nothing was heard for too long");
		return;
	}
	if (now_ns >= meta->lease.renew_due_ns)
		renew(meta, now_ns);
	if (meta->later_count > 0 && now_ns >= meta->later_due_ns)
		meta_session_send_later(meta);
	if (meta->later_count > 0)
		earlier(wake_ns, meta->later_due_ns);
	earlier(wake_ns, meta->lease.renew_due_ns);
}

static void on_down(struct meta *meta, uint64_t now_ns, uint64_t *wake_ns)
{
	if (now_ns >= meta->retry_at_ns)
		meta_session_connect(meta, META_CONNECT_NS);
	if (meta->stream_state == META_STREAM_DOWN)
		earlier(wake_ns, meta->retry_at_ns);
}

/* Does what is due now, and returns when to look again (boot time). Locks: the session's. */
static uint64_t work(struct meta *meta)
{
	uint64_t now_ns = clock_boottime_ns();
	uint64_t wake_ns = now_ns + 10 * NS_PER_SEC;

	lock_held(&meta->lock);
	if (meta_lease_expired(&meta->lease, now_ns)) {
		log_warn("the lease has run out: caching stops");
		pthread_mutex_unlock(&meta->lock);
		meta->options.callbacks.lost(meta->options.user);
		pthread_mutex_lock(&meta->lock);
	}
	if (meta->holds != NULL)
		end_overdue_holds(meta);
	if (meta->stream_state == META_STREAM_UP)
		on_up(meta, now_ns, &wake_ns);
	else if (meta->stream_state == META_STREAM_DOWN)
		on_down(meta, now_ns, &wake_ns);
	if (atomic_load(&meta->lease.sole)) {
		earlier(&wake_ns, atomic_load(&meta->lease.until_ns));
		earlier(&wake_ns, now_ns + META_LEASE_LOOK_NS);
	}
	if (meta->options.soft_timeout_ns != 0) {
		end_overdue(meta, clock_monotonic_ns());
		earlier(&wake_ns, now_ns + META_SOFT_TICK_NS);
	}
	return wake_ns;
}

/* Waits until @wake_ns of boot time, if the machine does not sleep. Locks: the session's. */
static void wait_until(struct meta *meta, uint64_t wake_ns)
{
	uint64_t now_ns = clock_boottime_ns(), at_ns = clock_monotonic_ns();

	lock_held(&meta->lock);
	if (wake_ns > now_ns)
		at_ns += wake_ns - now_ns;
	cond_wait_until(&meta->changed, &meta->lock, at_ns);
}

void *meta_timer_run(void *user)
{
	struct meta *meta = user;

	pthread_mutex_lock(&meta->lock);
	while (meta->stream_state != META_STREAM_ENDED) {
		uint64_t wake_ns = work(meta);

		if (meta->stream_state != META_STREAM_ENDED)
			wait_until(meta, wake_ns);
	}
	pthread_mutex_unlock(&meta->lock);
	return NULL;
}
