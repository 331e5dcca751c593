/* table.h - an intrusive hash table; the nodes' memory and keys are the user's. */
#ifndef CATENA_COMMON_BASE_TABLE_H
#define CATENA_COMMON_BASE_TABLE_H
#include <stddef.h>
#include <stdint.h>

struct table_node {
	struct table_node *next;
	uint64_t hash;
};

struct table {
	struct table_node **slots;
	size_t size, count; /* size: 0 or a power of two */
};

/* Grows as needed; when there is no memory for that it only gets slower. -ENOMEM: none at all. */
int table_add(struct table *table, struct table_node *node, uint64_t hash);
void table_remove(struct table *table, struct table_node *node);
/* Nodes of equal hash, one after another; NULL: no (more). The user compares the keys. */
struct table_node *table_first(const struct table *table, uint64_t hash);
struct table_node *table_more(const struct table_node *node);
void table_free(struct table *table); /* not the nodes */

/* Spreads a number, for table_add(). */
static inline uint64_t table_hash(uint64_t x)
{
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
	return x ^ (x >> 32);
}
#endif
