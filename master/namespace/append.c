/* append.c - the right to append: which session alone may write behind a file's end.
 *
 * A mount that appends gets the right, and with it the file's size; writes there; then tells the
 * new size and gives the right back, in one request. So two mounts never append at the same place.
 * The right is part of the state, since whoever has it must keep it over a restart of the master;
 * it ends with its session, which is when nothing of it can come to the chunkservers any more. Who
 * waits for it is not part of the state (client_appends.c). */
#include <errno.h>
#include "master/namespace/namespace.h"
#include "master/namespace/xattr.h"
#include "master/records/core.h"

/* Of one session: a mount has one for each file that a program of its is appending to. */
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
	/* Who writes takes a program's capabilities away (capabilities(7)). The kernel of this
	 * mount leaves that to us: it passes its pages by. */
	rc = xattr_drop_capabilities(txn, inode);
	if (rc != 0)
		return rc;
	reply_attr(&room->attr, inode, &room->reply.attr);
	txn->append = (struct append_change){.changed = true, .taken = true, .ino = req->ino};
	return 0;
}
