/* Goal: a worker that cannot be started leaves nothing behind, and says why. Method: the memory for
 * its targets is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "chunkserver/worker/loop.h"

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
	return size == sizeof(struct worker_target) ? NULL : __real_calloc(count, size);
}

static void test_a_worker_without_memory_for_its_targets_does_not_start(void **state)
{
	static struct store *stores[1];
	const struct worker_options options = {
		.workers = 1, .cluster = "test", .stores = stores, .store_count = 1};
	struct worker *worker = NULL;

	assert_int_equal(worker_start(&options, &worker), -ENOMEM);
	assert_null(worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_worker_without_memory_for_its_targets_does_not_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
