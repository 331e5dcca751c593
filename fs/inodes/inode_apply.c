/* inode_apply.c - see inode_apply.h. */
#define LOG_MODULE "fs"
#include "fs/inodes/inode_apply.h"
#include <errno.h>
#include "common/base/expects.h"
#include "common/os/log.h"
#include "fs/inodes/inode_data.h"

static struct log_rate noise;

int inode_apply(struct fs *fs, struct inode *inode, const Catena__Attr *message,
		uint64_t generation)
{
	struct data_file *file = NULL, *changed = NULL;
	uint64_t file_id = 0, old_id = 0;
	struct attr attr;
	struct meta_view view;
	bool elsewhere;

	if (message == NULL)
		return 0;
	if (inode_attr_decode(message, &attr) != 0 || attr.ino != inode->ino) {
		if (log_rate_ok(&noise, 2))
			log_error("the master sent a senseless inode ino=%llu expected=%llu",
				  (unsigned long long)message->ino, (unsigned long long)inode->ino);
		return -EIO;
	}
	view = fs_view(fs);
	pthread_mutex_lock(&inode->lock);
	if (inode->known && inode->data.file == NULL && !inode->data.durable)
		old_id = inode->attr.file_id;
	/* Only what was exact has changed by nobody else's doing. */
	elsewhere = !inode->known || (attr.version > inode->attr.version &&
				      !inode_exact(inode, view.sole, view.generation));
	if (elsewhere)
		inode->changes.others = atomic_fetch_add(&fs->changes, 1) + 1;
	if (elsewhere && inode->known) {
		if (attr.size != inode_size(inode))
			inode->size_from_elsewhere = true;
		if (inode->data.file != NULL)
			changed = data_file_ref(inode->data.file);
	}
	inode_attr_apply(inode, &attr, generation);
	if (old_id == inode->attr.file_id)
		old_id = 0;
	if (inode->data.file != NULL && inode->data.file_id != inode->attr.file_id) {
		/* Truncated to 0: what was written before, here, is gone with the old file. What
		 * was written after, without knowing, went there too: its program must hear. */
		file = data_file_ref(inode->data.file);
		file_id = inode->data.file_id = inode->attr.file_id;
		if (inode->local.dirty & INODE_DIRTY_SIZE)
			inode_writeback_failed(inode, -EIO);
		inode_update_forget(inode, false);
	}
	pthread_mutex_unlock(&inode->lock);
	/* What was read ahead is of an earlier version, and zeros behind its end. */
	if (changed != NULL)
		data_invalidate(changed);
	inode_data_put(changed);
	if (file != NULL) {
		data_file_replace(file, file_id);
		inode_data_put(file);
	}
	if (old_id != 0)
		inode_data_discard(fs, attr.pool, old_id);
	return 0;
}

struct inode *inode_apply_get(struct fs *fs, const Catena__Attr *message, uint64_t generation)
{
	struct inode *inode;

	if (message == NULL || message->ino == 0)
		return NULL;
	inode = inode_table_get(fs->inodes, message->ino);
	if (inode != NULL && inode_apply(fs, inode, message, generation) != 0) {
		inode_put(fs->inodes, inode);
		return NULL;
	}
	return inode;
}

void inode_change_begin(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->commands.under_way++;
	pthread_mutex_unlock(&inode->lock);
}

void inode_change_end(struct fs *fs, struct inode *inode, bool answered)
{
	uint64_t change = atomic_fetch_add(&fs->changes, 1) + 1;

	pthread_mutex_lock(&inode->lock);
	expects(inode->commands.under_way > inode->commands.answered_early);
	inode->commands.under_way--;
	inode->changes.own = change;
	if (!answered)
		inode_distrust(inode);
	pthread_mutex_unlock(&inode->lock);
}

void inode_changes_flushed(struct fs *fs, uint64_t changes)
{
	uint64_t known = atomic_load(&fs->changes_flushed);

	while (known < changes &&
	       !atomic_compare_exchange_weak(&fs->changes_flushed, &known, changes))
		;
}

void inode_change_flushed(struct fs *fs, struct inode *inode, uint64_t changes)
{
	inode_changes_flushed(fs, changes);
	pthread_mutex_lock(&inode->lock);
	expects(inode->commands.under_way > inode->commands.answered_early);
	inode->commands.under_way--;
	pthread_mutex_unlock(&inode->lock);
}
