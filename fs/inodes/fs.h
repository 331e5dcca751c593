/* fs.h - the mounted filesystem: what its operations share. Internal to fs/.
 *
 * Who may conclude what. While the lease is held ("sole"), what this mount knows is exact, if it
 * was asked for under the same generation of the lease: replies to the kernel may be kept by it for
 * META_KERNEL_TIMEOUT_MS (or what is left of the lease), names, attributes and pages need not be
 * asked for again, opens need not be told. Otherwise every name and attribute is asked for each
 * time, and data is written back at close and looked at anew at open.
 *
 * Opens. An inode lives in the master while some session has it open. While sole nobody else can
 * unlink, so nothing is told; before an unlink of ours that hits an inode in use here, and for all
 * open inodes before the lease is given back, the master is told ("registered").
 *
 * Answers of the master come on one thread, which alone applies them, so what it does to an inode
 * is never interleaved. Handlers never block.
 *
 * Lock order: gate and inode, flush list, table, task table; none of them is held during a call of
 * data_*(), meta_call() or fuse_*(). */
#ifndef CATENA_FS_INODES_FS_H
#define CATENA_FS_INODES_FS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/lease/early_answer.h"
#include "fs/data/data.h"
#include "fs/inodes/dircache.h"
#include "fs/kernel/fuse_api.h"
#include "fs/inodes/inode.h"
#include "fs/session/meta.h"
#include "fs/kernel/root_wait.h"
#include "fs/kernel/task.h"

/* Below this much space left, close() writes back first, so that programs hear of a full disk. */
#define FS_SPACE_CAREFUL (1ull << 30)
/* As large as ext4's; also bounds the work of punching a sparse file. */
#define FS_FILE_BYTES_MAX (16ull << 40)

struct flush_list;
struct page_drops;
struct housekeeper;
struct lease_return;

struct fs {
	struct fuse_session *session;
	struct meta *meta;
	struct data *data;
	struct inode_table *inodes;
	struct dircache *dirs;
	struct task_table *tasks;
	struct flush_list *flush_list;
	struct housekeeper *housekeeper;
	struct lease_return *lease_return;
	struct page_drops *page_drops;
	enum atime_mode atime;
	bool atime_directories;
	struct early_answers early_answers;
	struct root_wait root_wait;
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
	_Atomic uint64_t changes, synced;
	/* Appends under way that nobody else can get in the way of: the lease is not given back
	 * before they are where they go. */
	atomic_uint appends_alone;
};

/* Of an open file. Referenced by the kernel until release, and by every task that uses it: an
 * interrupted program may close while the rest of its request is still under way. */
struct handle {
	atomic_uint refs;
	struct inode *inode;  /* a reference */
	uint32_t flags;       /* of open(2) */
	uint32_t errors_seen; /* of inode->writeback_errors */
	uint32_t losses;      /* inode->losses when it was opened: more, and it writes no more */
	bool atime_done;
	/* Its open makes the kernel drop the pages that it has of the file. That has been done when
	 * the handle is used for the first time; from then on the pages are of these. */
	atomic_bool drops_pages;
	uint64_t page_generation, page_version; /* one of them is 0 */
};

struct fs_settings {
	struct data_options data;
	enum atime_mode atime;
	bool atime_directories;
};
/* Without a master yet: fs->meta is the caller's to set (and to close, before fs_destroy()). */
int fs_create(const struct fs_settings *settings, struct fs **out, char *error, size_t error_size);
void fs_destroy(struct fs *fs);
/* What the session needs to tell us; user is the fs. */
extern const struct meta_callbacks fs_meta_callbacks;
struct handle *handle_ref(struct handle *handle);
void handle_unref(struct fs *fs, struct handle *handle); /* NULL is allowed */
/* The kernel has used the handle: whatever its open made the kernel do is done. */
void handle_used(struct handle *handle);
void dir_handle_unref(struct fs *fs, struct dir_handle *dir); /* NULL is allowed */
/* All handlers; the session's userdata is the fs. */
extern const struct fuse_lowlevel_ops fs_operations;
/* Before the mount ends or becomes read-only: everything written so far is with all copies, their
 * disks and the master. What programs have written and nobody but we have is waited for at most
 * @timeout_ns: -ETIMEDOUT, or the first error. When only the word is missing that it is on the
 * disks, and the master from which it should come is away for FS_LEAVE_NS: -EHOSTDOWN. Nothing is
 * lost with this mount then. */
#define FS_LEAVE_NS (2 * NS_PER_SEC)
int fs_leave(struct fs *fs, uint64_t timeout_ns);

/* ---- the lease ---- */
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
static inline double fs_timeout(const struct fs *fs, bool cacheable)
{
	uint64_t left_ms = cacheable ? meta_lease_left_ns(fs->meta) / NS_PER_MSEC : 0;

	return (double)(left_ms < META_KERNEL_TIMEOUT_MS ? left_ms : META_KERNEL_TIMEOUT_MS) /
	       1000.0;
}

/* ---- inodes (fs.c) ---- */
/* Applies what the master said; the inode by its number, or the one given. NULL: no memory, or
 * senseless (an attr of NULL too). The result is a new reference. RPC thread. */
struct inode *fs_inode_of(struct fs *fs, const Catena__Attr *message, uint64_t generation);
/* 0, or -EIO: senseless, or of another inode. NULL: nothing was said; that is allowed. */
int fs_apply(struct fs *fs, struct inode *inode, const Catena__Attr *message, uint64_t generation);
/* A command about the inode is sent; it has been answered. What no answer was given to is not
 * trusted any more. */
void fs_change_begin(struct inode *inode);
void fs_change_end(struct fs *fs, struct inode *inode, bool answered);
/* The same for one that was durable when it was answered. */
void fs_change_synced(struct inode *inode);
/* The file's data, opened when it is not yet. A reference of the caller's. NULL with *error. */
struct data_file *fs_data(struct fs *fs, struct inode *inode, int *error);
/* The same, but only if it is open. */
struct data_file *fs_data_if_open(struct inode *inode);
/* The bytes of a closed file are gone for good: they need not come to any disk. */
void fs_discard(struct fs *fs, uint32_t pool, uint64_t file_id);
/* Nobody has the inode open any more: what can be let go of is. No lock held. */
void fs_unused(struct fs *fs, struct inode *inode);
/* The master counts one open more; no waiting, later commands come after it. */
void fs_register(struct fs *fs, struct inode *inode);

/* ---- replies (kernel/reply.c) ---- */
/* Each claims, answers and ends the task; or just answers a request that has none. */
void answer_entry(struct task *task, struct inode *inode, bool cacheable);
void answer_attr(struct task *task, struct inode *inode, bool cacheable);
void entry_of(struct fs *fs, struct inode *inode, bool cacheable, struct fuse_entry_param *entry);
/* The errno of a request that failed with @error (-errno), for programs. */
int reply_error(int error);

/* ---- requests ---- */
/* An encoded name, borrowed. */
static inline ProtobufCBinaryData bytes_of(const char *text, size_t size)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = size};
}
static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}
#endif
