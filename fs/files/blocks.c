/* blocks.c - see blocks.h. */
#include "fs/files/blocks.h"
#include <errno.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "fs/inodes/fs.h"
#include "fs/inodes/inode_data.h"
#include "fs/kernel/reply.h"
#include "fs/kernel/task.h"

/* A program that looks at a directory is not to wait for chains that are stuck. */
#define PATIENCE_NS NS_PER_SEC

struct counting {
	struct task *task;
	struct inode *inode; /* the task's */
	struct data_file *file;
	bool cacheable;
	uint64_t write_seq, version;
	uint64_t dirty; /* bytes on their way when the chains were asked: they may not have had them
			 */
};

static void counted(void *user, int error, const struct data_listed *chunks, size_t count)
{
	struct counting *counting = user;
	struct inode *inode = counting->inode;
	uint64_t bytes = 0, dirty = data_memory(counting->file);

	if (dirty < counting->dirty)
		dirty = counting->dirty;
	for (size_t i = 0; i < count; i++)
		bytes += (uint64_t)chunks[i].blocks * BLOCK_SIZE;
	pthread_mutex_lock(&inode->lock);
	if (error == 0)
		inode_set_blocks(inode, bytes + dirty, dirty == 0, counting->write_seq,
				 counting->version);
	pthread_mutex_unlock(&inode->lock);
	reply_with_attr(counting->task, inode, counting->cacheable);
	inode_data_put(counting->file);
	free(counting);
}

void blocks_answer_attr(struct task *task, struct inode *inode, bool cacheable)
{
	struct counting *counting;
	uint64_t size, chunks;
	bool unknown;
	int error;

	pthread_mutex_lock(&inode->lock);
	unknown = inode_blocks_unknown(inode);
	size = inode_size(inode);
	pthread_mutex_unlock(&inode->lock);
	counting = unknown && size > 0 ? calloc(1, sizeof(*counting)) : NULL;
	if (counting != NULL)
		counting->file = inode_data_get(task->fs, inode, &error);
	if (counting == NULL || counting->file == NULL) {
		free(counting);
		reply_with_attr(task, inode, cacheable);
		return;
	}
	counting->task = task;
	counting->inode = inode;
	counting->cacheable = cacheable;
	pthread_mutex_lock(&inode->lock);
	counting->write_seq = inode->local.write_seq;
	counting->version = inode->attr.version;
	pthread_mutex_unlock(&inode->lock);
	counting->dirty = data_memory(counting->file);
	chunks = data_chunks(counting->file, size);
	data_list(counting->file, 0, chunks < UINT32_MAX ? (uint32_t)chunks : UINT32_MAX,
		  PATIENCE_NS, counted, counting);
}
