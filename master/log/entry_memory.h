/* entry_memory.h - the arrays behind one entry or its message, freed as a whole. Pure. */
#ifndef CATENA_MASTER_LOG_ENTRY_MEMORY_H
#define CATENA_MASTER_LOG_ENTRY_MEMORY_H
#include <stddef.h>

struct entry_array;

struct entry_memory {
	struct entry_array *arrays; /* private; NULL: none yet */
};

/* Gives zeroed memory for @count items, at least one. NULL: out of memory. */
void *entry_memory_array(struct entry_memory *memory, size_t count, size_t item);
void entry_memory_free(struct entry_memory *memory);
#endif
