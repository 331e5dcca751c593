/* kv_overlay_test.c - turns of writes in front of a store.
 *
 * Goal: within a turn all reads see what was collected over the base, iterators stay as of their
 * moment, a batch is collected whole or not at all, and the one batch of a commit leaves the base as
 * the records one after the other would; nothing of an abandoned or failed turn is left.
 * Method: short checks, and seeded random runs over the twin and over RocksDB that compare the
 * overlay with a plain twin that gets the same records at once: each possible key, random scans,
 * several iterators that stay open. Allocations and writes of the base fail in turn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/kv/kv_overlay.h"
#include "tests/lib/random.h"
#include "tests/unit/common/kv/kv_fixture.h"
#include "tests/unit/common/kv/no_memory.h"

/* Keys of up to 3 letters, each of them one of these. */
static const uint8_t letters[] = {0x00, 'a', 'b', 0xff};
#define KEY_MAX    3u
#define KEYS       85u /* of no letter, one, two and three */
#define VALUE_MAX  40u
#define ITERS      4u
#define ROUNDS     150
#define STEPS      120
#define DISK_STEPS 600

struct key {
	size_t size;
	uint8_t bytes[KEY_MAX];
};

/* An iterator of the overlay and one of the plain store, of one moment. */
struct pair {
	struct kv_iter *overlay, *plain;
};

struct run {
	struct kv *base, *overlay;
	struct kv *plain;  /* has what the overlay must show */
	struct kv *before; /* has what the base must have within a turn; NULL outside of one */
	struct pair pairs[ITERS];
	struct kv_batch *batch;
	bool on_disk;
	unsigned commits, abandoned, failed;
};

static uint64_t seed = 20260202;

/* The last write of all, to whichever store. */
static struct {
	struct kv *kv;
	size_t count;
} written;

int __real_kv_write(struct kv *kv, const struct kv_batch *batch, bool durable);
int __wrap_kv_write(struct kv *kv, const struct kv_batch *batch, bool durable);
int __wrap_kv_write(struct kv *kv, const struct kv_batch *batch, bool durable)
{
	written.kv = kv;
	written.count = kv_batch_count(batch);
	return __real_kv_write(kv, batch, durable);
}

static unsigned draw(unsigned limit)
{
	return (unsigned)random_below(&seed, limit);
}

static struct key key_number(unsigned number)
{
	struct key key = {.size = 0};

	for (unsigned count = 1; number >= count; count *= 4) {
		number -= count;
		key.size++;
	}
	for (unsigned i = 0; i < key.size; i++, number /= 4)
		key.bytes[i] = letters[number % 4];
	return key;
}

/* ---- comparisons ---- */

static int next_is_same(struct kv_iter *a, struct kv_iter *b)
{
	const uint8_t *ka, *kb, *va, *vb;
	size_t ksa, ksb, vsa, vsb;
	int ra = kv_iter_next(a, &ka, &ksa, &va, &vsa);
	int rb = kv_iter_next(b, &kb, &ksb, &vb, &vsb);

	assert_int_equal(ra, rb);
	if (ra == 1) {
		assert_int_equal(ksa, ksb);
		assert_memory_equal(ka, kb, ksa);
		assert_int_equal(vsa, vsb);
		assert_memory_equal(va, vb, vsa);
	}
	return ra;
}

static struct pair open_pair(struct kv *a, struct kv *b, unsigned family, const struct key *start,
			     const struct key *end)
{
	struct pair pair;

	assert_int_equal(kv_iter_open(a, family, start->bytes, start->size,
				      end == NULL ? NULL : end->bytes, end == NULL ? 0 : end->size,
				      &pair.overlay),
			 0);
	assert_int_equal(kv_iter_open(b, family, start->bytes, start->size,
				      end == NULL ? NULL : end->bytes, end == NULL ? 0 : end->size,
				      &pair.plain),
			 0);
	return pair;
}

static void close_pair(struct pair *pair)
{
	kv_iter_free(pair->overlay);
	kv_iter_free(pair->plain);
	*pair = (struct pair){NULL, NULL};
}

