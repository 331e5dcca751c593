/* table.h - an intrusive hash table. The nodes' memory and keys are the user's. Pure.
 *
 * It is for tables that hot paths look into, and wherever a lack of memory must be an error:
 * uthash, which small tables with simple keys use, ends the process then. Locks: the user's. */
#ifndef CATENA_COMMON_BASE_TABLE_H
#define CATENA_COMMON_BASE_TABLE_H
#include <stddef.h>
#include <stdint.h>

/* Embedded in each entry. */
struct table_node {
	struct table_node *next;
	uint64_t hash;
};

/* All zero: an empty table. */
struct table {
	struct table_node **slots;
	size_t size, count; /* size: 0 or a power of two */
};

/* Adds @node, which is in no table. The table grows as needed; without memory for that it only gets
 * slower. Errors: -ENOMEM when it has no memory at all, which only the first add can meet. */
int table_add(struct table *table, struct table_node *node, uint64_t hash);
/* Takes @node out of its table. */
void table_remove(struct table *table, struct table_node *node);
/* Return the nodes of equal hash, one after another; NULL: no (more). The user compares the keys.
 */
struct table_node *table_first(const struct table *table, uint64_t hash);
struct table_node *table_more(const struct table_node *node);
/* Returns the node after @at, NULL: the first one, of all in no order; NULL: no more. What changes
 * the table ends the walk, but the node before the last one returned may be removed. */
struct table_node *table_walk(const struct table *table, const struct table_node *at);
/* Frees the table, not its nodes. */
void table_free(struct table *table);

/* Spreads a number, for table_add(). */
static inline uint64_t table_hash(uint64_t x)
{
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
	return x ^ (x >> 32);
}
#endif
