/* unpack.h - decoding messages of peers with a bound on memory.
 *
 * An empty sub-message takes two bytes on the wire and a hundred decoded, so a message of
 * RPC_MESSAGE_MAX bytes could ask for a hundred times its size. */
#ifndef CATENA_MASTER_SHARED_UNPACK_H
#define CATENA_MASTER_SHARED_UNPACK_H
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#define UNPACK_BYTES_MAX (64u << 20)

struct unpack {
	ProtobufCAllocator allocator;
	size_t left;
};

void *unpack_alloc(void *data, size_t size);
void unpack_release(void *data, void *pointer);

/* The allocator for one message; the message is freed with the same allocator. @unpack lives as
 * long as the message. */
static inline ProtobufCAllocator *unpack_begin(struct unpack *unpack)
{
	unpack->left = UNPACK_BYTES_MAX;
	unpack->allocator = (ProtobufCAllocator){
		.alloc = unpack_alloc, .free = unpack_release, .allocator_data = unpack};
	return &unpack->allocator;
}
#endif
