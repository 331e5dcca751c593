/* push.c - messages put together from encoded parts. */
#include "master/shared/push.h"
#include <stdlib.h>
#include <string.h>

#define VARINT_MAX 10

static uint8_t *room(struct push *push, size_t size)
{
	size_t capacity = push->capacity == 0 ? 4096 : push->capacity;
	uint8_t *bigger;

	while (capacity - push->size < size)
		capacity *= 2;
	if (capacity != push->capacity) {
		bigger = realloc(push->data, capacity);
		if (bigger == NULL) {
			push->failed = true;
			return NULL;
		}
		push->data = bigger;
		push->capacity = capacity;
	}
	return push->data + push->size;
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	return n;
}

/* Writes tag and length; then @size bytes are to follow. */
static uint8_t *begin(struct push *push, unsigned field, size_t size)
{
	uint8_t *at = room(push, size + 2 * VARINT_MAX);

	if (at == NULL)
		return NULL;
	at += put_varint(at, (uint64_t)field << 3 | 2);
	at += put_varint(at, size);
	push->size = (size_t)(at - push->data) + size;
	return at;
}

void push_bytes(struct push *push, unsigned field, const void *data, size_t size)
{
	uint8_t *at = begin(push, field, size);

	if (at != NULL && size != 0)
		memcpy(at, data, size);
}

void push_number(struct push *push, unsigned field, uint64_t number)
{
	uint8_t packed[VARINT_MAX];

	push_bytes(push, field, packed, put_varint(packed, number));
}

void push_message(struct push *push, unsigned field, const ProtobufCMessage *message)
{
	uint8_t *at = begin(push, field, protobuf_c_message_get_packed_size(message));

	if (at != NULL)
		protobuf_c_message_pack(message, at);
}

void push_raw(struct push *push, const void *data, size_t size)
{
	uint8_t *at = size == 0 ? NULL : room(push, size);

	if (at == NULL)
		return;
	memcpy(at, data, size);
	push->size += size;
}

void push_clear(struct push *push)
{
	push->size = 0;
	push->failed = false;
}

void push_free(struct push *push)
{
	free(push->data);
	memset(push, 0, sizeof(*push));
}