static struct pair random_pair(struct kv *a, struct kv *b)
{
	struct key start = key_number(draw(KEYS)), end = key_number(draw(KEYS));

	return open_pair(a, b, draw(FAMILIES), &start, draw(3) == 0 ? NULL : &end);
}

/* Scans of all families. */
static void scans_are_same(struct kv *a, struct kv *b)
{
	struct key first = {.size = 0};

	for (unsigned family = 0; family < FAMILIES; family++) {
		struct pair pair = open_pair(a, b, family, &first, NULL);

		while (next_is_same(pair.overlay, pair.plain) == 1)
			;
		assert_int_equal(next_is_same(pair.overlay, pair.plain), 0);
		close_pair(&pair);
	}
}

static void get_is_same(struct kv *a, struct kv *b, unsigned family, const struct key *key)
{
	uint8_t *va = NULL, *vb = NULL;
	size_t sa = 0, sb = 0;
	int ra = kv_get(a, family, key->bytes, key->size, &va, &sa);

	assert_int_equal(ra, kv_get(b, family, key->bytes, key->size, &vb, &sb));
	assert_int_equal(sa, sb);
	if (ra == 0)
		assert_memory_equal(va, vb, sa);
	free(va);
	free(vb);
}

static void stores_are_same(struct kv *a, struct kv *b)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct key key = key_number(i);

		for (unsigned family = 0; family < FAMILIES; family++)
			get_is_same(a, b, family, &key);
	}
	scans_are_same(a, b);
	for (int i = 0; i < 6; i++) {
		struct pair pair = random_pair(a, b);

		while (next_is_same(pair.overlay, pair.plain) == 1)
			;
		close_pair(&pair);
	}
}

/* ---- the random run ---- */

/* Deletes the keys that begin with this one, but for those whose next letter is the last one. */
static void delete_below(struct kv_batch *batch, unsigned family, const struct key *key)
{
	uint8_t end[KEY_MAX + 1];

	memcpy(end, key->bytes, key->size);
	end[key->size] = 0xff;
	kv_batch_delete_range(batch, family, key->bytes, key->size, end, key->size + 1);
}

static void random_batch(struct kv_batch *batch)
{
	uint8_t value[VALUE_MAX];
	unsigned count = draw(9);

	kv_batch_clear(batch);
	for (unsigned i = 0; i < count; i++) {
		struct key key = key_number(draw(KEYS)), end = key_number(draw(KEYS));
		unsigned family = draw(FAMILIES), kind = draw(12);

		memset(value, (int)draw(256), sizeof(value));
		if (kind < 7)
			kv_batch_put(batch, family, key.bytes, key.size, value, draw(VALUE_MAX));
		else if (kind < 11)
			kv_batch_delete(batch, family, key.bytes, key.size);
		else if (draw(3) == 0) /* often a long one, or one the wrong way round */
			kv_batch_delete_range(batch, family, key.bytes, key.size, end.bytes,
					      end.size);
		else
			delete_below(batch, family, &key);
	}
}

static void write_both(struct run *run)
{
	bool durable = !kv_overlay_is_open(run->overlay) && draw(2) == 0;
	size_t size = kv_overlay_size(run->overlay);
	int rc;

	random_batch(run->batch);
	if (draw(3) == 0)
		no_memory_at(1 + (long)draw(12));
	rc = kv_write(run->overlay, run->batch, durable);
	no_memory_at(0);
	if (rc == 0) {
		assert_int_equal(kv_write(run->plain, run->batch, durable), 0);
	} else {
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(kv_overlay_size(run->overlay), size);
	}
	/* At once, where no memory may have been missed half-way. */
	scans_are_same(run->overlay, run->plain);
}

/* Writes to @to what is in @from, in the place of all it has. */
static void restore(struct run *run, struct kv *to, struct kv *from)
{
	const uint8_t *key, *value;
	size_t key_size, value_size;
	struct kv_iter *iter;

	kv_batch_clear(run->batch);
	for (unsigned family = 0; family < FAMILIES; family++) {
		kv_batch_delete_range(run->batch, family, "", 0, "\xff\xff\xff\xff", 4);
		assert_int_equal(kv_iter_open(from, family, "", 0, NULL, 0, &iter), 0);
		while (kv_iter_next(iter, &key, &key_size, &value, &value_size) == 1)
			kv_batch_put(run->batch, family, key, key_size, value, value_size);
		kv_iter_free(iter);
	}
	assert_int_equal(kv_write(to, run->batch, false), 0);
}

