/* meta_pending_test - requests without an answer, and the memory of decoded messages.
 *
 * Goal: what is sent is what the generated code would have encoded; every answer finds its request
 * once; a new session numbers what is left anew, in order; a message cannot make us use unbounded
 * memory. Method: everything is decoded again with the generated code; a ring is driven far beyond
 * its first size with answers in random order (seeded). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fs/session/meta_arena.h"
#include "fs/session/meta_pending.h"

static struct meta_pending *lookup_request(const char *name)
{
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct meta_pending *pending;

	lookup.parent = 7;
	lookup.name.data = (uint8_t *)(uintptr_t)name;
	lookup.name.len = strlen(name);
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	request.durable = true;
	request.time = -5;
	pending = meta_pending_new(&request);
	assert_non_null(pending);
	return pending;
}

/* The answer comes; nothing of it has to be kept. */
static struct meta_pending *take(struct meta_pending_ring *ring, uint64_t id)
{
	struct meta_pending *pending;
	bool gone;

	if (meta_pending_answer(ring, id, 0, 1, &pending, &gone) == META_PENDING_NO_NEWS)
		return NULL;
	assert_true(gone);
	return pending;
}

static Catena__ClientBatch *decode(const struct meta_pending *pending, uint32_t start)
{
	Catena__ClientBatch *batch = catena__client_batch__unpack(
		NULL, pending->start + pending->size - start, pending->bytes + start);

	assert_non_null(batch);
	return batch;
}

static void test_a_request_is_encoded_as_the_generated_code_decodes_it(void **state)
{
	static const uint64_t ids[] = {1, 127, 128, 300000, UINT64_MAX - 1};
	(void)state;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct meta_pending *pending = lookup_request("name");
		struct meta_pending_ring ring;
		Catena__ClientBatch *batch;

		assert_int_equal(meta_pending_ring_init(&ring), 0);
		ring.first = ring.next = ids[i];
		assert_int_equal(meta_pending_add(&ring, pending), 0);
		batch = decode(pending, pending->start);
		assert_int_equal(batch->n_requests, 1);
		assert_true(batch->requests[0]->id == ids[i]);
		assert_true(batch->requests[0]->durable);
		assert_true(batch->requests[0]->time == -5);
		assert_int_equal(batch->requests[0]->op_case, CATENA__REQUEST__OP_LOOKUP);
		assert_int_equal(batch->requests[0]->lookup->parent, 7);
		assert_int_equal(batch->requests[0]->lookup->name.len, 4);
		assert_int_equal(batch->n_answered, 0);
		catena__client_batch__free_unpacked(batch, NULL);
		free(take(&ring, ids[i]));
		meta_pending_ring_free(&ring);
	}
}

static void test_what_is_answered_goes_in_front_and_only_once(void **state)
{
	struct meta_pending *pending = lookup_request("x");
	struct meta_pending_ring ring;
	Catena__ClientBatch *batch;
	uint32_t start;
	(void)state;

	assert_int_equal(meta_pending_ring_init(&ring), 0);
	assert_int_equal(meta_pending_add(&ring, pending), 0);
	start = meta_pending_prepend_answered(pending, UINT64_MAX);
	batch = decode(pending, start);
	assert_int_equal(batch->n_answered, 1);
	assert_true(batch->answered[0] == UINT64_MAX);
	assert_int_equal(batch->n_requests, 1);
	catena__client_batch__free_unpacked(batch, NULL);
	/* Sent again, it is the request alone. */
	batch = decode(pending, pending->start);
	assert_int_equal(batch->n_answered, 0);
	assert_int_equal(batch->n_requests, 1);
	catena__client_batch__free_unpacked(batch, NULL);
	meta_pending_ring_free(&ring);
}

