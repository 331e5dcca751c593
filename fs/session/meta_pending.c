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
#define TAG_BATCH_REQUESTS  0x12u /* 2, bytes */
#define TAG_BATCH_ANSWERED  0x2au /* 5, packed */
#define TAG_REQUEST_ID      0x08u /* 1, varint */
#define TAG_REQUEST_LANE    0x28u /* 5, varint */
#define TAG_REQUEST_DURABLE 0x10u /* 2, varint */

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
	ring->first = ring->next = ring->next_lane = 1;
	ring->kept_bytes = 0;
	meta_pending_list_init(&ring->lane);
	meta_pending_list_init(&ring->kept);
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
	pending->durable = request->durable;
	pending->takes_numbers = request_kind_takes_numbers(request);
	return pending;
}

static void put_before(struct meta_pending *pending, const uint8_t *data, size_t size)
{
	expects(size <= pending->start);
	pending->start -= (uint32_t)size;
	memcpy(pending->bytes + pending->start, data, size);
	pending->size += (uint32_t)size;
}

static void put_field(struct meta_pending *pending, uint8_t tag, uint64_t value)
{
	uint8_t field[12] = {tag};

	put_before(pending, field, 1 + put_varint(field + 1, value));
}

/* Fields may come in any order, so these go in front of what is encoded already. */
static void put_numbers(struct meta_pending *pending)
{
	pending->size -= pending->body - pending->start;
	pending->start = pending->body;
	if (pending->lane != 0)
		put_field(pending, TAG_REQUEST_LANE, pending->lane);
	if (pending->durable) /* mostly it is said already */
		put_field(pending, TAG_REQUEST_DURABLE, 1);
	put_field(pending, TAG_REQUEST_ID, pending->id);
	put_field(pending, TAG_BATCH_REQUESTS, pending->size);
}

static size_t bytes_of(const struct meta_pending *pending)
{
	return pending->kept ? sizeof(*pending) + META_PENDING_HEADROOM + pending->size : 0;
}

int meta_pending_add(struct meta_pending_ring *ring, struct meta_pending *pending)
{
	if (ring->next - ring->first > ring->mask && grow(ring) != 0)
		return -ENOMEM;
	expects(ring->slots[ring->next & ring->mask] == NULL);
	pending->id = ring->next;
	pending->lane = pending->in_lane ? ring->next_lane : 0;
	put_numbers(pending);
	if (pending->lane != 0) {
		expects(pending->kept);
		ring->next_lane++;
		meta_pending_list_add(&ring->lane, pending);
	}
	ring->kept_bytes += bytes_of(pending);
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

/* It is of no list of the ring. */
static void take_out(struct meta_pending_ring *ring, struct meta_pending *pending)
{
	expects(meta_pending_find(ring, pending->id) == pending);
	expects(ring->kept_bytes >= bytes_of(pending));
	ring->kept_bytes -= bytes_of(pending);
	ring->slots[pending->id & ring->mask] = NULL;
	while (ring->first < ring->next && ring->slots[ring->first & ring->mask] == NULL)
		ring->first++;
}

bool meta_pending_full(const struct meta_pending_ring *ring)
{
	return ring->next - ring->first > META_KEPT_MAX || ring->kept_bytes > META_KEPT_BYTES_MAX;
}

/* ---- answers ---- */

static void tell(struct meta_pending *pending, int error)
{
	pending->answered = true;
	pending->error = error;
	pending->deadline_ns = 0;
}

/* From here on it is kept only until it is durable. */
static void settle(struct meta_pending_ring *ring, struct meta_pending *pending, uint64_t index)
{
	expects(pending->kept && !pending->settled);
	pending->settled = true;
	pending->index = index;
	meta_pending_list_add(&ring->kept, pending);
}

enum meta_pending_news meta_pending_answer(struct meta_pending_ring *ring, uint64_t id, int error,
					   uint64_t index, struct meta_pending **out, bool *gone)
{
	struct meta_pending *pending = *out = meta_pending_find(ring, id);
	enum meta_pending_news news = META_PENDING_NEWS;

	*gone = false;
	if (pending == NULL || pending->settled)
		return META_PENDING_NO_NEWS;
	if (pending->answered)
		news = pending->error == error ? META_PENDING_NO_NEWS : META_PENDING_OTHER_END;
	tell(pending, error);
	if (!pending->kept) {
		take_out(ring, pending);
		*gone = true;
	} else if (pending->lane == 0) {
		settle(ring, pending, index);
	}
	return news;
}

static struct meta_pending *pop(struct meta_pending_list *list)
{
	struct meta_pending *pending = list->head;

	list->head = pending->next;
	if (list->head == NULL)
		list->tail = &list->head;
	return pending;
}

bool meta_pending_lane_done(struct meta_pending_ring *ring, uint64_t through, uint64_t index,
			    meta_done_fn **done, void **user)
{
	while (ring->lane.head != NULL && ring->lane.head->lane <= through) {
		struct meta_pending *pending = pop(&ring->lane);

		settle(ring, pending, index);
		if (pending->answered)
			continue;
		*done = pending->done;
		*user = pending->user;
		tell(pending, 0);
		if (*done != NULL)
			return true;
	}
	return false;
}

void meta_pending_durable(struct meta_pending_ring *ring, uint64_t durable)
{
	while (ring->kept.head != NULL && ring->kept.head->index <= durable) {
		struct meta_pending *pending = pop(&ring->kept);

		take_out(ring, pending);
		free(pending);
	}
}

void meta_pending_send_again(struct meta_pending_ring *ring, bool lanes)
{
	meta_pending_list_init(&ring->lane);
	meta_pending_list_init(&ring->kept);
	for (uint64_t id = ring->first, end = ring->next; id < end; id++) {
		struct meta_pending *pending = meta_pending_find(ring, id);

		if (pending == NULL)
			continue;
		if (!lanes && pending->answered) {
			take_out(ring, pending);
			free(pending);
			continue;
		}
		pending->settled = false;
		if (!lanes) {
			ring->kept_bytes -= bytes_of(pending);
			pending->kept = false;
			pending->lane = 0;
		}
		if (pending->lane != 0)
			meta_pending_list_add(&ring->lane, pending);
	}
}

void meta_pending_empty(struct meta_pending_ring *ring, struct meta_pending_list *out)
{
	for (uint64_t id = ring->first, end = ring->next; id < end; id++) {
		struct meta_pending *pending = meta_pending_find(ring, id);

		if (pending == NULL)
			continue;
		take_out(ring, pending);
		if (pending->answered)
			free(pending);
		else
			meta_pending_list_add(out, pending);
	}
	expects(ring->kept_bytes == 0);
	meta_pending_list_init(&ring->lane);
	meta_pending_list_init(&ring->kept);
	ring->first = ring->next = ring->next_lane = 1;
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