static void turn_is_over(struct run *run)
{
	assert_false(kv_overlay_is_open(run->overlay));
	assert_int_equal(kv_overlay_size(run->overlay), 0);
	kv_close(run->before);
	run->before = NULL;
}

static void commit_both(struct run *run)
{
	assert_int_equal(kv_overlay_commit(run->overlay), 0);
	stores_are_same(run->base, run->plain);
	turn_is_over(run);
	run->commits++;
}

static void abandon_both(struct run *run)
{
	if (draw(2) == 0 && !run->on_disk)
		assert_int_equal(kv_recover(run->overlay), 0);
	else
		kv_overlay_abandon(run->overlay);
	restore(run, run->plain, run->before);
	turn_is_over(run);
	run->abandoned++;
}

static void fail_commit(struct run *run)
{
	int rc, error = draw(2) == 0 ? EIO : ENOSPC;

	kv_memory_fail_write(run->base, 1, error);
	rc = kv_overlay_commit(run->overlay);
	kv_memory_fail_write(run->base, 0, 0);
	if (rc == 0) { /* there was nothing to write */
		stores_are_same(run->base, run->before);
	} else {
		assert_int_equal(rc, -error);
		assert_true(kv_is_down(run->overlay));
		assert_int_equal(get_is(run->overlay, 1, "a", ""), -error);
		assert_int_equal(kv_recover(run->overlay), 0);
		run->failed++;
	}
	restore(run, run->plain, run->before);
	stores_are_same(run->base, run->before);
	turn_is_over(run);
}

static void step_pairs(struct run *run)
{
	struct pair *pair = &run->pairs[draw(ITERS)];

	if (pair->overlay == NULL) {
		*pair = random_pair(run->overlay, run->plain);
	} else if (draw(8) == 0) {
		close_pair(pair);
	} else {
		for (unsigned count = draw(6); count > 0; count--)
			if (next_is_same(pair->overlay, pair->plain) == 0)
				break;
	}
}

/* What is collected is in no flush, and a flush loses nothing of what was committed. */
static void flush_and_crash(struct run *run)
{
	assert_int_equal(kv_flush(run->overlay), 0);
	if (!run->on_disk)
		kv_memory_crash(run->base);
	stores_are_same(run->base, run->before != NULL ? run->before : run->plain);
}

static void step(struct run *run)
{
	unsigned kind = draw(20);

	if (kind < 9) {
		write_both(run);
	} else if (kind < 15) {
		step_pairs(run);
	} else if (kind == 15) {
		stores_are_same(run->overlay, run->plain);
	} else if (kind == 16) {
		flush_and_crash(run);
	} else if (run->before == NULL) {
		assert_int_equal(kv_memory_copy(run->plain, &run->before), 0);
		kv_overlay_begin(run->overlay);
	} else if (kind == 17) {
		stores_are_same(run->overlay, run->plain);
		stores_are_same(run->base, run->before);
		commit_both(run);
	} else if (kind == 18 && draw(2) == 0) {
		abandon_both(run);
	} else if (kind == 19 && draw(3) == 0 && !run->on_disk) {
		fail_commit(run);
	}
	stores_are_same(run->overlay, run->plain);
}

static void random_run(struct run *run, int steps)
{
	run->plain = open_memory();
	run->batch = kv_batch_new();
	assert_int_equal(kv_overlay_open(run->base, &run->overlay), 0);
	for (int i = 0; i < steps; i++)
		step(run);
	for (unsigned i = 0; i < ITERS; i++)
		close_pair(&run->pairs[i]);
	kv_batch_free(run->batch);
	kv_close(run->overlay); /* with an open turn, if there is one */
	stores_are_same(run->base, run->before != NULL ? run->before : run->plain);
	kv_close(run->before);
	kv_close(run->plain);
	kv_close(run->base);
}

