/* Goal: no bytes make the cluster map's decoder read out of bounds, hold more than its bounds, or
 * give a map that breaks what its users rely on. Method: random valid maps, there and back; their
 * encoding mutated (bits, bytes, pieces cut out, doubled or moved, so that protobuf's lengths still
 * fit now and then); whatever decodes must satisfy every promise of cluster_map.h, and come back
 * equal from its own encoding. */
#include "common/cluster/cluster_map.h"
#include "tests/lib/fuzz.h"
#include "tests/lib/map_gen.h"

#define INPUT_MAX 65536u

static uint64_t accepted, refused;

static bool check_chain(const struct cluster_map *map, const struct map_chain *chain)
{
	int head = cluster_map_chain_head(chain), tail = cluster_map_chain_tail(chain);

	FUZZ_CHECK(chain->count <= CHAIN_MEMBERS_MAX);
	FUZZ_CHECK(chain->epoch != 0 || chain->count == 0);
	FUZZ_CHECK((head < 0) == (tail < 0) && head <= tail && tail < (int)chain->count);
	FUZZ_CHECK(head <= 0);
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct chain_member *m = &chain->members[i];

		FUZZ_CHECK(m->state >= MEMBER_IN_SYNC && m->state <= MEMBER_OFFLINE);
		FUZZ_CHECK((m->state == MEMBER_IN_SYNC) == ((int)i <= tail));
		FUZZ_CHECK(cluster_map_target_server(map, m->target_id) != NULL);
		FUZZ_CHECK(cluster_map_chain_index(chain, m->target_id) == (int)i); /* not twice */
	}
	return true;
}

static bool check_promises(const struct cluster_map *map)
{
	FUZZ_CHECK(map->pool_count <= 64 && map->server_count <= 4096 &&
		   map->target_count <= 65536);
	for (size_t i = 0; i < map->server_count; i++) {
		FUZZ_CHECK(cluster_map_server(map, map->servers[i].id) == &map->servers[i]);
		FUZZ_CHECK(map->servers[i].workers > 0);
		FUZZ_CHECK(i == 0 || map->servers[i - 1].id < map->servers[i].id);
	}
	for (size_t i = 0; i < map->target_count; i++) {
		FUZZ_CHECK(cluster_map_target(map, map->targets[i].id) == &map->targets[i]);
		FUZZ_CHECK(cluster_map_target_server(map, map->targets[i].id) != NULL);
		FUZZ_CHECK(i == 0 || map->targets[i - 1].id < map->targets[i].id);
	}
	for (size_t i = 0; i < map->pool_count; i++) {
		const struct map_pool *pool = &map->pools[i];

		FUZZ_CHECK(cluster_map_pool(map, pool->id) == pool);
		FUZZ_CHECK(pool->partitions >= 1 && pool->partitions <= 65536);
		FUZZ_CHECK(pool->copies >= 1 && pool->copies <= CHAIN_MEMBERS_MAX);
		FUZZ_CHECK(pool->chunk_size >= CHUNK_SIZE_MIN &&
			   pool->chunk_size <= CHUNK_SIZE_MAX);
		FUZZ_CHECK(cluster_map_chain(map, pool->id, pool->partitions) == NULL);
		for (uint32_t j = 0; j < pool->partitions; j++)
			FUZZ_CHECK(check_chain(map, cluster_map_chain(map, pool->id, j)));
	}
	return true;
}

static bool check_again(const struct cluster_map *map)
{
	struct cluster_map *again = NULL;
	uint8_t *bytes = NULL;
	size_t size = 0;
	bool good;

	FUZZ_CHECK(cluster_map_encode(map, &bytes, &size) == 0);
	good = cluster_map_decode(bytes, size, &again) == 0 && map_gen_equal(map, again);
	free(bytes);
	cluster_map_unref(again);
	FUZZ_CHECK(good);
	return true;
}

static bool check_input(const uint8_t *data, size_t size)
{
	uint8_t *in = fuzz_exact_copy(data, size);
	struct cluster_map *map = NULL;
	int rc = cluster_map_decode(in, size, &map);
	bool good;

	free(in); /* before the map is used: it must not point into it */
	if (rc < 0) {
		refused++;
		FUZZ_CHECK(rc == -EBADMSG);
		FUZZ_CHECK(map == NULL);
		return true;
	}
	accepted++;
	good = check_promises(map) && check_again(map);
	cluster_map_unref(map);
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
	case 2: /* a small number, as ids, states, lengths and tags are */
		bytes[at] = (uint8_t)(fuzz_random(state) % 16);
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

static bool run_noise(uint64_t *state)
{
	uint8_t bytes[64];
	size_t size = fuzz_random(state) % (sizeof(bytes) + 1);

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)fuzz_random(state);
	return check_input(bytes, size);
}

/* One map serves this many mutations: making it is dearer than decoding it. */
#define MUTATIONS 16

static bool run_one(uint64_t seed, uint64_t number)
{
	uint64_t map_state = fuzz_state(seed, number / MUTATIONS);
	uint64_t state = fuzz_state(seed + 1, number);
	struct cluster_map map;
	uint8_t *bytes = NULL;
	size_t size = 0;
	bool good;

	if (number % MUTATIONS == MUTATIONS - 1)
		return run_noise(&state);
	map = map_gen(&map_state, 6);
	good = cluster_map_encode(&map, &bytes, &size) == 0;
	if (good && number % MUTATIONS == 0)
		good = check_promises(&map) && check_again(&map);
	else if (good)
		good = run_mutated(&state, bytes, size);
	free(bytes);
	map_gen_free(&map);
	return good;
}

int main(int argc, char **argv)
{
	struct fuzz_options options = {.runs = 200000, .seed = 1};

	if (!fuzz_options_get(argc, argv, &options))
		return 2;
	for (uint64_t run = 0; run < options.runs; run++) {
		if (!run_one(options.seed, run)) {
			printf("map_fuzz: run %" PRIu64 ", seed %" PRIu64 ": FAILED\n", run,
			       options.seed);
			return 1;
		}
	}
	printf("maps: %" PRIu64 " accepted, %" PRIu64 " refused\n", accepted, refused);
	printf("map_fuzz: %" PRIu64 " runs, seed %" PRIu64 ": ok\n", options.runs, options.seed);
	return 0;
}
#endif
