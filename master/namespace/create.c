/* create.c - new inodes, and the numbers that clients may give to them. */
#include <errno.h>
#include <string.h>
#include "master/namespace/entry.h"
#include "master/namespace/namespace.h"
#include "master/records/core.h"

static int create_check(const Catena__CreateReq *req, uint32_t *mode)
{
	int rc = namespace_rules_new_name(req->name.data, req->name.len);

	if (rc != 0)
		return rc;
	*mode = namespace_rules_new_mode(req->mode);
	if (*mode == 0)
		return -EINVAL;
	return S_ISLNK(*mode) ? namespace_rules_symlink(req->symlink.data, req->symlink.len) : 0;
}

/* Answers for a name that is taken: open(O_CREAT) without O_EXCL takes what is there, if it is a
 * file. */
static int create_existing(struct txn *txn, const Catena__CreateReq *req, uint32_t mode,
			   const struct inode_record *directory, uint64_t ino,
			   struct reply_room *room)
{
	struct inode_record *inode;
	int rc;

	if (req->exclusive || !S_ISREG(mode))
		return -EEXIST;
	rc = txn_inode_named(txn, ino, &inode);
	if (rc != 0)
		return rc;
	if (inode_is(inode, S_IFDIR))
		return -EISDIR;
	/* A link or special file that came since the client looked: let it look again. */
	if (!inode_is(inode, S_IFREG))
		return -ESTALE;
	if (req->open)
		rc = txn_open_more(txn, ino);
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	return rc;
}

static void put_symlink(struct txn *txn, struct inode_record *inode,
			const ProtobufCBinaryData *target)
{
	uint8_t key[XATTR_KEY_MAX];

	kv_batch_put(txn->batch, FAMILY_XATTRS, key, key_xattr(key, inode->ino, "", 1),
		     target->data, target->len);
	inode->flags |= INODE_HAS_RECORDS;
}

static void fill_new(struct txn *txn, const Catena__CreateReq *req,
		     const struct inode_record *directory, uint64_t file_id,
		     struct inode_record *inode)
{
	const struct namespace_rules_request request = {.mode = req->mode,
							.uid = req->uid,
							.gid = req->gid,
							.rdev = req->rdev,
							.symlink_bytes = req->symlink.len};
	const struct namespace_rules_place place = {.parent = directory->ino,
						    .parent_mode = directory->mode,
						    .parent_gid = directory->gid,
						    .parent_pool = directory->pool,
						    .file_id = file_id};
	struct namespace_rules_inode new;

	namespace_rules_new_inode(&request, &place, &new);
	inode->mode = new.mode;
	inode->nlink = new.nlink;
	inode->uid = new.uid;
	inode->gid = new.gid;
	inode->rdev = new.rdev;
	inode->pool = new.pool;
	inode->size = new.size;
	inode->file_id = new.file_id;
	inode->parent = new.parent;
	inode->atime = inode->mtime = inode->ctime = txn->time;
	if (S_ISLNK(new.mode))
		put_symlink(txn, inode, &req->symlink);
}

int namespace_create(struct txn *txn, const Catena__CreateReq *req, struct reply_room *room)
{
	struct inode_record *directory, *inode;
	struct dentry dentry;
	uint64_t cookie, file_id = 0;
	uint32_t mode;
	int rc = entry_directory(txn, req->parent, &directory);

	if (rc == 0)
		rc = create_check(req, &mode);
	if (rc == 0 && req->ino != 0) {
		file_id = session_delegated(txn->session, req->ino);
		rc = file_id == 0 ? -EINVAL : 0;
	}
	if (rc != 0)
		return rc;
	rc = txn_dentry_find(txn, directory, req->name.data, req->name.len, &cookie, &dentry);
	if (rc == 0)
		return create_existing(txn, req, mode, directory, dentry.ino, room);
	if (rc != -ENOENT)
		return rc;
	if (cookie == 0)
		return -ENOSPC;
	if (S_ISDIR(mode) && directory->nlink == UINT32_MAX)
		return -EMLINK;
	if (req->open && S_ISREG(mode) && !session_may_open(txn->session, 0))
		return -ENFILE;
	rc = txn_inode_new(txn, req->ino, &inode);
	if (rc != 0)
		return rc;
	if (S_ISREG(mode) && file_id == 0)
		file_id = txn->counters.next_file_id++;
	fill_new(txn, req, directory, file_id, inode);
	entry_fill(&dentry, &req->name, inode->ino, (uint8_t)((inode->mode & S_IFMT) >> 12));
	rc = txn_dentry_put(txn, directory, cookie, &dentry);
	if (rc != 0)
		return rc;
	entry_directory_changed(txn, directory, 1);
	if (S_ISDIR(mode))
		directory->nlink++;
	if (req->open && S_ISREG(mode))
		txn_open_count(txn, inode->ino, 1);
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	return 0;
}

int namespace_delegate(struct txn *txn, const Catena__DelegateReq *req, struct reply_room *room)
{
	static const Catena__Delegation empty = CATENA__DELEGATION__INIT;
	struct delegation *delegation = &txn->delegation;

	if (req->count == 0 || req->count > DELEGATION_MAX)
		return -EINVAL;
	if (!counters_have_ids(&txn->counters, req->count))
		return -ENOSPC;
	delegation->first_ino = txn->counters.next_ino;
	delegation->first_file_id = txn->counters.next_file_id;
	delegation->count = req->count;
	txn->counters.next_ino += req->count;
	txn->counters.next_file_id += req->count;
	room->delegation = empty;
	room->delegation.first_ino = delegation->first_ino;
	room->delegation.first_file_id = delegation->first_file_id;
	room->delegation.count = delegation->count;
	room->reply.delegation = &room->delegation;
	return 0;
}
