/* kv_overlay.c - a store in front of a store: the writes of a turn are collected in memory, seen by
 * all reads, and written as one batch.
 *
 * For each family there is a treap of the keys that were put (or deleted: tombstones), and one of
 * the ranges that were deleted: their start is the key, their end the value; they neither overlap
 * nor touch. A range takes the keys in it out of the first treap. So a key that is there is of a
 * record behind all ranges that cover it, and decides; then the ranges do, then the base.
 *
 * A batch is atomic: its nodes are made before the first one is applied. What can fail then is a
 * copy of a node that an iterator refers to as well, or the union of two ranges; so when there may
 * be one of these the roots from before are kept. Otherwise they are not, for it would mean a copy
 * of the path of each record. */
#include "common/kv/kv_overlay.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/kv/kv_internal.h"
#include "common/kv/treap.h"

struct collected {
	struct treap_node *keys, *ranges;
};

struct kv_overlay {
	struct kv kv;
	struct kv *base;
	bool open;
	size_t size;
	atomic_uint iters; /* that refer to collected nodes */
	struct collected *families;
	struct collected *kept;  /* scratch: the families as they were before a batch */
	struct kv_batch *commit; /* scratch, kept since its memory is worth keeping */
	void (*listen)(void *user, const struct kv_batch *batch);
	void *listen_user;
};

struct overlay_iter {
	struct kv_iter iter;
	struct kv_overlay *overlay;
	struct collected snapshot; /* counted */
	struct treap_cursor cursor;
	const struct treap_node *next; /* the collected one to come; NULL: there is none */
	struct kv_iter *base;
	/* The base's record to come, when there is one. */
	const uint8_t *base_key, *base_value;
	size_t base_key_size, base_value_size;
	enum { BASE_UNREAD, BASE_READ, BASE_ENDED } base_state;
	size_t end_size;
	bool bounded;
	uint8_t end[];
};

static const struct kv_ops overlay_ops;

static struct kv_overlay *of(const struct kv *kv)
{
	expects(kv->ops == &overlay_ops);
	return (struct kv_overlay *)kv;
}

/* The error that all calls of the base return while it is down; 0: it is up. */
static int base_error(struct kv_overlay *overlay)
{
	struct kv_iter *iter;
	int rc;

	if (!kv_is_down(overlay->base))
		return 0;
	rc = kv_iter_open(overlay->base, 0, "", 0, NULL, 0, &iter);
	if (rc == 0)
		kv_iter_free(iter);
	return rc;
}

static bool covered(const struct treap_node *ranges, const uint8_t *key, size_t key_size)
{
	const struct treap_node *range = treap_floor(ranges, key, key_size);

	return range != NULL &&
	       treap_compare(key, key_size, range->bytes + range->key_size, range->value_size) < 0;
}

static void collected_unref(struct collected *collected)
{
	treap_unref(collected->keys);
	treap_unref(collected->ranges);
	*collected = (struct collected){NULL, NULL};
}

static struct collected collected_ref(const struct collected *collected)
{
	return (struct collected){treap_ref(collected->keys), treap_ref(collected->ranges)};
}

/* ---- reads ---- */

static int overlay_get(struct kv *kv, unsigned family, const void *key, size_t key_size,
		       uint8_t **value, size_t *value_size)
{
	struct kv_overlay *overlay = of(kv);
	const struct collected *collected = &overlay->families[family];
	const struct treap_node *node = treap_find(collected->keys, key, key_size);
	int rc;

	if (node == NULL && !covered(collected->ranges, key, key_size))
		return kv_get(overlay->base, family, key, key_size, value, value_size);
	rc = base_error(overlay);
	if (rc != 0)
		return rc;
	if (node == NULL || node->tombstone)
		return -ENOENT;
	return treap_node_value(node, value, value_size);
}

static void iter_advance(struct overlay_iter *it)
{
	it->next = treap_cursor_next(&it->cursor);
	if (it->next != NULL && it->bounded &&
	    treap_compare(it->next->bytes, it->next->key_size, it->end, it->end_size) >= 0)
		it->next = NULL;
}

/* Reads the base's next record that no range covers, unless it is read already. */
static int iter_read_base(struct overlay_iter *it)
{
	while (it->base_state == BASE_UNREAD) {
		int rc = kv_iter_next(it->base, &it->base_key, &it->base_key_size, &it->base_value,
				      &it->base_value_size);

		if (rc < 0)
			return rc;
		if (rc == 0)
			it->base_state = BASE_ENDED;
		else if (!covered(it->snapshot.ranges, it->base_key, it->base_key_size))
			it->base_state = BASE_READ;
	}
	return 0;
}

