/* Goal: the header's bytes are those of docs/protocol.md, and nothing that a correct peer never
 * sends gets past frame_header_decode(). Method: the document's example and the place of each
 * field; random good headers there and back; every single flipped bit; a table of bad headers, each
 * one field away from a good one, with the reason expected. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/net/frame.h"
#include "common/net/hello.h"
#include "tests/lib/frame_gen.h"

#define SEED 20260103

/* docs/protocol.md, "Example": keep the two equal. */
static const struct frame_header example = {
	.op = FRAME_WRITE,
	.flags = FRAME_DURABLE,
	.request_id = 7,
	.key = {.pool = 1, .partition = 71, .file_id = 1, .index = 1},
	.epoch = 5,
	.version = 0,
	.client_id = 0x1122334455667788ull,
	.op_id = 42,
	.answered = 40,
	.offset = 4096,
	.length = 10,
};
static const char example_hex[] = "43544e3101020400"  /* magic, version, op, flags */
				  "0700000000000000"  /* request id */
				  "0100000000000000"  /* file id */
				  "0100000047000000"  /* pool, partition */
				  "0100000000000000"  /* index, status */
				  "0500000000000000"  /* epoch */
				  "0000000000000000"  /* chunk version */
				  "8877665544332211"  /* client id */
				  "2a00000000000000"  /* op id */
				  "2800000000000000"  /* answered */
				  "0000000000000000"  /* arg */
				  "0010000000000000"  /* offset, range */
				  "0a0000007ab752d1"; /* length, checksum */

static void to_hex(const uint8_t *in, size_t size, char *out)
{
	for (size_t i = 0; i < size; i++)
		sprintf(out + 2 * i, "%02x", in[i]);
}

static void test_the_example_of_the_document_comes_out(void **state)
{
	uint8_t bytes[FRAME_HEADER_BYTES];
	char hex[2 * FRAME_HEADER_BYTES + 1];
	struct frame_header back;
	uint32_t checksum;

	frame_header_encode(&example, bytes);
	to_hex(bytes, sizeof(bytes), hex);
	assert_string_equal(hex, example_hex);
	assert_int_equal(frame_header_decode(bytes, &back, NULL), 0);
	assert_true(gen_equal(&example, &back));
	assert_int_equal(frame_crc_bytes(&back), 4);
	block_checksums("0123456789", back.offset, back.length, &checksum);
	put_le32(bytes, checksum);
	assert_memory_equal(bytes, "\x9e\x06\x0c\x28", 4);
}

static void test_every_field_is_where_the_document_says(void **state)
{
	const struct frame_header h = {
		.op = 0x0b,
		.flags = 0x0807,
		.request_id = 0x0f0e0d0c0b0a0908ull,
		.key = {.file_id = 0x1716151413121110ull,
			.pool = 0x1b1a1918,
			.partition = 0x1f1e1d1c,
			.index = 0x23222120},
		.status = 0x27262524,
		.epoch = 0x2f2e2d2c2b2a2928ull,
		.version = 0x3736353433323130ull,
		.client_id = 0x3f3e3d3c3b3a3938ull,
		.op_id = 0x4746454443424140ull,
		.answered = 0x4f4e4d4c4b4a4948ull,
		.arg = 0x5756555453525150ull,
		.offset = 0x5b5a5958,
		.range = 0x5f5e5d5c,
		.length = 0x63626160,
	};
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_encode(&h, bytes);
	assert_memory_equal(bytes, "CTN1\x01\x0b\x07\x08", 8);
	for (uint8_t i = 8; i < 100; i++)
		assert_int_equal(bytes[i], i);
	assert_int_equal(get_le32(bytes + 100), crc32c(bytes, 100));
}

static void test_what_correct_peers_send_comes_through_unchanged(void **state)
{
	uint64_t seed = SEED;

	for (int run = 0; run < 100000; run++) {
		struct frame_header h = gen_header(&seed), back;
		uint8_t bytes[FRAME_HEADER_BYTES];
		const char *why = "";
		int rc;

		frame_header_encode(&h, bytes);
		rc = frame_header_decode(bytes, &back, &why);
		if (rc != 0)
			print_error("run %d, %s%s: %s\n", run, frame_op_name(h.op),
				    (h.flags & FRAME_REPLY) != 0 ? " answer" : "", why);
		assert_int_equal(rc, 0);
		assert_true(gen_equal(&h, &back));
	}
}

