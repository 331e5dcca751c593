/* inode.h - the mount's inodes: what the master said of them, and what is newer here.
 *
 * The kernel knows an inode by the master's number. So an inode here is only a cache entry: it is
 * dropped when it has no reference, and made anew, empty, when the kernel names it again. For that
 * reason FORGET needs no bookkeeping.
 *
 * attr is the newest that the master said, by its version. It is exact while the lease is held and
 * attr_generation is its generation. `local` lies over it: what this mount has done and the master
 * does not know yet, which is the size and times of writes and the time of reads. Programs see both
 * together.
 *
 * Thread: any. Locks: the inode's lock guards every field that names no other; the table's own lock
 * guards its links. Lock order: inode, then table; never two inodes. */
#ifndef CATENA_FS_INODES_INODE_H
#define CATENA_FS_INODES_INODE_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "catena.pb-c.h"
#include "fs/data/data.h"

#define INODE_ROOT        1u
#define INODE_CACHE_LIMIT 200000u

struct inode_gate_entry;

static inline void inode_data_put(struct data_file *file) /* NULL is allowed */
{
	if (file != NULL)
		data_file_put(file);
}

/* The master's attributes of an inode; times are nanoseconds since 1970. */
struct attr {
	uint64_t ino;
	uint32_t mode, nlink, uid, gid, rdev, pool;
	uint64_t size;
	int64_t atime, mtime, ctime;
	uint64_t file_id;
	uint64_t version;   /* grows with each change of attributes or data */
	uint64_t allocated; /* no chunk goes further than this */
	uint64_t parent;
	/* [trim_from, trim_to) is still to be cut off by trim_session; trim_to <= trim_from: none. */
	uint64_t trim_from, trim_to, trim_session;
	bool sparse;          /* it may have holes */
	uint64_t truncations; /* how many there were, */
	int64_t truncated_at; /* and when the last was */
};

enum {
	INODE_DIRTY_SIZE = 1,  /* local.size may be larger than the master's */
	INODE_DIRTY_MTIME = 2, /* local.mtime is newer than the master's mtime and ctime */
	INODE_DIRTY_ATIME = 4,
	/* The master has given a version that may be without the data of the last writes. When that
	 * is there, another version is needed. */
	INODE_DIRTY_VERSION = 8
};

/* Where a write ended, and when it was done. Only writes that no later one exceeds are kept, so the
 * ends go down with time. */
#define INODE_ENDS 4u
struct inode_end {
	uint64_t end;
	int64_t at;
};

/* The table's links and count of references. inode.c only, under the table's lock. */
struct inode_table_entry {
	struct inode *hash_next, *lru_prev, *lru_next;
	uint32_t refs;
};

/* What this mount has done and the master does not know yet. Mostly inode_attr.c changes it; an
 * append counts as a write, and whoever tells a change, or gives it up, clears its bit of `dirty`. */
struct inode_local {
	uint32_t dirty;     /* INODE_DIRTY_* */
	uint64_t low, size; /* writes are within [low, size) */
	struct inode_end ends[INODE_ENDS];
	unsigned end_count;
	int64_t mtime, atime;
	bool sparse;           /* a hole was made here */
	uint64_t write_seq;    /* grows with each write */
	uint64_t truncate_seq; /* grows with each truncation begun and ended */
};

/* Commands to the master about the inode. Counted by those that send them
 * (inode_change_begin()). */
struct inode_commands {
	uint32_t under_way;
	uint32_t answered_early; /* of these; attr has their effect already (early_answer.h) */
	uint32_t setattrs;       /* of programs; no times of ours are sent beside them */
};

/* What may not be durable on the master yet, as numbers of fs->changes: those up to
 * fs->changes_flushed are durable. Written where answers are applied, read by fsync.c. */
struct inode_changes {
	uint64_t own; /* the last command of this mount that was answered */
	/* The last time that something was learned that others may have done. 0: never, or the
	 * master has said since that it is durable. */
	uint64_t others;
};

/* What the chains held of a file with holes when they were asked last. Asked by files/blocks.c,
 * shown by inode_stat(). It holds as long as write_seq and version are still the inode's. */
struct inode_blocks {
	bool known;
	bool exact;     /* nothing was on its way to the chains then */
	uint64_t count; /* of 512 bytes */
	uint64_t write_seq, version;
};

/* Who uses the inode here. */
struct inode_opens {
	uint32_t handles;       /* counted by ops/open.c and ops/lookup_hold.c */
	uint32_t mapping;       /* of these, those by which pages may be mapped and written */
	uint32_t registered;    /* opens that the master counts for us (flush/opens.h) */
	uint64_t held_until_ns; /* counted as open for a look-up (ops/lookup_hold.h); 0: not */
};

/* The data of a regular file. Opened by inode_data.c, let go of by flush/opens.c. */
struct inode_data {
	struct data_file *file; /* a reference, while open or dirty; or NULL */
	uint64_t file_id;       /* of it */
	/* Nothing was written since a flush to the disks of all copies. False also when that is not
	 * known: the data layer knows. */
	bool durable;
	uint64_t fetch_generation; /* of the lease, when it was read ahead last (inode_fetched()) */
};

