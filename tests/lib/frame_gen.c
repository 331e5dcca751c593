#include "tests/lib/frame_gen.h"

/* 0 .. limit-1, and often one of the two ends, where the mistakes are. */
static uint32_t gen_below(uint64_t *state, uint32_t limit)
{
	uint64_t r = fuzz_random(state);

	if (r % 8 == 0)
		return 0;
	if (r % 8 == 1)
		return limit - 1;
	return (uint32_t)((r >> 16) % limit);
}

static uint32_t gen_status(uint64_t *state)
{
	static const uint32_t some[] = {EIO, ENOSPC, EINVAL, ENOENT, EACCES};

	if (fuzz_random(state) % 2 == 0)
		return some[fuzz_random(state) % 5];
	return FRAME_STATUS_EPOCH + gen_below(state, FRAME_STATUS_FENCED - FRAME_STATUS_EPOCH + 1);
}

static void gen_span(uint64_t *state, struct frame_header *h, uint32_t *size, uint32_t unit)
{
	*size = (1 + gen_below(state, FRAME_PAYLOAD_MAX / unit)) * unit;
	h->offset = gen_below(state, (CHUNK_SIZE_MAX - *size) / unit + 1) * unit;
}

static void gen_request(uint64_t *state, struct frame_header *h)
{
	switch (h->op) {
	case FRAME_HELLO:
		h->length = HELLO_BYTES;
		break;
	case FRAME_WRITE:
	case FRAME_CATCHUP_DATA:
		gen_span(state, h, &h->length, 1);
		break;
	case FRAME_PUNCH:
		gen_span(state, h, &h->range, 1);
		break;
	case FRAME_TRUNCATE:
		h->offset = gen_below(state, CHUNK_SIZE_MAX + 1);
		break;
	case FRAME_READ:
		gen_span(state, h, &h->range, BLOCK_SIZE);
		break;
	case FRAME_CATCHUP_COMPARE:
	case FRAME_CATCHUP_COMMIT:
		h->length = gen_below(state, FRAME_PAYLOAD_MAX + 1);
		break;
	default:
		break;
	}
	if (frame_is_update(h->op)) {
		h->op_id = 1 + gen_below(state, UINT32_MAX);
		h->answered = fuzz_random(state) % h->op_id;
		h->flags |= (uint16_t)(fuzz_random(state) & (FRAME_FORWARD | FRAME_DURABLE));
		if (h->op == FRAME_TRUNCATE)
			h->flags |= (uint16_t)(fuzz_random(state) & FRAME_CLOSING);
	} else if (h->op == FRAME_FLUSH || h->op >= FRAME_CATCHUP_COMPARE) {
		if (h->op != FRAME_PING && h->op != FRAME_LIST)
			h->flags |= (uint16_t)(fuzz_random(state) & FRAME_FORWARD);
	}
}

/* An answer that repeats its request, as answers do. */
static void gen_answer(uint64_t *state, struct frame_header *h)
{
	gen_request(state, h);
	h->flags |= FRAME_REPLY;
	h->length = 0;
	if (fuzz_random(state) % 3 == 0) {
		h->status = gen_status(state);
		return;
	}
	if (h->op == FRAME_HELLO)
		h->length = HELLO_BYTES;
	else if (h->op == FRAME_READ)
		h->length = gen_below(state, h->range + 1);
	else if (h->op == FRAME_STAT)
		h->length = gen_below(state, CHUNK_SIZE_MAX / BLOCK_SIZE / 8 + 1);
	else if (h->op == FRAME_CATCHUP_COMPARE)
		h->length = gen_below(state, FRAME_PAYLOAD_MAX + 1);
	else if (h->op == FRAME_LIST)
		h->length = gen_below(state, FRAME_LIST_MAX + 1) * FRAME_LIST_ENTRY_BYTES;
}

struct frame_header gen_header(uint64_t *state)
{
	struct frame_header h = {
		.op = (uint8_t)(FRAME_HELLO + fuzz_random(state) % (FRAME_OP_COUNT - FRAME_HELLO)),
		.request_id = fuzz_random(state),
		.key =
			{
				.pool = (uint32_t)fuzz_random(state),
				.partition = (uint32_t)fuzz_random(state),
				.file_id = fuzz_random(state),
				.index = (uint32_t)fuzz_random(state),
			},
		.epoch = fuzz_random(state),
		.version = fuzz_random(state),
		.client_id = fuzz_random(state),
	};

	h.arg = h.op == FRAME_STAT   ? gen_below(state, CHUNK_SIZE_MAX + 1)
		: h.op == FRAME_LIST ? fuzz_random(state) >> 32
				     : fuzz_random(state);
	if (fuzz_random(state) % 2 == 0)
		gen_request(state, &h);
	else
		gen_answer(state, &h);
	return h;
}

bool gen_equal(const struct frame_header *a, const struct frame_header *b)
{
	return a->op == b->op && a->flags == b->flags && a->request_id == b->request_id &&
	       chunk_key_equal(&a->key, &b->key) && a->epoch == b->epoch &&
	       a->version == b->version && a->client_id == b->client_id && a->op_id == b->op_id &&
	       a->answered == b->answered && a->offset == b->offset && a->range == b->range &&
	       a->length == b->length && a->status == b->status && a->arg == b->arg;
}