static void over_the_twin_it_is_as_one_store_that_gets_the_records_at_once(void **state)
{
	unsigned commits = 0, abandoned = 0, failed = 0;

	printf("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < ROUNDS; i++) {
		struct run run = {.base = open_memory()};

		random_run(&run, STEPS);
		commits += run.commits;
		abandoned += run.abandoned;
		failed += run.failed;
	}
	assert_true(commits > ROUNDS && abandoned > ROUNDS / 4 && failed > ROUNDS / 4);
}

static void over_rocksdb_it_is_the_same(void **state)
{
	struct run run = {.base = open_rocks("overlay"), .on_disk = true};

	random_run(&run, DISK_STEPS);
	assert_true(run.commits > 0 && run.abandoned > 0);
}

/* ---- short checks ---- */

struct over {
	struct kv *base, *overlay;
};

static struct over over_memory(void)
{
	struct over over = {.base = open_memory()};

	assert_int_equal(kv_overlay_open(over.base, &over.overlay), 0);
	return over;
}

static void over_close(struct over *over)
{
	kv_close(over->overlay);
	kv_close(over->base);
}

static int delete_range(struct kv *kv, const char *start, const char *end)
{
	struct kv_batch *batch = kv_batch_new();
	int rc;

	kv_batch_delete_range(batch, 1, start, strlen(start), end, strlen(end));
	rc = kv_write(kv, batch, false);
	kv_batch_free(batch);
	return rc;
}

static int delete_key(struct kv *kv, const char *key)
{
	struct kv_batch *batch = kv_batch_new();
	int rc;

	kv_batch_delete(batch, 1, key, strlen(key));
	rc = kv_write(kv, batch, false);
	kv_batch_free(batch);
	return rc;
}

static void outside_of_a_turn_all_goes_to_the_base(void **state)
{
	struct over o = over_memory();

	assert_false(kv_overlay_is_open(o.overlay));
	assert_int_equal(put(o.overlay, 1, "a", "1", true), 0);
	assert_int_equal(put(o.overlay, 1, "b", "1", false), 0);
	assert_int_equal(get_is(o.base, 1, "b", "1"), 0);
	kv_memory_crash(o.base);
	assert_int_equal(get_is(o.overlay, 1, "a", "1"), 0);
	assert_int_equal(get_is(o.overlay, 1, "b", "1"), -ENOENT);
	assert_int_equal(kv_compact(o.overlay, 1), 0);
	kv_compact_stop(o.overlay);
	assert_false(kv_space_low(o.overlay));
	assert_int_equal(kv_checkpoint(o.overlay, "nowhere"), -EOPNOTSUPP);
	over_close(&o);
}

static struct {
	unsigned count;
	size_t size;
	uint8_t bytes[64];
} heard;

static void hear(void *user, const struct kv_batch *batch)
{
	const uint8_t *bytes = kv_batch_bytes(batch, &heard.size);

	assert_ptr_equal(user, &heard);
	assert_in_range(heard.size, 0, sizeof(heard.bytes));
	memcpy(heard.bytes, bytes, heard.size);
	heard.count++;
}

static void a_listener_hears_each_batch_as_it_was_given(void **state)
{
	static const uint8_t range[] = {1, 0, 0, 3, 1, 0, 0, 0, 2, 0, 0, 0, 'a', 'b', 'c'};
	static const uint8_t one[] = {2, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 'b', '2'};
	struct over o = over_memory();

	memset(&heard, 0, sizeof(heard));
	kv_overlay_listen(o.overlay, hear, &heard);
	kv_overlay_begin(o.overlay);
	assert_int_equal(delete_range(o.overlay, "a", "bc"), 0);
	assert_int_equal(heard.size, sizeof(range));
	assert_memory_equal(heard.bytes, range, sizeof(range));
	assert_int_equal(put(o.overlay, 2, "b", "2", false), 0);
	assert_int_equal(heard.size, sizeof(one));
	assert_memory_equal(heard.bytes, one, sizeof(one));
	/* The deletion is none any more in the commit, behind the range. */
	assert_int_equal(delete_key(o.overlay, "b"), 0);
	assert_int_equal(heard.count, 3);
	assert_int_equal(kv_overlay_commit(o.overlay), 0);
	assert_int_equal(heard.count, 3);
	assert_int_equal(put(o.overlay, 2, "b", "3", false), 0);
	assert_int_equal(heard.count, 4);
	kv_memory_fail_write(o.base, 1, EIO);
	assert_int_equal(put(o.overlay, 2, "b", "4", false), -EIO);
	assert_int_equal(heard.count, 4);
	kv_overlay_listen(o.overlay, NULL, NULL);
	assert_int_equal(kv_recover(o.base), 0);
	assert_int_equal(put(o.overlay, 2, "b", "5", false), 0);
	assert_int_equal(heard.count, 4);
	over_close(&o);
}

