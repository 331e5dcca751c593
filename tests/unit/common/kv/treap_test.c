/* treap_test.c - the persistent ordered map below the twin in memory and the overlay.
 *
 * Goal: a tree holds what was put into it, in order, however deep it has grown; a snapshot stays as
 * it was; an update that finds no memory harms no snapshot and loses no node.
 * Method: seeded random updates, compared with an array indexed by the key; priorities chosen by
 * hand for the deepest tree there is; each allocation fails in turn (leaks: under ASan). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/kv/treap.h"
#include "tests/lib/random.h"
#include "tests/unit/common/kv/no_memory.h"

#define KEYS   400u
#define ROUNDS 3000
#define ABSENT 0xffffffffu

static uint64_t seed = 20260201;

/* What is there: the value of each key. */
struct model {
	uint32_t values[KEYS];
};

static unsigned draw(unsigned limit)
{
	return (unsigned)random_below(&seed, limit);
}

static struct treap_node *node_of(unsigned key, uint32_t value)
{
	uint8_t bytes[4];
	struct treap_node *node;

	put_be32(bytes, key);
	node = treap_node_new(bytes, 4, &value, sizeof(value));
	return node;
}

static void is_model(const struct treap_node *root, const struct model *model)
{
	struct treap_cursor cursor;
	const struct treap_node *node, *last = NULL;

	treap_cursor_init(&cursor, root, NULL, 0);
	for (unsigned i = 0; i < KEYS; i++) {
		uint8_t key[4];

		put_be32(key, i);
		node = treap_find(root, key, 4);
		if (model->values[i] == ABSENT) {
			assert_null(node);
		} else {
			assert_non_null(node);
			assert_memory_equal(node->bytes + 4, &model->values[i], 4);
			assert_ptr_equal(treap_cursor_next(&cursor), node);
			last = node;
		}
		assert_ptr_equal(treap_floor(root, key, 4), last);
	}
	assert_null(treap_cursor_next(&cursor));
	assert_null(treap_cursor_next(&cursor));
}

static bool update(struct treap_node **root, struct model *model)
{
	unsigned key = draw(KEYS), end = key + draw(12), kind = draw(8);
	uint8_t bytes[4], end_bytes[4];
	struct treap_node *node;

	put_be32(bytes, key);
	put_be32(end_bytes, end);
	if (kind == 0) {
		for (unsigned i = key; i < end && i < KEYS; i++)
			model->values[i] = ABSENT;
		return treap_remove_range(root, bytes, 4, end_bytes, 4);
	}
	if (kind < 3) {
		model->values[key] = ABSENT;
		return treap_remove(root, bytes, 4);
	}
	model->values[key] = draw(1000);
	node = node_of(key, model->values[key]);
	return node != NULL && treap_insert(root, node);
}

static void a_tree_holds_what_was_put_and_a_snapshot_what_it_was(void **state)
{
	struct treap_node *root = NULL, *snapshot = NULL;
	struct model now, then;

	printf("seed %llu\n", (unsigned long long)seed);
	memset(&now, 0xff, sizeof(now));
	then = now;
	for (int i = 0; i < ROUNDS; i++) {
		assert_true(update(&root, &now));
		if (draw(50) == 0) {
			is_model(snapshot, &then);
			treap_unref(snapshot);
			snapshot = draw(3) == 0 ? NULL : treap_ref(root);
			then = now;
			if (snapshot == NULL)
				memset(&then, 0xff, sizeof(then));
		}
		if (i % 16 == 0)
			is_model(root, &now);
	}
	treap_unref(root);
	is_model(snapshot, &then);
	treap_unref(snapshot);
}

static void an_update_without_memory_leaves_snapshots_as_they_were(void **state)
{
	struct treap_node *root = NULL, *snapshot;
	struct model now, then;

	memset(&now, 0xff, sizeof(now));
	for (int i = 0; i < 1000; i++)
		assert_true(update(&root, &now));
	for (int i = 0; i < 1000; i++) {
		bool ok;

		snapshot = treap_ref(root);
		then = now;
		no_memory_at(1 + (long)draw(20));
		ok = update(&root, &now);
		assert_int_equal(ok, !no_memory_met());
		no_memory_at(0);
		is_model(snapshot, &then);
		if (!ok) {
			treap_unref(root);
			root = treap_ref(snapshot);
			now = then;
		}
		is_model(root, &now);
		treap_unref(snapshot);
	}
	/* Without any snapshot nothing but the node itself needs memory. */
	for (int i = 0; i < 1000; i++) {
		struct treap_node *node = node_of(draw(KEYS), 7);

		no_memory_at(1);
		assert_true(treap_insert(&root, node));
		assert_true(treap_remove(&root, node->bytes, 4));
		assert_true(treap_remove_range(&root, (const uint8_t *)"\0\0\0\1", 4,
					       (const uint8_t *)"\0\0\0\5", 4));
		no_memory_at(0);
	}
	treap_unref(root);
}

/* A list to the right, a list to the left, and zigzag, each as deep as it has keys. */
static void a_tree_may_be_as_deep_as_it_has_keys(void **state)
{
	for (int shape = 0; shape < 3; shape++) {
		struct treap_node *root = NULL;
		struct model model;

		for (unsigned i = 0; i < KEYS; i++) {
			struct treap_node *node = node_of(i, i);

			model.values[i] = i;
			if (shape == 0)
				node->priority = KEYS - i;
			else if (shape == 1)
				node->priority = i;
			else
				node->priority = i < KEYS / 2 ? 2 * i : 2 * (KEYS - i) - 1;
			assert_true(treap_insert(&root, node));
		}
		is_model(root, &model);
		treap_unref(root);
	}
}

static void keys_are_in_the_order_of_their_bytes_shorter_ones_first(void **state)
{
	const char *sorted[] = {"", "a", "aa", "ab", "b", "\xff", "\xff\xff"};
	struct treap_node *root = NULL;
	struct treap_cursor cursor;
	const struct treap_node *node;

	for (unsigned i = 0; i < 7; i++) {
		const char *key = sorted[i * 3 % 7];

		assert_true(treap_insert(&root, treap_node_new(key, strlen(key), "", 0)));
	}
	for (unsigned from = 0; from < 7; from++) {
		treap_cursor_init(&cursor, root, (const uint8_t *)sorted[from],
				  strlen(sorted[from]));
		for (unsigned i = from; i < 7; i++) {
			node = treap_cursor_next(&cursor);
			assert_non_null(node);
			assert_int_equal(node->key_size, strlen(sorted[i]));
			assert_memory_equal(node->bytes, sorted[i], node->key_size);
		}
		assert_null(treap_cursor_next(&cursor));
	}
	treap_unref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_holds_what_was_put_and_a_snapshot_what_it_was),
		cmocka_unit_test(an_update_without_memory_leaves_snapshots_as_they_were),
		cmocka_unit_test(a_tree_may_be_as_deep_as_it_has_keys),
		cmocka_unit_test(keys_are_in_the_order_of_their_bytes_shorter_ones_first),
	};

	return cmocka_run_group_tests_name("treap", tests, NULL, NULL);
}
