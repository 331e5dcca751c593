/* dircache.h - names: which entry of which directory is which inode, or does not exist.
 *
 * Everything is of one generation of the lease: calls say which, and what is of another is
 * forgotten. A directory is "complete" when every name in it is known; then a name that is not
 * there does not exist.
 *
 * Answers of the master may come in another order than they were made, so what is read (a lookup,
 * a listing) is cached only when no change of that directory was under way at any time between
 * asking and answer: dircache_read_begin() gives a token, dircache_add() checks it. Changes come
 * one after another in a directory, because the kernel locks it; only when a program was
 * interrupted can two overlap, and then nothing is concluded from either.
 *
 * Pure but for its lock; any thread. */
#ifndef CATENA_FS_INODES_DIRCACHE_H
#define CATENA_FS_INODES_DIRCACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRCACHE_LIMIT 400000u /* entries */
/* A directory is listed after so many look-ups, and so many entries for each. */
#define DIRCACHE_FETCH_AFTER 4u
#define DIRCACHE_FETCH_RATIO 64u

enum dircache_answer { DIRCACHE_UNKNOWN, DIRCACHE_FOUND, DIRCACHE_ABSENT };

/* What a name is after a change. */
#define DIRCACHE_GONE    0u         /* it does not exist */
#define DIRCACHE_CHANGED UINT64_MAX /* nobody knows */

struct dircache;

int dircache_create(uint32_t limit, struct dircache **out);
void dircache_destroy(struct dircache *cache);

enum dircache_answer dircache_lookup(struct dircache *cache, uint64_t generation, uint64_t parent,
				     const char *name, uint64_t *ino);

/* 0: nothing that is read now may be cached. */
uint64_t dircache_read_begin(struct dircache *cache, uint64_t generation, uint64_t parent);
/* @ino 0: the name does not exist. False: the token is void. */
bool dircache_add(struct dircache *cache, uint64_t generation, uint64_t token, uint64_t parent,
		  const char *name, uint64_t ino);
/* All names were added under this token. */
void dircache_complete(struct dircache *cache, uint64_t generation, uint64_t token,
		       uint64_t parent);
/* A directory that is listed because many of its names are looked up: from which cookie on, under
 * which token. */
struct dircache_fetch {
	uint64_t token, cookie;
};
/* A look-up had to be asked of the master. True: it is worth listing more of the directory, which
 * then ends with dircache_fetch_end(), or with _next() saying false. One at a time. */
bool dircache_fetch_begin(struct dircache *cache, uint64_t generation, uint64_t parent,
			  struct dircache_fetch *fetch);
/* @count entries up to cookie @last were added, with them the last one if @whole. True: go on. */
bool dircache_fetch_next(struct dircache *cache, uint64_t generation, uint64_t parent,
			 struct dircache_fetch *fetch, uint64_t last, uint32_t count, bool whole);
void dircache_fetch_end(struct dircache *cache, uint64_t generation, uint64_t parent);
/* A directory was made: it is empty, and so complete. */
void dircache_new(struct dircache *cache, uint64_t generation, uint64_t ino);
/* A directory was removed. */
void dircache_drop(struct dircache *cache, uint64_t ino);

/* One name that a command changes, and, when it has been answered, what it is since. */
struct dircache_change {
	uint64_t parent;
	const char *name;
	uint64_t ino;
};
/* A command with one or two names is sent; it has been answered. In between, only these names are
 * unknown. */
void dircache_change_begin(struct dircache *cache, uint64_t generation,
			   const struct dircache_change *changes, int count);
void dircache_change_end(struct dircache *cache, uint64_t generation,
			 const struct dircache_change *changes, int count);
/* For the log: some path to @ino by the names that are or were known, from the mount's root if they
 * go so far; else it begins with "?". Takes long. */
void dircache_path(struct dircache *cache, uint64_t ino, char *out, size_t size);
uint32_t dircache_count(struct dircache *cache);
#endif
