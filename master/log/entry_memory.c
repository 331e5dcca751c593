#include "master/log/entry_memory.h"
#include <stdint.h>
#include <stdlib.h>

struct entry_array {
	struct entry_array *next;
	max_align_t items[];
};

void *entry_memory_array(struct entry_memory *memory, size_t count, size_t item)
{
	struct entry_array *array;
	size_t bytes;

	if (__builtin_mul_overflow(count == 0 ? 1 : count, item, &bytes) ||
	    bytes > SIZE_MAX - sizeof(*array))
		return NULL;
	array = calloc(1, sizeof(*array) + bytes);
	if (array == NULL)
		return NULL;
	array->next = memory->arrays;
	memory->arrays = array;
	return array->items;
}

void entry_memory_free(struct entry_memory *memory)
{
	while (memory->arrays != NULL) {
		struct entry_array *next = memory->arrays->next;

		free(memory->arrays);
		memory->arrays = next;
	}
}
