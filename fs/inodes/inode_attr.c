/* inode_attr.c - what an inode looks like: the master's word, and over it what is only known here.
 * See inode.h. All with the inode's lock held. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "common/os/lock.h"
#include "common/base/expects.h"
#include "common/cluster/chunk.h"
#include "common/os/clock.h"
#include "fs/inodes/inode.h"

/* What cp and stdio use as buffer size. */
#define PREFERRED_IO_BYTES (128u << 10)
#define DAY_NS             ((int64_t)(86400 * NS_PER_SEC))

int inode_attr_decode(const Catena__Attr *message, struct attr *out)
{
	if (message == NULL || message->ino == 0 || (message->mode & S_IFMT) == 0 ||
	    message->size > INT64_MAX || message->allocated > INT64_MAX ||
	    message->trim_to > INT64_MAX)
		return -EIO;
	*out = (struct attr){
		.ino = message->ino,
		.mode = message->mode,
		.nlink = message->nlink,
		.uid = message->uid,
		.gid = message->gid,
		.rdev = message->rdev,
		.pool = message->pool,
		.size = message->size,
		.atime = message->atime,
		.mtime = message->mtime,
		.ctime = message->ctime,
		.file_id = message->file_id,
		.version = message->version,
		.allocated = message->allocated,
		.parent = message->parent,
		.trim_from = message->trim_from,
		.trim_to = message->trim_to,
		.trim_session = message->trim_session,
		.sparse = message->sparse,
		.truncations = message->truncations,
		.truncated_at = message->truncated_at,
	};
	return 0;
}

/* Where writes end, by when they were done: one that goes further than an earlier one hides it. */
static void end_add(struct inode_local *local, uint64_t end, int64_t at)
{
	while (local->end_count > 0 && local->ends[local->end_count - 1].end <= end)
		local->end_count--;
	expects(local->end_count <= INODE_ENDS);
	/* The two oldest become one: rather too much is kept than too little. */
	if (local->end_count == INODE_ENDS) {
		local->ends[1].end = local->ends[0].end;
		memmove(local->ends, local->ends + 1, (INODE_ENDS - 1) * sizeof(*local->ends));
		local->end_count--;
	}
	local->ends[local->end_count++] = (struct inode_end){.end = end, .at = at};
	local->size = local->ends[0].end;
}

static void forget_size(struct inode_local *local)
{
	local->dirty &= ~(uint32_t)INODE_DIRTY_SIZE;
	local->size = local->low = 0;
	local->end_count = 0;
}

/* Somebody has truncated the file since it was looked at last. What was written before that is cut
 * off: the size that it had must not come back. What was written after is not. */
static void cut_off(struct inode *inode)
{
	struct inode_local *local = &inode->local;
	unsigned old = 0;

	local->truncate_seq++;
	while (old < local->end_count && local->ends[old].at <= inode->attr.truncated_at)
		old++;
	if (old == local->end_count) {
		forget_size(local);
		return;
	}
	local->end_count -= old;
	memmove(local->ends, local->ends + old, local->end_count * sizeof(*local->ends));
	local->size = local->ends[0].end;
}

void inode_attr_apply(struct inode *inode, const struct attr *attr, uint64_t generation)
{
	bool truncated;

	lock_held(&inode->lock);
	if (inode->known && generation <= inode->attr_generation &&
	    attr->version < inode->attr.version)
		return; /* overtaken by a newer answer */
	if (inode->known && attr->version == inode->attr.version &&
	    generation < inode->attr_generation)
		generation = inode->attr_generation;
	truncated = inode->known && attr->truncations != inode->attr.truncations;
	if (attr->sparse || attr->file_id != inode->attr.file_id)
		inode->local.sparse = false;
	inode->attr = *attr;
	inode->attr_generation = generation;
	inode->known = true;
	if (truncated)
		cut_off(inode);
}

void inode_distrust(struct inode *inode)
{
	lock_held(&inode->lock);
	inode->attr_generation = 0;
}

uint64_t inode_size(const struct inode *inode)
{
	if ((inode->local.dirty & INODE_DIRTY_SIZE) && inode->local.size > inode->attr.size)
		return inode->local.size;
	return inode->attr.size;
}

int64_t inode_mtime(const struct inode *inode)
{
	return inode->local.dirty & INODE_DIRTY_MTIME ? inode->local.mtime : inode->attr.mtime;
}

