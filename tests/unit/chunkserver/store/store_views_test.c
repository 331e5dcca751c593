/* Goal: several loops work on one target at once, each on partitions of its own, and share its log
 * flushes; a target that goes down comes back under all of them. Method: threads with a loop and view
 * each do random updates, flushes, reads and removals and check every byte; the results are judged
 * after they have ended. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include "tests/lib/random.h"
#include "tests/lib/store_fixture.h"

#define THREADS 3u
#define ROUNDS  120u
#define LENGTH  (3u << 19)

struct runner {
	struct fixture f; /* a loop and view of its own on the common store */
	uint32_t number;
	uint64_t random;
	unsigned bad, failed, done;
	uint8_t model[2][LENGTH];
	uint64_t version;
};

static struct fixture fx;

static uint32_t below(struct runner *r, uint32_t limit)
{
	return (uint32_t)random_below(&r->random, limit);
}

static struct chunk_key key_of(const struct runner *r, uint32_t chunk)
{
	return (struct chunk_key){.pool = 1, .partition = r->number, .file_id = 5, .index = chunk};
}

static void check(struct runner *r, uint32_t chunk)
{
	static _Thread_local uint8_t found[1u << 20];
	struct chunk_key key = key_of(r, chunk);

	for (uint32_t at = 0; at < LENGTH; at += 1u << 19) {
		int rc = do_read(&r->f, &key, at, 1u << 19, true, found, NULL);

		if (rc != 0)
			r->failed++;
		else if (memcmp(found, r->model[chunk] + at, 1u << 19) != 0)
			r->bad++;
	}
}

static void write_some(struct runner *r, uint32_t chunk)
{
	struct chunk_key key = key_of(r, chunk);
	uint32_t length = 1 + below(r, below(r, 2) == 0 ? 9000 : 300000);
	uint32_t offset = below(r, LENGTH - length);
	uint8_t *bytes = malloc(length);
	int rc;

	fill_random(bytes, length, r->random);
	rc = do_write(&r->f, &key, offset, bytes, length, ++r->version);
	if (rc == 0)
		memcpy(r->model[chunk] + offset, bytes, length);
	else
		r->failed++;
	free(bytes);
}

static void *runner_main(void *arg)
{
	struct runner *r = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t dice = below(r, 10), chunk = below(r, 2), failed = r->failed;
		struct chunk_key key = key_of(r, chunk);

		if (dice < 6) {
			write_some(r, chunk);
		} else if (dice < 8) {
			r->failed += (i % 2 == 0 ? do_flush(&r->f, &key)
						 : do_flush_partition(&r->f, &key)) != 0;
		} else if (dice < 9) {
			check(r, chunk);
		} else if (i % 5 == 0) {
			if (do_remove(&r->f, &key, 1) == 0)
				memset(r->model[chunk], 0, LENGTH);
			else
				r->failed++;
		}
		r->done++;
		if (r->failed != failed)
			usleep(5000);
	}
	check(r, 0);
	check(r, 1);
	return NULL;
}

static void runners_start(struct runner *runners, pthread_t *threads)
{
	for (uint32_t i = 0; i < THREADS; i++) {
		struct runner *r = &runners[i];

		r->number = i;
		r->random = 77777 + i;
		r->f = (struct fixture){.pool = fx.pool, .store = fx.store};
		uv_loop_init(&r->f.loop);
		uv_timer_init(&r->f.loop, &r->f.alive);
		uv_timer_start(&r->f.alive, on_alive, 1000, 1000);
		assert_int_equal(store_view_open(fx.store, &r->f.loop, &r->f.view), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, runner_main, &runners[i]), 0);
}

static void runners_end(struct runner *runners)
{
	for (uint32_t i = 0; i < THREADS; i++) {
		struct runner *r = &runners[i];

		store_view_close(r->f.view);
		uv_close((uv_handle_t *)&r->f.alive, NULL);
		uv_run(&r->f.loop, UV_RUN_DEFAULT);
		uv_loop_close(&r->f.loop);
	}
}

static void test_views_do_not_disturb_each_other(void **state)
{
	struct runner *runners = calloc(THREADS, sizeof(*runners));
	pthread_t threads[THREADS];

	assert_int_equal(fixture_start(&fx, false), 0);
	runners_start(runners, threads);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 0; i < THREADS; i++) {
		assert_int_equal(runners[i].done, ROUNDS);
		assert_int_equal(runners[i].bad, 0);
		assert_int_equal(runners[i].failed, 0);
	}
	runners_end(runners);
	fixture_end(&fx);
	free(runners);
}

static void test_a_target_comes_back_under_all_views(void **state)
{
	struct runner *runners = calloc(THREADS, sizeof(*runners));
	pthread_t threads[THREADS];
	unsigned failed = 0;

	assert_int_equal(fixture_start(&fx, true), 0);
	runners_start(runners, threads);
	for (unsigned i = 0; i < 10; i++) {
		usleep(20000);
		kv_memory_fail_write(fx.kv, 5, -EIO);
		usleep(20000);
		assert_int_equal(store_recover(fx.store), 0);
	}
	kv_memory_fail_write(fx.kv, 0, 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		failed += runners[i].failed;
	}
	assert_int_equal(store_recover(fx.store), 0);
	printf("%u requests failed while it was down\n", failed);
	/* Whatever failed, all that is there can be read. */
	for (uint32_t i = 0; i < THREADS; i++) {
		unsigned before = runners[i].failed;

		run_for(&runners[i].f, 300);
		check(&runners[i], 0);
		check(&runners[i], 1);
		assert_int_equal(runners[i].failed, before);
	}
	runners_end(runners);
	fixture_end(&fx);
	free(runners);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_views_do_not_disturb_each_other),
		cmocka_unit_test(test_a_target_comes_back_under_all_views),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
