#include "common/os/buf.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/os/lock.h"
#include "common/os/pages.h"

#if defined(__SANITIZE_ADDRESS__)
/* Idle buffers are poisoned: recycling would otherwise hide every use after the last unref. */
#include <sanitizer/asan_interface.h>
#define POISON(addr, size)   ASAN_POISON_MEMORY_REGION(addr, size)
#define UNPOISON(addr, size) ASAN_UNPOISON_MEMORY_REGION(addr, size)
#else
#define POISON(addr, size)   ((void)0)
#define UNPOISON(addr, size) ((void)0)
#endif

#define CLASS_COUNT   7
#define CLASS_WRAPPED UINT32_MAX

/* Payload room; each has a block more, because the payload may start anywhere in its first. */
static const uint32_t class_size[CLASS_COUNT] = {
	4u << 10, 16u << 10, 64u << 10, 128u << 10, 256u << 10, 512u << 10, FRAME_PAYLOAD_MAX,
};

/* One lock per pool: what it guards is a list's head and two numbers, far less than the work done
 * on any buffer between two visits. */
struct buf_pool {
	pthread_mutex_t lock;
	size_t limit;
	atomic_size_t used; /* handed out; written under the lock */
	size_t allocated;   /* used + idle */
	struct buf *idle[CLASS_COUNT];
};

static uint32_t class_capacity(uint32_t size_class)
{
	return class_size[size_class] + BLOCK_SIZE;
}

static struct buf *buf_struct(uint32_t crcs)
{
	struct buf *buf = malloc(sizeof(*buf) + crcs * sizeof(uint32_t));

	if (buf == NULL)
		return NULL;
	*buf = (struct buf){.crcs = (uint32_t *)(buf + 1)};
	return buf;
}

static struct buf *buf_create(struct buf_pool *pool, uint32_t size_class)
{
	uint32_t capacity = class_capacity(size_class);
	struct buf *buf = buf_struct(capacity / BLOCK_SIZE + 1);

	if (buf == NULL)
		return NULL;
	buf->data = pages_get(capacity);
	if (buf->data == NULL) {
		free(buf);
		return NULL;
	}
	buf->capacity = capacity;
	buf->size_class = size_class;
	buf->pool = pool;
	return buf;
}

static void buf_free_list(struct buf *buf)
{
	while (buf != NULL) {
		struct buf *next = buf->next;

		UNPOISON(buf->data, buf->capacity);
		pages_put(buf->data, buf->capacity);
		free(buf);
		buf = next;
	}
}

int buf_pool_create(size_t limit, struct buf_pool **out)
{
	struct buf_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pool->limit = limit == 0 ? SIZE_MAX : limit;
	*out = pool;
	return 0;
}

void buf_pool_destroy(struct buf_pool *pool)
{
	if (pool == NULL)
		return;
	/* A buffer still out there would come back to freed memory. */
	expects(atomic_load(&pool->used) == 0);
	for (int i = 0; i < CLASS_COUNT; i++)
		buf_free_list(pool->idle[i]);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* Takes idle buffers off their lists, largest first, until @need more bytes fit into the limit.
 * They fit in the end, because handed out + @need do. The caller frees the buffers. Locks: the
 * pool's. */
static struct buf *evict(struct buf_pool *pool, size_t need)
{
	struct buf *out = NULL;

	lock_held(&pool->lock);
	for (int i = CLASS_COUNT - 1; i >= 0; i--) {
		while (pool->idle[i] != NULL && pool->limit - need < pool->allocated) {
			struct buf *buf = pool->idle[i];

			pool->idle[i] = buf->next;
			expects(pool->allocated >= buf->capacity);
			pool->allocated -= buf->capacity;
			buf->next = out;
			out = buf;
		}
	}
	return out;
}

struct buf *buf_get(struct buf_pool *pool, uint32_t size)
{
	struct buf *buf, *evicted = NULL;
	uint32_t size_class = 0, capacity;
	size_t used;

	if (size > FRAME_PAYLOAD_MAX)
		return NULL;
	while (class_size[size_class] < size)
		size_class++;
	capacity = class_capacity(size_class);

	pthread_mutex_lock(&pool->lock);
	used = atomic_load_explicit(&pool->used, memory_order_relaxed);
	if (pool->limit < capacity || used > pool->limit - capacity) {
		pthread_mutex_unlock(&pool->lock);
		return NULL;
	}
	atomic_store_explicit(&pool->used, used + capacity, memory_order_relaxed);
	buf = pool->idle[size_class];
	if (buf != NULL) {
		pool->idle[size_class] = buf->next;
	} else {
		evicted = evict(pool, capacity);
		pool->allocated += capacity;
	}
	pthread_mutex_unlock(&pool->lock);

	if (buf == NULL) {
		buf_free_list(evicted);
		buf = buf_create(pool, size_class);
		if (buf == NULL) {
			pthread_mutex_lock(&pool->lock);
			pool->allocated -= capacity;
			used = atomic_load_explicit(&pool->used, memory_order_relaxed);
			atomic_store_explicit(&pool->used, used - capacity, memory_order_relaxed);
			pthread_mutex_unlock(&pool->lock);
			return NULL;
		}
	} else {
		UNPOISON(buf->data, buf->capacity);
	}
	buf->start = 0;
	buf->length = 0;
	buf->next = NULL;
	atomic_store_explicit(&buf->refs, 1, memory_order_relaxed);
	return buf;
}

struct buf *buf_wrap(struct buf_pool *pool, void *data, uint32_t size, void (*free_fn)(void *arg),
		     void *arg)
{
	/* A payload that starts inside a block touches one block more. */
	struct buf *buf = buf_struct(size / BLOCK_SIZE + 2);

	if (buf == NULL)
		return NULL;
	buf->data = data;
	buf->capacity = size;
	buf->length = size;
	buf->size_class = CLASS_WRAPPED;
	buf->pool = pool;
	buf->wrapped_free = free_fn;
	buf->wrapped_arg = arg;
	atomic_store_explicit(&buf->refs, 1, memory_order_relaxed);
	return buf;
}

struct buf *buf_ref(struct buf *buf)
{
	unsigned before = atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);

	expects(before > 0);
	return buf;
}

static void buf_recycle(struct buf *buf)
{
	struct buf_pool *pool = buf->pool;
	size_t used;

	POISON(buf->data, buf->capacity);
	pthread_mutex_lock(&pool->lock);
	buf->next = pool->idle[buf->size_class];
	pool->idle[buf->size_class] = buf;
	used = atomic_load_explicit(&pool->used, memory_order_relaxed);
	expects(used >= buf->capacity && used <= pool->allocated);
	atomic_store_explicit(&pool->used, used - buf->capacity, memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
}

void buf_unref(struct buf *buf)
{
	unsigned before;

	if (buf == NULL)
		return;
	before = atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel);
	expects(before > 0);
	if (before > 1)
		return;
	if (buf->size_class != CLASS_WRAPPED) {
		buf_recycle(buf);
		return;
	}
	if (buf->wrapped_free != NULL)
		buf->wrapped_free(buf->wrapped_arg);
	free(buf);
}

size_t buf_pool_used(const struct buf_pool *pool)
{
	return atomic_load_explicit(&pool->used, memory_order_relaxed);
}

size_t buf_pool_held(struct buf_pool *pool)
{
	size_t held;

	pthread_mutex_lock(&pool->lock);
	held = pool->allocated;
	pthread_mutex_unlock(&pool->lock);
	return held;
}

size_t buf_pool_limit(const struct buf_pool *pool)
{
	return pool->limit == SIZE_MAX ? 0 : pool->limit;
}