static int64_t ctime_of(const struct inode *inode)
{
	if ((inode->local.dirty & INODE_DIRTY_MTIME) && inode->local.mtime > inode->attr.ctime)
		return inode->local.mtime;
	return inode->attr.ctime;
}

int64_t inode_atime(const struct inode *inode)
{
	return inode->local.dirty & INODE_DIRTY_ATIME ? inode->local.atime : inode->attr.atime;
}

static struct timespec time_of(int64_t ns)
{
	struct timespec t = {.tv_sec = ns / (int64_t)NS_PER_SEC,
			     .tv_nsec = ns % (int64_t)NS_PER_SEC};

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += (long)NS_PER_SEC;
	}
	return t;
}

static bool is_sparse(const struct inode *inode)
{
	return attr_is_regular(&inode->attr) && (inode->attr.sparse || inode->local.sparse);
}

/* Nothing has changed since the chains were asked. */
static bool blocks_count(const struct inode *inode)
{
	return inode->blocks.known && inode->blocks.write_seq == inode->local.write_seq &&
	       inode->blocks.version == inode->attr.version;
}

bool inode_blocks_unknown(const struct inode *inode)
{
	return is_sparse(inode) && !(blocks_count(inode) && inode->blocks.exact);
}

void inode_made_hole(struct inode *inode)
{
	lock_held(&inode->lock);
	if (!inode->attr.sparse)
		inode->local.sparse = true;
	inode->blocks.known = false;
}

void inode_set_blocks(struct inode *inode, uint64_t bytes, bool exact, uint64_t write_seq,
		      uint64_t version)
{
	lock_held(&inode->lock);
	inode->blocks.known = true;
	inode->blocks.exact = exact;
	inode->blocks.count = (bytes + 511) / 512;
	inode->blocks.write_seq = write_seq;
	inode->blocks.version = version;
}

/* A file without holes is full up to its size. */
static uint64_t full_blocks(const struct inode *inode)
{
	uint64_t size = inode_size(inode), bytes = inode->attr.allocated;

	if ((inode->local.dirty & INODE_DIRTY_SIZE) && inode->local.size > bytes)
		bytes = inode->local.size;
	if (bytes > size)
		bytes = size;
	return attr_is_regular(&inode->attr) ? (bytes + 511) / 512 : 0;
}

/* Of a mapped page that was written nothing is known here before the kernel writes it back, and
 * programs take 0 to mean that there is nothing to be copied. */
static uint64_t allocated_blocks(const struct inode *inode)
{
	uint64_t full = full_blocks(inode);

	if (!is_sparse(inode) || !blocks_count(inode))
		return full;
	if (inode->blocks.count == 0 && inode->opens.mapping > 0)
		return full < BLOCK_SIZE / 512 ? full : BLOCK_SIZE / 512;
	return inode->blocks.count < full ? inode->blocks.count : full;
}

void inode_stat(const struct inode *inode, struct stat *out)
{
	const struct attr *attr = &inode->attr;

	lock_held(&inode->lock);
	memset(out, 0, sizeof(*out));
	out->st_ino = inode->ino;
	out->st_mode = attr->mode;
	out->st_nlink = attr->nlink;
	out->st_uid = attr->uid;
	out->st_gid = attr->gid;
	out->st_rdev = attr->rdev;
	out->st_size = (off_t)inode_size(inode);
	out->st_blocks = (blkcnt_t)allocated_blocks(inode);
	out->st_blksize = PREFERRED_IO_BYTES;
	out->st_atim = time_of(inode_atime(inode));
	out->st_mtim = time_of(inode_mtime(inode));
	out->st_ctim = time_of(ctime_of(inode));
}

void inode_touched(struct inode *inode, int64_t now)
{
	lock_held(&inode->lock);
	inode->local.write_seq++;
	inode->local.mtime = now;
	inode->local.dirty |= INODE_DIRTY_MTIME;
}

