/* kv_memory.c - the store's twin in memory, for simulation: same order, same snapshots, and power
 * cuts and write failures on demand.
 *
 * Each family is a persistent treap (treap.h), so a snapshot is a reference to a root. A batch is
 * atomic because the new roots replace the old ones together; what a power cut leaves is the roots
 * of the last flush. */
#include "common/kv/kv.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/kv/kv_internal.h"
#include "common/kv/treap.h"

struct kv_memory {
	struct kv kv;
	pthread_mutex_t lock;
	struct treap_node **roots;   /* what readers see */
	struct treap_node **flushed; /* what a power cut leaves */
	int down;
	int fail_in; /* the write that fails, counted down; 0: none */
	int fail_error;
	/* The record that cannot be read; size 0: none. */
	unsigned damaged_family;
	uint8_t damaged_key[64];
	size_t damaged_size;
};

struct memory_iter {
	struct kv_iter iter;
	struct treap_node *root; /* counted: the snapshot */
	struct treap_cursor cursor;
	size_t end_size;
	bool bounded, ended;
	uint8_t end[];
};

static struct kv_memory *of(const struct kv *kv)
{
	return (struct kv_memory *)kv;
}

static bool apply_record(struct treap_node **roots, const struct kv_record *record)
{
	struct treap_node **root = &roots[record->family];
	struct treap_node *node;

	switch (record->kind) {
	case KV_RECORD_PUT:
		node = treap_node_new(record->key, record->key_size, record->value,
				      record->value_size);
		return node != NULL && treap_insert(root, node);
	case KV_RECORD_DELETE:
		return treap_remove(root, record->key, record->key_size);
	case KV_RECORD_DELETE_RANGE:
		return treap_remove_range(root, record->key, record->key_size, record->value,
					  record->value_size);
	}
	return true;
}

/* ---- operations ---- */

static int memory_get(struct kv *kv, unsigned family, const void *key, size_t key_size,
		      uint8_t **value, size_t *value_size)
{
	struct kv_memory *store = of(kv);
	const struct treap_node *node;
	int rc;

	pthread_mutex_lock(&store->lock);
	rc = store->down;
	if (rc == 0 && family == store->damaged_family && key_size == store->damaged_size &&
	    key_size != 0 && memcmp(key, store->damaged_key, key_size) == 0)
		rc = -EUCLEAN;
	if (rc != 0)
		goto out;
	node = treap_find(store->roots[family], key, key_size);
	rc = node == NULL ? -ENOENT : treap_node_value(node, value, value_size);
out:
	pthread_mutex_unlock(&store->lock);
	return rc;
}

static void keep_roots(struct kv_memory *store, struct treap_node **to, struct treap_node **from)
{
	for (unsigned i = 0; i < store->kv.family_count; i++) {
		struct treap_node *old = to[i];

		to[i] = treap_ref(from[i]);
		treap_unref(old);
	}
}

static int memory_write(struct kv *kv, const struct kv_batch *batch, bool durable)
{
	struct kv_memory *store = of(kv);
	struct treap_node **next = calloc(store->kv.family_count, sizeof(struct treap_node *));
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
		treap_unref(next[i]);
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

static int memory_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			    const uint8_t **value, size_t *value_size)
{
	struct memory_iter *it = (struct memory_iter *)iter;
	const struct treap_node *node = it->ended ? NULL : treap_cursor_next(&it->cursor);

	it->ended = node == NULL || (it->bounded && treap_compare(node->bytes, node->key_size,
								  it->end, it->end_size) >= 0);
	if (it->ended)
		return 0;
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

	treap_unref(it->root);
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
	int rc;

	if (it == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&store->lock);
	rc = store->down;
	if (rc == 0)
		it->root = treap_ref(store->roots[family]);
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
	treap_cursor_init(&it->cursor, it->root, start, start_size);
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
		treap_unref(store->roots[i]);
		treap_unref(store->flushed[i]);
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
	store->roots = calloc(family_count, sizeof(struct treap_node *));
	store->flushed = calloc(family_count, sizeof(struct treap_node *));
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

void kv_memory_damage(struct kv *kv, unsigned family, const void *key, size_t key_size)
{
	struct kv_memory *store = of(kv);

	expects(key_size <= sizeof(store->damaged_key));
	pthread_mutex_lock(&store->lock);
	store->damaged_family = family;
	store->damaged_size = key_size;
	memcpy(store->damaged_key, key, key_size);
	pthread_mutex_unlock(&store->lock);
}
