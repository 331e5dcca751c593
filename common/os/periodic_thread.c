#include "common/os/periodic_thread.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include "common/os/cond.h"

struct periodic_thread {
	pthread_t thread;
	periodic_thread_fn *round;
	void *user;
	uint64_t due_ns; /* the thread's own */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool kicked, stop;
};

/* Waits until a round is due. False: the thread is to end. */
static bool wait_until_due(struct periodic_thread *thread)
{
	bool stop;

	pthread_mutex_lock(&thread->lock);
	while (!thread->stop && !thread->kicked &&
	       cond_wait_until(&thread->changed, &thread->lock, thread->due_ns))
		;
	thread->kicked = false;
	stop = thread->stop;
	pthread_mutex_unlock(&thread->lock);
	return !stop;
}

static void *run(void *arg)
{
	struct periodic_thread *thread = arg;

	while (wait_until_due(thread))
		thread->due_ns = thread->round(thread->user);
	return NULL;
}

int periodic_thread_start(periodic_thread_fn *round, void *user, uint64_t first_ns,
			  struct periodic_thread **out)
{
	struct periodic_thread *thread = calloc(1, sizeof(*thread));
	int rc;

	if (thread == NULL)
		return -ENOMEM;
	thread->round = round;
	thread->user = user;
	thread->due_ns = first_ns;
	pthread_mutex_init(&thread->lock, NULL);
	pthread_cond_init(&thread->changed, NULL);
	rc = -pthread_create(&thread->thread, NULL, run, thread);
	if (rc != 0) {
		pthread_cond_destroy(&thread->changed);
		pthread_mutex_destroy(&thread->lock);
		free(thread);
		return rc;
	}
	*out = thread;
	return 0;
}

void periodic_thread_kick(struct periodic_thread *thread)
{
	pthread_mutex_lock(&thread->lock);
	thread->kicked = true;
	pthread_cond_signal(&thread->changed);
	pthread_mutex_unlock(&thread->lock);
}

void periodic_thread_stop(struct periodic_thread *thread)
{
	if (thread == NULL)
		return;
	pthread_mutex_lock(&thread->lock);
	thread->stop = true;
	pthread_cond_signal(&thread->changed);
	pthread_mutex_unlock(&thread->lock);
	pthread_join(thread->thread, NULL);
	pthread_cond_destroy(&thread->changed);
	pthread_mutex_destroy(&thread->lock);
	free(thread);
}