void inode_wrote(struct inode *inode, uint64_t offset, uint64_t end, int64_t now, bool exact)
{
	lock_held(&inode->lock);
	expects(offset <= end);
	if (offset > inode_size(inode))
		inode_made_hole(inode);
	inode_touched(inode, now);
	if (exact && end <= inode_size(inode))
		return;
	if (!(inode->local.dirty & INODE_DIRTY_SIZE)) {
		forget_size(&inode->local);
		inode->local.low = offset;
	} else if (offset < inode->local.low) {
		inode->local.low = offset;
	}
	end_add(&inode->local, end, now);
	inode->local.dirty |= INODE_DIRTY_SIZE;
}

bool inode_was_read(struct inode *inode, enum atime_mode mode, int64_t now)
{
	int64_t atime = inode_atime(inode);

	lock_held(&inode->lock);
	if (mode == ATIME_NEVER || !inode->known)
		return false;
	if (mode == ATIME_RELATIVE && atime > inode_mtime(inode) && atime > ctime_of(inode) &&
	    atime > now - DAY_NS)
		return false;
	inode->local.atime = now;
	inode->local.dirty |= INODE_DIRTY_ATIME;
	return true;
}

/* ---- telling the master ---- */

/* Those that our writes and reads have made; they overrule nothing that was set since. */
static void take_times(const struct inode *inode, struct inode_update *update)
{
	update->mtime = inode->local.mtime;
	update->ctime = ctime_of(inode);
	update->atime = inode->local.atime;
}

void inode_flush_begun(struct inode *inode)
{
	lock_held(&inode->lock);
	inode->background.age_from_ns = clock_monotonic_ns();
}

void inode_update_begin(const struct inode *inode, struct inode_update *update)
{
	lock_held(&inode->lock);
	*update = (struct inode_update){
		.size = inode->local.size,
		.file_id = inode->attr.file_id,
		.write_seq = inode->local.write_seq,
		.truncate_seq = inode->local.truncate_seq,
		.truncations = inode->attr.truncations,
	};
	take_times(inode, update);
	if (inode->local.dirty & INODE_DIRTY_SIZE)
		update->mask |= CATENA__SET_MASK__SET_GROW | CATENA__SET_MASK__SET_CTIME;
	if (inode->local.dirty & (INODE_DIRTY_MTIME | INODE_DIRTY_VERSION))
		update->mask |= CATENA__SET_MASK__SET_MTIME | CATENA__SET_MASK__SET_CTIME;
	if (inode->local.dirty & INODE_DIRTY_ATIME)
		update->mask |= CATENA__SET_MASK__SET_ATIME;
	if (update->mask != 0)
		update->mask |= CATENA__SET_MASK__SET_OWN_TIMES;
}

void inode_update_check(const struct inode *inode, struct inode_update *update)
{
	const uint32_t grow = CATENA__SET_MASK__SET_GROW, mtime = CATENA__SET_MASK__SET_MTIME;

	lock_held(&inode->lock);
	if (update->truncate_seq != inode->local.truncate_seq ||
	    update->truncations != inode->attr.truncations)
		update->mask &= ~grow;
	if (!(inode->local.dirty & (INODE_DIRTY_MTIME | INODE_DIRTY_VERSION)))
		update->mask &= ~mtime;
	if (!(update->mask & (grow | mtime)))
		update->mask &= ~(uint32_t)CATENA__SET_MASK__SET_CTIME;
	if (!(inode->local.dirty & INODE_DIRTY_ATIME))
		update->mask &= ~(uint32_t)CATENA__SET_MASK__SET_ATIME;
	if (update->mask == CATENA__SET_MASK__SET_OWN_TIMES)
		update->mask = 0;
	/* Times may have gone on since. (write_seq stays: the version that this makes is that of
	 * the data which was there then.) */
	take_times(inode, update);
}

bool inode_update_changes_version(const struct inode_update *update)
{
	return (update->mask & (CATENA__SET_MASK__SET_GROW | CATENA__SET_MASK__SET_MTIME)) != 0;
}

void inode_update_fill(const struct inode *inode, const struct inode_update *update,
		       Catena__SetattrReq *setattr)
{
	setattr->ino = inode->ino;
	setattr->mask = update->mask;
	setattr->size = update->size;
	setattr->file_id = update->file_id;
	setattr->truncations = update->truncations;
	setattr->mtime = update->mtime;
	setattr->ctime = update->ctime;
	setattr->atime = update->atime;
	setattr->sparse = inode->local.sparse;
}

