/* cache.c - inodes and directory entries in front of the store.
 *
 * Set-associative: a key may be in the WAYS places of its set only, and takes the place used
 * longest ago. So the size is fixed, nothing is allocated after the start, and a look-up touches a
 * few neighbouring lines of memory. */
#include "master/records/cache.h"
#include <string.h>
#include <sys/mman.h>
#include "common/base/expects.h"

#define WAYS        8u
#define INODE_SETS  (1u << 14) /* 131,072 inodes, about 23 MiB when full */
#define DENTRY_SETS (1u << 14) /* as many entries, about 12 MiB */
#define SHORT_NAME  58u

struct inode_cache {
	uint64_t clock;
	struct {
		uint64_t ino[WAYS]; /* 0: free */
		uint64_t used[WAYS];
		struct inode_record inode[WAYS];
	} sets[INODE_SETS];
};

struct cached_dentry {
	uint64_t ino;
	uint8_t type, name_size;
	uint8_t name[SHORT_NAME];
};

struct dentry_cache {
	uint64_t clock;
	struct {
		uint64_t parent[WAYS]; /* 0: free */
		uint64_t cookie[WAYS];
		uint64_t used[WAYS];
		struct cached_dentry dentry[WAYS];
	} sets[DENTRY_SETS];
};

static size_t spread(uint64_t x, size_t sets)
{
	x *= 0x9e3779b97f4a7c15ull;
	return (size_t)(x >> 32) & (sets - 1);
}

static unsigned oldest(const uint64_t used[WAYS])
{
	unsigned way = 0;

	for (unsigned i = 1; i < WAYS; i++)
		if (used[i] < used[way])
			way = i;
	return way;
}

/* Maps zeroed memory that costs only what is used. calloc() would give memory that was freed
 * before, and clear all of it. */
static void *untouched_new(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Makes it as it was when it was new: zeroed, and without cost. */
static void untouched_again(void *memory, size_t size)
{
	if (madvise(memory, size, MADV_DONTNEED) != 0)
		memset(memory, 0, size);
}

/* NULL is allowed. */
static void untouched_free(void *memory, size_t size)
{
	if (memory != NULL)
		(void)munmap(memory, size);
}

/* ---- inodes ---- */

struct inode_cache *cache_inode_new(void)
{
	return untouched_new(sizeof(struct inode_cache));
}

void cache_inode_free(struct inode_cache *cache)
{
	untouched_free(cache, sizeof(*cache));
}

void cache_inode_clear(struct inode_cache *cache)
{
	untouched_again(cache, sizeof(*cache));
}

const struct inode_record *cache_inode_get(struct inode_cache *cache, uint64_t ino)
{
	size_t set = spread(ino, INODE_SETS);

	for (unsigned way = 0; way < WAYS; way++)
		if (cache->sets[set].ino[way] == ino) {
			cache->sets[set].used[way] = ++cache->clock;
			return &cache->sets[set].inode[way];
		}
	return NULL;
}

void cache_inode_put(struct inode_cache *cache, const struct inode_record *inode)
{
	size_t set = spread(inode->ino, INODE_SETS);
	unsigned way;

	expects(inode->ino != 0); /* a free place has 0 */
	for (way = 0; way < WAYS; way++)
		if (cache->sets[set].ino[way] == inode->ino)
			break;
	if (way == WAYS)
		way = oldest(cache->sets[set].used);
	cache->sets[set].ino[way] = inode->ino;
	cache->sets[set].used[way] = ++cache->clock;
	cache->sets[set].inode[way] = *inode;
}

void cache_inode_drop(struct inode_cache *cache, uint64_t ino)
{
	size_t set = spread(ino, INODE_SETS);

	for (unsigned way = 0; way < WAYS; way++)
		if (cache->sets[set].ino[way] == ino) {
			cache->sets[set].ino[way] = 0;
			cache->sets[set].used[way] = 0;
		}
}

/* ---- directory entries ---- */

struct dentry_cache *cache_dentry_new(void)
{
	return untouched_new(sizeof(struct dentry_cache));
}

void cache_dentry_free(struct dentry_cache *cache)
{
	untouched_free(cache, sizeof(*cache));
}

void cache_dentry_clear(struct dentry_cache *cache)
{
	untouched_again(cache, sizeof(*cache));
}

static size_t dentry_set(uint64_t parent, uint64_t cookie)
{
	return spread(parent * 0xff51afd7ed558ccdull ^ cookie, DENTRY_SETS);
}

static unsigned dentry_way(const struct dentry_cache *cache, size_t set, uint64_t parent,
			   uint64_t cookie)
{
	unsigned way;

	for (way = 0; way < WAYS; way++)
		if (cache->sets[set].parent[way] == parent &&
		    cache->sets[set].cookie[way] == cookie)
			break;
	return way;
}

bool cache_dentry_get(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      struct dentry *out)
{
	size_t set = dentry_set(parent, cookie);
	unsigned way = dentry_way(cache, set, parent, cookie);
	const struct cached_dentry *cached;

	if (way == WAYS)
		return false;
	cache->sets[set].used[way] = ++cache->clock;
	cached = &cache->sets[set].dentry[way];
	out->ino = cached->ino;
	out->type = cached->type;
	out->name_size = cached->name_size;
	memcpy(out->name, cached->name, cached->name_size);
	return true;
}

void cache_dentry_put(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      const struct dentry *dentry)
{
	size_t set = dentry_set(parent, cookie);
	unsigned way = dentry_way(cache, set, parent, cookie);
	struct cached_dentry *cached;

	expects(parent != 0); /* a free place has 0 */
	/* An entry that was deleted goes with its directory, which does not know of it any more. */
	if (dentry->name_size > SHORT_NAME || dentry->ino == 0) {
		cache_dentry_drop(cache, parent, cookie);
		return;
	}
	if (way == WAYS)
		way = oldest(cache->sets[set].used);
	cache->sets[set].parent[way] = parent;
	cache->sets[set].cookie[way] = cookie;
	cache->sets[set].used[way] = ++cache->clock;
	cached = &cache->sets[set].dentry[way];
	cached->ino = dentry->ino;
	cached->type = dentry->type;
	cached->name_size = dentry->name_size;
	memcpy(cached->name, dentry->name, dentry->name_size);
}

void cache_dentry_drop(struct dentry_cache *cache, uint64_t parent, uint64_t cookie)
{
	size_t set = dentry_set(parent, cookie);
	unsigned way = dentry_way(cache, set, parent, cookie);

	if (way == WAYS)
		return;
	cache->sets[set].parent[way] = 0;
	cache->sets[set].used[way] = 0;
}
