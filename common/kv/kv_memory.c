/* kv_memory.c - the store's twin in memory, for simulation: same order, same snapshots, and power
 * cuts and write failures on demand.
 *
 * Each family is a persistent treap: nodes are immutable once shared and counted, an update copies
 * the path to the root. So a snapshot is a reference to a root; a batch is atomic because the new
 * roots replace the old ones together; what a power cut leaves is the roots of the last flush.
 * Priorities are a hash of the key, so that equal runs build equal trees. */
#include "common/kv/kv.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "common/kv/kv_internal.h"

#define DEPTH_MAX 256 /* expected depth of 2^32 keys is under 100 */

struct node {
	atomic_uint refs;
	uint64_t priority;
	struct node *left, *right; /* counted */
	size_t key_size, value_size;
	uint8_t bytes[]; /* key, value */
};

struct kv_memory {
	struct kv kv;
	pthread_mutex_t lock;
	struct node **roots;   /* what readers see */
	struct node **flushed; /* what a power cut leaves */
	int down;
	int fail_in; /* the write that fails, counted down; 0: none */
	int fail_error;
};

struct memory_iter {
	struct kv_iter iter;
	struct node *root; /* counted: the snapshot */
	struct node *stack[DEPTH_MAX];
	int depth;
	size_t end_size;
	bool bounded;
	uint8_t end[];
};

static struct kv_memory *of(const struct kv *kv)
{
	return (struct kv_memory *)kv;
}

/* ---- nodes ---- */

static uint64_t hash_bytes(const uint8_t *bytes, size_t size)
{
	uint64_t h = 0x9e3779b97f4a7c15ull ^ size;

	for (size_t i = 0; i < size; i++) {
		h = (h ^ bytes[i]) * 0x100000001b3ull;
		h ^= h >> 29;
	}
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

static struct node *node_ref(struct node *node)
{
	if (node != NULL)
		atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
	return node;
}

static void node_unref(struct node *node)
{
	while (node != NULL &&
	       atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) == 1) {
		struct node *right = node->right;

		node_unref(node->left);
		free(node);
		node = right;
	}
}

static struct node *node_new(const void *key, size_t key_size, const void *value, size_t value_size)
{
	struct node *node = malloc(sizeof(*node) + key_size + value_size);

	if (node == NULL)
		return NULL;
	atomic_init(&node->refs, 1);
	node->left = node->right = NULL;
	node->key_size = key_size;
	node->value_size = value_size;
	if (key_size > 0)
		memcpy(node->bytes, key, key_size);
	if (value_size > 0)
		memcpy(node->bytes + key_size, value, value_size);
	node->priority = hash_bytes(node->bytes, key_size);
	return node;
}

/* Takes the reference @node; gives one to a node with the same content and no other reference. */
static struct node *node_own(struct node *node)
{
	struct node *copy;

	if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1)
		return node;
	copy = node_new(node->bytes, node->key_size, node->bytes + node->key_size,
			node->value_size);
	if (copy != NULL) {
		copy->left = node_ref(node->left);
		copy->right = node_ref(node->right);
	}
	node_unref(node);
	return copy;
}

static int key_compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	size_t common = a_size < b_size ? a_size : b_size;
	int order = common == 0 ? 0 : memcmp(a, b, common);

	if (order != 0)
		return order;
	return a_size < b_size ? -1 : a_size > b_size;
}

/* ---- the treap: functions take the references they are given, and give one back ---- */

/* Keys below @key to *left, the others to *right. False: out of memory (all references gone). */
static bool split(struct node *node, const uint8_t *key, size_t key_size, struct node **left,
		  struct node **right)
{
	struct node *child;
	bool ok;

	*left = *right = NULL;
	if (node == NULL)
		return true;
	node = node_own(node);
	if (node == NULL)
		return false;
	if (key_compare(node->bytes, node->key_size, key, key_size) < 0) {
		child = node->right;
		node->right = NULL;
		ok = split(child, key, key_size, &node->right, right);
		*left = node;
	} else {
		child = node->left;
		node->left = NULL;
		ok = split(child, key, key_size, left, &node->left);
		*right = node;
	}
	if (!ok) {
		node_unref(*left);
		node_unref(*right);
		*left = *right = NULL;
	}
	return ok;
}

/* All keys of @left are below all of @right. */
static bool merge(struct node *left, struct node *right, struct node **out)
{
	struct node *child, *top;
	bool ok;

	*out = left == NULL ? right : left;
	if (left == NULL || right == NULL)
		return true;
	*out = NULL;
	if (left->priority > right->priority) {
		top = node_own(left);
		if (top == NULL) {
			node_unref(right);
			return false;
		}
		child = top->right;
		top->right = NULL;
		ok = merge(child, right, &top->right);
	} else {
		top = node_own(right);
		if (top == NULL) {
			node_unref(left);
			return false;
		}
		child = top->left;
		top->left = NULL;
		ok = merge(left, child, &top->left);
	}
	if (!ok) {
		node_unref(top);
		return false;
	}
	*out = top;
	return true;
}