void inode_update_done(struct inode *inode, const struct inode_update *update)
{
	lock_held(&inode->lock);
	if (update->truncate_seq != inode->local.truncate_seq)
		return; /* whatever is dirty now is of later writes */
	/* The answer says so too, but may be passed over where later commands are foreseen. */
	if ((update->mask & CATENA__SET_MASK__SET_GROW) && inode->attr.size < update->size)
		inode->attr.size = update->size;
	if ((update->mask & CATENA__SET_MASK__SET_GROW) && inode->attr.allocated < update->size)
		inode->attr.allocated = update->size;
	if ((update->mask & CATENA__SET_MASK__SET_MTIME) && inode->commands.answered_early > 0 &&
	    (inode->local.dirty & INODE_DIRTY_MTIME))
		inode->attr.mtime = update->mtime;
	if ((update->mask & CATENA__SET_MASK__SET_GROW) && inode->local.size <= update->size)
		forget_size(&inode->local);
	if ((update->mask & CATENA__SET_MASK__SET_MTIME) &&
	    inode->local.write_seq == update->write_seq)
		inode->local.dirty &= ~(uint32_t)(INODE_DIRTY_MTIME | INODE_DIRTY_VERSION);
	if ((update->mask & CATENA__SET_MASK__SET_ATIME) && inode->local.atime == update->atime)
		inode->local.dirty &= ~(uint32_t)INODE_DIRTY_ATIME;
}

void inode_update_forget(struct inode *inode, bool shared)
{
	lock_held(&inode->lock);
	inode->local.truncate_seq++;
	forget_size(&inode->local);
	inode_mtime_set(inode, shared);
}

void inode_mtime_set(struct inode *inode, bool shared)
{
	lock_held(&inode->lock);
	if (shared && (inode->local.dirty & INODE_DIRTY_MTIME))
		inode->local.dirty |= INODE_DIRTY_VERSION;
	inode->local.dirty &= ~(uint32_t)INODE_DIRTY_MTIME;
}

/* ---- what else is remembered ---- */

void inode_set_symlink(struct inode *inode, const void *target, size_t size)
{
	lock_held(&inode->lock);
	if (inode->symlink == NULL)
		inode->symlink = strndup(target, size);
}

void inode_set_xattrs(struct inode *inode, const void *names, size_t size, uint64_t generation)
{
	char *copy = NULL;

	lock_held(&inode->lock);
	if (size > UINT32_MAX)
		return;
	if (size != 0) {
		copy = malloc(size);
		if (copy == NULL)
			return;
		memcpy(copy, names, size);
	}
	free(inode->xattrs.names);
	inode->xattrs.names = copy;
	inode->xattrs.size = (uint32_t)size;
	inode->xattrs.generation = generation;
}

void inode_writeback_failed(struct inode *inode, int error)
{
	lock_held(&inode->lock);
	inode->errors.last = error;
	inode->errors.count++;
	/* Those that are open now may be closed without asking. */
	inode->errors.told = false;
}

uint32_t inode_errors_seen(const struct inode *inode)
{
	bool unheard = inode->errors.count > 0 && !inode->errors.told;

	return inode->errors.count - (unheard ? 1 : 0);
}

void inode_tell_failed(struct inode *inode, int error)
{
	pthread_mutex_lock(&inode->lock);
	inode_writeback_failed(inode, error);
	pthread_mutex_unlock(&inode->lock);
}

int inode_error(const struct inode *inode, uint32_t seen)
{
	return seen == inode->errors.count ? 0 : inode->errors.last;
}

int inode_take_error(struct inode *inode, uint32_t *seen)
{
	lock_held(&inode->lock);
	if (*seen == inode->errors.count)
		return 0;
	*seen = inode->errors.count;
	inode->errors.told = true;
	return inode->errors.last;
}

static void forget_unsent(struct inode *inode)
{
	inode_update_forget(inode, false);
	inode->local.dirty = 0;
}

void inode_lose(struct inode *inode, uint64_t session)
{
	lock_held(&inode->lock);
	forget_unsent(inode);
	if (inode->loss.session == session)
		return;
	inode->loss.session = session;
	inode->loss.count++;
	inode_writeback_failed(inode, -EIO);
}

bool inode_fetched(struct inode *inode, uint64_t generation)
{
	bool old = inode->data.fetch_generation != generation;

	lock_held(&inode->lock);
	inode->data.fetch_generation = generation;
	return old;
}