/* Writes that were accepted and failed later. Each handle tells its program once: see
 * inode_error() and inode_take_error(). inode_attr.c only. */
struct inode_errors {
	int last;
	uint32_t count;
	bool told; /* an fsync has told the last; else the next handle that is opened does */
};

/* What sessions that have ended did not send. Handles opened before that write no more. Written by
 * inode_lose() and lease/loss.c. */
struct inode_loss {
	uint32_t count;
	uint64_t session; /* the one that followed the last that lost something */
	bool dropping;    /* the kernel's pages of the inode, for that reason */
};

/* Pages that the kernel has of the file. */
struct inode_pages {
	/* Reads and writes of pages under way: as long, the kernel has these pages locked. Locks:
	 * none. */
	atomic_uint requests;
	/* The kernel may have pages that a read of ours has filled. Locks: none. */
	atomic_bool filled;
	/* The pages are what the file has, while the lease's generation is this one, or the
	 * master's version of the inode at open is this one. Only what has dropped the pages that
	 * were there before says so (handle_used()). */
	uint64_t generation, version;
};

/* Truncations and punches, one at a time; writes wait for them. inode_gate.c only; others may look
 * whether it is busy. */
struct inode_gate {
	bool busy;
	struct inode_gate_entry *head, *tail;
};

/* The list of inodes with something to flush in the background (flush.h). flush_list.c changes it,
 * and inode_flush_begun(); opens.c looks whether an inode is listed. */
struct inode_background {
	struct inode *prev, *next; /* under the list's lock, while listed */
	bool listed;
	bool flushing;        /* a flush of the background is under way */
	uint64_t age_from_ns; /* when it was listed, or a flush of all it has was begun */
};

/* The habit of a program that syncs each of its writes, and the fsync that was begun in advance for
 * that reason. fsync_prediction.c only. */
struct inode_fsyncs {
	uint32_t streak;                    /* so many in a row had one write before them */
	uint64_t write_seq;                 /* local.write_seq at the last */
	struct fsync_prediction *predicted; /* under way; or NULL */
	/* local.write_seq and changes.own that the last predicted one made durable; 0: none. */
	uint64_t durable_write_seq, durable_change;
};

/* The names of all xattrs, exact like attr. Filled by ops/xattr.c. */
struct inode_xattrs {
	char *names;   /* malloc()ed, each ended by NUL; NULL: none */
	uint32_t size; /* of all, in bytes */
	uint64_t generation;
	uint64_t seq; /* grows with each change begun and ended */
};

struct inode {
	uint64_t ino; /* never changes */
	struct inode_table_entry table;

	pthread_mutex_t lock;
	/* The master's word, written by inode_attr_apply() and by early answers. */
	bool known;               /* attr says something */
	bool removed;             /* the master has it no more, or is told so (removed.h) */
	bool size_from_elsewhere; /* others have changed the size since the inode is known here */
	struct attr attr;
	uint64_t attr_generation;
	char *symlink; /* the target, once known: it never changes */
	struct inode_xattrs xattrs;

	struct inode_local local;
	struct inode_commands commands;
	struct inode_changes changes;
	struct inode_blocks blocks;

	struct inode_opens opens;
	struct inode_data data;
	struct inode_errors errors;
	struct inode_loss loss;
	struct inode_pages pages;
	struct inode_gate gate;

	struct inode_background background;
	struct inode_fsyncs fsyncs;
};

/* ---- the table. Locks: takes its own; an inode's may be held. */

struct inode_table;

/* Keeps at most @limit inodes beside those with references. Errors: -ENOMEM. */
int inode_table_create(uint32_t limit, struct inode_table **out);
void inode_table_destroy(struct inode_table *table);
/* Returns a reference to the inode, which is made empty when it is not there. NULL: out of
 * memory. */
struct inode *inode_table_get(struct inode_table *table, uint64_t ino);
/* Returns a reference to the inode; NULL: it is not there. */
struct inode *inode_table_find(struct inode_table *table, uint64_t ino);
struct inode *inode_ref(struct inode_table *table, struct inode *inode);
void inode_put(struct inode_table *table, struct inode *inode); /* NULL is allowed */
/* Calls @each for the inodes that @wanted chooses: @wanted with the inode's lock held, @each with a
 * reference and without locks. Errors: -ENOMEM, and nothing was done. */
int inode_table_each(struct inode_table *table, bool (*wanted)(const struct inode *inode),
		     void (*each)(void *user, struct inode *inode), void *user);
uint32_t inode_table_count(struct inode_table *table);

/* ---- attributes. Locks: none. */

/* Errors: -EIO when the message makes no sense. */
int inode_attr_decode(const Catena__Attr *message, struct attr *out);
/* Does what inode_writeback_failed() does. Locks: takes the inode's. */
void inode_tell_failed(struct inode *inode, int error);
static inline bool attr_is_regular(const struct attr *attr)
{
	return S_ISREG(attr->mode);
}
static inline bool attr_trim_pending(const struct attr *attr)
{
	return attr->trim_to > attr->trim_from;
}

