/* append.c - the right to append: one session alone may write behind a file's end.
 *
 * A mount that appends gets the right, and with it the file's size. It writes there; then one
 * request tells the new size and gives the right back. So two mounts never append at one place.
 *
 * The right is part of the state: its holder keeps it over a restart of the master. It ends with
 * its session, when nothing of that can come to the chunkservers any more. The queue for it is in
 * memory only (sessions/client_appends.c). */
#include <errno.h>
#include "master/namespace/namespace.h"
#include "master/namespace/xattr.h"
#include "master/records/core.h"

/* A mount has one right for each file to which its programs append. */
#define APPENDS_MAX 65536u

int namespace_append(struct txn *txn, const Catena__AppendReq *req, struct reply_room *room)
{
	uint64_t holder = append_holder(txn->state, req->ino);
	struct inode_record *inode;
	int rc;

	if (req->release) {
		txn_append_release(txn, req->ino);
		return 0;
	}
	rc = txn_inode(txn, req->ino, &inode);
	if (rc != 0)
		return rc;
	if (!inode_is(inode, S_IFREG))
		return -EINVAL;
	reply_attr(&room->attr, inode, &room->reply.attr);
	if (holder == txn->session->id)
		return 0;
	if (holder != 0)
		return -EAGAIN;
	if (txn->session->appends >= APPENDS_MAX)
		return -ENFILE;
	/* A write takes a program's capabilities away (capabilities(7)). The kernel leaves that to
	 * us here, as these writes pass its pages by. */
	rc = xattr_drop_capabilities(txn, inode);
	if (rc != 0)
		return rc;
	reply_attr(&room->attr, inode, &room->reply.attr);
	txn->append = (struct append_change){.changed = true, .taken = true, .ino = req->ino};
	return 0;
}