static void a_turn_is_one_write_and_an_empty_one_none(void **state)
{
	struct over o = over_memory();

	kv_memory_fail_write(o.base, 2, EIO);
	kv_overlay_begin(o.overlay);
	assert_true(kv_overlay_is_open(o.overlay));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(put(o.overlay, 1, "a", "1", false), 0);
		assert_int_equal(put(o.overlay, 2, "b", "2", false), 0);
		assert_int_equal(delete_range(o.overlay, "x", "y"), 0);
	}
	assert_int_equal(get_is(o.base, 1, "a", "1"), -ENOENT);
	assert_int_equal(kv_overlay_commit(o.overlay), 0);
	assert_int_equal(get_is(o.base, 1, "a", "1"), 0);
	kv_memory_fail_write(o.base, 1, EIO);
	kv_overlay_begin(o.overlay);
	assert_int_equal(delete_range(o.overlay, "y", "x"), 0);
	assert_int_equal(kv_overlay_commit(o.overlay), 0);
	assert_false(kv_is_down(o.base));
	/* A record without a byte is one, too. */
	kv_overlay_begin(o.overlay);
	assert_int_equal(put(o.overlay, 1, "", "", false), 0);
	assert_int_equal(kv_overlay_size(o.overlay), 0);
	assert_int_equal(kv_overlay_commit(o.overlay), -EIO);
	over_close(&o);
}

static void a_turn_is_written_as_one_record_for_each_key_and_each_range(void **state)
{
	struct over o = over_memory();

	assert_int_equal(put(o.base, 1, "f", "old", false), 0);
	kv_overlay_begin(o.overlay);
	for (int i = 0; i < 3; i++)
		assert_int_equal(put(o.overlay, 1, "e", "value", false), 0);
	assert_int_equal(delete_key(o.overlay, "x"), 0);
	assert_int_equal(delete_range(o.overlay, "c", "d"), 0);
	assert_int_equal(delete_range(o.overlay, "a", "b"), 0);
	assert_int_equal(delete_range(o.overlay, "f", "g"), 0);
	assert_int_equal(delete_range(o.overlay, "b", "c"), 0); /* touches two */
	assert_int_equal(delete_range(o.overlay, "c", "c1"), 0);
	assert_int_equal(delete_range(o.overlay, "c2", "d1"), 0);
	assert_int_equal(put(o.overlay, 1, "f", "new", false), 0);
	assert_int_equal(delete_key(o.overlay, "f"), 0);
	assert_int_equal(kv_overlay_commit(o.overlay), 0);
	/* From "a" to "d1" and from "f" to "g"; "e" and "x". */
	assert_int_equal(written.count, 4);
	assert_ptr_equal(written.kv, o.base);
	assert_int_equal(get_is(o.base, 1, "e", "value"), 0);
	assert_int_equal(get_is(o.base, 1, "f", "old"), -ENOENT);
	over_close(&o);
}

