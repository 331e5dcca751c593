/* inode_data.c - see inode_data.h. */
#include "fs/inodes/inode_data.h"
#include <errno.h>

struct data_file *inode_data_find(struct inode *inode)
{
	struct data_file *file = NULL;

	pthread_mutex_lock(&inode->lock);
	if (inode->data.file != NULL)
		file = data_file_ref(inode->data.file);
	pthread_mutex_unlock(&inode->lock);
	return file;
}

struct data_file *inode_data_get(struct fs *fs, struct inode *inode, int *error)
{
	struct data_file *file = NULL;
	int rc = 0;

	pthread_mutex_lock(&inode->lock);
	if (inode->data.file == NULL) {
		if (!inode->known || !attr_is_regular(&inode->attr))
			rc = -EIO;
		else
			rc = data_file_get(fs->data, inode->attr.pool, inode->attr.file_id,
					   &inode->data.file);
		if (rc == 0)
			data_file_set_ino(inode->data.file, inode->ino);
		if (rc == 0)
			inode->data.file_id = inode->attr.file_id;
		else
			inode->data.file = NULL;
	}
	if (rc == 0)
		file = data_file_ref(inode->data.file);
	pthread_mutex_unlock(&inode->lock);
	*error = rc;
	return file;
}

void inode_data_discard(struct fs *fs, uint32_t pool, uint64_t file_id)
{
	struct data_file *file;

	if (data_file_get(fs->data, pool, file_id, &file) != 0)
		return;
	data_file_discard(file);
	data_file_put(file);
}
