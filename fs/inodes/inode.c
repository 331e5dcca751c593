/* inode.c - the table of inodes: by number, and in order of use. See inode.h. */
#include "fs/inodes/inode.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/lock.h"
#include "common/base/expects.h"
#include "common/base/list.h"

struct inode_table {
	pthread_mutex_t lock;
	struct inode **buckets;
	uint32_t bucket_mask;
	uint32_t count, limit;
	/* Those without references, the longest unused first. */
	struct inode *lru_first;
};

int inode_table_create(uint32_t limit, struct inode_table **out)
{
	struct inode_table *table = calloc(1, sizeof(*table));
	uint32_t buckets = 1024;

	if (table == NULL)
		return -ENOMEM;
	while (buckets < limit && buckets < 1u << 24)
		buckets *= 2;
	table->buckets = calloc(buckets, sizeof(*table->buckets));
	if (table->buckets == NULL) {
		free(table);
		return -ENOMEM;
	}
	table->bucket_mask = buckets - 1;
	table->limit = limit;
	pthread_mutex_init(&table->lock, NULL);
	*out = table;
	return 0;
}

static void inode_free(struct inode *inode)
{
	inode_data_put(inode->data.file);
	pthread_mutex_destroy(&inode->lock);
	free(inode->symlink);
	free(inode->xattrs.names);
	free(inode);
}

void inode_table_destroy(struct inode_table *table)
{
	if (table == NULL)
		return;
	for (uint32_t i = 0; i <= table->bucket_mask; i++) {
		struct inode *inode = table->buckets[i], *next;

		for (; inode != NULL; inode = next) {
			next = inode->table.hash_next;
			inode_free(inode);
		}
	}
	pthread_mutex_destroy(&table->lock);
	free(table->buckets);
	free(table);
}

static struct inode **bucket_of(struct inode_table *table, uint64_t ino)
{
	return &table->buckets[(ino * UINT64_C(0x9e3779b97f4a7c15) >> 32) & table->bucket_mask];
}

static void lru_remove(struct inode_table *table, struct inode *inode)
{
	DL_DELETE2(table->lru_first, inode, table.lru_prev, table.lru_next);
}

static void lru_append(struct inode_table *table, struct inode *inode)
{
	DL_APPEND2(table->lru_first, inode, table.lru_prev, table.lru_next);
}

static struct inode *lookup(struct inode_table *table, uint64_t ino)
{
	struct inode *inode = *bucket_of(table, ino);

	while (inode != NULL && inode->ino != ino)
		inode = inode->table.hash_next;
	if (inode != NULL && inode->table.refs++ == 0)
		lru_remove(table, inode);
	return inode;
}

/* The one longest unused, out of the table, or NULL. */
static struct inode *evict(struct inode_table *table)
{
	struct inode *victim = table->lru_first, **link;

	if (table->count <= table->limit || victim == NULL)
		return NULL;
	expects(victim->table.refs == 0);
	lru_remove(table, victim);
	for (link = bucket_of(table, victim->ino); *link != victim;
	     link = &(*link)->table.hash_next)
		;
	*link = victim->table.hash_next;
	table->count--;
	return victim;
}

static struct inode *inode_new(uint64_t ino)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (inode == NULL)
		return NULL;
	inode->ino = ino;
	inode->table.refs = 1;
	pthread_mutex_init(&inode->lock, NULL);
	return inode;
}

struct inode *inode_table_find(struct inode_table *table, uint64_t ino)
{
	struct inode *inode;

	pthread_mutex_lock(&table->lock);
	inode = lookup(table, ino);
	pthread_mutex_unlock(&table->lock);
	return inode;
}

struct inode *inode_table_get(struct inode_table *table, uint64_t ino)
{
	struct inode *inode, *victim = NULL, **bucket;

	pthread_mutex_lock(&table->lock);
	inode = lookup(table, ino);
	if (inode == NULL) {
		inode = inode_new(ino);
		if (inode != NULL) {
			bucket = bucket_of(table, ino);
			inode->table.hash_next = *bucket;
			*bucket = inode;
			table->count++;
			victim = evict(table);
		}
	}
	pthread_mutex_unlock(&table->lock);
	if (victim != NULL)
		inode_free(victim);
	return inode;
}

struct inode *inode_ref(struct inode_table *table, struct inode *inode)
{
	pthread_mutex_lock(&table->lock);
	if (inode->table.refs++ == 0)
		lru_remove(table, inode);
	pthread_mutex_unlock(&table->lock);
	return inode;
}

void inode_put(struct inode_table *table, struct inode *inode)
{
	struct inode *victim = NULL;

	if (inode == NULL)
		return;
	pthread_mutex_lock(&table->lock);
	expects(inode->table.refs > 0);
	if (--inode->table.refs == 0) {
		lru_append(table, inode);
		victim = evict(table);
	}
	pthread_mutex_unlock(&table->lock);
	if (victim != NULL)
		inode_free(victim);
}

uint32_t inode_table_count(struct inode_table *table)
{
	uint32_t count;

	pthread_mutex_lock(&table->lock);
	count = table->count;
	pthread_mutex_unlock(&table->lock);
	return count;
}

/* References to all that are there now; *count of them. NULL: out of memory. */
static struct inode **reference_all(struct inode_table *table, uint32_t *count)
{
	struct inode **list;
	uint32_t n = 0;

	pthread_mutex_lock(&table->lock);
	list = malloc((table->count + 1) * sizeof(*list));
	for (uint32_t i = 0; list != NULL && i <= table->bucket_mask; i++) {
		for (struct inode *inode = table->buckets[i]; inode != NULL;
		     inode = inode->table.hash_next) {
			if (inode->table.refs++ == 0)
				lru_remove(table, inode);
			list[n++] = inode;
		}
	}
	pthread_mutex_unlock(&table->lock);
	*count = n;
	return list;
}

int inode_table_each(struct inode_table *table, bool (*wanted)(const struct inode *inode),
		     void (*each)(void *user, struct inode *inode), void *user)
{
	uint32_t count;
	struct inode **list = reference_all(table, &count);

	if (list == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		bool yes;

		pthread_mutex_lock(&list[i]->lock);
		yes = wanted(list[i]);
		pthread_mutex_unlock(&list[i]->lock);
		if (yes)
			each(user, list[i]);
		inode_put(table, list[i]);
	}
	free(list);
	return 0;
}
