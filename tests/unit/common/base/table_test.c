/* Goal: a table finds exactly what is in it, whatever hashes are equal, and a walk meets each node
 * once. Method: many nodes, few different hashes; what is in the table is also in an array. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include "common/base/table.h"

#define ENTRIES 3000u

struct entry {
	struct table_node node; /* first */
	uint64_t key;
	bool listed, met;
};

static struct entry entries[ENTRIES];

/* Groups of three have one hash, and most hashes share their slot with others. */
static uint64_t hash_of(uint64_t key)
{
	return key / 3 * 64;
}

static struct entry *find(const struct table *table, uint64_t key)
{
	struct table_node *node = table_first(table, hash_of(key));

	while (node != NULL && ((struct entry *)(void *)node)->key != key)
		node = table_more(node);
	return (struct entry *)(void *)node;
}

static void add(struct table *table, uint32_t i)
{
	entries[i] = (struct entry){.key = i, .listed = true};
	assert_int_equal(table_add(table, &entries[i].node, hash_of(i)), 0);
}

static void check(const struct table *table)
{
	const struct table_node *node = NULL;
	size_t listed = 0, met = 0;

	for (uint32_t i = 0; i < ENTRIES; i++) {
		entries[i].met = false;
		listed += entries[i].listed;
		assert_ptr_equal(find(table, i), entries[i].listed ? &entries[i] : NULL);
	}
	while ((node = table_walk(table, node)) != NULL) {
		struct entry *entry = (struct entry *)(uintptr_t)node;

		assert_true(entry->listed && !entry->met);
		entry->met = true;
		met++;
	}
	assert_int_equal(met, listed);
	assert_int_equal(table->count, listed);
}

static void test_an_empty_table_has_nothing(void **state)
{
	struct table table = {0};

	assert_null(table_first(&table, 1));
	assert_null(table_walk(&table, NULL));
	table_free(&table);
}

static void test_what_is_added_is_found_until_it_is_removed(void **state)
{
	struct table table = {0};

	for (uint32_t i = 0; i < ENTRIES; i++)
		add(&table, i);
	check(&table);
	for (uint32_t i = 0; i < ENTRIES; i += 2) {
		table_remove(&table, &entries[i].node);
		entries[i].listed = false;
	}
	check(&table);
	for (uint32_t i = 0; i < ENTRIES; i += 4)
		add(&table, i);
	check(&table);
	table_free(&table);
}

static void test_a_walk_may_leave_nodes_removed_behind_it(void **state)
{
	struct table table = {0};
	struct table_node *node, *next;

	for (uint32_t i = 0; i < ENTRIES; i++)
		add(&table, i);
	for (node = table_walk(&table, NULL); node != NULL; node = next) {
		next = table_walk(&table, node);
		table_remove(&table, node);
		((struct entry *)(void *)node)->listed = false;
	}
	check(&table);
	assert_int_equal(table.count, 0);
	table_free(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_table_has_nothing),
		cmocka_unit_test(test_what_is_added_is_found_until_it_is_removed),
		cmocka_unit_test(test_a_walk_may_leave_nodes_removed_behind_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
