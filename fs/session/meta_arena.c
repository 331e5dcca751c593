/* meta_arena.c - see meta_arena.h. */
#include "fs/session/meta_arena.h"
#include <stdlib.h>

static struct arena_block *add_block(struct arena *arena, size_t size)
{
	struct arena_block *block;

	if (size > ARENA_BYTES_MAX - arena->total)
		return NULL;
	block = malloc(sizeof(*block) + size);
	if (block == NULL)
		return NULL;
	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	arena->used = 0;
	arena->total += size;
	return block;
}

static void *arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	struct arena_block *block = arena->blocks;
	void *result;

	if (size > ARENA_BYTES_MAX)
		return NULL;
	size = (size + 15) & ~(size_t)15;
	if (block == NULL || size > block->size - arena->used) {
		block = add_block(arena, size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES);
		if (block == NULL)
			return NULL;
	}
	result = block->bytes + arena->used;
	arena->used += size;
	return result;
}

static void arena_ignore(void *data, void *pointer)
{
}

void arena_init(struct arena *arena)
{
	*arena = (struct arena){.allocator = {.alloc = arena_alloc, .free = arena_ignore}};
	arena->allocator.allocator_data = arena;
}

void arena_reset(struct arena *arena)
{
	struct arena_block *block = arena->blocks;

	while (block != NULL && block->next != NULL) {
		struct arena_block *next = block->next;

		arena->total -= block->size;
		free(block);
		block = next;
	}
	arena->blocks = block;
	arena->used = 0;
}

void arena_free(struct arena *arena)
{
	arena_reset(arena);
	free(arena->blocks);
	arena->blocks = NULL;
	arena->total = 0;
}
