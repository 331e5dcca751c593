/* Goal: no bytes make the decoders of the data plane (frame header, HELLO) read out of bounds or
 * accept what encoding would not give. Method: random valid headers, there and back; then mutated,
 * mostly with the checksum made right again, because nothing else would get past it; and pure
 * noise. What decodes must encode to the same bytes. */
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/net/frame.h"
#include "common/net/hello.h"
#include "tests/lib/frame_gen.h"
#include "tests/lib/fuzz.h"

static uint64_t accepted, refused;

static bool check_header(const uint8_t bytes[FRAME_HEADER_BYTES])
{
	uint8_t *in = fuzz_exact_copy(bytes, FRAME_HEADER_BYTES), again[FRAME_HEADER_BYTES];
	struct frame_header header;
	const char *why = NULL;
	int rc = frame_header_decode(in, &header, &why);

	free(in);
	if (rc < 0) {
		refused++;
		FUZZ_CHECK(rc == -EBADMSG || rc == -EPROTONOSUPPORT || rc == -EINVAL);
		FUZZ_CHECK(why != NULL);
		return true;
	}
	accepted++;
	frame_header_encode(&header, again);
	FUZZ_CHECK(memcmp(bytes, again, sizeof(again)) == 0);
	/* What everything behind the decoder relies on. */
	FUZZ_CHECK(header.op > 0 && header.op < FRAME_OP_COUNT);
	FUZZ_CHECK(header.length <= FRAME_PAYLOAD_MAX);
	FUZZ_CHECK((uint64_t)header.offset + header.length <= CHUNK_SIZE_MAX);
	FUZZ_CHECK((uint64_t)header.offset + header.range <= CHUNK_SIZE_MAX);
	FUZZ_CHECK(frame_crc_bytes(&header) <= FRAME_CRCS_MAX * sizeof(uint32_t));
	FUZZ_CHECK((frame_crc_bytes(&header) == 0) == (header.length == 0));
	FUZZ_CHECK(strcmp(frame_op_name(header.op), "unknown") != 0);
	return true;
}

static bool check_hello(const uint8_t *bytes, size_t size)
{
	uint8_t *in = fuzz_exact_copy(bytes, size), again[HELLO_BYTES];
	struct hello hello;
	int rc = hello_decode(in, size, &hello);

	free(in);
	FUZZ_CHECK(rc == 0 || rc == -EINVAL || rc == -EPROTONOSUPPORT);
	if (rc < 0)
		return true;
	FUZZ_CHECK(size == HELLO_BYTES);
	hello_encode(&hello, again);
	FUZZ_CHECK(memcmp(bytes, again, sizeof(again)) == 0);
	return true;
}

static void set_checksum(uint8_t bytes[FRAME_HEADER_BYTES])
{
	put_le32(bytes + FRAME_HEADER_BYTES - 4, crc32c(bytes, FRAME_HEADER_BYTES - 4));
}

#ifdef CATENA_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[FRAME_HEADER_BYTES] = {0};

	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	if (!check_header(bytes) || !check_hello(data, size))
		abort();
	/* No fuzzer finds a checksum: try with the right one, and with the right start. */
	put_le32(bytes, FRAME_MAGIC);
	bytes[4] = FRAME_VERSION;
	set_checksum(bytes);
	if (!check_header(bytes))
		abort();
	return 0;
}
#else

/* Changes 1 to 4 places: a bit, a byte, or a 32-bit word to a value at some limit. */
static void mutate(uint64_t *state, uint8_t *bytes, size_t size)
{
	static const uint32_t limits[] = {
		0,
		1,
		4095,
		4096,
		FRAME_PAYLOAD_MAX,
		FRAME_PAYLOAD_MAX + 1,
		CHUNK_SIZE_MAX,
		CHUNK_SIZE_MAX + 1,
		0x7fffffff,
		0x80000000u,
		UINT32_MAX,
		999,
		1000,
		1009,
	};

	for (uint64_t n = 1 + fuzz_random(state) % 4; n > 0; n--) {
		size_t at = fuzz_random(state) % size;
		uint64_t r = fuzz_random(state);

		switch (r % 3) {
		case 0:
			bytes[at] ^= (uint8_t)(1u << (r >> 8) % 8);
			break;
		case 1:
			bytes[at] = (uint8_t)(r >> 8);
			break;
		default:
			put_le32(bytes + at / 4 * 4,
				 limits[(r >> 8) % (sizeof(limits) / sizeof(limits[0]))]);
			break;
		}
	}
}

static bool run_header(uint64_t *state)
{
	struct frame_header header = gen_header(state), back;
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_encode(&header, bytes);
	FUZZ_CHECK(frame_header_decode(bytes, &back, NULL) == 0);
	FUZZ_CHECK(gen_equal(&header, &back));
	mutate(state, bytes, sizeof(bytes));
	if (fuzz_random(state) % 8 != 0) {
		put_le32(bytes, FRAME_MAGIC);
		bytes[4] = FRAME_VERSION;
		set_checksum(bytes);
	}
	return check_header(bytes);
}

static bool run_noise(uint64_t *state)
{
	uint8_t bytes[FRAME_HEADER_BYTES];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)fuzz_random(state);
	return check_header(bytes);
}

static bool run_hello(uint64_t *state)
{
	struct hello hello = {
		.protocol = HELLO_PROTOCOL,
		.worker = (uint32_t)fuzz_random(state),
		.id = fuzz_random(state),
		.instance = fuzz_random(state) | 1,
	};
	uint8_t bytes[HELLO_BYTES + 8] = {0};
	size_t size = HELLO_BYTES;

	for (size_t i = 0, length = fuzz_random(state) % sizeof(hello.cluster); i < length; i++)
		hello.cluster[i] = (char)(0x21 + fuzz_random(state) % 0x5e);
	hello_encode(&hello, bytes);
	FUZZ_CHECK(check_hello(bytes, size));
	if (fuzz_random(state) % 4 == 0)
		size = fuzz_random(state) % (sizeof(bytes) + 1);
	mutate(state, bytes, sizeof(bytes));
	return check_hello(bytes, size);
}

static bool run_one(uint64_t seed, uint64_t number)
{
	uint64_t state = fuzz_state(seed, number);

	switch (number % 8) {
	case 0:
		return run_noise(&state);
	case 1:
		return run_hello(&state);
	default:
		return run_header(&state);
	}
}

int main(int argc, char **argv)
{
	struct fuzz_options options = {.runs = 200000, .seed = 1};

	if (!fuzz_options_get(argc, argv, &options))
		return 2;
	for (uint64_t run = 0; run < options.runs; run++) {
		if (!run_one(options.seed, run)) {
			printf("frame_fuzz: run %" PRIu64 ", seed %" PRIu64 ": FAILED\n", run,
			       options.seed);
			return 1;
		}
	}
	printf("headers: %" PRIu64 " accepted, %" PRIu64 " refused\n", accepted, refused);
	printf("frame_fuzz: %" PRIu64 " runs, seed %" PRIu64 ": ok\n", options.runs, options.seed);
	return 0;
}
#endif
