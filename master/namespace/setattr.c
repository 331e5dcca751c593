/* setattr.c - attributes and sizes. docs/names.md explains trims. */
#include "master/namespace/setattr.h"
#include <errno.h>
#include "master/namespace/namespace.h"
#include "master/records/core.h"

#define SET_TRIM_MASK (CATENA__SET_MASK__SET_TRIM_DONE | CATENA__SET_MASK__SET_TRIM_TAKE)
/* What may go together with times of our own reads and writes. */
#define SET_OWN                                                                                    \
	(CATENA__SET_MASK__SET_OWN_TIMES | CATENA__SET_MASK__SET_GROW |                            \
	 CATENA__SET_MASK__SET_ATIME | CATENA__SET_MASK__SET_MTIME | CATENA__SET_MASK__SET_CTIME)
#define SET_ALL                                                                                    \
	(CATENA__SET_MASK__SET_MODE | CATENA__SET_MASK__SET_UID | CATENA__SET_MASK__SET_GID |      \
	 CATENA__SET_MASK__SET_SIZE | CATENA__SET_MASK__SET_ATIME | CATENA__SET_MASK__SET_MTIME |  \
	 CATENA__SET_MASK__SET_CTIME | CATENA__SET_MASK__SET_GROW |                                \
	 CATENA__SET_MASK__SET_KILL_PRIV | CATENA__SET_MASK__SET_OWN_TIMES | SET_TRIM_MASK)

/* ---- size ---- */

static bool trim_pending(const struct inode_record *inode)
{
	return inode->trim_to != 0;
}

static void trim_clear(struct inode_record *inode)
{
	inode->trim_from = inode->trim_to = inode->trim_session = 0;
}

/* Is the file id delegated to the session, and of no inode that it has made? 0, or an error. */
static int file_id_is_free(struct txn *txn, uint64_t file_id)
{
	uint64_t ino = session_delegated_ino(txn->session, file_id);
	struct inode_record other;
	int rc = ino == 0 ? -EINVAL : txn_read_inode(txn, ino, &other);

	return rc == 0 ? -EINVAL : rc == -ESTALE ? 0 : rc;
}

int setattr_truncate(struct txn *txn, struct inode_record *inode, uint64_t size, uint64_t file_id)
{
	int rc;

	if (size > FILE_BYTES_MAX)
		return -EFBIG;
	if (size == 0 && file_id == 0 && !counters_have_ids(&txn->counters, 1))
		return -ENOSPC;
	if (size == 0 && file_id != 0) {
		rc = file_id_is_free(txn, file_id);
		if (rc != 0)
			return rc;
	}
	/* What lies between would be read as it was before the truncation. */
	if (size > inode->size && trim_pending(inode))
		return -EBUSY;
	txn_touch(txn, inode);
	if (size == 0) {
		/* Also of an empty file: a client may have written what it has not reported yet,
		 * and that must not come back. */
		if (inode->allocated > 0)
			txn_remove_chunks(txn, inode->pool, inode->file_id, inode->allocated);
		inode->file_id = file_id != 0 ? file_id : txn->counters.next_file_id++;
		inode->allocated = 0;
		inode->flags &= (uint8_t)~INODE_SPARSE;
		trim_clear(inode);
	} else if (size < inode->size) {
		if (!trim_pending(inode) || size < inode->trim_from)
			inode->trim_from = size;
		if (inode->trim_to < inode->size)
			inode->trim_to = inode->size;
		inode->trim_session = txn->session->id;
	} else if (inode->allocated < size) {
		/* Writes below the size are not reported, so chunks may come into being up to it.
		 */
		inode->allocated = size;
	}
	if (size > inode->size)
		inode->flags |= INODE_SPARSE;
	inode->size = size;
	/* Counts also when the size was the same here: a client may have written behind it without
	 * having told yet. */
	inode->truncations++;
	inode->truncated_at = txn->time;
	return 0;
}