static void test_batches_concatenate(void **state)
{
	struct meta_pending *a = lookup_request("a"), *b = lookup_request("bb");
	struct meta_pending_ring ring;
	uint8_t joined[512];
	Catena__ClientBatch *batch;
	(void)state;

	assert_int_equal(meta_pending_ring_init(&ring), 0);
	assert_int_equal(meta_pending_add(&ring, a), 0);
	assert_int_equal(meta_pending_add(&ring, b), 0);
	memcpy(joined, a->bytes + a->start, a->size);
	memcpy(joined + a->size, b->bytes + b->start, b->size);
	batch = catena__client_batch__unpack(NULL, a->size + b->size, joined);
	assert_non_null(batch);
	assert_int_equal(batch->n_requests, 2);
	assert_int_equal(batch->requests[0]->id, 1);
	assert_int_equal(batch->requests[1]->id, 2);
	assert_int_equal(batch->requests[1]->lookup->name.len, 2);
	catena__client_batch__free_unpacked(batch, NULL);
	meta_pending_ring_free(&ring);
}

static void test_each_answer_finds_its_request_once_in_any_order(void **state)
{
	enum { COUNT = 3000 };
	struct meta_pending_ring ring;
	uint64_t order[COUNT];
	unsigned seed = 4711;
	(void)state;

	printf("seed %u\n", seed);
	assert_int_equal(meta_pending_ring_init(&ring), 0);
	for (uint64_t i = 0; i < COUNT; i++) {
		assert_int_equal(meta_pending_add(&ring, lookup_request("n")), 0);
		order[i] = i + 1;
	}
	for (size_t i = COUNT - 1; i > 0; i--) {
		size_t k = (size_t)rand_r(&seed) % (i + 1);
		uint64_t swap = order[i];

		order[i] = order[k];
		order[k] = swap;
	}
	for (size_t i = 0; i < COUNT; i++) {
		struct meta_pending *pending = take(&ring, order[i]);

		assert_non_null(pending);
		assert_true(pending->id == order[i]);
		free(pending);
		assert_null(take(&ring, order[i]));
	}
	assert_true(ring.first == COUNT + 1);
	assert_null(take(&ring, 0));
	assert_null(take(&ring, COUNT + 1));
	assert_null(take(&ring, UINT64_MAX));
	meta_pending_ring_free(&ring);
}

static void test_a_request_can_be_numbered_anew(void **state)
{
	struct meta_pending_ring old, new;
	struct meta_pending *pending;
	Catena__ClientBatch *batch;
	(void)state;

	assert_int_equal(meta_pending_ring_init(&old), 0);
	assert_int_equal(meta_pending_ring_init(&new), 0);
	old.first = old.next = 1000000;
	assert_int_equal(meta_pending_add(&old, lookup_request("again")), 0);
	pending = take(&old, 1000000);
	assert_int_equal(meta_pending_add(&new, pending), 0);
	assert_true(pending->id == 1);
	batch = decode(pending, pending->start);
	assert_int_equal(batch->requests[0]->id, 1);
	assert_int_equal(batch->requests[0]->lookup->name.len, 5);
	catena__client_batch__free_unpacked(batch, NULL);
	meta_pending_ring_free(&old);
	meta_pending_ring_free(&new);
}

static void test_numbers_of_the_lane_are_encoded(void **state)
{
	struct meta_pending *pending = lookup_request("name");
	struct meta_pending_ring ring;
	Catena__ClientBatch *batch;
	uint32_t start;
	(void)state;

	assert_int_equal(meta_pending_ring_init(&ring), 0);
	ring.first = ring.next = UINT64_MAX - 5;
	ring.next_lane = UINT64_MAX - 3;
	pending->in_lane = pending->kept = true;
	assert_int_equal(meta_pending_add(&ring, pending), 0);
	start = meta_pending_prepend_answered(pending, UINT64_MAX);
	batch = decode(pending, start);
	assert_true(batch->answered[0] == UINT64_MAX);
	assert_true(batch->requests[0]->id == UINT64_MAX - 5);
	assert_true(batch->requests[0]->lane == UINT64_MAX - 3);
	assert_int_equal(batch->requests[0]->lookup->parent, 7);
	catena__client_batch__free_unpacked(batch, NULL);
	meta_pending_ring_free(&ring);
}

