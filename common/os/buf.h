/* buf.h - pooled, aligned, reference-counted payload buffers.
 *
 * Buffers are recycled: the first touch of a page is the dearest copy there is. They return to the
 * system only when another size needs their room in the limit, or with the pool.
 *
 * data is aligned to BLOCK_SIZE (for O_DIRECT). It holds one payload of up to FRAME_PAYLOAD_MAX
 * bytes, which may start anywhere in the first block. A payload at chunk offset o is put at
 * data + o % BLOCK_SIZE, so that block boundaries in the chunk are aligned addresses. Beside it
 * there is room for the payload's block checksums.
 *
 * Thread: any. The holder of the only reference may write; a shared buffer is read-only. */
#ifndef CATENA_COMMON_OS_BUF_H
#define CATENA_COMMON_OS_BUF_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/block.h"

#define FRAME_PAYLOAD_MAX (1u << 20)

struct buf_pool;
struct buf {
	uint8_t *data;     /* capacity bytes, aligned to BLOCK_SIZE unless wrapped */
	uint32_t capacity; /* at least what was asked */
	uint32_t start;    /* payload = data + start */
	uint32_t length;   /* payload bytes */
	uint32_t *crcs;    /* room for the checksums of any payload that fits */
	/* private to buf.c */
	atomic_uint refs;
	uint32_t size_class;
	struct buf_pool *pool;
	struct buf *next;
	void (*wrapped_free)(void *arg);
	void *wrapped_arg;
};

/* Makes a pool that hands out at most @limit bytes at a time (0: no limit). A buffer counts with
 * its whole capacity. Idle buffers never go beyond the limit either. Errors: -ENOMEM. */
int buf_pool_create(size_t limit, struct buf_pool **out);
/* Frees the pool. All its buffers must have been returned. NULL is allowed. */
void buf_pool_destroy(struct buf_pool *pool);
/* Returns a buffer with room for @size payload bytes (at most FRAME_PAYLOAD_MAX) at any start below
 * BLOCK_SIZE. Its start and length are 0. NULL: the limit is reached, or out of memory. Never
 * waits.
 */
struct buf *buf_get(struct buf_pool *pool, uint32_t size);
/* Returns a buffer around memory of the caller's, with room for checksums at any chunk offset. It
 * does not count in the limit; start is 0, length is @size. free(arg) is called when the last
 * reference goes, on that thread. @free and @pool may be NULL. NULL: out of memory; @free is not
 * called. */
struct buf *buf_wrap(struct buf_pool *pool, void *data, uint32_t size, void (*free)(void *arg),
		     void *arg);
struct buf *buf_ref(struct buf *buf);
void buf_unref(struct buf *buf);                    /* NULL is allowed */
size_t buf_pool_used(const struct buf_pool *pool);  /* bytes handed out */
size_t buf_pool_held(struct buf_pool *pool);        /* with the idle ones; at most the limit */
size_t buf_pool_limit(const struct buf_pool *pool); /* 0: none */

static inline uint8_t *buf_payload(const struct buf *buf)
{
	return buf->data + buf->start;
}
#endif