/* Which of the two comes next: less than 0 the collected one, greater the base's, 0 both. */
static int iter_order(const struct overlay_iter *it)
{
	if (it->next == NULL)
		return 1;
	if (it->base_state == BASE_ENDED)
		return -1;
	return treap_compare(it->next->bytes, it->next->key_size, it->base_key, it->base_key_size);
}

static int overlay_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			     const uint8_t **value, size_t *value_size)
{
	struct overlay_iter *it = (struct overlay_iter *)iter;
	const struct treap_node *node;
	int rc, order;

	do {
		rc = iter_read_base(it);
		if (rc != 0)
			return rc;
		if (it->next == NULL && it->base_state == BASE_ENDED)
			return 0;
		order = iter_order(it);
		node = order <= 0 ? it->next : NULL;
		if (node != NULL)
			iter_advance(it);
		/* It is lent until the base is read again, which the next call does. */
		if (order >= 0)
			it->base_state = BASE_UNREAD;
	} while (node != NULL && node->tombstone);
	if (key != NULL) {
		*key = node != NULL ? node->bytes : it->base_key;
		*key_size = node != NULL ? node->key_size : it->base_key_size;
	}
	if (value != NULL) {
		*value = node != NULL ? node->bytes + node->key_size : it->base_value;
		*value_size = node != NULL ? node->value_size : it->base_value_size;
	}
	return 1;
}

static void overlay_iter_free(struct kv_iter *iter)
{
	struct overlay_iter *it = (struct overlay_iter *)iter;
	unsigned before;

	kv_iter_free(it->base);
	collected_unref(&it->snapshot);
	/* After it has given up its nodes: a writer that sees none left copies no node. */
	before = atomic_fetch_sub_explicit(&it->overlay->iters, 1, memory_order_release);
	expects(before > 0);
	free(it);
}

static const struct kv_iter_ops overlay_iter_ops = {
	.next = overlay_iter_next,
	.free = overlay_iter_free,
};

static int overlay_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			     const void *end, size_t end_size, struct kv_iter **out)
{
	struct kv_overlay *overlay = of(kv);
	const struct collected *collected = &overlay->families[family];
	struct overlay_iter *it;
	int rc;

	if (collected->keys == NULL && collected->ranges == NULL)
		return kv_iter_open(overlay->base, family, start, start_size, end, end_size, out);
	it = malloc(sizeof(*it) + (end == NULL ? 0 : end_size));
	if (it == NULL)
		return -ENOMEM;
	rc = kv_iter_open(overlay->base, family, start, start_size, end, end_size, &it->base);
	if (rc != 0) {
		free(it);
		return rc;
	}
	it->iter.ops = &overlay_iter_ops;
	it->overlay = overlay;
	it->base_state = BASE_UNREAD;
	it->bounded = end != NULL;
	it->end_size = end_size;
	if (end != NULL)
		memcpy(it->end, end, end_size);
	it->snapshot = collected_ref(collected);
	atomic_fetch_add_explicit(&overlay->iters, 1, memory_order_relaxed);
	treap_cursor_init(&it->cursor, it->snapshot.keys, start, start_size);
	iter_advance(it);
	*out = &it->iter;
	return 0;
}

/* ---- writes ---- */

static struct treap_node *list_pop(struct treap_node **list)
{
	struct treap_node *node = *list;

	*list = node->right;
	node->right = NULL;
	return node;
}

static void list_free(struct treap_node *list)
{
	while (list != NULL)
		treap_unref(list_pop(&list));
}

struct prepared {
	struct treap_node *list; /* one for each record, in their order */
	size_t size;
	bool has_range;
};

static bool prepare(const struct kv_batch *batch, struct prepared *out)
{
	struct treap_node **tail = &out->list;
	struct kv_record record;
	size_t position = 0;

	*out = (struct prepared){NULL, 0, false};
	while (kv_batch_next(batch, &position, &record)) {
		*tail = treap_node_new(record.key, record.key_size, record.value,
				       record.value_size);
		if (*tail == NULL) {
			list_free(out->list);
			return false;
		}
		tail = &(*tail)->right;
		out->size += record.key_size + record.value_size;
		out->has_range = out->has_range || record.kind == KV_RECORD_DELETE_RANGE;
	}
	return true;
}