static void the_size_is_of_all_that_was_collected(void **state)
{
	struct over o = over_memory();

	kv_overlay_begin(o.overlay);
	assert_int_equal(put(o.overlay, 1, "key", "value", false), 0);
	assert_int_equal(kv_overlay_size(o.overlay), 8);
	assert_int_equal(put(o.overlay, 1, "key", "other", false), 0);
	assert_int_equal(delete_range(o.overlay, "k", "kf"), 0);
	assert_int_equal(kv_overlay_size(o.overlay), 19);
	kv_overlay_abandon(o.overlay);
	assert_int_equal(kv_overlay_size(o.overlay), 0);
	assert_int_equal(get_is(o.overlay, 1, "key", "other"), -ENOENT);
	over_close(&o);
}

static void while_the_base_is_down_a_turn_fails_with_its_error(void **state)
{
	struct over o = over_memory();
	struct kv_iter *iter;

	assert_int_equal(put(o.overlay, 1, "b", "1", false), 0);
	kv_overlay_begin(o.overlay);
	assert_int_equal(put(o.overlay, 1, "a", "1", false), 0);
	assert_int_equal(delete_range(o.overlay, "b", "c"), 0);
	kv_memory_fail_write(o.base, 1, ENOSPC);
	assert_int_equal(put(o.base, 0, "x", "1", false), -ENOSPC);
	assert_true(kv_is_down(o.overlay));
	assert_int_equal(get_is(o.overlay, 1, "a", "1"), -ENOSPC); /* put, deleted, and neither */
	assert_int_equal(get_is(o.overlay, 1, "b", "1"), -ENOSPC);
	assert_int_equal(get_is(o.overlay, 1, "d", "1"), -ENOSPC);
	assert_int_equal(put(o.overlay, 1, "e", "1", false), -ENOSPC);
	assert_int_equal(kv_iter_open(o.overlay, 1, "", 0, NULL, 0, &iter), -ENOSPC);
	assert_int_equal(kv_flush(o.overlay), -ENOSPC);
	assert_int_equal(kv_overlay_commit(o.overlay), -ENOSPC);
	assert_int_equal(kv_recover(o.overlay), 0);
	assert_int_equal(get_is(o.overlay, 1, "a", "1"), -ENOENT);
	assert_int_equal(get_is(o.overlay, 1, "b", "1"), 0);
	over_close(&o);
}

/* With and without an iterator that shares nodes. */
static void without_memory_a_turn_is_not_committed_and_the_base_stays_up(void **state)
{
	for (int shared = 0; shared < 2; shared++) {
		struct over o = over_memory();
		struct kv_iter *iter = NULL;
		bool met = true;

		for (long nth = 1; met; nth++) {
			int rc;

			kv_overlay_begin(o.overlay);
			assert_int_equal(put(o.overlay, 1, "a", "1", false), 0);
			assert_int_equal(put(o.overlay, 1, "b", "1", false), 0);
			if (shared)
				assert_int_equal(kv_iter_open(o.overlay, 1, "", 0, NULL, 0, &iter),
						 0);
			no_memory_at(nth);
			rc = kv_overlay_commit(o.overlay);
			met = no_memory_met();
			no_memory_at(0);
			assert_int_equal(rc, met ? -ENOMEM : 0);
			assert_false(kv_overlay_is_open(o.overlay));
			assert_false(kv_is_down(o.overlay));
			assert_int_equal(get_is(o.overlay, 1, "b", "1"), met ? -ENOENT : 0);
			kv_iter_free(iter);
			iter = NULL;
		}
		over_close(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outside_of_a_turn_all_goes_to_the_base),
		cmocka_unit_test(a_listener_hears_each_batch_as_it_was_given),
		cmocka_unit_test(a_turn_is_one_write_and_an_empty_one_none),
		cmocka_unit_test(a_turn_is_written_as_one_record_for_each_key_and_each_range),
		cmocka_unit_test(the_size_is_of_all_that_was_collected),
		cmocka_unit_test(while_the_base_is_down_a_turn_fails_with_its_error),
		cmocka_unit_test(without_memory_a_turn_is_not_committed_and_the_base_stays_up),
		cmocka_unit_test(over_the_twin_it_is_as_one_store_that_gets_the_records_at_once),
		cmocka_unit_test(over_rocksdb_it_is_the_same),
	};

	return cmocka_run_group_tests_name("kv_overlay", tests, make_work_dir, remove_work_dir);
}
