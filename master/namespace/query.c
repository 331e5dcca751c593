/* query.c - requests that change nothing: lookup, getattr, readlink, statfs. */
#include <errno.h>
#include <string.h>
#include "master/namespace/entry.h"
#include "master/namespace/namespace.h"
#include "master/records/core.h"

/* Finds any inode by its number alone, as ".": a file handle has no name. -ESTALE: it is gone. */
static int lookup_itself(struct txn *txn, uint64_t ino, struct reply_room *room)
{
	struct inode_record *inode;
	int rc = txn_inode(txn, ino, &inode);

	if (rc == 0)
		reply_attr(&room->attr, inode, &room->reply.attr);
	return rc;
}

int namespace_lookup(struct txn *txn, const Catena__LookupReq *req, struct reply_room *room)
{
	const ProtobufCBinaryData *name = &req->name;
	struct inode_record *directory, *inode;
	struct dentry dentry;
	uint64_t ino;
	int rc;

	if (name->len == 1 && name->data[0] == '.')
		return lookup_itself(txn, req->parent, room);
	rc = entry_directory(txn, req->parent, &directory);
	if (rc != 0)
		return rc;
	if (name->len == 2 && memcmp(name->data, "..", 2) == 0) {
		ino = directory->parent;
	} else {
		rc = namespace_rules_name(name->data, name->len);
		if (rc == 0)
			rc = txn_dentry_find(txn, directory, name->data, name->len, NULL, &dentry);
		if (rc != 0)
			return rc;
		ino = dentry.ino;
	}
	rc = txn_inode(txn, ino, &inode);
	if (rc == 0)
		reply_attr(&room->attr, inode, &room->reply.attr);
	return rc == -ESTALE ? -EIO : rc; /* an entry without inode is damage */
}

int namespace_getattr(struct txn *txn, const Catena__GetattrReq *req, struct reply_room *room)
{
	struct inode_record *inode;
	int rc = txn_inode(txn, req->ino, &inode);

	if (rc == 0)
		reply_attr(&room->attr, inode, &room->reply.attr);
	return rc;
}

int namespace_readlink(struct txn *txn, const Catena__ReadlinkReq *req, struct reply_room *room)
{
	uint8_t key[XATTR_KEY_MAX], *value;
	struct inode_record *inode;
	size_t size;
	int rc = txn_inode(txn, req->ino, &inode);

	if (rc != 0)
		return rc;
	if (!inode_is(inode, S_IFLNK))
		return -EINVAL;
	rc = kv_get(txn->state->kv, FAMILY_XATTRS, key, key_xattr(key, inode->ino, "", 1), &value,
		    &size);
	if (rc != 0)
		return txn_failed(txn, rc == -ENOENT ? -EUCLEAN : rc);
	room->owned = value;
	room->reply.data.data = value;
	room->reply.data.len = size;
	return 0;
}

int namespace_statfs(struct txn *txn, struct reply_room *room)
{
	static const Catena__Statfs empty = CATENA__STATFS__INIT;
	const struct cluster *cluster = &txn->state->cluster;

	room->statfs = empty;
	room->statfs.inodes = txn->counters.inodes;
	room->statfs.copies = cluster->pool_count > 0 ? cluster->pools[0].copies : 1;
	room->reply.statfs = &room->statfs;
	return 0;
}
