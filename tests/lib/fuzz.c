#include "tests/lib/fuzz.h"

static bool fuzz_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

bool fuzz_options_get(int argc, char **argv, struct fuzz_options *options)
{
	for (int i = 1; i < argc; i += 2) {
		uint64_t *value = NULL;

		if (strcmp(argv[i], "--runs") == 0)
			value = &options->runs;
		else if (strcmp(argv[i], "--seed") == 0)
			value = &options->seed;
		if (value == NULL || i + 1 == argc || !fuzz_number(argv[i + 1], value)) {
			fprintf(stderr, "usage: %s [--runs N] [--seed S]\n", argv[0]);
			return false;
		}
	}
	return true;
}

uint64_t fuzz_state(uint64_t seed, uint64_t run)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + run;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	return x == 0 ? 1 : x;
}

uint64_t fuzz_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ull;
}

uint8_t *fuzz_exact_copy(const void *data, size_t size)
{
	uint8_t *copy = malloc(size == 0 ? 1 : size);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	return copy;
}