/* Replaces the keys of [start, end) by @node (or nothing, NULL). *root is NULL after a failure. */
static bool replace_range(struct node **root, const uint8_t *start, size_t start_size,
			  const uint8_t *end, size_t end_size, struct node *node)
{
	struct node *left, *middle, *right, *tree = *root;

	*root = NULL;
	if (!split(tree, start, start_size, &left, &middle)) {
		node_unref(node);
		return false;
	}
	if (!split(middle, end, end_size, &middle, &right)) {
		node_unref(left);
		node_unref(node);
		return false;
	}
	node_unref(middle);
	if (!merge(left, node, &left)) {
		node_unref(right);
		return false;
	}
	return merge(left, right, root);
}

static const struct node *find(const struct node *node, const uint8_t *key, size_t key_size)
{
	while (node != NULL) {
		int order = key_compare(key, key_size, node->bytes, node->key_size);

		if (order == 0)
			return node;
		node = order < 0 ? node->left : node->right;
	}
	return NULL;
}

static bool apply_record(struct node **roots, const struct kv_record *record)
{
	struct node **root = &roots[record->family];
	struct node *node = NULL;
	uint8_t *after;
	bool ok;

	if (record->kind == KV_RECORD_DELETE_RANGE) {
		if (key_compare(record->key, record->key_size, record->value, record->value_size) >=
		    0)
			return true;
		return replace_range(root, record->key, record->key_size, record->value,
				     record->value_size, NULL);
	}
	if (record->kind == KV_RECORD_PUT) {
		node = node_new(record->key, record->key_size, record->value, record->value_size);
		if (node == NULL)
			return false;
	} else if (find(*root, record->key, record->key_size) == NULL) {
		return true;
	}
	/* The first key behind @key is @key with a zero byte. */
	after = calloc(1, record->key_size + 1);
	if (after == NULL) {
		node_unref(node);
		return false;
	}
	if (record->key_size > 0)
		memcpy(after, record->key, record->key_size);
	ok = replace_range(root, record->key, record->key_size, after, record->key_size + 1, node);
	free(after);
	return ok;
}

/* ---- operations ---- */

static int memory_get(struct kv *kv, unsigned family, const void *key, size_t key_size,
		      uint8_t **value, size_t *value_size)
{
	struct kv_memory *store = of(kv);
	const struct node *node;
	uint8_t *copy;
	int rc;

	pthread_mutex_lock(&store->lock);
	rc = store->down;
	if (rc != 0)
		goto out;
	node = find(store->roots[family], key, key_size);
	if (node == NULL) {
		rc = -ENOENT;
		goto out;
	}
	copy = malloc(node->value_size == 0 ? 1 : node->value_size);
	if (copy == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	memcpy(copy, node->bytes + node->key_size, node->value_size);
	*value = copy;
	*value_size = node->value_size;
out:
	pthread_mutex_unlock(&store->lock);
	return rc;
}

static void keep_roots(struct kv_memory *store, struct node **to, struct node **from)
{
	for (unsigned i = 0; i < store->kv.family_count; i++) {
		struct node *old = to[i];

		to[i] = node_ref(from[i]);
		node_unref(old);
	}
}

static int memory_write(struct kv *kv, const struct kv_batch *batch, bool durable)
{
	struct kv_memory *store = of(kv);
	struct node **next = calloc(store->kv.family_count, sizeof(struct node *));
	struct kv_record record;
	size_t position = 0;
	int rc;

	if (next == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&store->lock);
	rc = store->down;
	if (rc != 0)
		goto out;
	if (store->fail_in > 0 && --store->fail_in == 0) {
		rc = store->down = store->fail_error;
		goto out;
	}
	keep_roots(store, next, store->roots);
	while (rc == 0 && kv_batch_next(batch, &position, &record))
		if (!apply_record(next, &record))
			rc = -ENOMEM;
	if (rc == 0)
		keep_roots(store, store->roots, next);
	if (rc == 0 && durable)
		keep_roots(store, store->flushed, store->roots);
	for (unsigned i = 0; i < store->kv.family_count; i++)
		node_unref(next[i]);
out:
	pthread_mutex_unlock(&store->lock);
	free(next);
	return rc;
}

static int memory_flush(struct kv *kv)
{
	struct kv_memory *store = of(kv);
	int rc;

	pthread_mutex_lock(&store->lock);
	rc = store->down;
	if (rc == 0)
		keep_roots(store, store->flushed, store->roots);
	pthread_mutex_unlock(&store->lock);
	return rc;
}

static void iter_push_left(struct memory_iter *it, struct node *node)
{
	for (; node != NULL && it->depth < DEPTH_MAX; node = node->left)
		it->stack[it->depth++] = node;
}

static int memory_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			    const uint8_t **value, size_t *value_size)
{
	struct memory_iter *it = (struct memory_iter *)iter;
	struct node *node;

	if (it->depth == DEPTH_MAX)
		return -EIO;
	if (it->depth == 0)
		return 0;
	node = it->stack[--it->depth];
	if (it->bounded && key_compare(node->bytes, node->key_size, it->end, it->end_size) >= 0) {
		it->depth = 0;
		return 0;
	}
	iter_push_left(it, node->right);
	if (key != NULL) {
		*key = node->bytes;
		*key_size = node->key_size;
	}
	if (value != NULL) {
		*value = node->bytes + node->key_size;
		*value_size = node->value_size;
	}
	return 1;
}

