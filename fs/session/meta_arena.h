/* meta_arena.h - memory for one decoded message: bump allocation, freed all at once.
 *
 * A message of RPC_MESSAGE_MAX bytes can ask for many times its size when decoded (an empty
 * sub-message takes two bytes on the wire), so there is a bound, and beyond it decoding fails. */
#ifndef CATENA_FS_SESSION_META_ARENA_H
#define CATENA_FS_SESSION_META_ARENA_H
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#define ARENA_BLOCK_BYTES (64u << 10)
#define ARENA_BYTES_MAX   (128u << 20)

struct arena_block {
	struct arena_block *next;
	size_t size;
	_Alignas(16) unsigned char bytes[];
};

struct arena {
	ProtobufCAllocator allocator; /* hand this to protobuf-c */
	struct arena_block *blocks;   /* newest first; the last stays between messages */
	size_t used;                  /* of the newest */
	size_t total;
};

void arena_init(struct arena *arena);
void arena_reset(struct arena *arena); /* everything allocated is gone */
void arena_free(struct arena *arena);
#endif