static int inode_grow(struct txn *txn, struct inode_record *inode, const Catena__SetattrReq *req)
{
	bool past_trim = trim_pending(inode) && req->size > inode->trim_from;

	if (req->append_done && append_holder(txn->state, inode->ino) != txn->session->id)
		return -EPERM;
	if (req->file_id != inode->file_id || req->truncations != inode->truncations)
		return -ESTALE;
	if (req->size > FILE_BYTES_MAX)
		return -EFBIG;
	if (past_trim && inode->trim_session != txn->session->id)
		return -EBUSY;
	txn_touch(txn, inode);
	/* The trim's own session writes behind it only after having done it. */
	if (past_trim)
		trim_clear(inode);
	if (inode->size < req->size)
		inode->size = req->size;
	if (inode->allocated < req->size)
		inode->allocated = req->size;
	return 0;
}

static int trim_take(struct txn *txn, struct inode_record *inode)
{
	if (!trim_pending(inode) || inode->trim_session == txn->session->id)
		return 0;
	if (session_find(txn->state, inode->trim_session) != NULL)
		return -EBUSY;
	txn_touch(txn, inode);
	inode->trim_session = txn->session->id;
	return 0;
}

static void trim_done(struct txn *txn, struct inode_record *inode, const Catena__SetattrReq *req)
{
	/* A report about another trim than the pending one is late, or said twice. */
	if (!trim_pending(inode) || inode->trim_from != req->size ||
	    inode->trim_session != txn->session->id || inode->truncations != req->truncations)
		return;
	txn_touch(txn, inode);
	/* allocated stays: what was cut off has left empty chunks, to be removed with the file. */
	trim_clear(inode);
}

/* ---- setattr ---- */

static int setattr_check(const struct inode_record *inode, const Catena__SetattrReq *req)
{
	const uint32_t sized = CATENA__SET_MASK__SET_SIZE | CATENA__SET_MASK__SET_GROW;

	if (req->mask & ~(uint32_t)SET_ALL)
		return -EINVAL;
	if ((req->mask & sized) == sized)
		return -EINVAL;
	if ((req->mask & CATENA__SET_MASK__SET_OWN_TIMES) && (req->mask & ~(uint32_t)SET_OWN))
		return -EINVAL;
	if (req->sparse && !(req->mask & CATENA__SET_MASK__SET_OWN_TIMES))
		return -EINVAL;
	if (req->append_done && !(req->mask & CATENA__SET_MASK__SET_GROW))
		return -EINVAL;
	if ((req->mask & (sized | SET_TRIM_MASK)) && !inode_is(inode, S_IFREG))
		return inode_is(inode, S_IFDIR) ? -EISDIR : -EINVAL;
	if ((req->mask & CATENA__SET_MASK__SET_MODE) && inode_is(inode, S_IFLNK))
		return -EOPNOTSUPP;
	return 0;
}

/* Does all that can be refused. */
static int setattr_size(struct txn *txn, struct inode_record *inode, const Catena__SetattrReq *req)
{
	int rc = 0;

	if (req->mask & CATENA__SET_MASK__SET_TRIM_TAKE)
		rc = trim_take(txn, inode);
	if (rc == 0 && (req->mask & CATENA__SET_MASK__SET_TRIM_DONE))
		trim_done(txn, inode, req);
	if (rc == 0 && (req->mask & CATENA__SET_MASK__SET_SIZE))
		rc = txn_append_elsewhere(txn, inode->ino)
			     ? -EAGAIN
			     : setattr_truncate(txn, inode, req->size, req->new_file_id);
	if (rc == 0 && (req->mask & CATENA__SET_MASK__SET_GROW))
		rc = inode_grow(txn, inode, req);
	if (rc == 0 && req->append_done)
		txn_append_release(txn, inode->ino);
	return rc;
}

