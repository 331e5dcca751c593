/* unpack.c - the bounded allocator. */
#include "master/shared/unpack.h"
#include <stdlib.h>

void *unpack_alloc(void *data, size_t size)
{
	struct unpack *unpack = data;

	if (size > unpack->left)
		return NULL;
	unpack->left -= size;
	return malloc(size);
}

void unpack_release(void *data, void *pointer)
{
	free(pointer);
}
