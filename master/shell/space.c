/* space.c - compacting the store on a nearly full disk; see space.h. */
#define LOG_MODULE "space"
#include "master/shell/space.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/periodic_thread.h"
#include "master/shared/master.h"

#define LOOK_NS    NS_PER_SEC
#define AGAIN_NS   (10 * NS_PER_SEC)
#define INODE_COST 1024u /* bytes in the store that an inode has at most, mostly much less */
#define OTHER_COST 256u  /* an entry of the removal queue */

struct space {
	struct master *master;
	struct periodic_thread *thread;
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

	for (unsigned i = 0; i < records_family_count && rc == 0; i++)
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

static uint64_t look_again(void *user)
{
	struct space *space = user;
	bool done = look(space->master);

	return clock_monotonic_ns() + (done ? AGAIN_NS : LOOK_NS);
}

int space_start(struct master *master, struct space **out)
{
	struct space *space = calloc(1, sizeof(*space));
	int rc;

	if (space == NULL)
		return -ENOMEM;
	space->master = master;
	rc = periodic_thread_start(look_again, space, clock_monotonic_ns() + LOOK_NS,
				   &space->thread);
	if (rc != 0) {
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
	periodic_thread_stop(space->thread);
	free(space);
}
