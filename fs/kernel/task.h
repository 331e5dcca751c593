/* task.h - one request of the kernel that is answered later than its handler returns.
 *
 * A task is answered exactly once. Mostly its owner answers it when its work is done. If the
 * program was interrupted INTERRUPT_PATIENCE_NS before that, task_tick() answers EINTR. Programs
 * expect a local disk, where a signal does not end a read: so a signal that is handled quickly
 * never shows. A signal that is to end a program which waits for dead machines always works.
 *
 * A task lives until task_end(), answered or not: what it started still ends, and its effects on
 * caches count. libfuse knows a task by generation and number, and the memory of tasks stays while
 * the table lives. So an interrupt that comes too late finds another generation.
 *
 * Thread: a task has one owner at a time (the handler, then the callback that goes on with it).
 * Only task_tick() and interrupts come from outside. */
#ifndef CATENA_FS_KERNEL_TASK_H
#define CATENA_FS_KERNEL_TASK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "common/cluster/namespace_rules.h"
#include "fs/kernel/fuse_api.h"
#include "fs/inodes/inode_gate.h"
#include "fs/kernel/page_drops.h"

/* An interrupted program waits at most so long. */
#define INTERRUPT_PATIENCE_NS NS_PER_SEC

struct fs;
struct handle;
struct dir_handle;
struct inode;
struct buf;

struct task {
	/* task.c's */
	_Atomic uint64_t state; /* generation << 2 | flags */
	uint32_t number;
	struct task *next_free;
	uint64_t interrupted_at_ns;
	fuse_req_t req;

	/* The operation's. Inodes are references, put by task_end(). */
	struct fs *fs;
	uint64_t session;                   /* the session in which it began */
	struct task *root_next, *root_prev; /* root_wait.h, and the two below */
	uint64_t root_since_ns;
	void (*root_known)(struct task *task);
	struct inode *inode, *parent, *new_parent, *victim;
	struct handle *handle;
	struct dir_handle *dir;
	uint64_t generation; /* of the lease when the request to the master was sent */
	uint64_t token;      /* of dircache_read_begin() */
	uint64_t seq;        /* a number that the operation compares or counts by */
	uint64_t changes;    /* fs->changes when a durable command was sent */
	uint64_t parent_ino, new_parent_ino;
	struct inode_gate_entry gate;
	bool registers; /* the master is asked to count an open */
	bool datasync;  /* an fdatasync */
	bool reread;    /* a create: if others have made the name, the kernel is to look again */
	bool is_fsync;  /* fsync, not close */
	bool alone;     /* counts among fs->appends_alone */
	bool paged;     /* counts among inode->pages.requests */
	bool direct;    /* reads or writes past the kernel's pages */
	bool has_right; /* to append to task->inode */
	bool durable;   /* the command to the master is answered when it is durable */
	uint32_t flags;
	struct { /* setattr */
		uint32_t mask, mode, uid, gid;
		int64_t atime, mtime;
	} set;
	uint64_t offset, length, size, size_before;
	/* What a file that is cut to nothing gets, 0: the master chooses; and from where it is. */
	uint64_t new_file_id;
	unsigned file_id_range;
	uint64_t wanted; /* where the kernel takes the end to be, for an append */
	struct page_drop drop;
	/* What goes on when a part of the work is done that several operations have. */
	void (*appended)(struct task *task, int error);
	void (*truncated)(struct task *task, int error);
	void (*cleared)(struct task *task, int error);
	void (*go)(struct task *task);
	struct buf *payload;
	char *text; /* malloc()ed */
	struct fuse_file_info fi;
	char name[NAME_BYTES_MAX + 1], new_name[NAME_BYTES_MAX + 1];
};

struct task_table;

/* @interrupted (may be NULL) is called when task_tick() has something to wait for. Errors:
 * -ENOMEM. */
int task_table_create(void (*interrupted)(void *user), void *user, struct task_table **out);
void task_table_destroy(struct task_table *table);

/* Makes a task of the request, in the present session. NULL: out of memory, and @req has been
 * answered so. */
struct task *task_begin(struct fs *fs, fuse_req_t req);
/* Notes whether the read or write by task->handle is of the kernel's pages. It is when it has no
 * owner: the kernel names the owner of what goes past its pages. */
void task_of_pages(struct task *task, const struct fuse_file_info *fi);
/* True: the caller must answer task->req now. False: it was answered already. */
bool task_claim(struct task *task);
/* Says whether the task was answered, so that its program does not wait any more. */
bool task_answered(const struct task *task);
/* Ends an answered task, and puts what it refers to. */
void task_end(struct task *task);
/* Returns the errno that programs get for @error (-errno): some are for use inside only. */
int task_errno(int error);
/* Claims, answers with @error (0 or -errno), and ends. */
void task_fail(struct task *task, int error);

/* Answers interrupted tasks that are due at @now_ns (monotonic). True: others are not due yet.
 * Thread: the housekeeper's. */
bool task_tick(struct task_table *table, uint64_t now_ns);
/* Returns how many tasks have begun and not ended. */
uint32_t task_count(struct task_table *table);
#endif
