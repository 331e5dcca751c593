/* Measures one target without network: usage: store_bench DIR [SECONDS per test]
 * DIR is made, and removed at the end. Prints "name value unit" lines: rates, latencies of flushed
 * small writes, and CPU seconds per GiB or microseconds per operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "chunkserver/store/store.h"
#include "common/base/block.h"
#include "common/os/clock.h"
#include "tests/lib/tree.h"

#define CHUNK  (16u << 20)
#define MIB    (1u << 20)
#define CHUNKS 16u /* 256 MiB: what the large tests go round in */

static struct store *store;
static struct store_view *view;
static struct buf_pool *pool;
static uv_loop_t loop;
static uint64_t test_ns = NS_PER_SEC;
static uint64_t random_state = 88172645463325252ull;

static void die(const char *what, int error)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, strerror(-error));
	exit(1);
}

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double cpu_seconds(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec / 1e6 +
	       (double)use.ru_stime.tv_sec + (double)use.ru_stime.tv_usec / 1e6;
}

/* ---- a number of operations under way at once ---- */

struct lane {
	struct store_update update;
	struct store_flush flush;
	struct store_read read;
	struct buf *buf;
	uint64_t begun;
	bool busy;
};

struct test {
	const char *name;
	uint32_t bytes; /* of an operation */
	uint32_t lanes;
	bool write, flush, random;
	uint32_t chunks;   /* 0: a new chunk for each */
	uint32_t at_least; /* operations, however long they take */
};

static const struct test *test;
static uint64_t operations, deadline, version, place;
static uint32_t running;
static uint64_t *latencies;
static size_t latency_count;
#define LATENCIES_MAX (1u << 22)

static void lane_end(struct lane *lane)
{
	uint64_t now = clock_monotonic_ns();

	operations++;
	if (latency_count < LATENCIES_MAX)
		latencies[latency_count++] = now - lane->begun;
	running--;
	lane->busy = false;
}

static void on_flush(struct store_flush *flush, int error)
{
	if (error != 0)
		die("flush", error);
	lane_end(flush->user);
}

static void on_prepared(struct store_update *update, int error)
{
	struct lane *lane = update->user;

	if (error == 0)
		error = store_commit(view, update);
	if (error != 0)
		die("write", error);
	if (!test->flush) {
		lane_end(lane);
		return;
	}
	lane->flush = (struct store_flush){.key = update->key, .done = on_flush, .user = lane};
	store_flush(view, &lane->flush);
}

static void on_read(struct store_read *read, int error, uint32_t length, uint64_t unused)
{
	(void)unused;
	if (error != 0 || length != test->bytes)
		die("read", error);
	lane_end(read->user);
}

static void lane_start(struct lane *lane)
{
	uint64_t blocks = (uint64_t)CHUNK / test->bytes, at;
	struct chunk_key key = {.pool = 1, .partition = 1, .file_id = 1};
	uint32_t offset;

	if (test->chunks == 0) {
		key.file_id = 2 + place++;
		key.partition = (uint32_t)(key.file_id * 2654435769u) >> 26;
		offset = 0;
	} else {
		at = test->random ? random_next() % (blocks * test->chunks)
				  : place++ % (blocks * test->chunks);
		key.index = (uint32_t)(at / blocks);
		offset = (uint32_t)(at % blocks) * test->bytes;
	}
	running++;
	lane->busy = true;
	lane->begun = clock_monotonic_ns();
	if (test->write) {
		version++;
		lane->update = (struct store_update){.op = STORE_WRITE,
						     .key = key,
						     .offset = offset,
						     .length = test->bytes,
						     .payload = lane->buf,
						     .epoch = 1,
						     .version = version,
						     .client_id = 1,
						     .op_id = version,
						     .answered = version > 64 ? version - 64 : 0,
						     .done = on_prepared,
						     .user = lane};
		store_prepare(view, &lane->update);
	} else {
		lane->read = (struct store_read){.key = key,
						 .offset = offset,
						 .length = test->bytes,
						 .into = lane->buf,
						 .done = on_read,
						 .user = lane};
		store_read(view, &lane->read);
	}
}

