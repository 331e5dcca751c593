/* unpack.c - the bounded allocator. */
#include "common/cluster/unpack.h"
#include <stdlib.h>

void *unpack_alloc(void *data, size_t size)
{
	struct unpack *unpack = data;
	void *out;

	if (size > unpack->left)
		return NULL;
	unpack->left -= size;
	out = malloc(size);
	unpack->no_memory |= out == NULL;
	return out;
}

void unpack_release(void *data, void *pointer)
{
	free(pointer);
}
