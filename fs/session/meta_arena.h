/* meta_arena.h - memory for one decoded message: bump allocation, freed all at once.
 *
 * A message of RPC_MESSAGE_MAX bytes can ask for many times its size when decoded (an empty
 * sub-message takes two bytes on the wire), so there is a bound, and beyond it decoding fails. */
#ifndef CATENA_FS_SESSION_META_ARENA_H
#define CATENA_FS_SESSION_META_ARENA_H
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#define META_ARENA_BLOCK_BYTES (64u << 10)
#define META_ARENA_BYTES_MAX   (128u << 20)

struct meta_arena_block {
	struct meta_arena_block *next;
	size_t size;
	_Alignas(16) unsigned char bytes[];
};

struct meta_arena {
	ProtobufCAllocator allocator;    /* hand this to protobuf-c */
	struct meta_arena_block *blocks; /* newest first; the last stays between messages */
	size_t used;                     /* of the newest */
	size_t total;
};

void meta_arena_init(struct meta_arena *arena);
void meta_arena_reset(struct meta_arena *arena); /* everything allocated is gone */
void meta_arena_free(struct meta_arena *arena);
#endif
