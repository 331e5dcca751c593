/* fuse_loop.h - the threads that read requests from the kernel and call the handlers.
 *
 * A request of 1 MiB is read into a buffer of the thread's; a handler that wants to keep the
 * payload of a write takes that buffer over (fuse_loop_steal()) and the thread goes on with
 * another: no copy. Buffers are used again, never given back while the loop lives, because the
 * first touch of their pages is dearer than a copy.
 *
 * It also stands between libfuse and the kernel where libfuse 3.14 says less than it could: see
 * fuse_loop_attach(). */
#ifndef CATENA_FS_KERNEL_FUSE_LOOP_H
#define CATENA_FS_KERNEL_FUSE_LOOP_H
#include <stddef.h>
#include <stdint.h>
#include "common/os/buf.h"
#include "fs/kernel/fuse_api.h"

/* Below this, copying is cheaper than the bookkeeping. */
#define FUSE_LOOP_STEAL_MIN (16u << 10)

struct fuse_loop;

/* @threads that read; at most @stolen_max buffers are with handlers at a time. */
int fuse_loop_create(struct fuse_session *session, unsigned threads, unsigned stolen_max,
		     struct fuse_loop **out);
/* After fuse_session_mount(), before the start. */
int fuse_loop_attach(struct fuse_loop *loop);
int fuse_loop_start(struct fuse_loop *loop);
/* Ends the threads, wherever they are, and waits for them. */
void fuse_loop_stop(struct fuse_loop *loop);
/* Becomes readable when the kernel has ended the connection (umount, abort). */
int fuse_loop_ended_fd(const struct fuse_loop *loop);
/* All stolen buffers must be back. */
void fuse_loop_destroy(struct fuse_loop *loop);

/* In a handler: the request's buffer, as payload of @size bytes at @data inside it. NULL: too
 * small, too many, or not called by a thread of the loop; then copy. */
struct buf *fuse_loop_steal(struct buf_pool *pool, const char *data, size_t size);
/* What of the flags of INIT (linux/fuse.h) the kernel offers is agreed to, beside what libfuse
 * knows of and does. In the handler of INIT. */
void fuse_loop_want(uint32_t flags);
#endif