/* True when the time of a past read or write is later than all that counts against it. */
static bool counts_still(int64_t told, int64_t known, int64_t set)
{
	return set != 0 ? told > set : told > known;
}

/* Takes the times of a mount's reads and writes, which come late. A time that a program has set
 * since then stays, and so does a later one of another mount. */
static void own_times(struct txn *txn, struct inode_record *inode, const Catena__SetattrReq *req)
{
	if (req->mask & CATENA__SET_MASK__SET_MTIME) {
		txn_touch(txn, inode);
		if (counts_still(req->mtime, inode->mtime, inode->mtime_set)) {
			inode->mtime = req->mtime;
			inode->mtime_set = 0;
		}
	}
	if ((req->mask & CATENA__SET_MASK__SET_CTIME) && req->ctime > inode->ctime) {
		txn_touch(txn, inode);
		inode->ctime = req->ctime;
	}
	if ((req->mask & CATENA__SET_MASK__SET_ATIME) &&
	    counts_still(req->atime, inode->atime, inode->atime_set)) {
		txn_touch_quietly(txn, inode);
		inode->atime = req->atime;
		inode->atime_set = 0;
	}
}

static void note_hole(struct txn *txn, struct inode_record *inode, const Catena__SetattrReq *req)
{
	if (!req->sparse || !inode_is(inode, S_IFREG) || (inode->flags & INODE_SPARSE) != 0)
		return;
	txn_touch(txn, inode);
	inode->flags |= INODE_SPARSE;
}

static void set_times(struct txn *txn, struct inode_record *inode, const Catena__SetattrReq *req)
{
	const uint32_t sized = CATENA__SET_MASK__SET_SIZE | CATENA__SET_MASK__SET_GROW;

	if (req->mask & CATENA__SET_MASK__SET_ATIME) {
		inode->atime = req->atime;
		inode->atime_set = txn->time;
	}
	if (req->mask & CATENA__SET_MASK__SET_MTIME) {
		inode->mtime = req->mtime;
		inode->mtime_set = txn->time;
	} else if (req->mask & sized) {
		inode->mtime = txn->time;
		inode->mtime_set = 0;
	}
	inode->ctime = req->mask & CATENA__SET_MASK__SET_CTIME ? req->ctime : txn->time;
}

static void setattr_plain(struct txn *txn, struct inode_record *inode,
			  const Catena__SetattrReq *req)
{
	uint32_t mask = req->mask & ~(uint32_t)SET_TRIM_MASK;

	if (mask == 0)
		return;
	if (mask & CATENA__SET_MASK__SET_OWN_TIMES) {
		own_times(txn, inode, req);
		note_hole(txn, inode, req);
		return;
	}
	txn_touch(txn, inode);
	if (mask & CATENA__SET_MASK__SET_KILL_PRIV)
		inode->mode = namespace_rules_unprivileged(inode->mode);
	if (mask & CATENA__SET_MASK__SET_MODE)
		inode->mode = (inode->mode & S_IFMT) | (req->mode & 07777);
	if (mask & CATENA__SET_MASK__SET_UID)
		inode->uid = req->uid;
	if (mask & CATENA__SET_MASK__SET_GID)
		inode->gid = req->gid;
	set_times(txn, inode, req);
}

int namespace_setattr(struct txn *txn, const Catena__SetattrReq *req, struct reply_room *room)
{
	struct inode_record *inode;
	int rc = txn_inode(txn, req->ino, &inode);

	if (rc != 0)
		return rc;
	rc = setattr_check(inode, req);
	if (rc != 0)
		return rc;
	/* A refusal changes nothing, and tells the client what it did not know. */
	reply_attr(&room->attr, inode, &room->reply.attr);
	rc = setattr_size(txn, inode, req);
	if (rc != 0)
		return rc;
	setattr_plain(txn, inode, req);
	reply_attr(&room->attr, inode, &room->reply.attr);
	return 0;
}
