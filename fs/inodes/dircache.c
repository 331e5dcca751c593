/* dircache.c - see dircache.h.
 *
 * Two hash tables: directories by number, entries by (directory, name). A directory lives while it
 * has entries, a change under way, or is complete; those that are none of these but the youngest
 * are dropped with the oldest entries. One lock: what is done under it is some hundred
 * nanoseconds. */
#include "fs/inodes/dircache.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/list.h"
#include "common/cluster/namespace_rules.h"

struct directory;

struct name_entry {
	struct name_entry *hash_next, *lru_prev, *lru_next; /* of the cache */
	struct name_entry *dir_prev, *dir_next;             /* of the directory */
	struct directory *dir;
	uint64_t ino; /* 0: does not exist */
	uint32_t hash;
	uint16_t name_size;
	char name[];
};

struct directory {
	struct directory *hash_next, *lru_prev, *lru_next;
	uint64_t ino, generation;
	struct name_entry *entries;
	uint64_t changes; /* begun or ended, ever: a token */
	uint32_t under_way;
	bool overlapping; /* two were under way together and one still is */
	bool complete;
	/* Listed because of look-ups, as far as fetch goes. */
	struct dircache_fetch fetch;
	uint32_t missed, fetched;
	bool fetching;
};

struct dircache {
	pthread_mutex_t lock;
	struct directory **dirs;
	struct name_entry **entries;
	uint32_t dir_mask, entry_mask;
	uint32_t dir_count, entry_count, limit;
	struct name_entry *oldest_entry;
	struct directory *oldest_dir;
	uint64_t next_token;
};

int dircache_create(uint32_t limit, struct dircache **out)
{
	struct dircache *cache = calloc(1, sizeof(*cache));
	uint32_t buckets = 1024;

	if (cache == NULL)
		return -ENOMEM;
	while (buckets < limit && buckets < 1u << 24)
		buckets *= 2;
	cache->entries = calloc(buckets, sizeof(*cache->entries));
	cache->dirs = calloc(buckets / 4, sizeof(*cache->dirs));
	if (cache->entries == NULL || cache->dirs == NULL) {
		free(cache->entries);
		free(cache->dirs);
		free(cache);
		return -ENOMEM;
	}
	cache->entry_mask = buckets - 1;
	cache->dir_mask = buckets / 4 - 1;
	cache->limit = limit;
	cache->next_token = 1;
	pthread_mutex_init(&cache->lock, NULL);
	*out = cache;
	return 0;
}

static uint32_t mix(uint64_t x)
{
	x *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(x >> 32);
}

