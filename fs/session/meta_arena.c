/* meta_arena.c - see meta_arena.h. */
#include "fs/session/meta_arena.h"
#include <stdlib.h>

static struct meta_arena_block *add_block(struct meta_arena *arena, size_t size)
{
	struct meta_arena_block *block;

	if (size > META_ARENA_BYTES_MAX - arena->total)
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
	struct meta_arena *arena = data;
	struct meta_arena_block *block = arena->blocks;
	void *result;

	if (size > META_ARENA_BYTES_MAX)
		return NULL;
	size = (size + 15) & ~(size_t)15;
	if (block == NULL || size > block->size - arena->used) {
		block = add_block(arena,
				  size > META_ARENA_BLOCK_BYTES ? size : META_ARENA_BLOCK_BYTES);
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

void meta_arena_init(struct meta_arena *arena)
{
	*arena = (struct meta_arena){.allocator = {.alloc = arena_alloc, .free = arena_ignore}};
	arena->allocator.allocator_data = arena;
}

void meta_arena_reset(struct meta_arena *arena)
{
	struct meta_arena_block *block = arena->blocks;

	while (block != NULL && block->next != NULL) {
		struct meta_arena_block *next = block->next;

		arena->total -= block->size;
		free(block);
		block = next;
	}
	arena->blocks = block;
	arena->used = 0;
}

void meta_arena_free(struct meta_arena *arena)
{
	meta_arena_reset(arena);
	free(arena->blocks);
	arena->blocks = NULL;
	arena->total = 0;
}
