/* meta_hold.c - pauses in the order of what is sent: see meta.h. */
#define LOG_MODULE "meta"
#include <errno.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "common/base/expects.h"
#include "fs/session/meta_internal.h"

static struct log_rate noise;

/* Sends what waited behind a hold. What cannot be sent any more goes to @ended. Locks: the
 * session's. */
static void send_waiting(struct meta *meta, struct meta_pending_list *waiting,
			 struct meta_pending_list *ended)
{
	struct meta_pending *pending, *next;

	lock_held(&meta->lock);
	for (pending = waiting->head; pending != NULL; pending = next) {
		next = pending->next;
		if (meta->stream_state == META_STREAM_ENDED || meta_session_add(meta, pending) != 0)
			meta_pending_list_add(ended, pending);
		else
			meta_session_send_pending(meta, pending, meta_session_queue);
	}
	meta_pending_list_init(waiting);
	meta_session_send_later(meta);
}

/* Takes out the first hold, and sends what waited behind it. Locks: the session's. */
static void pass_first(struct meta *meta, struct meta_pending_list *ended)
{
	struct meta_hold *hold = meta->holds;

	lock_held(&meta->lock);
	expects(hold != NULL);
	send_waiting(meta, &hold->waiting, ended);
	meta->holds = hold->next;
	if (meta->holds == NULL)
		meta->last_hold = NULL;
}

/* Passes the holds that are released. One thread at a time does this, and finds whatever is
 * released meanwhile. Locks: the session's, free while functions of holds run. */
static void pass_released(struct meta *meta, struct meta_pending_list *ended)
{
	struct meta_hold *hold;

	lock_held(&meta->lock);
	if (meta->passing)
		return;
	meta->passing = true;
	while ((hold = meta->holds) != NULL && hold->released) {
		pthread_mutex_unlock(&meta->lock);
		hold->go(hold->user);
		pthread_mutex_lock(&meta->lock);
		pass_first(meta, ended);
		free(hold);
	}
	meta->passing = false;
}

struct meta_hold *meta_hold(struct meta *meta, void (*go)(void *user), void *user)
{
	struct meta_hold *hold = calloc(1, sizeof(*hold));

	if (hold == NULL)
		return NULL;
	hold->go = go;
	hold->user = user;
	hold->begun_ns = clock_monotonic_ns();
	meta_pending_list_init(&hold->waiting);
	pthread_mutex_lock(&meta->lock);
	if (meta->last_hold != NULL)
		meta->last_hold->next = hold;
	else
		meta->holds = hold;
	meta->last_hold = hold;
	pthread_mutex_unlock(&meta->lock);
	return hold;
}

void meta_hold_release(struct meta *meta, struct meta_hold *hold)
{
	struct meta_pending_list ended;
	bool overdue;

	meta_pending_list_init(&ended);
	pthread_mutex_lock(&meta->lock);
	expects(!hold->released);
	overdue = hold->overdue;
	hold->released = true;
	if (!overdue)
		pass_released(meta, &ended);
	pthread_mutex_unlock(&meta->lock);
	if (overdue) {
		hold->go(hold->user);
		free(hold);
	}
	meta_pending_list_end(&ended, -EIO);
}

void meta_hold_expire_all(struct meta *meta, uint64_t now_ns, struct meta_pending_list *ended)
{
	struct meta_hold *hold;

	lock_held(&meta->lock);
	while (!meta->passing && (hold = meta->holds) != NULL && !hold->released &&
	       now_ns >= hold->begun_ns + META_HOLD_MAX_NS) {
		if (log_rate_ok(&noise, 2))
			log_warn("data is not written back for too long: names that wait for it go "
				 "before it");
		hold->overdue = true; /* and belongs to who releases it */
		pass_first(meta, ended);
		pass_released(meta, ended);
	}
}

bool meta_hold_wait(struct meta *meta, struct meta_pending *pending)
{
	lock_held(&meta->lock);
	if (meta->last_hold == NULL)
		return false;
	meta_pending_list_add(&meta->last_hold->waiting, pending);
	return true;
}
