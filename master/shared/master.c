/* master.c - the state lock, and whether the master may serve; see master.h. */
#include "master/shared/master.h"
#include "common/os/lock.h"

void master_lock(struct master *master)
{
	pthread_mutex_lock(&master->lock);
}

void master_unlock(struct master *master)
{
	if (master->log != NULL)
		command_log_turn(master->log);
	pthread_mutex_unlock(&master->lock);
}

void master_unlock_within_turn(struct master *master)
{
	pthread_mutex_unlock(&master->lock);
}

bool master_may_serve(const struct master *master)
{
	lock_held(&master->lock);
	return master->heard && master->behind[0] == '\0';
}
