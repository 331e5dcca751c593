/* dircache.h - the cache of names: which inode each entry of a directory is, or that there is none.
 *
 * Everything belongs to one generation of the lease. Calls say which, and what belongs to another
 * is forgotten. A directory is "complete" when every name in it is known; then a name that is not
 * cached does not exist.
 *
 * Answers of the master may come in another order than they were made. So what a look-up or a
 * listing finds is cached on one condition: no change of that directory was under way at any time
 * between question and answer. dircache_read_begin() gives a token for that, and dircache_add()
 * checks it. The kernel locks a directory, so its changes come one after another. Only when a
 * program was interrupted can two overlap, and then nothing is concluded from either.
 *
 * Thread: any. Locks: its own, which takes no other. */
#ifndef CATENA_FS_INODES_DIRCACHE_H
#define CATENA_FS_INODES_DIRCACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRCACHE_LIMIT 400000u /* entries */
/* A directory is listed after so many look-ups that missed, and so many entries for each. */
#define DIRCACHE_FETCH_AFTER 4u
#define DIRCACHE_FETCH_RATIO 64u

enum dircache_answer { DIRCACHE_UNKNOWN, DIRCACHE_FOUND, DIRCACHE_ABSENT };

/* What a name is after a change, if not an inode. */
#define DIRCACHE_GONE    0u         /* it does not exist */
#define DIRCACHE_CHANGED UINT64_MAX /* not known */

struct dircache;

/* @limit: entries. Errors: -ENOMEM. */
int dircache_create(uint32_t limit, struct dircache **out);
void dircache_destroy(struct dircache *cache); /* NULL is allowed */

/* Looks the name up; *ino is set when it is found. */
enum dircache_answer dircache_lookup(struct dircache *cache, uint64_t generation, uint64_t parent,
				     const char *name, uint64_t *ino);

/* Returns a token for what the master is asked of @parent now; 0: it may not be cached. */
uint64_t dircache_read_begin(struct dircache *cache, uint64_t generation, uint64_t parent);
/* Caches what the name is; @ino 0: it does not exist. False: the token is void. */
bool dircache_add(struct dircache *cache, uint64_t generation, uint64_t token, uint64_t parent,
		  const char *name, uint64_t ino);
/* Notes that all names of @parent were added under this token. */
void dircache_complete(struct dircache *cache, uint64_t generation, uint64_t token,
		       uint64_t parent);
/* The listing of a directory of which many names are looked up. One at a time for each
 * directory. */
struct dircache_fetch {
	uint64_t token;  /* what is listed is added under it */
	uint64_t cookie; /* the listing goes on behind it */
};
/* Notes a look-up that the cache could not answer. True: more of the directory should be listed;
 * dircache_fetch_next() or _end() must follow. */
bool dircache_fetch_begin(struct dircache *cache, uint64_t generation, uint64_t parent,
			  struct dircache_fetch *fetch);
/* Notes that @count entries up to cookie @last were added; @whole: they are the last ones. True:
 * list more, from *fetch on. False: the listing is over. */
bool dircache_fetch_next(struct dircache *cache, uint64_t generation, uint64_t parent,
			 struct dircache_fetch *fetch, uint64_t last, uint32_t count, bool whole);
/* Ends a listing that failed. */
void dircache_fetch_end(struct dircache *cache, uint64_t generation, uint64_t parent);
/* Notes a new directory: it is empty, and so complete. */
void dircache_new(struct dircache *cache, uint64_t generation, uint64_t ino);
/* Forgets a directory that was removed. */
void dircache_drop(struct dircache *cache, uint64_t ino);

/* A name that a command changes. */
struct dircache_change {
	uint64_t parent;
	const char *name;
	uint64_t ino; /* for _end(): what the name is since, or DIRCACHE_GONE, _CHANGED */
};
/* Note that a command with one or two names is sent, and that it has been answered. In between,
 * only these names are unknown. */
void dircache_change_begin(struct dircache *cache, uint64_t generation,
			   const struct dircache_change *changes, int count);
void dircache_change_end(struct dircache *cache, uint64_t generation,
			 const struct dircache_change *changes, int count);
/* Writes a path to @ino, for the log, of names that are or were known. It begins with "?" when they
 * do not reach the mount's root. Takes long. */
void dircache_path(struct dircache *cache, uint64_t ino, char *out, size_t size);
uint32_t dircache_count(struct dircache *cache);
#endif
