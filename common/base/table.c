#include "common/base/table.h"
#include <errno.h>
#include <stdlib.h>
#include "common/base/expects.h"

#define TABLE_SIZE_MIN 64u

static void put(struct table *table, struct table_node *node)
{
	struct table_node **slot = &table->slots[node->hash & (table->size - 1)];

	node->next = *slot;
	*slot = node;
}

static int grow(struct table *table)
{
	struct table old = *table;

	table->size = old.size == 0 ? TABLE_SIZE_MIN : 2 * old.size;
	table->slots = calloc(table->size, sizeof(*table->slots));
	if (table->slots == NULL) {
		*table = old;
		return -ENOMEM;
	}
	for (size_t i = 0; i < old.size; i++) {
		struct table_node *node = old.slots[i];

		while (node != NULL) {
			struct table_node *next = node->next;

			put(table, node);
			node = next;
		}
	}
	free(old.slots);
	return 0;
}

int table_add(struct table *table, struct table_node *node, uint64_t hash)
{
	if (table->count >= table->size && grow(table) < 0 && table->size == 0)
		return -ENOMEM;
	node->hash = hash;
	put(table, node);
	table->count++;
	return 0;
}

void table_remove(struct table *table, struct table_node *node)
{
	struct table_node **at;

	expects(table->count > 0);
	at = &table->slots[node->hash & (table->size - 1)];
	while (*at != node) {
		expects(*at != NULL);
		at = &(*at)->next;
	}
	*at = node->next;
	node->next = NULL;
	table->count--;
}

static struct table_node *match(struct table_node *node, uint64_t hash)
{
	while (node != NULL && node->hash != hash)
		node = node->next;
	return node;
}

struct table_node *table_first(const struct table *table, uint64_t hash)
{
	return table->size == 0 ? NULL : match(table->slots[hash & (table->size - 1)], hash);
}

struct table_node *table_more(const struct table_node *node)
{
	return match(node->next, node->hash);
}

struct table_node *table_walk(const struct table *table, const struct table_node *at)
{
	size_t slot = 0;

	if (at != NULL) {
		if (at->next != NULL)
			return at->next;
		slot = (at->hash & (table->size - 1)) + 1;
	}
	while (slot < table->size && table->slots[slot] == NULL)
		slot++;
	return slot < table->size ? table->slots[slot] : NULL;
}

void table_free(struct table *table)
{
	free(table->slots);
	*table = (struct table){0};
}
