/* meta_pending.c - see meta_pending.h. */
#include "fs/session/meta_pending.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/cluster/request_kind.h"

#define RING_START 256u

/* Field headers (number << 3 | wire type) of common/cluster/proto/catena.proto;
 * tests/unit/fs/session/meta_pending_test.c checks them against the generated code. */
#define TAG_BATCH_REQUESTS 0x12u /* 2, bytes */
#define TAG_BATCH_ANSWERED 0x2au /* 5, packed */
#define TAG_REQUEST_ID     0x08u /* 1, varint */

/* Writes a protobuf varint; returns how many bytes it takes, at most 10. */
static size_t put_varint(uint8_t *out, uint64_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		out[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	out[n++] = (uint8_t)value;
	return n;
}

int meta_pending_ring_init(struct meta_pending_ring *ring)
{
	ring->slots = calloc(RING_START, sizeof(*ring->slots));
	if (ring->slots == NULL)
		return -ENOMEM;
	ring->mask = RING_START - 1;
	ring->first = ring->next = 1;
	return 0;
}

void meta_pending_ring_free(struct meta_pending_ring *ring)
{
	for (uint64_t id = ring->first; id < ring->next; id++)
		free(ring->slots[id & ring->mask]);
	free(ring->slots);
	ring->slots = NULL;
}

static int grow(struct meta_pending_ring *ring)
{
	uint64_t mask = ring->mask * 2 + 1;
	struct meta_pending **slots = calloc(mask + 1, sizeof(*slots));

	if (slots == NULL)
		return -ENOMEM;
	for (uint64_t id = ring->first; id < ring->next; id++)
		slots[id & mask] = ring->slots[id & ring->mask];
	free(ring->slots);
	ring->slots = slots;
	ring->mask = mask;
	return 0;
}

struct meta_pending *meta_pending_new(const Catena__Request *request)
{
	size_t size = catena__request__get_packed_size(request);
	struct meta_pending *pending;

	if (size > UINT32_MAX / 2)
		return NULL;
	pending = malloc(sizeof(*pending) + META_PENDING_HEADROOM + size);
	if (pending == NULL)
		return NULL;
	memset(pending, 0, sizeof(*pending));
	pending->body = META_PENDING_HEADROOM;
	pending->start = META_PENDING_HEADROOM;
	pending->size =
		(uint32_t)catena__request__pack(request, pending->bytes + META_PENDING_HEADROOM);
	pending->repeatable = meta_pending_repeatable(request);
	pending->command = request_kind_is_command(request);
	return pending;
}

static void put_before(struct meta_pending *pending, const uint8_t *data, size_t size)
{
	expects(size <= pending->start);
	pending->start -= (uint32_t)size;
	memcpy(pending->bytes + pending->start, data, size);
	pending->size += (uint32_t)size;
}

/* Fields may come in any order, so the id goes in front of what is encoded already. */
static void put_id(struct meta_pending *pending, uint64_t id)
{
	uint8_t header[12] = {TAG_REQUEST_ID};

	pending->id = id;
	pending->size -= pending->body - pending->start;
	pending->start = pending->body;
	put_before(pending, header, 1 + put_varint(header + 1, id));
	header[0] = TAG_BATCH_REQUESTS;
	put_before(pending, header, 1 + put_varint(header + 1, pending->size));
}

int meta_pending_add(struct meta_pending_ring *ring, struct meta_pending *pending)
{
	if (ring->next - ring->first > ring->mask && grow(ring) != 0)
		return -ENOMEM;
	expects(ring->slots[ring->next & ring->mask] == NULL);
	put_id(pending, ring->next);
	ring->slots[ring->next & ring->mask] = pending;
	ring->next++;
	return 0;
}

struct meta_pending *meta_pending_find(const struct meta_pending_ring *ring, uint64_t id)
{
	if (id < ring->first || id >= ring->next)
		return NULL;
	return ring->slots[id & ring->mask];
}

struct meta_pending *meta_pending_take(struct meta_pending_ring *ring, uint64_t id)
{
	struct meta_pending *pending = meta_pending_find(ring, id);

	if (pending == NULL)
		return NULL;
	expects(pending->id == id);
	ring->slots[id & ring->mask] = NULL;
	while (ring->first < ring->next && ring->slots[ring->first & ring->mask] == NULL)
		ring->first++;
	return pending;
}

uint32_t meta_pending_prepend_answered(struct meta_pending *pending, uint64_t through)
{
	uint8_t field[12] = {TAG_BATCH_ANSWERED};
	size_t n = put_varint(field + 2, through);

	expects(2 + n <= pending->start);
	field[1] = (uint8_t)n;
	memcpy(pending->bytes + pending->start - 2 - n, field, 2 + n);
	return pending->start - 2 - (uint32_t)n;
}

bool meta_pending_repeatable(const Catena__Request *request)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_LOOKUP:
	case CATENA__REQUEST__OP_GETATTR:
	case CATENA__REQUEST__OP_READLINK:
	case CATENA__REQUEST__OP_READDIR:
	case CATENA__REQUEST__OP_STATFS:
	case CATENA__REQUEST__OP_FLUSH_ALL:
		return true;
	case CATENA__REQUEST__OP_OPEN:
		return !request->open->truncate;
	case CATENA__REQUEST__OP_XATTR:
		return request->xattr->op == 1 || request->xattr->op == 3;
	default:
		/* A close of another session's open has no meaning in the new one. */
		return false;
	}
}

/* ---- lists of requests that end together ---- */

void meta_pending_list_init(struct meta_pending_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

void meta_pending_list_add(struct meta_pending_list *list, struct meta_pending *pending)
{
	pending->next = NULL;
	*list->tail = pending;
	list->tail = &pending->next;
}

void meta_pending_list_end(struct meta_pending_list *list, int error)
{
	struct meta_pending *pending, *next;

	for (pending = list->head; pending != NULL; pending = next) {
		next = pending->next;
		if (pending->done != NULL)
			pending->done(pending->user, error, NULL);
		free(pending);
	}
	meta_pending_list_init(list);
}
