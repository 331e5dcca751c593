/* jobs.c - a loop's work in the thread pool and with the log-flush thread. */
#include "chunkserver/disk/jobs.h"
#include "common/base/expects.h"
#include "common/base/list.h"

void jobs_ref(struct jobs *jobs)
{
	jobs->refs++;
}

void jobs_unref(struct jobs *jobs)
{
	expects(jobs->refs > 0);
	if (--jobs->refs == 0)
		jobs->unused(jobs);
}

void jobs_hold(struct jobs *jobs)
{
	if (jobs->holds++ == 0)
		uv_ref((uv_handle_t *)&jobs->async);
}

void jobs_let_go(struct jobs *jobs)
{
	expects(jobs->holds > 0);
	if (--jobs->holds == 0)
		uv_unref((uv_handle_t *)&jobs->async);
}

/* ---- jobs ---- */

static void job_run(uv_work_t *work)
{
	struct job *job = container_of(work, struct job, work);
	struct jobs *jobs = job->jobs;

	job->run(job);
	pthread_mutex_lock(&jobs->mutex);
	expects(jobs->running > 0);
	if (--jobs->running == 0)
		pthread_cond_broadcast(&jobs->idle);
	pthread_mutex_unlock(&jobs->mutex);
}

static void job_after(uv_work_t *work, int status)
{
	struct job *job = container_of(work, struct job, work);
	struct jobs *jobs = job->jobs;

	(void)status; /* never cancelled */
	job->after(job);
	jobs_unref(jobs);
}

void jobs_start(struct jobs *jobs, struct job *job, void (*run)(struct job *),
		void (*after)(struct job *))
{
	expects(jobs->refs > 0);
	job->jobs = jobs;
	job->run = run;
	job->after = after;
	pthread_mutex_lock(&jobs->mutex);
	jobs->running++;
	pthread_mutex_unlock(&jobs->mutex);
	jobs_ref(jobs);
	uv_queue_work(jobs->loop, &job->work, job_run, job_after);
}

/* ---- waits for the log's flush ---- */

void jobs_wait_begin(struct jobs *jobs, struct flush_wait *wait)
{
	wait->jobs = jobs;
	wait->next = NULL;
	jobs_hold(jobs);
	pthread_mutex_lock(&jobs->mutex);
	jobs->in_thread++;
	pthread_mutex_unlock(&jobs->mutex);
}

void jobs_wait_deliver(struct flush_wait *wait, int error)
{
	struct jobs *jobs = wait->jobs;

	wait->error = error;
	wait->next = NULL;
	pthread_mutex_lock(&jobs->mutex);
	*jobs->finished_tail = wait;
	jobs->finished_tail = &wait->next;
	/* Inside the lock: when in_thread is 0 the handle may be closed. */
	if (jobs->finished == wait)
		uv_async_send(&jobs->async);
	expects(jobs->in_thread > 0);
	if (--jobs->in_thread == 0)
		pthread_cond_broadcast(&jobs->idle);
	pthread_mutex_unlock(&jobs->mutex);
}

/* ---- opening and closing ---- */

static void on_async(uv_async_t *async)
{
	struct jobs *jobs = async->data;
	struct flush_wait *wait, *next;

	pthread_mutex_lock(&jobs->mutex);
	wait = jobs->finished;
	jobs->finished = NULL;
	jobs->finished_tail = &jobs->finished;
	pthread_mutex_unlock(&jobs->mutex);
	for (; wait != NULL; wait = next) {
		next = wait->next;
		jobs_let_go(jobs);
		wait->done(wait);
	}
}

int jobs_init(struct jobs *jobs, uv_loop_t *loop, void (*unused)(struct jobs *jobs))
{
	int rc = uv_async_init(loop, &jobs->async, on_async);

	if (rc != 0)
		return rc;
	jobs->loop = loop;
	jobs->unused = unused;
	jobs->finished_tail = &jobs->finished;
	jobs->refs = 1;
	pthread_mutex_init(&jobs->mutex, NULL);
	pthread_cond_init(&jobs->idle, NULL);
	jobs->async.data = jobs;
	uv_unref((uv_handle_t *)&jobs->async);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	jobs_unref(handle->data);
}

void jobs_close(struct jobs *jobs)
{
	jobs->closing = true;
	pthread_mutex_lock(&jobs->mutex);
	while (jobs->running > 0 || jobs->in_thread > 0)
		pthread_cond_wait(&jobs->idle, &jobs->mutex);
	pthread_mutex_unlock(&jobs->mutex);
	on_async(&jobs->async);
	uv_close((uv_handle_t *)&jobs->async, on_closed);
}

void jobs_destroy(struct jobs *jobs)
{
	expects(jobs->refs == 0);
	expects(jobs->running == 0 && jobs->in_thread == 0);
	pthread_mutex_destroy(&jobs->mutex);
	pthread_cond_destroy(&jobs->idle);
}
