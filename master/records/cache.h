/* cache.h - inodes and directory entries in front of the store.
 *
 * The caches are of bounded size and set-associative: the oldest entry of a set goes. What a
 * transaction changes comes here only when it is written. */
#ifndef CATENA_MASTER_RECORDS_CACHE_H
#define CATENA_MASTER_RECORDS_CACHE_H
#include "master/records/values.h"

struct inode_cache;
struct dentry_cache;

struct inode_cache *cache_inode_new(void);
void cache_inode_free(struct inode_cache *cache);
void cache_inode_clear(struct inode_cache *cache);
/* Finds an inode; @ino is not 0. Borrowed until the next change of the cache; NULL: not there. */
const struct inode_record *cache_inode_get(struct inode_cache *cache, uint64_t ino);
void cache_inode_put(struct inode_cache *cache, const struct inode_record *inode);
void cache_inode_drop(struct inode_cache *cache, uint64_t ino);

struct dentry_cache *cache_dentry_new(void);
void cache_dentry_free(struct dentry_cache *cache);
void cache_dentry_clear(struct dentry_cache *cache);
/* Finds an entry; false: not there. Entries with long names never are. */
bool cache_dentry_get(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      struct dentry *out);
void cache_dentry_put(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      const struct dentry *dentry);
void cache_dentry_drop(struct dentry_cache *cache, uint64_t parent, uint64_t cookie);
#endif
