/* Goal: no bytes make the reader of a kept log read out of bounds, hold more than they are, or give
 * entries that are not in order. Method: segments of entries, results and marks by chance, mutated
 * (bits, bytes, pieces cut out, doubled or moved, the end lost), now and then with the checksums made
 * good again; and noise. What is read must be in order, and lie in the bytes. */
#include <errno.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "master/kept/segment.h"
#include "tests/lib/fuzz.h"
#include "tests/lib/kept_gen.h"

static uint64_t accepted, refused, unsupported;

static bool check_segment(const struct kept_segment *segment, const uint8_t *data, size_t size)
{
	FUZZ_CHECK(segment->size + segment->torn == size);
	for (size_t i = 0; i < segment->count; i++) {
		const struct kept_item *item = &segment->items[i];

		FUZZ_CHECK(item->index == segment->head.index + i + 1);
		FUZZ_CHECK(item->ended || i + 1 == segment->count);
		FUZZ_CHECK(item->entry >= data && item->entry_size <= size &&
			   item->entry + item->entry_size <= data + segment->size);
	}
	for (size_t i = 0; i < segment->attempt_count; i++)
		FUZZ_CHECK(segment->attempts[i].index > segment->head.index);
	return true;
}

static bool check_input(const uint8_t *data, size_t size)
{
	uint8_t *in = fuzz_exact_copy(data, size);
	struct kept_segment segment;
	size_t at = 0;
	int rc = kept_segment_parse(in, size, &segment, &at);
	bool good = true;

	refused += rc == -EBADMSG;
	unsupported += rc == -EPROTONOSUPPORT;
	accepted += rc == 0;
	if (rc == 0)
		good = check_segment(&segment, in, size);
	kept_segment_free(&segment);
	FUZZ_CHECK(rc == 0 || rc == -EBADMSG || rc == -EPROTONOSUPPORT);
	FUZZ_CHECK(at <= size);
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

static void make_segment(struct kept_gen *gen, uint64_t *state)
{
	uint64_t base = fuzz_random(state) % 100, index = base, before = base;
	uint8_t entry[200];

	kept_gen_head(gen, base);
	for (uint64_t n = fuzz_random(state) % 20; n > 0; n--) {
		size_t size = fuzz_random(state) % sizeof(entry);

		for (size_t i = 0; i < size; i++)
			entry[i] = (uint8_t)fuzz_random(state);
		kept_gen_entry(gen, ++index, entry, size);
		if (fuzz_random(state) % 6 == 0) {
			index = before;
			kept_gen_undone(gen, index);
			continue;
		}
		kept_gen_result(gen, index);
		if (fuzz_random(state) % 3 == 0)
			before = index;
	}
}

static void mutate_once(struct kept_gen *gen, uint64_t *state)
{
	size_t size = gen->size, at = fuzz_random(state) % size, n = 1 + fuzz_random(state) % 64;
	size_t other = fuzz_random(state) % size;

	n = n > size - at ? size - at : n;
	switch (fuzz_random(state) % 6) {
	case 0:
		gen->bytes[at] ^= (uint8_t)(1u << fuzz_random(state) % 8);
		break;
	case 1:
		gen->bytes[at] = (uint8_t)fuzz_random(state);
		break;
	case 2: /* a piece over another */
		n = n > size - other ? size - other : n;
		memmove(gen->bytes + at, gen->bytes + other, n);
		break;
	case 3: /* a piece cut out */
		memmove(gen->bytes + at, gen->bytes + at + n, size - at - n);
		gen->size -= n;
		break;
	case 4: /* a piece doubled */
		if (size + n <= KEPT_GEN_MAX) {
			memmove(gen->bytes + at + n, gen->bytes + at, size - at);
			gen->size += n;
		}
		break;
	default: /* the end lost */
		gen->size = fuzz_random(state) % 4 == 0 ? at : size;
		break;
	}
}

/* Makes the checksums good along the records, as far as their sizes lead. */
static void mend(struct kept_gen *gen)
{
	size_t at = KEPT_HEAD_BYTES;

	if (gen->size < at)
		return;
	put_le32(gen->bytes + 24, crc32c(gen->bytes + 28, KEPT_HEAD_BYTES - 28));
	while (gen->size - at >= 8) {
		uint8_t *record = gen->bytes + at;
		size_t body = get_le32(record);

		if (body > gen->size - at - 8)
			return;
		put_le32(record + 4, crc32c_extend(crc32c(record, 4), record + 8, body));
		at += 8 + body;
	}
}

static bool run_one(uint64_t seed, uint64_t number)
{
	static struct kept_gen gen;
	uint64_t state = fuzz_state(seed, number);

	make_segment(&gen, &state);
	if (number % 16 == 0) {
		uint64_t before = accepted;

		FUZZ_CHECK(check_input(gen.bytes, gen.size));
		FUZZ_CHECK(accepted == before + 1);
		return true;
	}
	for (uint64_t n = 1 + fuzz_random(&state) % 3; n > 0 && gen.size > 0; n--)
		mutate_once(&gen, &state);
	if (number % 4 != 0)
		mend(&gen);
	return check_input(gen.bytes, gen.size);
}

int main(int argc, char **argv)
{
	struct fuzz_options options = {.runs = 100000, .seed = 1};

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
