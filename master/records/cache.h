/* cache.h - inodes and directory entries in front of the store.
 *
 * The caches are of bounded size and set-associative: the oldest of a set goes. Nothing of a running
 * transaction is in them. */
#ifndef CATENA_MASTER_RECORDS_CACHE_H
#define CATENA_MASTER_RECORDS_CACHE_H
#include "master/records/values.h"

struct inode_cache;
struct dentry_cache;

struct inode_cache *inode_cache_new(void);
void inode_cache_free(struct inode_cache *cache);
void inode_cache_clear(struct inode_cache *cache);
/* @ino is not 0. Borrowed until the next change of the cache; NULL: not there. */
const struct inode *inode_cache_get(struct inode_cache *cache, uint64_t ino);
void inode_cache_put(struct inode_cache *cache, const struct inode *inode);
void inode_cache_drop(struct inode_cache *cache, uint64_t ino);

struct dentry_cache *dentry_cache_new(void);
void dentry_cache_free(struct dentry_cache *cache);
void dentry_cache_clear(struct dentry_cache *cache);
/* False: not there. Entries with long names are never there. */
bool dentry_cache_get(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      struct dentry *out);
void dentry_cache_put(struct dentry_cache *cache, uint64_t parent, uint64_t cookie,
		      const struct dentry *dentry);
void dentry_cache_drop(struct dentry_cache *cache, uint64_t parent, uint64_t cookie);
#endif