static void test_every_flipped_bit_is_noticed(void **state)
{
	uint8_t bytes[FRAME_HEADER_BYTES];
	struct frame_header untouched, back;

	frame_header_encode(&example, bytes);
	memset(&untouched, 0x5a, sizeof(untouched));
	back = untouched;
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		const char *why = NULL;
		int expected = bit / 8 == 4 ? -EPROTONOSUPPORT : -EBADMSG;

		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(frame_header_decode(bytes, &back, &why), expected);
		assert_non_null(why);
		assert_memory_equal(&back, &untouched, sizeof(back));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(frame_header_decode(bytes, &back, NULL), 0);
}

#define REPLY FRAME_REPLY
static void test_what_no_correct_peer_sends_is_refused_with_its_reason(void **state)
{
	static const struct {
		struct frame_header h;
		const char *why;
	} bad[] = {
		{{.op = 0}, "unknown op"},
		{{.op = FRAME_OP_COUNT}, "unknown op"},
		{{.op = 255, .flags = REPLY}, "unknown op"},
		/* flags */
		{{.op = FRAME_PING, .flags = FRAME_NO_CHECKSUM}, "flags not allowed for this op"},
		{{.op = FRAME_PING, .flags = REPLY | FRAME_NO_CHECKSUM},
		 "flags not allowed for this op"},
		{{.op = FRAME_PING, .flags = 1 << 4}, "flags not allowed for this op"},
		{{.op = FRAME_PING, .flags = 1 << 15}, "flags not allowed for this op"},
		{{.op = FRAME_READ, .range = 4096, .flags = FRAME_FORWARD},
		 "flags not allowed for this op"},
		{{.op = FRAME_READ, .range = 4096, .flags = FRAME_FORWARD},
		 "flags not allowed for this op"},
		{{.op = FRAME_FLUSH, .flags = FRAME_DURABLE}, "flags not allowed for this op"},
		{{.op = FRAME_HELLO, .length = HELLO_BYTES, .flags = FRAME_FORWARD},
		 "flags not allowed for this op"},
		/* places and lengths */
		{{.op = FRAME_WRITE, .length = FRAME_PAYLOAD_MAX + 1}, "payload too long"},
		{{.op = FRAME_WRITE, .length = UINT32_MAX}, "payload too long"},
		{{.op = FRAME_CATCHUP_COMPARE, .length = FRAME_PAYLOAD_MAX + 1},
		 "payload too long"},
		{{.op = FRAME_WRITE, .offset = CHUNK_SIZE_MAX, .length = 1},
		 "behind the end of any chunk"},
		{{.op = FRAME_WRITE, .offset = UINT32_MAX, .length = 1},
		 "behind the end of any chunk"},
		{{.op = FRAME_PUNCH, .offset = 1, .range = CHUNK_SIZE_MAX},
		 "behind the end of any chunk"},
		{{.op = FRAME_PUNCH, .offset = 2, .range = UINT32_MAX},
		 "behind the end of any chunk"},
		{{.op = FRAME_TRUNCATE, .offset = CHUNK_SIZE_MAX + 1},
		 "behind the end of any chunk"},
		{{.op = FRAME_CATCHUP_DATA, .offset = CHUNK_SIZE_MAX, .range = 1},
		 "behind the end of any chunk"},
		{{.op = FRAME_READ, .offset = CHUNK_SIZE_MAX, .range = 4096},
		 "behind the end of any chunk"},
		{{.op = FRAME_FLUSH, .offset = 4096}, "offset in an op that has none"},
		{{.op = FRAME_PING, .offset = 1}, "offset in an op that has none"},
		{{.op = FRAME_STAT, .offset = 1, .flags = REPLY}, "offset in an op that has none"},
		{{.op = FRAME_CATCHUP_COMPARE, .offset = 1, .length = 9},
		 "offset in an op that has none"},
		/* requests */
		{{.op = FRAME_PING, .status = EIO}, "status in a request"},
		{{.op = FRAME_WRITE}, "request lacks its payload"},
		{{.op = FRAME_HELLO}, "request lacks its payload"},
		{{.op = FRAME_HELLO, .length = HELLO_BYTES - 1}, "hello of a wrong size"},
		{{.op = FRAME_HELLO, .length = HELLO_BYTES + 1}, "hello of a wrong size"},
		{{.op = FRAME_WRITE, .length = 1, .range = 1}, "request with a range"},
		{{.op = FRAME_PUNCH}, "request lacks its range"},
		{{.op = FRAME_PUNCH, .range = 1, .length = 1}, "request with a payload"},
		{{.op = FRAME_TRUNCATE, .length = 1}, "request with a payload"},
		{{.op = FRAME_TRUNCATE, .range = 1}, "request with a range"},
		{{.op = FRAME_FLUSH, .length = 1}, "request with a payload"},
		{{.op = FRAME_PING, .length = 1}, "request with a payload"},
		{{.op = FRAME_STAT, .length = 1}, "request with a payload"},
		{{.op = FRAME_CATCHUP_END, .length = 1}, "request with a payload"},
		{{.op = FRAME_READ}, "request lacks its range"},
		{{.op = FRAME_READ, .range = 4095}, "read of parts of blocks"},
		{{.op = FRAME_READ, .range = 4097}, "read of parts of blocks"},
		{{.op = FRAME_READ, .range = 4096, .offset = 1}, "read not at a block boundary"},
		{{.op = FRAME_READ, .range = FRAME_PAYLOAD_MAX + BLOCK_SIZE}, "read too long"},
		{{.op = FRAME_READ, .range = 4096, .length = 1}, "request with a payload"},
		{{.op = FRAME_WRITE, .length = 1, .op_id = 3, .answered = 3},
		 "update that was answered already"},
		{{.op = FRAME_PUNCH, .range = 1, .op_id = 3, .answered = 4},
		 "update that was answered already"},
		{{.op = FRAME_TRUNCATE, .answered = UINT64_MAX},
		 "update that was answered already"},
		/* answers */
		{{.op = FRAME_PING, .flags = REPLY, .status = 134}, "unknown status"},
		{{.op = FRAME_PING, .flags = REPLY, .status = 999}, "unknown status"},
		{{.op = FRAME_PING, .flags = REPLY, .status = FRAME_STATUS_LOST + 1},
		 "unknown status"},
		{{.op = FRAME_PING, .flags = REPLY, .status = (uint32_t)-EIO}, "unknown status"},
		{{.op = FRAME_HELLO, .flags = REPLY}, "answer lacks its payload"},
		{{.op = FRAME_WRITE, .flags = REPLY, .length = 1}, "answer with a payload"},
		{{.op = FRAME_CATCHUP_DATA, .flags = REPLY, .length = 1}, "answer with a payload"},
		{{.op = FRAME_READ, .flags = REPLY, .length = 1, .status = EIO},
		 "answer with a payload"},
		{{.op = FRAME_READ, .flags = REPLY, .length = 4097, .range = 4096},
		 "answer longer than what was asked"},
		{{.op = FRAME_READ, .flags = REPLY, .length = 1, .offset = 1},
		 "read not at a block boundary"},
		{{.op = FRAME_READ, .flags = REPLY, .offset = CHUNK_SIZE_MAX, .length = 1},
		 "behind the end of any chunk"},
		{{.op = FRAME_STAT, .flags = REPLY, .length = 2049}, "chunk longer than any"},
		{{.op = FRAME_STAT, .flags = REPLY, .arg = CHUNK_SIZE_MAX + 1},
		 "chunk longer than any"},
		{{.op = FRAME_LIST, .flags = FRAME_FORWARD}, "flags not allowed for this op"},
		{{.op = FRAME_LIST, .length = 8}, "request with a payload"},
		{{.op = FRAME_LIST, .range = 1}, "request with a range"},
		{{.op = FRAME_LIST, .flags = REPLY, .length = 12}, "list of a wrong size"},
		{{.op = FRAME_LIST, .flags = REPLY, .length = (FRAME_LIST_MAX + 1) * 8},
		 "list of a wrong size"},
		{{.op = FRAME_LIST, .flags = REPLY, .arg = UINT64_C(1) << 32},
		 "list of a wrong size"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t bytes[FRAME_HEADER_BYTES];
		struct frame_header back;
		const char *why = "it was taken";
		int rc;

		frame_header_encode(&bad[i].h, bytes);
		rc = frame_header_decode(bytes, &back, &why);
		if (rc != -EINVAL || strcmp(why, bad[i].why) != 0)
			print_error("case %zu: %d, %s\n", i, rc, why);
		assert_int_equal(rc, -EINVAL);
		assert_string_equal(why, bad[i].why);
	}
}

static void test_the_largest_of_everything_is_taken(void **state)
{
	static const struct frame_header good[] = {
		{.op = FRAME_WRITE,
		 .offset = CHUNK_SIZE_MAX - FRAME_PAYLOAD_MAX,
		 .length = FRAME_PAYLOAD_MAX},
		{.op = FRAME_WRITE, .offset = 4095, .length = FRAME_PAYLOAD_MAX},
		{.op = FRAME_PUNCH, .offset = 0, .range = CHUNK_SIZE_MAX},
		{.op = FRAME_TRUNCATE, .offset = CHUNK_SIZE_MAX},
		{.op = FRAME_READ, .offset = CHUNK_SIZE_MAX - 4096, .range = 4096},
		{.op = FRAME_READ, .range = FRAME_PAYLOAD_MAX},
		{.op = FRAME_STAT, .flags = REPLY, .length = 2048, .arg = CHUNK_SIZE_MAX},
		{.op = FRAME_LIST,
		 .flags = REPLY,
		 .length = FRAME_LIST_MAX * FRAME_LIST_ENTRY_BYTES,
		 .arg = UINT32_MAX},
		{.op = FRAME_WRITE, .length = 1, .op_id = UINT64_MAX, .answered = UINT64_MAX - 1},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint8_t bytes[FRAME_HEADER_BYTES];
		struct frame_header back;

		frame_header_encode(&good[i], bytes);
		assert_int_equal(frame_header_decode(bytes, &back, NULL), 0);
		assert_true(frame_crc_bytes(&back) <= FRAME_CRCS_MAX * 4);
	}
	assert_int_equal(frame_crc_bytes(&good[1]), FRAME_CRCS_MAX * 4);
}

static void test_ops_and_statuses_have_names(void **state)
{
	assert_string_equal(frame_op_name(FRAME_WRITE), "WRITE");
	assert_string_equal(frame_op_name(FRAME_PING), "PING");
	assert_string_equal(frame_op_name(0), "unknown");
	assert_string_equal(frame_op_name(FRAME_OP_COUNT), "unknown");
	for (int op = FRAME_HELLO; op < FRAME_OP_COUNT; op++)
		assert_string_not_equal(frame_op_name((uint8_t)op), "unknown");
	for (uint32_t s = FRAME_STATUS_EPOCH; s <= FRAME_STATUS_LOST; s++)
		assert_string_not_equal(frame_status_name(s), "unknown");
	assert_string_equal(frame_status_name(0), "OK");
	assert_string_equal(frame_status_name(ENOSPC), "ENOSPC");
	assert_string_equal(frame_status_name(FRAME_STATUS_ASK_TAIL), "ASK_TAIL");
	assert_string_equal(frame_status_name(999), "unknown");
	assert_string_equal(frame_status_name(UINT32_MAX), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_example_of_the_document_comes_out),
		cmocka_unit_test(test_every_field_is_where_the_document_says),
		cmocka_unit_test(test_what_correct_peers_send_comes_through_unchanged),
		cmocka_unit_test(test_every_flipped_bit_is_noticed),
		cmocka_unit_test(test_what_no_correct_peer_sends_is_refused_with_its_reason),
		cmocka_unit_test(test_the_largest_of_everything_is_taken),
		cmocka_unit_test(test_ops_and_statuses_have_names),
	};

	printf("seed %d\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
