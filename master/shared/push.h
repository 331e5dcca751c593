/* push.h - a message under construction, for a stream.
 *
 * Messages on streams have repeated fields only, so one can be put together field by field from
 * parts that are encoded already, and concatenated by whoever sends. */
#ifndef CATENA_MASTER_SHARED_PUSH_H
#define CATENA_MASTER_SHARED_PUSH_H
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct push {
	uint8_t *data; /* NULL: empty */
	size_t size, capacity;
	bool failed; /* out of memory: something is missing */
};

/* Field numbers of what the master pushes (common/cluster/proto/catena.proto). */
enum {
	CLIENT_PUSH_OPENED = 1,
	CLIENT_PUSH_REPLIES = 2,
	CLIENT_PUSH_RENEWED = 3,
	CLIENT_PUSH_MAPS = 4,
	CLIENT_PUSH_GRANTS = 5,
	CLIENT_PUSH_RECALLS = 6,
	CLIENT_PUSH_LANE_DONE = 7,
	CLIENT_PUSH_INDEX = 8,
	CLIENT_PUSH_DURABLE = 9,
	SERVER_PUSH_REGISTERED = 1,
	SERVER_PUSH_RENEWED = 2,
	SERVER_PUSH_MAPS = 3,
	SERVER_PUSH_REMOVES = 4,
	SERVER_PUSH_RECOVERIES = 5,
	STATUS_REPLY_MAP = 1,
};

/* Adds a field of type bytes or message. */
void push_bytes(struct push *push, unsigned field, const void *data, size_t size);
void push_message(struct push *push, unsigned field, const ProtobufCMessage *message);
/* Adds a number to a field of numbers. */
void push_number(struct push *push, unsigned field, uint64_t number);
/* Adds an encoded message as it is. */
void push_raw(struct push *push, const void *data, size_t size);
/* Keeps the memory for the next. */
void push_clear(struct push *push);
void push_free(struct push *push);
#endif
