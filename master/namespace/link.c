/* link.c - names that come to an inode, and names that go. */
#include <errno.h>
#include "master/namespace/entry.h"
#include "master/namespace/namespace.h"

int namespace_link(struct txn *txn, const Catena__LinkReq *req, struct reply_room *room)
{
	struct inode_record *directory, *inode;
	struct dentry dentry;
	uint64_t cookie;
	int rc = entry_directory(txn, req->parent, &directory);

	if (rc == 0)
		rc = namespace_rules_name(req->name.data, req->name.len);
	if (rc == 0)
		rc = txn_inode(txn, req->ino, &inode);
	if (rc == 0)
		rc = namespace_rules_link(inode->mode, inode->nlink);
	if (rc != 0)
		return rc;
	rc = txn_dentry_find(txn, directory, req->name.data, req->name.len, &cookie, &dentry);
	if (rc != -ENOENT)
		return rc == 0 ? -EEXIST : rc;
	if (inode->nlink >= LINKS_MAX)
		return -EMLINK;
	if (cookie == 0)
		return -ENOSPC;
	entry_fill(&dentry, &req->name, inode->ino, (uint8_t)((inode->mode & S_IFMT) >> 12));
	rc = txn_dentry_put(txn, directory, cookie, &dentry);
	if (rc != 0)
		return rc;
	entry_directory_changed(txn, directory, 1);
	txn_touch(txn, inode);
	inode->nlink++;
	inode->ctime = txn->time;
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	return 0;
}

int namespace_unlink(struct txn *txn, const Catena__UnlinkReq *req, struct reply_room *room)
{
	struct inode_record *directory, *inode;
	struct dentry dentry;
	uint64_t cookie;
	int rc = entry_directory(txn, req->parent, &directory);

	if (rc == 0)
		rc = namespace_rules_removed_name(req->name.data, req->name.len, req->directory);
	if (rc == 0)
		rc = txn_dentry_find(txn, directory, req->name.data, req->name.len, &cookie,
				     &dentry);
	if (rc != 0)
		return rc;
	rc = txn_inode_named(txn, dentry.ino, &inode);
	if (rc != 0)
		return rc;
	rc = namespace_rules_unlink(inode->mode, inode->entries, req->directory);
	if (rc == 0)
		rc = txn_dentry_delete(txn, directory, cookie);
	if (rc != 0)
		return rc;
	entry_directory_changed(txn, directory, -1);
	txn_touch(txn, inode);
	inode->ctime = txn->time;
	if (req->directory) {
		directory->nlink--;
		inode->nlink = 0;
	} else {
		inode->nlink--;
	}
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	if (inode->nlink == 0)
		entry_last_gone(txn, inode);
	return 0;
}
