/* fs.h - struct fs, the mounted filesystem: what all floors of the mount share.
 *
 * While the lease is held ("sole"), what this mount knows is exact if it was asked for under the
 * same generation of the lease. The kernel may then keep replies for META_KERNEL_TIMEOUT_MS, or for
 * what is left of the lease. Names, attributes and pages are not asked for again, opens are not
 * told. Without the lease every name and attribute is asked for each time. Data is then written
 * back at close and looked at anew at open.
 *
 * Each part is made by the floor that it belongs to, and known here by its name only.
 *
 * Locks: gate and inode, flush list, table of inodes, table of tasks, in this order. None of them
 * is held during meta_call(), fuse_*(), or a call of data_*() that sends or calls back.
 * Thread: answers of the master come on one thread, the RPC thread, which alone applies them.
 * Handlers never block. */
#ifndef CATENA_FS_INODES_FS_H
#define CATENA_FS_INODES_FS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/data/data.h"
#include "fs/inodes/dircache.h"
#include "fs/inodes/inode.h"
#include "fs/session/meta.h"

/* Below this much space left, close() writes back first, so that programs hear of a full disk. */
#define FS_SPACE_CAREFUL (1ull << 30)
/* As large as ext4's; also bounds the work of punching a sparse file. */
#define FS_FILE_BYTES_MAX (16ull << 40)

struct early_answers;
struct flush_list;
struct fuse_session;
struct housekeeper;
struct lease_return;
struct page_drops;
struct root_wait;
struct task_table;

struct fs {
	struct fuse_session *session; /* NULL: no kernel, or not any more */
	struct meta *meta;
	struct data *data;
	struct inode_table *inodes;
	struct dircache *dirs;
	struct task_table *tasks;
	struct flush_list *flush_list;
	struct housekeeper *housekeeper;
	struct lease_return *lease_return;
	struct page_drops *page_drops;
	struct early_answers *early_answers;
	struct root_wait *root_wait;
	enum atime_mode atime;
	bool atime_directories;
	/* The session that is. What was decided in another must not be done in this one: each task
	 * has that of its beginning. */
	_Atomic uint64_t session_id;
	/* In every file handle: one that was taken in another cluster of this address is stale. Set
	 * before mounting. */
	uint32_t handle_generation;
	atomic_bool read_only; /* the kernel lets nothing be written: no times of reads either */
	atomic_bool leaving;   /* the master is asked for nothing more */
	/* Look-ups hold what they find until then, 0: never; and how many are held (removed.h). */
	_Atomic uint64_t holding_until_ns;
	_Atomic uint32_t held;
	/* Commands answered, and how many of them the master has made durable. */
	_Atomic uint64_t changes, changes_flushed;
	/* Appends under way that nobody else can get in the way of: the lease is not given back
	 * before they are where they go. */
	atomic_uint appends_alone;
};

/* ---- the lease ---- */

struct meta_view { /* what holds at one moment */
	uint64_t generation;
	bool sole;
	uint64_t grant; /* of a command that is answered early: the master's number of that lease */
};

static inline struct meta_view fs_view(const struct fs *fs)
{
	/* In this order: if the generation is still the same later, so was the lease. */
	struct meta_view view = {.generation = meta_generation(fs->meta)};

	view.sole = meta_sole(fs->meta);
	return view;
}
/* What was asked for in @generation is exact now. */
static inline bool fs_current(const struct fs *fs, uint64_t generation)
{
	return meta_generation(fs->meta) == generation && meta_sole(fs->meta);
}
/* For how long the kernel may keep what a reply says: it goes on by itself when we stand still, so
 * never beyond the lease's end. */
static inline double fs_kernel_timeout_s(const struct fs *fs, bool cacheable)
{
	uint64_t left_ms = cacheable ? meta_lease_left_ns(fs->meta) / NS_PER_MSEC : 0;

	return (double)(left_ms < META_KERNEL_TIMEOUT_MS ? left_ms : META_KERNEL_TIMEOUT_MS) /
	       1000.0;
}

/* An encoded name, borrowed. */
static inline ProtobufCBinaryData fs_bytes_of(const char *text, size_t size)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = size};
}
#endif
