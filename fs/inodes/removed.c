/* removed.c - see removed.h. */
#include "fs/inodes/removed.h"
#include <errno.h>
#include "common/os/clock.h"

#define HOLDING_NS (100 * NS_PER_MSEC)

bool removed_learn(struct inode *inode, int error, const Catena__Reply *reply)
{
	bool lives;

	/* With attributes it is another refusal: of an inode that is there. */
	if (error != -ESTALE || reply == NULL || reply->attr != NULL)
		return false;
	pthread_mutex_lock(&inode->lock);
	lives = inode->known;
	if (lives) {
		inode->removed = true;
		inode->attr.nlink = 0;
	}
	pthread_mutex_unlock(&inode->lock);
	return lives;
}

/* ---- names that are replaced while they are used ---- */

void removed_missed(struct fs *fs)
{
	atomic_store(&fs->holding_until_ns, clock_monotonic_ns() + HOLDING_NS);
}

bool removed_holding(struct fs *fs)
{
	uint64_t until = atomic_load_explicit(&fs->holding_until_ns, memory_order_relaxed);

	return until != 0 && clock_monotonic_ns() < until;
}
