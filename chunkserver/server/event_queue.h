/* event_queue.h - what worker threads tell the front loop.
 *
 * A worker posts from its own thread; the front loop is woken and takes all that has come. Nothing
 * that was posted gets lost. Chains do not repeat their reports: so without memory the process
 * ends, which the cluster survives.
 *
 * Thread: posting from any, the rest on the front loop's. Locks: the queue's own, inside. */
#ifndef CATENA_CHUNKSERVER_SERVER_EVENT_QUEUE_H
#define CATENA_CHUNKSERVER_SERVER_EVENT_QUEUE_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "chunkserver/worker/chain_reports.h"
#include "chunkserver/worker/worker.h"

/* A removal that the master has ordered and that has ended. */
struct event_removal {
	struct event_removal *next;
	unsigned target;   /* its place among the targets of this server */
	uint64_t sequence; /* the order's */
	int error;         /* 0 or -errno */
	size_t again_count;
	struct chunk_order again[]; /* gone, but may come back */
};

/* A report of a chain to the master. */
struct event_report {
	struct event_report *next;
	struct report report;
};

/* Events since they were last taken. The lists belong to the caller: free() each entry. */
struct events {
	struct event_removal *removals; /* in no order */
	struct event_report *reports;   /* in the order in which they came */
	bool changed;                   /* the master should have a heartbeat now */
	bool placed;                    /* a worker goes by a new map, or has fenced by one */
};

struct event_queue {
	uv_async_t async;
	pthread_mutex_t lock; /* guards what follows */
	struct events events;
	struct event_report **last_report;
	bool closed; /* nothing wakes the loop any more */
};

/* Calls @wake on the loop's thread, with @user in its data, after something was posted. Errors: of
 * uv_async_init(). */
int event_queue_open(struct event_queue *queue, uv_loop_t *loop, uv_async_cb wake, void *user);
/* These three are callbacks of struct worker_events, whose user is the queue. */
void event_queue_post_report(void *queue, const struct report *report);
void event_queue_post_changed(void *queue);
void event_queue_post_placed(void *queue);
/* Takes @removal over. */
void event_queue_post_removal(struct event_queue *queue, struct event_removal *removal);
void event_queue_take(struct event_queue *queue, struct events *events);
/* Ends waking; what is posted from now on is for one last event_queue_take(). */
void event_queue_close(struct event_queue *queue);
/* Once the loop has let go of the handle, and everything was taken. */
void event_queue_destroy(struct event_queue *queue);
#endif