/* Adds the range, which has been made one with all that it overlaps or touches. Takes @range. */
static bool add_range(struct treap_node **ranges, struct treap_node *range)
{
	const uint8_t *start = range->bytes, *end = range->bytes + range->key_size;
	size_t start_size = range->key_size, end_size = range->value_size;
	const struct treap_node *first = treap_floor(*ranges, start, start_size);
	const struct treap_node *last = treap_floor(*ranges, end, end_size);
	struct treap_node *whole;

	if (first != NULL && treap_compare(first->bytes + first->key_size, first->value_size, start,
					   start_size) >= 0) {
		start = first->bytes;
		start_size = first->key_size;
	}
	if (last != NULL &&
	    treap_compare(last->bytes + last->key_size, last->value_size, end, end_size) > 0) {
		end = last->bytes + last->key_size;
		end_size = last->value_size;
	}
	whole = treap_node_new(start, start_size, end, end_size);
	treap_unref(range);
	if (whole == NULL)
		return false;
	if (!treap_remove_range(ranges, whole->bytes, start_size, whole->bytes + start_size,
				end_size)) {
		treap_unref(whole);
		return false;
	}
	return treap_insert(ranges, whole);
}

/* Takes @node. */
static bool apply_range(struct collected *collected, struct treap_node *node)
{
	const uint8_t *end = node->bytes + node->key_size;

	if (treap_compare(node->bytes, node->key_size, end, node->value_size) >= 0) {
		treap_unref(node);
		return true;
	}
	if (!treap_remove_range(&collected->keys, node->bytes, node->key_size, end,
				node->value_size)) {
		treap_unref(node);
		return false;
	}
	return add_range(&collected->ranges, node);
}

/* Takes @node, which was made of the record. False: out of memory, the collected is spoilt. */
static bool apply_record(struct collected *collected, const struct kv_record *record,
			 struct treap_node *node)
{
	switch (record->kind) {
	case KV_RECORD_PUT:
		break;
	case KV_RECORD_DELETE:
		if (covered(collected->ranges, record->key, record->key_size)) {
			treap_unref(node);
			return treap_remove(&collected->keys, record->key, record->key_size);
		}
		node->tombstone = true;
		break;
	case KV_RECORD_DELETE_RANGE:
		return apply_range(collected, node);
	}
	return treap_insert(&collected->keys, node);
}

static int collect(struct kv_overlay *overlay, const struct kv_batch *batch)
{
	unsigned families = overlay->kv.family_count;
	struct prepared prepared;
	struct kv_record record;
	size_t position = 0;
	bool may_fail, ok = true;

	if (!prepare(batch, &prepared))
		return -ENOMEM;
	may_fail = prepared.has_range ||
		   atomic_load_explicit(&overlay->iters, memory_order_acquire) > 0;
	for (unsigned i = 0; may_fail && i < families; i++)
		overlay->kept[i] = collected_ref(&overlay->families[i]);
	while (ok && kv_batch_next(batch, &position, &record))
		ok = apply_record(&overlay->families[record.family], &record,
				  list_pop(&prepared.list));
	list_free(prepared.list);
	expects(ok || may_fail);
	for (unsigned i = 0; may_fail && i < families; i++) {
		struct collected gone = ok ? overlay->kept[i] : overlay->families[i];

		if (!ok)
			overlay->families[i] = overlay->kept[i];
		collected_unref(&gone);
	}
	if (!ok)
		return -ENOMEM;
	overlay->size += prepared.size;
	return 0;
}

static int overlay_write(struct kv *kv, const struct kv_batch *batch, bool durable)
{
	struct kv_overlay *overlay = of(kv);
	int rc;

	if (!overlay->open) {
		rc = kv_write(overlay->base, batch, durable);
	} else {
		expects(!durable);
		rc = base_error(overlay);
		if (rc == 0)
			rc = collect(overlay, batch);
	}
	if (rc == 0 && overlay->listen != NULL)
		overlay->listen(overlay->listen_user, batch);
	return rc;
}

/* ---- turns ---- */

static void end_turn(struct kv_overlay *overlay)
{
	for (unsigned i = 0; i < overlay->kv.family_count; i++)
		collected_unref(&overlay->families[i]);
	overlay->size = 0;
	overlay->open = false;
}

/* Puts the ranges into the batch, and behind them the last record of each key, in their order.
 *
 * That is equal to all records in order. What these make of a key is decided by the last one that
 * is about it: a put, a deletion, or a range that covers it. If it is a put or a deletion, the
 * treap of keys has it, since what would have taken its place or taken it out is a later record
 * about the key; and here it stands behind all ranges. (Or it is a deletion that was not kept: then
 * there was a range that covers the key, no later record is about it, and the range deletes it
 * here.) If it is a range, it took the key out of the treap, no later record put it there again,
 * and the range deletes it here. If no record is about the key, none is here: the ranges, made one
 * where they overlap or touch, cover what they covered before, no more. */