static bool start_idle(struct lane *lanes)
{
	if (clock_monotonic_ns() >= deadline && operations + running >= test->at_least)
		return false;
	for (uint32_t i = 0; i < test->lanes; i++)
		if (!lanes[i].busy)
			lane_start(&lanes[i]);
	return true;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(double seconds, double cpu)
{
	double bytes = (double)operations * test->bytes;

	qsort(latencies, latency_count, sizeof(*latencies), by_value);
	if (test->bytes >= MIB) {
		printf("%s %.0f MiB/s\n", test->name, bytes / MIB / seconds);
		printf("%s_cpu %.2f s/GiB\n", test->name, cpu / (bytes / (1u << 30)));
	} else {
		printf("%s %.0f /s\n", test->name, (double)operations / seconds);
		printf("%s_cpu %.1f us/op\n", test->name, cpu * 1e6 / (double)operations);
	}
	printf("%s_p50 %.0f us\n", test->name, (double)latencies[latency_count / 2] / 1e3);
	printf("%s_p99 %.0f us\n", test->name, (double)latencies[latency_count * 99 / 100] / 1e3);
	fflush(stdout);
}

/* The loop lives as long as operations are under way; the store's timer runs beside them. */
static void run(const struct test *which)
{
	struct lane lanes[64];
	uint64_t started;
	double cpu;

	test = which;
	operations = place = latency_count = 0;
	memset(lanes, 0, sizeof(lanes));
	for (uint32_t i = 0; i < test->lanes; i++) {
		struct buf *buf = buf_get(pool, test->bytes);

		lanes[i].buf = buf;
		buf->length = test->bytes;
		for (uint32_t j = 0; j < test->bytes; j++)
			buf->data[j] = (uint8_t)random_next();
		block_checksums(buf->data, 0, test->bytes, buf->crcs);
	}
	started = clock_monotonic_ns();
	deadline = started + test_ns;
	cpu = cpu_seconds();
	/* Operations may end at once; as in a server, each turn of the loop starts some. */
	while (start_idle(lanes) || running > 0)
		uv_run(&loop, running == test->lanes ? UV_RUN_ONCE : UV_RUN_NOWAIT);
	report((double)(clock_monotonic_ns() - started) / (double)NS_PER_SEC, cpu_seconds() - cpu);
	for (uint32_t i = 0; i < test->lanes; i++)
		buf_unref(lanes[i].buf);
}

static void on_quiet(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
}

/* Lets background work come to rest, so that it is not counted in the next test. */
static void quiet(uint64_t ms)
{
	uv_timer_t timer;

	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_quiet, ms, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{.name = "write_1m",
		 .bytes = MIB,
		 .lanes = 8,
		 .write = true,
		 .chunks = CHUNKS,
		 .at_least = CHUNKS * (CHUNK / MIB)},
		{.name = "read_1m", .bytes = MIB, .lanes = 8, .chunks = CHUNKS},
		{.name = "read_4k", .bytes = 4096, .lanes = 1, .random = true, .chunks = CHUNKS},
		{.name = "read_4k_16",
		 .bytes = 4096,
		 .lanes = 16,
		 .random = true,
		 .chunks = CHUNKS},
		{.name = "overwrite_1m", .bytes = MIB, .lanes = 8, .write = true, .chunks = CHUNKS},
		{.name = "write_1m_sync",
		 .bytes = MIB,
		 .lanes = 1,
		 .write = true,
		 .flush = true,
		 .chunks = CHUNKS},
		{.name = "write_1m_sync_8",
		 .bytes = MIB,
		 .lanes = 8,
		 .write = true,
		 .flush = true,
		 .chunks = CHUNKS},
		{.name = "small_file", .bytes = 4096, .lanes = 1, .write = true, .chunks = 0},
		{.name = "small_file_sync",
		 .bytes = 4096,
		 .lanes = 1,
		 .write = true,
		 .flush = true},
		{.name = "small_file_sync_32",
		 .bytes = 4096,
		 .lanes = 32,
		 .write = true,
		 .flush = true},
		{.name = "append_4k_sync",
		 .bytes = 4096,
		 .lanes = 1,
		 .write = true,
		 .flush = true,
		 .chunks = CHUNKS},
		{.name = "write_4k",
		 .bytes = 4096,
		 .lanes = 1,
		 .write = true,
		 .random = true,
		 .chunks = CHUNKS},
		{.name = "write_4k_sync",
		 .bytes = 4096,
		 .lanes = 1,
		 .write = true,
		 .flush = true,
		 .random = true,
		 .chunks = CHUNKS},
		{.name = "write_4k_sync_32",
		 .bytes = 4096,
		 .lanes = 32,
		 .write = true,
		 .flush = true,
		 .random = true,
		 .chunks = CHUNKS},
		{.name = "read_4k_mixed",
		 .bytes = 4096,
		 .lanes = 1,
		 .random = true,
		 .chunks = CHUNKS},
		{.name = "read_1m_mixed", .bytes = MIB, .lanes = 4, .chunks = CHUNKS},
	};
	struct store_options options = {.cluster = "bench"};
	const char *only = argc > 3 ? argv[3] : NULL;
	char error[256];
	uint64_t seconds;
	int rc;

	if (argc < 2) {
		fprintf(stderr, "usage: store_bench DIR [SECONDS [TEST]]\n");
		return 2;
	}
	if (argc > 2)
		test_ns = (uint64_t)(atof(argv[2]) * (double)NS_PER_SEC);
	latencies = malloc(LATENCIES_MAX * sizeof(*latencies));
	options.path = argv[1];
	if (latencies == NULL || buf_pool_create(0, &pool) != 0 || uv_loop_init(&loop) != 0)
		die("start", -12);
	options.pool = pool;
	rc = store_init(options.path, "bench", error, sizeof(error));
	if (rc == 0)
		rc = store_open(&options, &store, error, sizeof(error));
	if (rc == 0)
		rc = store_view_open(store, &loop, &view);
	if (rc != 0)
		die(error, rc);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		/* The first fills what the others read and overwrite. */
		if (only != NULL && i > 0 && strcmp(tests[i].name, only) != 0)
			continue;
		/* Alone with another, the first writes each chunk once or so. */
		seconds = test_ns;
		if (only != NULL && i == 0 && strcmp(tests[i].name, only) != 0 &&
		    test_ns > NS_PER_SEC / 4)
			test_ns = NS_PER_SEC / 4;
		run(&tests[i]);
		test_ns = seconds;
		quiet(1200);
	}
	store_view_close(view);
	uv_run(&loop, UV_RUN_DEFAULT);
	store_close(store);
	uv_loop_close(&loop);
	buf_pool_destroy(pool);
	free(latencies);
	tree_remove(options.path);
	return 0;
}
