/* jobs.h - a loop's work in the thread pool and with the log-flush thread: started and ended on the
 * loop's thread. */
#ifndef CATENA_CHUNKSERVER_DISK_JOBS_H
#define CATENA_CHUNKSERVER_DISK_JOBS_H
#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

struct jobs;

/* Work for a pool thread, embedded in what it is about. */
struct job {
	uv_work_t work;
	struct jobs *jobs;
	void (*run)(struct job *job);   /* on a pool thread */
	void (*after)(struct job *job); /* on the loop; see jobs->closing */
};

/* One wait for a flush of the log. */
struct flush_wait {
	struct flush_wait *next;
	struct jobs *jobs;
	int error;
	void (*done)(struct flush_wait *wait); /* on the loop */
};

/* Embedded in what owns it, on the loop's thread unless noted. */
struct jobs {
	uv_loop_t *loop;
	unsigned refs;                     /* handles, jobs */
	void (*unused)(struct jobs *jobs); /* no reference is left: free it */
	bool closing;
	uv_async_t async;
	unsigned holds; /* that keep the loop alive */

	pthread_mutex_t mutex; /* all below */
	pthread_cond_t idle;
	struct flush_wait *finished, **finished_tail;
	unsigned running;   /* in the pool */
	unsigned in_thread; /* waits with the log-flush thread */
};

/* Errors: -errno of libuv; then nothing is to be freed. One reference is the async handle's. */
int jobs_init(struct jobs *jobs, uv_loop_t *loop, void (*unused)(struct jobs *jobs));
/* Waits until no job runs and nothing waits for a flush, and calls back what has ended. All later
 * callbacks find jobs->closing. */
void jobs_close(struct jobs *jobs);
/* Frees what jobs_init() has made; called by @unused. */
void jobs_destroy(struct jobs *jobs);
void jobs_ref(struct jobs *jobs);
void jobs_unref(struct jobs *jobs);
/* Keep the loop alive while anything is held. */
void jobs_hold(struct jobs *jobs);
void jobs_let_go(struct jobs *jobs);
/* Runs @run in the pool, then @after on the loop. */
void jobs_start(struct jobs *jobs, struct job *job, void (*run)(struct job *),
		void (*after)(struct job *));
/* A wait begins; ended by jobs_wait_deliver(). */
void jobs_wait_begin(struct jobs *jobs, struct flush_wait *wait);
/* Has wait->done called on the loop. Thread: any. */
void jobs_wait_deliver(struct flush_wait *wait, int error);
#endif
