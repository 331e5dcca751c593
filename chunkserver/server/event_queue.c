#include "chunkserver/server/event_queue.h"
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/lock.h"

int event_queue_open(struct event_queue *queue, uv_loop_t *loop, uv_async_cb wake, void *user)
{
	memset(queue, 0, sizeof(*queue));
	queue->last_report = &queue->events.reports;
	pthread_mutex_init(&queue->lock, NULL);
	queue->async.data = user;
	return uv_async_init(loop, &queue->async, wake);
}

static void wake(struct event_queue *queue)
{
	lock_held(&queue->lock);
	if (!queue->closed)
		uv_async_send(&queue->async);
}

void event_queue_post_report(void *user, const struct report *report)
{
	struct event_queue *queue = user;
	struct event_report *event = calloc(1, sizeof(*event));

	if (event == NULL)
		abort(); /* the chain does not say it again; a crash is survived */
	event->report = *report;
	pthread_mutex_lock(&queue->lock);
	*queue->last_report = event;
	queue->last_report = &event->next;
	wake(queue);
	pthread_mutex_unlock(&queue->lock);
}

void event_queue_post_changed(void *user)
{
	struct event_queue *queue = user;

	pthread_mutex_lock(&queue->lock);
	queue->events.changed = true;
	wake(queue);
	pthread_mutex_unlock(&queue->lock);
}

void event_queue_post_placed(void *user)
{
	struct event_queue *queue = user;

	pthread_mutex_lock(&queue->lock);
	queue->events.placed = true;
	wake(queue);
	pthread_mutex_unlock(&queue->lock);
}

void event_queue_post_removal(struct event_queue *queue, struct event_removal *removal)
{
	expects(removal->error <= 0);
	pthread_mutex_lock(&queue->lock);
	removal->next = queue->events.removals;
	queue->events.removals = removal;
	wake(queue);
	pthread_mutex_unlock(&queue->lock);
}

void event_queue_take(struct event_queue *queue, struct events *events)
{
	pthread_mutex_lock(&queue->lock);
	*events = queue->events;
	queue->events = (struct events){0};
	queue->last_report = &queue->events.reports;
	pthread_mutex_unlock(&queue->lock);
}

void event_queue_close(struct event_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	pthread_mutex_unlock(&queue->lock);
	uv_close((uv_handle_t *)&queue->async, NULL);
}

void event_queue_destroy(struct event_queue *queue)
{
	expects(queue->closed);
	expects(queue->events.reports == NULL && queue->events.removals == NULL);
	pthread_mutex_destroy(&queue->lock);
}
