/* entry.c - entries of directories; see entry.h. */
#include "master/namespace/entry.h"
#include <errno.h>
#include <string.h>
#include "common/base/expects.h"
#include "master/records/core.h"

int entry_directory(struct txn *txn, uint64_t ino, struct inode_record **out)
{
	int rc = txn_inode(txn, ino, out);

	if (rc == -ESTALE)
		return -ENOENT;
	if (rc != 0)
		return rc;
	if (!inode_is(*out, S_IFDIR))
		return -ENOTDIR;
	/* A removed directory takes no entries, though it may still be open. */
	return (*out)->nlink == 0 ? -ENOENT : 0;
}

void entry_directory_changed(struct txn *txn, struct inode_record *directory, int64_t entries_delta)
{
	txn_touch(txn, directory);
	directory->entries += (uint64_t)entries_delta;
	directory->mtime = directory->ctime = txn->time;
}

void entry_fill(struct dentry *dentry, const ProtobufCBinaryData *name, uint64_t ino, uint8_t type)
{
	expects(name->len > 0 && name->len <= NAME_BYTES_MAX);
	dentry->ino = ino;
	dentry->type = type;
	dentry->name_size = (uint8_t)name->len;
	memcpy(dentry->name, name->data, name->len);
}

static void put_orphan(struct txn *txn, uint64_t ino)
{
	uint8_t key[META_KEY_MAX];

	kv_batch_put(txn->batch, FAMILY_META, key, key_meta(key, META_ORPHAN, ino), "", 0);
	txn->counters.orphans++;
}

void entry_orphan_gone(struct txn *txn, uint64_t ino)
{
	uint8_t key[META_KEY_MAX];

	kv_batch_delete(txn->batch, FAMILY_META, key, key_meta(key, META_ORPHAN, ino));
	txn->counters.orphans--;
}

void entry_last_gone(struct txn *txn, struct inode_record *inode)
{
	expects(inode->nlink == 0);
	if (session_open_total(txn->state, inode->ino) > 0)
		put_orphan(txn, inode->ino);
	else
		txn_inode_free(txn, inode);
}
