/* unpack.h - decoding messages of peers and disks with a bound on memory.
 *
 * An empty sub-message takes two bytes on the wire and a hundred decoded, so a message of
 * RPC_MESSAGE_MAX bytes could ask for a hundred times its size. */
#ifndef CATENA_COMMON_CLUSTER_UNPACK_H
#define CATENA_COMMON_CLUSTER_UNPACK_H
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#define UNPACK_BYTES_MAX (64u << 20)

struct unpack {
	ProtobufCAllocator allocator;
	size_t left;
	bool no_memory; /* the system had none: not the message's fault */
};

void *unpack_alloc(void *data, size_t size);
void unpack_release(void *data, void *pointer);

/* The allocator for one message, of @bytes in all; the message is freed with the same allocator.
 * @unpack lives as long as the message. */
static inline ProtobufCAllocator *unpack_begin_within(struct unpack *unpack, size_t bytes)
{
	unpack->left = bytes;
	unpack->no_memory = false;
	unpack->allocator = (ProtobufCAllocator){
		.alloc = unpack_alloc, .free = unpack_release, .allocator_data = unpack};
	return &unpack->allocator;
}

/* The same with the bound for messages of peers. */
static inline ProtobufCAllocator *unpack_begin(struct unpack *unpack)
{
	return unpack_begin_within(unpack, UNPACK_BYTES_MAX);
}
#endif