static void fill_commit(struct kv_overlay *overlay)
{
	struct kv_batch *batch = overlay->commit;
	struct treap_cursor cursor;
	const struct treap_node *node;

	for (unsigned i = 0; i < overlay->kv.family_count; i++) {
		treap_cursor_init(&cursor, overlay->families[i].ranges, NULL, 0);
		while ((node = treap_cursor_next(&cursor)) != NULL)
			kv_batch_delete_range(batch, i, node->bytes, node->key_size,
					      node->bytes + node->key_size, node->value_size);
	}
	for (unsigned i = 0; i < overlay->kv.family_count; i++) {
		treap_cursor_init(&cursor, overlay->families[i].keys, NULL, 0);
		while ((node = treap_cursor_next(&cursor)) != NULL) {
			if (node->tombstone)
				kv_batch_delete(batch, i, node->bytes, node->key_size);
			else
				kv_batch_put(batch, i, node->bytes, node->key_size,
					     node->bytes + node->key_size, node->value_size);
		}
	}
}

static bool anything_collected(const struct kv_overlay *overlay)
{
	for (unsigned i = 0; i < overlay->kv.family_count; i++)
		if (overlay->families[i].keys != NULL || overlay->families[i].ranges != NULL)
			return true;
	return false;
}

void kv_overlay_begin(struct kv *kv)
{
	struct kv_overlay *overlay = of(kv);

	expects(!overlay->open);
	overlay->open = true;
}

void kv_overlay_listen(struct kv *kv, void (*listen)(void *user, const struct kv_batch *batch),
		       void *user)
{
	struct kv_overlay *overlay = of(kv);

	overlay->listen = listen;
	overlay->listen_user = user;
}

int kv_overlay_commit(struct kv *kv)
{
	struct kv_overlay *overlay = of(kv);
	int rc = 0;

	expects(overlay->open);
	if (anything_collected(overlay)) {
		fill_commit(overlay);
		rc = kv_write(overlay->base, overlay->commit, false);
		kv_batch_clear(overlay->commit);
	}
	end_turn(overlay);
	return rc;
}

void kv_overlay_abandon(struct kv *kv)
{
	struct kv_overlay *overlay = of(kv);

	expects(overlay->open);
	end_turn(overlay);
}

bool kv_overlay_is_open(const struct kv *kv)
{
	return of(kv)->open;
}

size_t kv_overlay_size(const struct kv *kv)
{
	return of(kv)->size;
}

/* ---- what is about the base alone ---- */

static int overlay_recover(struct kv *kv)
{
	end_turn(of(kv));
	return kv_recover(of(kv)->base);
}

static bool overlay_is_down(const struct kv *kv)
{
	return kv_is_down(of(kv)->base);
}

static bool overlay_space_low(struct kv *kv)
{
	return kv_space_low(of(kv)->base);
}

static int overlay_compact(struct kv *kv, unsigned family)
{
	return kv_compact(of(kv)->base, family);
}

static void overlay_compact_stop(struct kv *kv)
{
	kv_compact_stop(of(kv)->base);
}

static int overlay_flush(struct kv *kv)
{
	return kv_flush(of(kv)->base);
}

static int overlay_checkpoint(struct kv *kv, const char *path)
{
	return kv_checkpoint(of(kv)->base, path);
}

static void overlay_free(struct kv_overlay *overlay)
{
	kv_batch_free(overlay->commit);
	free(overlay->families);
	free(overlay->kept);
	free(overlay);
}

static void overlay_close(struct kv *kv)
{
	struct kv_overlay *overlay = of(kv);

	expects(atomic_load_explicit(&overlay->iters, memory_order_acquire) == 0);
	end_turn(overlay);
	overlay_free(overlay);
}

static const struct kv_ops overlay_ops = {
	.close = overlay_close,
	.recover = overlay_recover,
	.is_down = overlay_is_down,
	.space_low = overlay_space_low,
	.compact = overlay_compact,
	.compact_stop = overlay_compact_stop,
	.get = overlay_get,
	.write = overlay_write,
	.flush = overlay_flush,
	.iter_open = overlay_iter_open,
	.checkpoint = overlay_checkpoint,
};

int kv_overlay_open(struct kv *base, struct kv **out)
{
	struct kv_overlay *overlay = calloc(1, sizeof(*overlay));

	if (overlay == NULL)
		return -ENOMEM;
	overlay->kv.ops = &overlay_ops;
	overlay->kv.family_count = base->family_count;
	overlay->base = base;
	overlay->families = calloc(base->family_count, sizeof(*overlay->families));
	overlay->kept = calloc(base->family_count, sizeof(*overlay->kept));
	overlay->commit = kv_batch_new();
	if (overlay->families == NULL || overlay->kept == NULL || overlay->commit == NULL) {
		overlay_free(overlay);
		return -ENOMEM;
	}
	*out = &overlay->kv;
	return 0;
}