static void test_so_much_and_no_more_is_kept(void **state)
{
	struct meta_pending_ring ring;
	unsigned count = 0;
	(void)state;

	assert_int_equal(meta_pending_ring_init(&ring), 0);
	for (; !meta_pending_full(&ring); count++) {
		struct meta_pending *pending = lookup_request("n");

		pending->in_lane = pending->kept = true;
		assert_int_equal(meta_pending_add(&ring, pending), 0);
	}
	assert_true(count > META_KEPT_MAX / 2 && count <= META_KEPT_MAX + 1);
	meta_pending_ring_free(&ring);
}

static void test_a_master_without_lanes_is_told_what_has_no_answer(void **state)
{
	struct meta_pending *pending;
	struct meta_pending_ring ring;
	meta_done_fn *done;
	void *user;
	(void)state;

	assert_int_equal(meta_pending_ring_init(&ring), 0);
	for (unsigned i = 0; i < 3; i++) {
		pending = lookup_request("n");
		pending->in_lane = pending->kept = true;
		assert_int_equal(meta_pending_add(&ring, pending), 0);
	}
	assert_false(meta_pending_lane_done(&ring, 2, 10, &done, &user)); /* nobody waits */
	meta_pending_send_again(&ring, false);
	assert_int_equal(ring.first, 3);
	assert_int_equal(ring.kept_bytes, 0);
	pending = take(&ring, 3);
	assert_non_null(pending);
	free(pending);
	assert_true(ring.first == ring.next);
	meta_pending_ring_free(&ring);
}

static void test_only_what_does_no_harm_twice_is_repeated(void **state)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__XattrReq xattr = CATENA__XATTR_REQ__INIT;
	(void)state;

	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	setattr.mask = CATENA__SET_MASK__SET_GROW | CATENA__SET_MASK__SET_MTIME;
	assert_false(meta_pending_repeatable(&request));
	setattr.mask = CATENA__SET_MASK__SET_SIZE;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	assert_true(meta_pending_repeatable(&request));
	open.truncate = true;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_XATTR;
	request.xattr = &xattr;
	xattr.op = 1;
	assert_true(meta_pending_repeatable(&request));
	xattr.op = 2;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_CREATE;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_UNLINK;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_RENAME;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_LINK;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_CLOSE;
	assert_false(meta_pending_repeatable(&request));
	request.op_case = CATENA__REQUEST__OP_READDIR;
	assert_true(meta_pending_repeatable(&request));
}

static void test_decoding_has_a_bound_of_memory(void **state)
{
	size_t size = 4u << 20, count = size / 2;
	uint8_t *bomb = malloc(size);
	Catena__ClientPush *push;
	struct meta_arena arena;
	(void)state;

	/* Empty replies: two bytes each on the wire, a hundred and more in memory. */
	assert_non_null(bomb);
	for (size_t i = 0; i < count; i++) {
		bomb[2 * i] = 0x12;
		bomb[2 * i + 1] = 0;
	}
	meta_arena_init(&arena);
	push = catena__client_push__unpack(&arena.allocator, size, bomb);
	assert_null(push);
	assert_true(arena.total <= META_ARENA_BYTES_MAX);
	meta_arena_reset(&arena);
	/* And it works again for one that is as it should be. */
	push = catena__client_push__unpack(&arena.allocator, 2000, bomb);
	assert_non_null(push);
	assert_int_equal(push->n_replies, 1000);
	meta_arena_reset(&arena);
	meta_arena_free(&arena);
	free(bomb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_is_encoded_as_the_generated_code_decodes_it),
		cmocka_unit_test(test_what_is_answered_goes_in_front_and_only_once),
		cmocka_unit_test(test_batches_concatenate),
		cmocka_unit_test(test_each_answer_finds_its_request_once_in_any_order),
		cmocka_unit_test(test_a_request_can_be_numbered_anew),
		cmocka_unit_test(test_numbers_of_the_lane_are_encoded),
		cmocka_unit_test(test_so_much_and_no_more_is_kept),
		cmocka_unit_test(test_a_master_without_lanes_is_told_what_has_no_answer),
		cmocka_unit_test(test_only_what_does_no_harm_twice_is_repeated),
		cmocka_unit_test(test_decoding_has_a_bound_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