static void memory_iter_free(struct kv_iter *iter)
{
	struct memory_iter *it = (struct memory_iter *)iter;

	node_unref(it->root);
	free(it);
}

static const struct kv_iter_ops memory_iter_ops = {
	.next = memory_iter_next,
	.free = memory_iter_free,
};

static int memory_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			    const void *end, size_t end_size, struct kv_iter **out)
{
	struct kv_memory *store = of(kv);
	struct memory_iter *it = calloc(1, sizeof(*it) + (end == NULL ? 0 : end_size));
	struct node *node;
	int rc;

	if (it == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&store->lock);
	rc = store->down;
	if (rc == 0)
		it->root = node_ref(store->roots[family]);
	pthread_mutex_unlock(&store->lock);
	if (rc != 0) {
		free(it);
		return rc;
	}
	it->iter.ops = &memory_iter_ops;
	it->bounded = end != NULL;
	if (end != NULL) {
		it->end_size = end_size;
		memcpy(it->end, end, end_size);
	}
	/* The stack holds the nodes at or behind start on the way down: the next one is on top. */
	for (node = it->root; node != NULL && it->depth < DEPTH_MAX;) {
		if (key_compare(node->bytes, node->key_size, start, start_size) >= 0) {
			it->stack[it->depth++] = node;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	*out = &it->iter;
	return 0;
}

static int memory_recover(struct kv *kv)
{
	struct kv_memory *store = of(kv);

	pthread_mutex_lock(&store->lock);
	store->down = 0;
	pthread_mutex_unlock(&store->lock);
	return 0;
}

static bool memory_is_down(const struct kv *kv)
{
	struct kv_memory *store = of(kv);
	bool down;

	pthread_mutex_lock(&store->lock);
	down = store->down != 0;
	pthread_mutex_unlock(&store->lock);
	return down;
}

static bool memory_space_low(struct kv *kv)
{
	return false;
}

static int memory_compact(struct kv *kv, unsigned family)
{
	return 0;
}

static void memory_compact_stop(struct kv *kv)
{
}

static int memory_checkpoint(struct kv *kv, const char *path)
{
	return -EOPNOTSUPP;
}

static void memory_close(struct kv *kv)
{
	struct kv_memory *store = of(kv);

	for (unsigned i = 0; i < store->kv.family_count; i++) {
		node_unref(store->roots[i]);
		node_unref(store->flushed[i]);
	}
	pthread_mutex_destroy(&store->lock);
	free(store->roots);
	free(store->flushed);
	free(store);
}

static const struct kv_ops memory_ops = {
	.close = memory_close,
	.recover = memory_recover,
	.is_down = memory_is_down,
	.space_low = memory_space_low,
	.compact = memory_compact,
	.compact_stop = memory_compact_stop,
	.get = memory_get,
	.write = memory_write,
	.flush = memory_flush,
	.iter_open = memory_iter_open,
	.checkpoint = memory_checkpoint,
};

int kv_open_memory(const struct kv_family *families, unsigned family_count, struct kv **out)
{
	struct kv_memory *store;

	if (family_count == 0)
		return -EINVAL;
	store = calloc(1, sizeof(*store));
	if (store == NULL)
		return -ENOMEM;
	store->kv.ops = &memory_ops;
	store->kv.family_count = family_count;
	store->roots = calloc(family_count, sizeof(struct node *));
	store->flushed = calloc(family_count, sizeof(struct node *));
	if (store->roots == NULL || store->flushed == NULL) {
		free(store->roots);
		free(store->flushed);
		free(store);
		return -ENOMEM;
	}
	pthread_mutex_init(&store->lock, NULL);
	*out = &store->kv;
	return 0;
}

void kv_memory_crash(struct kv *kv)
{
	struct kv_memory *store = of(kv);

	pthread_mutex_lock(&store->lock);
	keep_roots(store, store->roots, store->flushed);
	store->down = 0;
	store->fail_in = 0;
	pthread_mutex_unlock(&store->lock);
}

int kv_memory_copy(struct kv *kv, struct kv **out)
{
	struct kv_memory *store = of(kv);
	int rc = kv_open_memory(NULL, kv->family_count, out);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&store->lock);
	keep_roots(store, of(*out)->roots, store->roots);
	keep_roots(store, of(*out)->flushed, store->roots);
	pthread_mutex_unlock(&store->lock);
	return 0;
}

void kv_memory_fail_write(struct kv *kv, int nth, int error)
{
	struct kv_memory *store = of(kv);

	pthread_mutex_lock(&store->lock);
	store->fail_in = nth;
	store->fail_error = error > 0 ? -error : error;
	pthread_mutex_unlock(&store->lock);
}
