/* check_loops_test.c - directories that contain each other, however they hang together.
 *
 * Goal: each loop is told once, by its lowest directory, and nothing else is; a tree as deep as it
 * is large has none.
 * Method: stores of directories alone, each in one that is drawn, against a walk that marks where
 * it has been; sorted in memory and on a disk. */
#include "common/os/sorter_disk.h"
#include "tests/lib/random.h"
#include "tests/unit/master/check/check_fixture.h"

#define DIRECTORIES 300u

/* By numbers from 2 on, as directories have; 1 is the root. */
static uint64_t parents[DIRECTORIES + 2];

static void put_directory(struct kv_batch *batch, uint64_t ino, uint64_t parent, uint64_t children)
{
	struct inode_record inode = {.ino = ino,
				     .mode = S_IFDIR | 0755,
				     .nlink = (uint32_t)(2 + children),
				     .pool = 1,
				     .parent = parent,
				     .entries = children};
	struct dentry dentry = {.ino = ino, .type = S_IFDIR >> 12, .name_size = 8};
	uint8_t key[16], value[INODE_VALUE_BYTES], entry[DENTRY_VALUE_MAX];

	key_u64(key, ino);
	value_encode_inode(&inode, value);
	kv_batch_put(batch, FAMILY_INODES, key, 8, value, sizeof(value));
	if (ino == ROOT_INO)
		return;
	snprintf((char *)dentry.name, sizeof(dentry.name), "%08u", (unsigned)ino);
	key_u64_u64(key, parent,
		    key_name_cookie(tree.f.state->name_key, UINT64_MAX, dentry.name, 8));
	kv_batch_put(batch, FAMILY_DENTRIES, key, 16, entry, value_encode_dentry(&dentry, entry));
}

/* Makes a store with directories up to @last in their parents. */
static void make_store(uint64_t last)
{
	struct kv_batch *batch = kv_batch_new();

	parents[ROOT_INO] = ROOT_INO;
	for (uint64_t ino = ROOT_INO; ino <= last; ino++) {
		uint64_t children = 0;

		for (uint64_t child = ROOT_INO + 1; child <= last; child++)
			children += parents[child] == ino ? 1 : 0;
		put_directory(batch, ino, parents[ino], children);
	}
	assert_int_equal(kv_write(tree.f.kv, batch, false), 0);
	kv_batch_free(batch);
	EDIT_COUNTERS(c.inodes = last; c.next_ino = last + 1);
}

/* Expects one finding for each loop. */
static void assert_loops(uint64_t last)
{
	unsigned visited[DIRECTORIES + 2] = {0}, loops = 0;
	bool lowest_of[DIRECTORIES + 2] = {false};

	for (uint64_t start = ROOT_INO + 1; start <= last; start++) {
		uint64_t at = start, lowest;

		while (at != ROOT_INO && visited[at] == 0) {
			visited[at] = (unsigned)start;
			at = parents[at];
		}
		if (at == ROOT_INO || visited[at] != start)
			continue;
		lowest = at;
		for (uint64_t on = parents[at]; on != at; on = parents[on])
			lowest = on < lowest ? on : lowest;
		lowest_of[lowest] = true;
		loops++;
	}
	check_now();
	assert_int_equal(found.rc, 0);
	assert_int_equal(found.count, loops);
	for (unsigned i = 0; i < found.count; i++) {
		assert_int_equal(found.findings[i].code, CHECK_DIRECTORY_LOOP);
		assert_true(lowest_of[found.findings[i].ino]);
		lowest_of[found.findings[i].ino] = false;
	}
}

static void draw_parents(uint64_t *random, uint64_t last, unsigned roots)
{
	for (uint64_t ino = ROOT_INO + 1; ino <= last; ino++)
		parents[ino] = random_below(random, 100) < roots
				       ? ROOT_INO
				       : ROOT_INO + 1 + random_below(random, last - 1);
}

static void each_loop_is_told_once(void **state)
{
	uint64_t random = 7;

	for (unsigned run = 0; run < 60; run++) {
		uint64_t last = ROOT_INO + 1 + random_below(&random, run < 40 ? 8 : DIRECTORIES);

		assert_int_equal(fixture_init(&tree.f, UINT64_MAX), 0);
		draw_parents(&random, last, run % 3 == 0 ? 0 : 20);
		make_store(last);
		assert_loops(last);
		fixture_end(&tree.f);
	}
}

/* Of all lengths, as the last one of a row leads back, or not. */
static void rows_of_all_lengths_end_or_go_round(void **state)
{
	for (uint64_t last = ROOT_INO + 1; last <= ROOT_INO + 40; last++) {
		for (uint64_t back = ROOT_INO; back <= last; back += last > 8 ? 7 : 1) {
			assert_int_equal(fixture_init(&tree.f, UINT64_MAX), 0);
			for (uint64_t ino = ROOT_INO + 1; ino < last; ino++)
				parents[ino] = ino + 1;
			parents[last] = back;
			make_store(last);
			assert_loops(last);
			fixture_end(&tree.f);
		}
	}
}

/* A few records in memory, all else in files. */
static void loops_are_the_same_when_they_are_sorted_on_a_disk(void **state)
{
	const struct sorter_disk_options options = {.place = "/tmp", .run_bytes = 400};
	struct sorter_disk disk;

	assert_int_equal(sorter_disk_init(&disk, &options), 0);
	check_sorters = &disk.supply;
	each_loop_is_told_once(state);
	check_sorters = NULL;
	sorter_disk_end(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_loop_is_told_once),
		cmocka_unit_test(loops_are_the_same_when_they_are_sorted_on_a_disk),
		cmocka_unit_test(rows_of_all_lengths_end_or_go_round),
	};

	return cmocka_run_group_tests_name("check of loops", tests, NULL, NULL);
}