/* ---- what is known. Locks: the inode's, for all that follows. */

/* Takes over what the master said in answer to a request sent in @generation, unless something
 * newer is known. It may tell of a truncation that was not known. Then writes from before that are
 * cut off, and later ones stay. */
void inode_attr_apply(struct inode *inode, const struct attr *attr, uint64_t generation);
/* Makes attr inexact: something may have changed that this mount was not told of. */
void inode_distrust(struct inode *inode);
/* Says whether attr has the effect of every command that is under way. */
static inline bool inode_up_to_date(const struct inode *inode)
{
	return inode->commands.under_way == inode->commands.answered_early;
}
/* Says whether attr is exact, for a caller that has seen the lease (@sole) and its @generation. */
static inline bool inode_exact(const struct inode *inode, bool sole, uint64_t generation)
{
	return sole && inode->known && inode->attr_generation == generation;
}
/* What programs see: attr with `local` over it. */
uint64_t inode_size(const struct inode *inode);
int64_t inode_mtime(const struct inode *inode);
int64_t inode_atime(const struct inode *inode);
void inode_stat(const struct inode *inode, struct stat *out);
/* Says whether st_blocks of inode_stat() is only an upper bound: then the chains have to be asked
 * what is there. */
bool inode_blocks_unknown(const struct inode *inode);
/* Notes that a hole was made in the file. */
void inode_made_hole(struct inode *inode);
/* Notes how many @bytes the chains have, together with what is on its way to them; with @exact
 * nothing is. @write_seq and @version: the inode's, when the chains were asked. */
void inode_set_blocks(struct inode *inode, uint64_t bytes, bool exact, uint64_t write_seq,
		      uint64_t version);

/* ---- what is done here */

/* Notes that a write of [offset, end) was accepted. @exact: the size that is known is the
 * file's. */
void inode_wrote(struct inode *inode, uint64_t offset, uint64_t end, int64_t now, bool exact);
/* Notes a change of the content that left the size as it was. */
void inode_touched(struct inode *inode, int64_t now);
enum atime_mode { ATIME_RELATIVE, ATIME_STRICT, ATIME_NEVER };
/* Notes that a program has read. True: the time of the last read was changed. */
bool inode_was_read(struct inode *inode, enum atime_mode mode, int64_t now);

/* ---- telling the master: begin, check right before sending, fill, done with the answer */

/* What the master should be told, as it was at one moment. */
struct inode_update {
	uint32_t mask; /* SET_*; 0: nothing */
	uint64_t size, file_id;
	int64_t mtime, ctime, atime;
	uint64_t write_seq, truncate_seq, truncations;
};
/* Takes what there is to tell. */
void inode_update_begin(const struct inode *inode, struct inode_update *update);
/* A flush of all that the inode has is begun: what is written from now on is young again for the
 * background's. Locks: the inode's. */
void inode_flush_begun(struct inode *inode);
/* Leaves out what does not hold any more, because time has passed since _begin(). Whatever changes
 * after this is seen by the master: by the number of truncations, by the times. */
void inode_update_check(const struct inode *inode, struct inode_update *update);
/* Says whether the update gives the inode a new version. Times of reads do not: no cache depends on
 * them. */
bool inode_update_changes_version(const struct inode_update *update);
void inode_update_fill(const struct inode *inode, const struct inode_update *update,
		       Catena__SetattrReq *setattr);
/* Notes that the master has done it. */
void inode_update_done(struct inode *inode, const struct inode_update *update);
/* Gives up what there is to tell: the inode was truncated, or its file is another. @shared: other
 * mounts may have the version that this gave, and take it for one with our last writes. */
void inode_update_forget(struct inode *inode, bool shared);
/* Notes that a program has set mtime, and nothing was written since it asked. @shared: as above. */
void inode_mtime_set(struct inode *inode, bool shared);

/* ---- what else is remembered */

void inode_set_symlink(struct inode *inode, const void *target, size_t size);
/* Notes the names of all xattrs; NULL and 0: there are none. */
void inode_set_xattrs(struct inode *inode, const void *names, size_t size, uint64_t generation);
/* Notes that something is read in @generation of the lease (0: without it). True: what was read
 * ahead before is not to be believed any more. */
bool inode_fetched(struct inode *inode, uint64_t generation);

/* ---- errors that come after a write was accepted */

/* Keeps @error (-errno) for the handles of the inode. */
void inode_writeback_failed(struct inode *inode, int error);
/* Returns the number of errors that a new handle counts as told: all, but not the last one when no
 * fsync has told that. */
uint32_t inode_errors_seen(const struct inode *inode);
/* Returns the last error if it came after the first @seen; 0: none did. */
int inode_error(const struct inode *inode, uint32_t seen);
/* Returns the same for an fsync, which counts it as told: to this handle, and to later ones. */
int inode_take_error(struct inode *inode, uint32_t *seen);
/* Gives up what there is to tell of writes, and keeps -EIO: it is lost with the session before
 * @session. */
void inode_lose(struct inode *inode, uint64_t session);
#endif
