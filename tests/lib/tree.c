#include "tests/lib/tree.h"

static int tree_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void tree_remove(const char *path)
{
	nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

char *tree_make(char *out, size_t size, const char *name)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(out, size, "%s/%s.XXXXXX", tmp != NULL ? tmp : "/tmp", name);

	return n > 0 && (size_t)n < size ? mkdtemp(out) : NULL;
}
