/* open.c - open and close. */
#include <errno.h>
#include "master/namespace/entry.h"
#include "master/namespace/namespace.h"
#include "master/namespace/setattr.h"
#include "master/records/core.h"

int namespace_open(struct txn *txn, const Catena__OpenReq *req, struct reply_room *room)
{
	struct inode_record *inode;
	int rc = txn_inode(txn, req->ino, &inode);

	if (rc == 0)
		rc = txn_open_more(txn, req->ino);
	if (rc != 0)
		return rc;
	if (req->truncate) {
		if (!inode_is(inode, S_IFREG))
			return inode_is(inode, S_IFDIR) ? -EISDIR : -EINVAL;
		rc = txn_append_elsewhere(txn, inode->ino) ? -EAGAIN
							   : setattr_truncate(txn, inode, 0, 0);
		if (rc != 0)
			return rc;
		inode->mtime = inode->ctime = txn->time;
		inode->mtime_set = 0;
	}
	reply_attr(&room->attr, inode, &room->reply.attr);
	return 0;
}

int namespace_close(struct txn *txn, const Catena__CloseReq *req, struct reply_room *room)
{
	uint32_t open = session_open_count(txn->session, req->ino);
	uint32_t closed = req->count == 0 ? 1 : req->count;
	struct inode_record *inode;
	int rc;

	if (open == 0)
		return 0;
	if (closed > open)
		closed = open;
	txn_open_count(txn, req->ino, open - closed);
	if (session_open_total(txn->state, req->ino) > closed)
		return 0;
	rc = txn_inode(txn, req->ino, &inode);
	if (rc == -ESTALE)
		return 0;
	if (rc == 0 && inode->nlink == 0) {
		entry_orphan_gone(txn, inode->ino);
		txn_inode_free(txn, inode);
	}
	return rc;
}
