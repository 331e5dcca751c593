/* space.c - compacting the store on a nearly full disk; see space.h. */
#define LOG_MODULE "space"
#include "master/shell/space.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "master/shared/master.h"

#define LOOK_NS    NS_PER_SEC
#define AGAIN_NS   (10 * NS_PER_SEC)
#define INODE_COST 1024u /* bytes in the store that an inode has at most, mostly much less */
#define OTHER_COST 256u  /* an entry of the removal queue */

struct space {
	struct master *master;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

static uint64_t living_bytes(struct master *master)
{
	struct state_counts counts;

	master_lock(master);
	state_counts(master->state, &counts);
	master_unlock(master);
	return counts.inodes * INODE_COST + counts.removals * OTHER_COST;
}

static void compact(struct master *master, uint64_t free_bytes)
{
	struct statvfs vfs;
	int rc = 0;

	for (unsigned i = 0; i < state_family_count && rc == 0; i++)
		rc = kv_compact(master->kv, i);
	if (rc != 0 || statvfs(master->config.data, &vfs) != 0)
		return;
	log_info("store compacted free_before=%llu free=%llu", (unsigned long long)free_bytes,
		 (unsigned long long)vfs.f_bavail * vfs.f_frsize);
}

/* True: it was done, or tried. */
static bool look(struct master *master)
{
	uint64_t free_bytes;
	struct statvfs vfs;

	if (command_log_error(master->log) != 0 || !kv_space_low(master->kv) ||
	    statvfs(master->config.data, &vfs) != 0)
		return false;
	free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (living_bytes(master) > free_bytes / 2)
		return false;
	compact(master, free_bytes);
	return true;
}

static void *space_main(void *arg)
{
	struct space *space = arg;
	uint64_t until = clock_monotonic_ns() + LOOK_NS;

	pthread_mutex_lock(&space->lock);
	while (!space->stop) {
		bool done;

		if (cond_wait_until(&space->wake, &space->lock, until))
			continue;
		pthread_mutex_unlock(&space->lock);
		done = look(space->master);
		pthread_mutex_lock(&space->lock);
		until = clock_monotonic_ns() + (done ? AGAIN_NS : LOOK_NS);
	}
	pthread_mutex_unlock(&space->lock);
	return NULL;
}

int space_start(struct master *master, struct space **out)
{
	struct space *space = calloc(1, sizeof(*space));
	int rc;

	if (space == NULL)
		return -ENOMEM;
	space->master = master;
	pthread_mutex_init(&space->lock, NULL);
	pthread_cond_init(&space->wake, NULL);
	rc = -pthread_create(&space->thread, NULL, space_main, space);
	if (rc != 0) {
		pthread_cond_destroy(&space->wake);
		pthread_mutex_destroy(&space->lock);
		free(space);
		return rc;
	}
	*out = space;
	return 0;
}

void space_stop(struct space *space)
{
	if (space == NULL)
		return;
	pthread_mutex_lock(&space->lock);
	space->stop = true;
	pthread_cond_signal(&space->wake);
	pthread_mutex_unlock(&space->lock);
	pthread_join(space->thread, NULL);
	pthread_cond_destroy(&space->wake);
	pthread_mutex_destroy(&space->lock);
	free(space);
}
