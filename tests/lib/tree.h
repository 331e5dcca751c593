/* tree.h - directories that a test makes and removes. */
#ifndef CATENA_TESTS_LIB_TREE_H
#define CATENA_TESTS_LIB_TREE_H
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static inline int tree_remove_one(const char *path, const struct stat *st, int flag,
				  struct FTW *ftw)
{
	return remove(path);
}

/* @path and all below it; that there is nothing is fine. */
static inline void tree_remove(const char *path)
{
	nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A new directory below $TMPDIR or /tmp, its name beginning with @name. NULL: it cannot be made. */
static inline char *tree_make(char *out, size_t size, const char *name)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(out, size, "%s/%s.XXXXXX", tmp != NULL ? tmp : "/tmp", name);

	return n > 0 && (size_t)n < size ? mkdtemp(out) : NULL;
}
#endif
