/* Goal: no bytes make the decoder of log entries read out of bounds, hold more than its bounds, or
 * give a command that is not what they say; what one master encodes, all others decode. Method:
 * commands of all kinds, there and back; their encoding mutated (bits, bytes, pieces cut out,
 * doubled or moved, so that protobuf's lengths still fit now and then), and noise; whatever decodes
 * must keep the bounds and be encoded to the same bytes. */
#include "master/log/entry.h"
#include "master/log/entry_bounds.h"
#include "tests/lib/entry_gen.h"
#include "tests/lib/fuzz.h"

#define INPUT_MAX 65536u

static uint64_t accepted, refused, unsupported;

static bool check_again(const struct entry *entry, const uint8_t *data, size_t size)
{
	uint8_t *again = NULL;
	size_t again_size = 0;
	bool same;

	FUZZ_CHECK(entry->index != 0);
	FUZZ_CHECK(entry_bounds_check(&entry->command) == 0);
	FUZZ_CHECK(entry_encode(&entry->command, entry->index, &again, &again_size) == 0);
	same = again_size == size && memcmp(again, data, size) == 0;
	free(again);
	FUZZ_CHECK(same);
	return true;
}

static bool check_input(const uint8_t *data, size_t size)
{
	uint8_t *in = fuzz_exact_copy(data, size);
	struct entry *entry = NULL;
	int rc = entry_decode(in, size, &entry);
	bool good;

	free(in); /* before the entry is used: it must not point into it */
	if (rc != 0) {
		refused += rc == -EBADMSG;
		unsupported += rc == -EPROTONOSUPPORT;
		FUZZ_CHECK(rc == -EBADMSG || rc == -EPROTONOSUPPORT);
		FUZZ_CHECK(entry == NULL);
		return true;
	}
	accepted++;
	good = check_again(entry, data, size);
	entry_free(entry);
	return good;
}

#ifdef CATENA_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!check_input(data, size))
		abort();
	return 0;
}
#else

static bool check_command(const struct log_command *command, const uint8_t *data, size_t size)
{
	struct entry *entry = NULL;
	bool equal;

	FUZZ_CHECK(entry_decode(data, size, &entry) == 0);
	equal = entry_gen_equal(command, &entry->command);
	entry_free(entry);
	FUZZ_CHECK(equal);
	return true;
}

static size_t mutate_once(uint64_t *state, uint8_t *bytes, size_t size)
{
	size_t at = fuzz_random(state) % size, n = 1 + fuzz_random(state) % 32;
	size_t other = fuzz_random(state) % size;

	if (n > size - at)
		n = size - at;
	switch (fuzz_random(state) % 7) {
	case 0:
		bytes[at] ^= (uint8_t)(1u << fuzz_random(state) % 8);
		return size;
	case 1:
		bytes[at] = (uint8_t)fuzz_random(state);
		return size;
	case 2: /* a small number, as kinds, states, lengths and tags are */
		bytes[at] = (uint8_t)(fuzz_random(state) % 32);
		return size;
	case 3: /* a piece over another */
		if (n > size - other)
			n = size - other;
		memmove(bytes + at, bytes + other, n);
		return size;
	case 4: /* a piece cut out */
		memmove(bytes + at, bytes + at + n, size - at - n);
		return size - n;
	case 5: /* a piece doubled */
		if (size + n > INPUT_MAX)
			return size;
		memmove(bytes + at + n, bytes + at, size - at);
		return size + n;
	default: /* the end lost */
		return fuzz_random(state) % 4 == 0 ? at : size;
	}
}

static bool run_mutated(uint64_t *state, const uint8_t *data, size_t size)
{
	static uint8_t bytes[INPUT_MAX];

	if (size > sizeof(bytes))
		return true;
	memcpy(bytes, data, size);
	for (uint64_t n = 1 + fuzz_random(state) % 3; n > 0 && size > 0; n--)
		size = mutate_once(state, bytes, size);
	return check_input(bytes, size);
}

/* Bytes of any kind, but with a format that is known, or they would all end there. */
static bool run_noise(uint64_t *state)
{
	uint8_t bytes[64] = {0x08, ENTRY_FORMAT};
	size_t size = fuzz_random(state) % (sizeof(bytes) + 1);

	for (size_t i = 2; i < size; i++)
		bytes[i] = (uint8_t)fuzz_random(state);
	return check_input(bytes, size);
}

/* One command serves this many mutations. */
#define MUTATIONS 16

static bool run_one(uint64_t seed, uint64_t number)
{
	static struct entry_gen gen;
	uint64_t state = fuzz_state(seed + 1, number), index;
	struct log_command command;
	uint8_t *bytes = NULL;
	size_t size = 0;
	bool good;

	if (number % MUTATIONS == MUTATIONS - 1)
		return run_noise(&state);
	gen.random = fuzz_state(seed, number / MUTATIONS);
	entry_gen(&gen, (enum command_kind)(number / MUTATIONS % ENTRY_GEN_KINDS), &command);
	index = 1 + fuzz_random(&gen.random) % (number % 3 == 0 ? 200 : UINT64_MAX);
	FUZZ_CHECK(entry_encode(&command, index, &bytes, &size) == 0);
	if (number % MUTATIONS == 0)
		good = check_command(&command, bytes, size) && check_input(bytes, size);
	else
		good = run_mutated(&state, bytes, size);
	free(bytes);
	return good;
}

int main(int argc, char **argv)
{
	struct fuzz_options options = {.runs = 200000, .seed = 1};

	if (!fuzz_options_get(argc, argv, &options))
		return 2;
	for (uint64_t run = 0; run < options.runs; run++)
		if (!run_one(options.seed, run)) {
			fprintf(stderr, "failed: --seed %" PRIu64 ", run %" PRIu64 "\n",
				options.seed, run);
			return 1;
		}
	printf("%" PRIu64 " runs, %" PRIu64 " accepted, %" PRIu64 " refused, %" PRIu64
	       " of a later version\n",
	       options.runs, accepted, refused, unsupported);
	return 0;
}
#endif