static uint32_t entry_hash(uint64_t parent, const char *name, size_t size)
{
	uint64_t h = parent * UINT64_C(0x9e3779b97f4a7c15) ^ size;

	for (size_t i = 0; i < size; i++)
		h = (h ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
	return mix(h);
}

/* ---- entries ---- */

static void entry_unlink_lru(struct dircache *cache, struct name_entry *e)
{
	DL_DELETE2(cache->oldest_entry, e, lru_prev, lru_next);
}

static void entry_append_lru(struct dircache *cache, struct name_entry *e)
{
	DL_APPEND2(cache->oldest_entry, e, lru_prev, lru_next);
}

static struct name_entry *entry_find(struct dircache *cache, const struct directory *dir,
				     uint32_t hash, const char *name, size_t size)
{
	struct name_entry *e = cache->entries[hash & cache->entry_mask];

	while (e != NULL && (e->hash != hash || e->dir != dir || e->name_size != size ||
			     memcmp(e->name, name, size) != 0))
		e = e->hash_next;
	return e;
}

static void entry_remove(struct dircache *cache, struct name_entry *e)
{
	struct name_entry **link = &cache->entries[e->hash & cache->entry_mask];

	while (*link != e)
		link = &(*link)->hash_next;
	*link = e->hash_next;
	entry_unlink_lru(cache, e);
	DL_DELETE2(e->dir->entries, e, dir_prev, dir_next);
	cache->entry_count--;
	free(e);
}

/* ---- directories ---- */

static struct directory **dir_bucket(struct dircache *cache, uint64_t ino)
{
	return &cache->dirs[mix(ino) & cache->dir_mask];
}

static void dir_unlink_lru(struct dircache *cache, struct directory *dir)
{
	DL_DELETE2(cache->oldest_dir, dir, lru_prev, lru_next);
}

static void dir_append_lru(struct dircache *cache, struct directory *dir)
{
	DL_APPEND2(cache->oldest_dir, dir, lru_prev, lru_next);
}

static void dir_forget(struct dircache *cache, struct directory *dir)
{
	while (dir->entries != NULL)
		entry_remove(cache, dir->entries);
	dir->complete = false;
	dir->changes = cache->next_token++;
	dir->missed = 0;
	dir->fetching = false;
}

static void dir_remove(struct dircache *cache, struct directory *dir)
{
	struct directory **link = dir_bucket(cache, dir->ino);

	dir_forget(cache, dir);
	while (*link != dir)
		link = &(*link)->hash_next;
	*link = dir->hash_next;
	dir_unlink_lru(cache, dir);
	cache->dir_count--;
	free(dir);
}

/* Of this generation, or NULL. */
static struct directory *dir_find(struct dircache *cache, uint64_t generation, uint64_t ino)
{
	struct directory *dir = *dir_bucket(cache, ino);

	while (dir != NULL && dir->ino != ino)
		dir = dir->hash_next;
	if (dir == NULL || dir->generation == generation)
		return dir;
	if (dir->generation > generation)
		return NULL; /* the asker is late */
	dir_forget(cache, dir);
	dir->generation = generation;
	return dir;
}

/* Something of the directory is not known any more: it is not complete, nor will a listing that is
 * under way make it so. */
static void lost_one(struct dircache *cache, struct directory *dir)
{
	dir->complete = false;
	dir->changes = cache->next_token++;
}

static void shrink_entries(struct dircache *cache)
{
	while (cache->entry_count > cache->limit) {
		lost_one(cache, cache->oldest_entry->dir);
		entry_remove(cache, cache->oldest_entry);
	}
}

/* Empty directories take memory too. Looks at a few only: each call makes room for one. */
static void shrink_directories(struct dircache *cache, const struct directory *keep)
{
	struct directory *dir = cache->oldest_dir;

	for (unsigned tries = 0; tries < 8 && dir != NULL; tries++) {
		struct directory *next = dir->lru_next;

		if (cache->dir_count <= cache->limit / 4 + 1)
			return;
		if (dir->under_way == 0 && dir != keep)
			dir_remove(cache, dir);
		dir = next;
	}
}

static struct directory *dir_get(struct dircache *cache, uint64_t generation, uint64_t ino)
{
	struct directory *dir = dir_find(cache, generation, ino), **bucket;

	if (dir != NULL) {
		dir_unlink_lru(cache, dir);
		dir_append_lru(cache, dir);
		return dir;
	}
	bucket = dir_bucket(cache, ino);
	for (dir = *bucket; dir != NULL && dir->ino != ino; dir = dir->hash_next)
		;
	if (dir != NULL)
		return NULL; /* of a newer generation */
	dir = calloc(1, sizeof(*dir));
	if (dir == NULL)
		return NULL;
	dir->ino = ino;
	dir->generation = generation;
	dir->changes = cache->next_token++;
	dir->hash_next = *bucket;
	*bucket = dir;
	dir_append_lru(cache, dir);
	cache->dir_count++;
	shrink_directories(cache, dir);
	return dir;
}

static void put_entry(struct dircache *cache, struct directory *dir, const char *name, uint64_t ino)
{
	size_t size = strlen(name);
	uint32_t hash = entry_hash(dir->ino, name, size);
	struct name_entry *e = entry_find(cache, dir, hash, name, size), **bucket;

	if (e != NULL) {
		e->ino = ino;
		entry_unlink_lru(cache, e);
		entry_append_lru(cache, e);
		return;
	}
	e = malloc(sizeof(*e) + size);
	if (e == NULL) {
		lost_one(cache, dir);
		return;
	}
	e->dir = dir;
	e->ino = ino;
	e->hash = hash;
	e->name_size = (uint16_t)size;
	memcpy(e->name, name, size);
	bucket = &cache->entries[hash & cache->entry_mask];
	e->hash_next = *bucket;
	*bucket = e;
	DL_PREPEND2(dir->entries, e, dir_prev, dir_next);
	entry_append_lru(cache, e);
	cache->entry_count++;
	shrink_entries(cache);
}

static void remove_name(struct dircache *cache, struct directory *dir, const char *name)
{
	size_t size = strlen(name);
	struct name_entry *e = entry_find(cache, dir, entry_hash(dir->ino, name, size), name, size);

	if (e != NULL)
		entry_remove(cache, e);
}

/* ---- the contract ---- */

void dircache_destroy(struct dircache *cache)
{
	if (cache == NULL)
		return;
	while (cache->oldest_dir != NULL)
		dir_remove(cache, cache->oldest_dir);
	pthread_mutex_destroy(&cache->lock);
	free(cache->entries);
	free(cache->dirs);
	free(cache);
}

enum dircache_answer dircache_lookup(struct dircache *cache, uint64_t generation, uint64_t parent,
				     const char *name, uint64_t *ino)
{
	enum dircache_answer answer = DIRCACHE_UNKNOWN;
	size_t size = strlen(name);
	struct directory *dir;
	struct name_entry *e;

	pthread_mutex_lock(&cache->lock);
	dir = dir_find(cache, generation, parent);
	if (dir != NULL) {
		e = entry_find(cache, dir, entry_hash(parent, name, size), name, size);
		if (e != NULL && e->ino != DIRCACHE_CHANGED) {
			entry_unlink_lru(cache, e);
			entry_append_lru(cache, e);
			*ino = e->ino;
			answer = e->ino != 0 ? DIRCACHE_FOUND : DIRCACHE_ABSENT;
		} else if (e == NULL && dir->complete) {
			answer = DIRCACHE_ABSENT;
		}
	}
	pthread_mutex_unlock(&cache->lock);
	return answer;
}

uint64_t dircache_read_begin(struct dircache *cache, uint64_t generation, uint64_t parent)
{
	struct directory *dir;
	uint64_t token = 0;

	pthread_mutex_lock(&cache->lock);
	dir = dir_get(cache, generation, parent);
	if (dir != NULL && dir->under_way == 0)
		token = dir->changes;
	pthread_mutex_unlock(&cache->lock);
	return token;
}

static struct directory *dir_of_token(struct dircache *cache, uint64_t generation, uint64_t token,
				      uint64_t parent)
{
	struct directory *dir = token == 0 ? NULL : dir_find(cache, generation, parent);

	return dir != NULL && dir->changes == token && dir->under_way == 0 ? dir : NULL;
}

bool dircache_add(struct dircache *cache, uint64_t generation, uint64_t token, uint64_t parent,
		  const char *name, uint64_t ino)
{
	struct directory *dir;

	pthread_mutex_lock(&cache->lock);
	dir = dir_of_token(cache, generation, token, parent);
	if (dir != NULL)
		put_entry(cache, dir, name, ino);
	pthread_mutex_unlock(&cache->lock);
	return dir != NULL;
}

void dircache_complete(struct dircache *cache, uint64_t generation, uint64_t token, uint64_t parent)
{
	struct directory *dir;

	pthread_mutex_lock(&cache->lock);
	dir = dir_of_token(cache, generation, token, parent);
	if (dir != NULL)
		dir->complete = true;
	pthread_mutex_unlock(&cache->lock);
}

/* ---- listing beside look-ups ---- */

static bool worth_it(const struct dircache *cache, struct directory *dir)
{
	if (dir->fetch.token != dir->changes)
		dir->fetched = 0;
	return !dir->complete && dir->under_way == 0 && dir->missed >= DIRCACHE_FETCH_AFTER &&
	       dir->fetched <= dir->missed * DIRCACHE_FETCH_RATIO &&
	       dir->fetched <= cache->limit / 2;
}

bool dircache_fetch_begin(struct dircache *cache, uint64_t generation, uint64_t parent,
			  struct dircache_fetch *fetch)
{
	struct directory *dir;
	bool yes = false;

	pthread_mutex_lock(&cache->lock);
	dir = dir_find(cache, generation, parent);
	if (dir != NULL && dir->missed < UINT32_MAX / DIRCACHE_FETCH_RATIO)
		dir->missed++;
	if (dir != NULL && !dir->fetching && worth_it(cache, dir)) {
		if (dir->fetch.token != dir->changes)
			dir->fetch = (struct dircache_fetch){.token = dir->changes};
		*fetch = dir->fetch;
		yes = dir->fetching = true;
	}
	pthread_mutex_unlock(&cache->lock);
	return yes;
}

bool dircache_fetch_next(struct dircache *cache, uint64_t generation, uint64_t parent,
			 struct dircache_fetch *fetch, uint64_t last, uint32_t count, bool whole)
{
	struct directory *dir;
	bool more = false;

	pthread_mutex_lock(&cache->lock);
	dir = dir_find(cache, generation, parent);
	if (dir == NULL || !dir->fetching)
		goto out;
	dir->fetching = false;
	if (dir->changes != fetch->token || dir->fetch.token != fetch->token || dir->under_way > 0)
		goto out;
	dir->complete = whole;
	dir->fetch.cookie = last;
	dir->fetched += count;
	more = dir->fetching = worth_it(cache, dir);
	*fetch = dir->fetch;
out:
	pthread_mutex_unlock(&cache->lock);
	return more;
}

void dircache_fetch_end(struct dircache *cache, uint64_t generation, uint64_t parent)
{
	struct directory *dir;

	pthread_mutex_lock(&cache->lock);
	dir = dir_find(cache, generation, parent);
	if (dir != NULL) {
		dir->fetching = false;
		dir->missed = 0;
	}
	pthread_mutex_unlock(&cache->lock);
}

void dircache_new(struct dircache *cache, uint64_t generation, uint64_t ino)
{
	struct directory *dir;

	pthread_mutex_lock(&cache->lock);
	dir = dir_get(cache, generation, ino);
	if (dir != NULL && dir->under_way == 0) {
		dir_forget(cache, dir);
		dir->complete = true;
	}
	pthread_mutex_unlock(&cache->lock);
}

void dircache_drop(struct dircache *cache, uint64_t ino)
{
	struct directory *dir;

	pthread_mutex_lock(&cache->lock);
	for (dir = *dir_bucket(cache, ino); dir != NULL && dir->ino != ino; dir = dir->hash_next)
		;
	if (dir != NULL && dir->under_way == 0)
		dir_remove(cache, dir);
	else if (dir != NULL)
		dir_forget(cache, dir);
	pthread_mutex_unlock(&cache->lock);
}

/* Counts even when the generation has gone by: the change is under way all the same. */
static struct directory *dir_changing(struct dircache *cache, uint64_t generation, uint64_t parent)
{
	struct directory *dir;

	for (dir = *dir_bucket(cache, parent); dir != NULL && dir->ino != parent;
	     dir = dir->hash_next)
		;
	if (dir != NULL && dir->generation < generation) {
		dir_forget(cache, dir);
		dir->generation = generation;
	}
	return dir != NULL ? dir : dir_get(cache, generation, parent);
}

/* Is this the first of the command's changes in its directory? */
static bool first_there(const struct dircache_change *changes, int i)
{
	return i == 0 || changes[0].parent != changes[1].parent;
}

void dircache_change_begin(struct dircache *cache, uint64_t generation,
			   const struct dircache_change *changes, int count)
{
	pthread_mutex_lock(&cache->lock);
	for (int i = 0; i < count; i++) {
		struct directory *dir = dir_changing(cache, generation, changes[i].parent);

		if (dir == NULL)
			continue;
		if (first_there(changes, i)) {
			if (dir->under_way++ > 0)
				dir->overlapping = true;
			dir->changes = cache->next_token++;
		}
		if (dir->complete)
			put_entry(cache, dir, changes[i].name, DIRCACHE_CHANGED);
		else
			remove_name(cache, dir, changes[i].name);
	}
	pthread_mutex_unlock(&cache->lock);
}

static void end_one(struct dircache *cache, uint64_t generation, struct directory *dir,
		    const struct dircache_change *change)
{
	if (dir->overlapping || change->ino == DIRCACHE_CHANGED || dir->generation != generation) {
		remove_name(cache, dir, change->name);
		dir->complete = false;
	} else if (change->ino == DIRCACHE_GONE && dir->complete) {
		remove_name(cache, dir, change->name);
	} else {
		put_entry(cache, dir, change->name, change->ino);
	}
}

void dircache_change_end(struct dircache *cache, uint64_t generation,
			 const struct dircache_change *changes, int count)
{
	struct directory *dirs[2] = {NULL, NULL};

	pthread_mutex_lock(&cache->lock);
	for (int i = 0; i < count; i++) {
		dirs[i] = dir_changing(cache, generation, changes[i].parent);
		/* Its beginning found no memory: nothing of it is cached. */
		if (dirs[i] != NULL && dirs[i]->under_way == 0)
			dirs[i] = NULL;
		if (dirs[i] != NULL)
			end_one(cache, generation, dirs[i], &changes[i]);
	}
	for (int i = 0; i < count; i++) {
		if (dirs[i] == NULL || !first_there(changes, i))
			continue;
		dirs[i]->changes = cache->next_token++;
		if (--dirs[i]->under_way == 0)
			dirs[i]->overlapping = false;
	}
	pthread_mutex_unlock(&cache->lock);
}

uint32_t dircache_count(struct dircache *cache)
{
	uint32_t count;

	pthread_mutex_lock(&cache->lock);
	count = cache->entry_count;
	pthread_mutex_unlock(&cache->lock);
	return count;
}

/* ---- for people ---- */

#define PATH_DEPTH 64u

static const struct name_entry *reply_fill_entry(const struct dircache *cache, uint64_t ino)
{
	const struct name_entry *oldest = cache->oldest_entry, *e = oldest;

	if (oldest == NULL)
		return NULL;
	/* From the newest on: that is before the oldest. */
	do {
		e = e->lru_prev;
		if (e->ino == ino)
			return e;
	} while (e != oldest);
	return NULL;
}

void dircache_path(struct dircache *cache, uint64_t ino, char *out, size_t size)
{
	size_t at = size - 1; /* filled from its end */
	const struct name_entry *e;

	out[at] = '\0';
	pthread_mutex_lock(&cache->lock);
	for (unsigned depth = 0; ino != ROOT_INO && depth < PATH_DEPTH; depth++) {
		e = reply_fill_entry(cache, ino);
		if (e == NULL || at < e->name_size + 2u)
			break;
		at -= e->name_size;
		memcpy(out + at, e->name, e->name_size);
		out[--at] = '/';
		ino = e->dir->ino;
	}
	pthread_mutex_unlock(&cache->lock);
	if (ino != ROOT_INO)
		out[--at] = '?';
	else if (out[at] == '\0')
		out[--at] = '/';
	memmove(out, out + at, size - at);
}
