/* store_sync_all.c - making everything on a target durable at once.
 *
 * One syncfs() for all files and one sync of the db's log serve everyone who waited when they
 * began. Whichever of the two ends first, a power cut before the end leaves what marks are for, as
 * in store_sync.c. */
#include "chunkserver/store_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_MODULE "store"

struct sync_all {
	struct log_wait wait;
	void (*done)(void *user, int error);
	void *user;
};

static int sync_everything(struct store *store)
{
	uint64_t seq = atomic_load(&store->written_seq);
	int rc = store_check(store);

	if (rc != 0)
		return rc;
	/* Says also what writing back in the background has failed at since the target was opened,
	 * though it may have been a file of somebody else's on the same filesystem. */
	if (syncfs(store->root_fd) != 0) {
		store_poison(store, "syncfs", -errno);
		return -EIO;
	}
	return log_sync_now(store, seq);
}

static struct log_wait *take_all(struct store *store)
{
	struct log_wait *list;

	pthread_mutex_lock(&store->sync_mutex);
	list = store->sync_all_head;
	store->sync_all_head = NULL;
	store->sync_all_runs = list != NULL;
	pthread_mutex_unlock(&store->sync_mutex);
	return list;
}

/* Goes on as long as somebody came meanwhile: whoever did was too late for the sync under way. */
static void sync_all_run(struct job *job)
{
	struct store *store = job->view->store;
	struct log_wait *list, *next;

	while ((list = take_all(store)) != NULL) {
		int rc = sync_everything(store);

		for (; list != NULL; list = next) {
			next = list->next;
			log_wait_deliver(list, rc);
		}
	}
}

static void sync_all_after(struct job *job)
{
	free(job);
}

static void on_delivered(struct log_wait *wait)
{
	struct sync_all *all = container_of(wait, struct sync_all, wait);
	void (*done)(void *, int) = all->done;
	void *user = all->user;
	int rc = wait->error;

	free(all);
	done(user, rc);
}

/* What was fresh so far becomes something that may not get lost: see marks_guard(). */
static int guard_all(struct store_view *view)
{
	for (struct list *at = view->dirty.next; at != &view->dirty; at = at->next) {
		struct dirty *dirty = container_of(at, struct dirty, link);
		int rc = marks_guard(dirty->chunk);

		if (rc != 0)
			return rc;
		for (uint32_t i = 0; i < PIECES_MAX; i++)
			if (dirty->marks[i] != NULL)
				memset(&dirty->marks[i]->fresh, 0, sizeof(struct bits));
	}
	return 0;
}

void store_sync_all(struct store_view *view, void (*done)(void *user, int error), void *user)
{
	struct store *store = view->store;
	struct sync_all *all = NULL;
	struct job *job = NULL;
	bool runs;
	int rc = store_check(store);

	if (rc == 0)
		rc = guard_all(view);
	if (rc == 0) {
		all = calloc(1, sizeof(*all));
		job = calloc(1, sizeof(*job));
		if (all == NULL || job == NULL)
			rc = -ENOMEM;
	}
	if (rc != 0) {
		free(all);
		free(job);
		done(user, rc);
		return;
	}
	all->done = done;
	all->user = user;
	all->wait.done = on_delivered;
	log_wait_begin(view, &all->wait);
	pthread_mutex_lock(&store->sync_mutex);
	all->wait.next = store->sync_all_head;
	store->sync_all_head = &all->wait;
	runs = store->sync_all_runs;
	store->sync_all_runs = true;
	pthread_mutex_unlock(&store->sync_mutex);
	if (runs)
		free(job);
	else
		job_start(view, job, sync_all_run, sync_all_after);
}
