/* namespace_attr_test.c - attributes, truncation, open files, removal and xattrs in the master's state.
 *
 * Goal: setattr follows its mask; bytes behind a truncation can never be seen again; an unlinked
 * file lives as long as somebody has it open; the chunks of what is gone are queued for removal,
 * once, and nothing else is.
 * Method: requests of two sessions against a state on the memory twin; the whole store is checked
 * after each test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/xattr.h>
#include "tests/lib/state_fixture.h"

#define OTHER_SESSION 8u
#define MIB           (1u << 20)

enum {
	MODE = CATENA__SET_MASK__SET_MODE,
	UID = CATENA__SET_MASK__SET_UID,
	GID = CATENA__SET_MASK__SET_GID,
	SIZE = CATENA__SET_MASK__SET_SIZE,
	ATIME = CATENA__SET_MASK__SET_ATIME,
	MTIME = CATENA__SET_MASK__SET_MTIME,
	CTIME = CATENA__SET_MASK__SET_CTIME,
	GROW = CATENA__SET_MASK__SET_GROW,
	KILL_PRIV = CATENA__SET_MASK__SET_KILL_PRIV,
	TRIM_DONE = CATENA__SET_MASK__SET_TRIM_DONE,
	TRIM_TAKE = CATENA__SET_MASK__SET_TRIM_TAKE,
	OWN = CATENA__SET_MASK__SET_OWN_TIMES,
};

static struct fixture f;

static int setup(void **state)
{
	int rc = fixture_init(&f, UINT64_MAX);

	if (rc == 0)
		rc = session_open_as(f.state, ++f.index, OTHER_SESSION, 1, "m", "n");
	return rc;
}

static int teardown(void **state)
{
	bool sound = state_is_sound(&f);

	fixture_end(&f);
	return sound ? 0 : -1;
}

static uint64_t made(int rc)
{
	assert_int_equal(rc, 0);
	return reply_ino(&f);
}

static const Catena__Attr *attr_of(uint64_t ino)
{
	assert_int_equal(do_getattr(&f, ino), 0);
	return f.reply->attr;
}

static uint64_t file_with(uint64_t size)
{
	uint64_t ino = made(do_create(&f, ROOT_INO, "file"));

	assert_int_equal(do_size(&f, ino, GROW, size, f.reply->attr->file_id), 0);
	return ino;
}

static int removals(struct state_removal out[16])
{
	return state_removals(f.state, 0, out, 16);
}

/* ---- setattr ---- */

static void setattr_changes_what_the_mask_says_and_ctime(void **state)
{
	Catena__SetattrReq set = CATENA__SETATTR_REQ__INIT;
	uint64_t version;

	set.ino = made(do_create(&f, ROOT_INO, "file"));
	version = f.reply->attr->version;
	set.mode = S_IFDIR | 07711;
	set.uid = 1;
	set.gid = 2;
	set.atime = -5;
	set.mtime = 6;
	set.ctime = 7;
	f.time = 2000;
	set.mask = 0;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(f.reply->attr->ctime, 1000);
	assert_int_equal(f.reply->attr->version, version);
	set.mask = MODE;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(f.reply->attr->mode, S_IFREG | 07711);
	assert_int_equal(f.reply->attr->uid, 1000);
	assert_int_equal(f.reply->attr->ctime, 2000);
	assert_int_equal(f.reply->attr->mtime, 1000);
	assert_true(f.reply->attr->version > version);
	f.time = 3000;
	set.mask = UID | GID | ATIME | MTIME;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(f.reply->attr->uid, 1);
	assert_int_equal(f.reply->attr->gid, 2);
	assert_int_equal(f.reply->attr->atime, -5);
	assert_int_equal(f.reply->attr->mtime, 6);
	assert_int_equal(f.reply->attr->ctime, 3000);
	set.mask = CTIME;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(f.reply->attr->ctime, 7);
	set.mask = KILL_PRIV;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(f.reply->attr->mode, S_IFREG | 01711);
	set.mask = 1u << 20;
	assert_int_equal(do_setattr(&f, &set), -EINVAL);
	set.mask = SIZE | GROW;
	assert_int_equal(do_setattr(&f, &set), -EINVAL);
}

static void sgid_without_group_execute_is_mandatory_locking_and_stays(void **state)
{
	Catena__SetattrReq set = CATENA__SETATTR_REQ__INIT;

	set.ino = made(do_create_full(&f, ROOT_INO, "file", S_IFREG | 06600, false, true));
	set.mask = KILL_PRIV;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(f.reply->attr->mode, S_IFREG | 02600);
}

static void only_files_have_a_size_to_set(void **state)
{
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	uint64_t link = made(do_symlink(&f, ROOT_INO, "link", "x"));
	Catena__SetattrReq set = CATENA__SETATTR_REQ__INIT;

	assert_int_equal(do_size(&f, dir, SIZE, 0, 0), -EISDIR);
	assert_int_equal(do_size(&f, link, SIZE, 0, 0), -EINVAL);
	assert_int_equal(do_size(&f, link, GROW, 5, 0), -EINVAL);
	assert_int_equal(do_size(&f, 999, SIZE, 0, 0), -ESTALE);
	set.ino = link;
	set.mask = MODE;
	assert_int_equal(do_setattr(&f, &set), -EOPNOTSUPP);
	assert_int_equal(do_open(&f, dir, true), -EISDIR);
	assert_int_equal(do_open(&f, link, true), -EINVAL);
	assert_int_equal(session_open_total(f.state, link), 0);
}

static void growing_takes_the_greater_size_of_the_same_file(void **state)
{
	uint64_t ino = file_with(100), id = f.reply->attr->file_id;
	struct state_counts counts;

	f.time = 2000;
	assert_int_equal(f.reply->attr->allocated, 100);
	assert_int_equal(do_size(&f, ino, GROW, 50, id), 0);
	assert_int_equal(f.reply->attr->size, 100);
	assert_int_equal(f.reply->attr->mtime, 2000);
	assert_int_equal(do_size(&f, ino, GROW, 150, id), 0);
	assert_int_equal(f.reply->attr->size, 150);
	assert_int_equal(f.reply->attr->allocated, 150);
	assert_int_equal(do_size(&f, ino, GROW, 200, id + 1), -ESTALE);
	assert_int_equal(f.reply->attr->size, 150); /* the refusal says what is */
	assert_int_equal(do_size(&f, ino, GROW, FILE_BYTES_MAX + 1, id), -EFBIG);
	assert_int_equal(do_size(&f, ino, SIZE, FILE_BYTES_MAX + 1, id), -EFBIG);
	state_counts(f.state, &counts);
	assert_int_equal(counts.allocated_bytes, 150);
}

static int tell_times(uint64_t ino, uint32_t mask, int64_t atime, int64_t mtime)
{
	Catena__SetattrReq set = CATENA__SETATTR_REQ__INIT;

	set.ino = ino;
	set.mask = mask;
	set.atime = atime;
	set.mtime = set.ctime = mtime;
	return do_setattr(&f, &set);
}

static void times_of_reads_and_writes_that_are_told_late_change_nothing_newer(void **state)
{
	uint64_t ino = file_with(100), version;

	f.time = 5000;
	assert_int_equal(tell_times(ino, OWN | ATIME | MTIME | CTIME, 3000, 2000), 0);
	assert_int_equal(f.reply->attr->mtime, 2000);
	assert_int_equal(f.reply->attr->ctime, 2000);
	assert_int_equal(f.reply->attr->atime, 3000);
	assert_int_equal(tell_times(ino, OWN | ATIME | MTIME | CTIME, 2999, 1999), 0);
	assert_int_equal(f.reply->attr->mtime, 2000);
	assert_int_equal(f.reply->attr->ctime, 2000);
	assert_int_equal(f.reply->attr->atime, 3000);
	/* A program's word at 5000 stands against all that was before 5000. */
	assert_int_equal(tell_times(ino, ATIME | MTIME, 7, 8), 0);
	assert_int_equal(tell_times(ino, OWN | ATIME | MTIME | CTIME, 5000, 5000), 0);
	assert_int_equal(f.reply->attr->atime, 7);
	assert_int_equal(f.reply->attr->mtime, 8);
	assert_int_equal(f.reply->attr->ctime, 5000);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(tell_times(ino, OWN | ATIME | MTIME | CTIME, 4999, 4999), 0);
	assert_int_equal(f.reply->attr->mtime, 8);
	assert_int_equal(tell_times(ino, OWN | ATIME | MTIME | CTIME, 5001, 5002), 0);
	assert_int_equal(f.reply->attr->atime, 5001);
	assert_int_equal(f.reply->attr->mtime, 5002);
	/* Also when the program had chosen a time to come. */
	assert_int_equal(tell_times(ino, ATIME | MTIME, 9000, 9000), 0);
	assert_int_equal(tell_times(ino, OWN | ATIME | MTIME | CTIME, 5004, 5005), 0);
	assert_int_equal(f.reply->attr->atime, 5004);
	assert_int_equal(f.reply->attr->mtime, 5005);
	/* Of a write everybody hears, though it is late; of a read nobody needs to. */
	version = f.reply->attr->version;
	assert_int_equal(tell_times(ino, OWN | MTIME | CTIME, 0, 4000), 0);
	assert_int_equal(f.reply->attr->version, version + 1);
	assert_int_equal(tell_times(ino, OWN | ATIME, 6000, 0), 0);
	assert_int_equal(f.reply->attr->atime, 6000);
	assert_int_equal(f.reply->attr->version, version + 1);
	assert_int_equal(tell_times(ino, OWN | MODE, 0, 0), -EINVAL);
	assert_int_equal(tell_times(ino, OWN | SIZE, 0, 0), -EINVAL);
}

static void a_new_size_takes_the_times_of_the_writes_that_made_it(void **state)
{
	Catena__SetattrReq set = CATENA__SETATTR_REQ__INIT;

	set.ino = file_with(100);
	set.file_id = f.reply->attr->file_id;
	f.time = 5000;
	assert_int_equal(tell_times(set.ino, MTIME, 0, 8), 0);
	set.mask = OWN | GROW | MTIME | CTIME;
	set.size = 200;
	set.mtime = set.ctime = 4000;
	assert_int_equal(do_setattr(&f, &set), 0);
	assert_int_equal(f.reply->attr->size, 200);
	assert_int_equal(f.reply->attr->mtime, 8);
	assert_int_equal(f.reply->attr->ctime, 5000);
}

/* ---- truncation ---- */

static void what_was_written_before_a_truncation_does_not_come_back(void **state)
{
	uint64_t ino = file_with(5 * MIB), id = f.reply->attr->file_id;

	assert_int_equal(f.reply->attr->truncations, 0);
	f.time = 2000;
	assert_int_equal(do_size(&f, ino, SIZE, 1000, 0), 0);
	assert_int_equal(f.reply->attr->truncations, 1);
	assert_int_equal(f.reply->attr->truncated_at, 2000);
	f.time = 3000;
	assert_int_equal(do_size_at(&f, ino, GROW, 4 * MIB, id, 0), -ESTALE);
	assert_int_equal(f.reply->attr->size, 1000);
	assert_int_equal(f.reply->attr->truncations, 1);
	assert_int_equal(f.reply->attr->mtime, 2000);
	assert_int_equal(do_size_at(&f, ino, GROW, 4 * MIB, id, 2), -ESTALE);
	assert_int_equal(do_size_at(&f, ino, GROW, 2000, id, 1), 0);
	assert_int_equal(f.reply->attr->truncations, 1);
	/* Also one that only this master took for no change. */
	assert_int_equal(do_size(&f, ino, SIZE, 2000, 0), 0);
	assert_int_equal(do_size_at(&f, ino, GROW, 3000, id, 1), -ESTALE);
	assert_int_equal(do_size(&f, ino, SIZE, 2500, 0), 0);
	assert_int_equal(do_size_at(&f, ino, GROW, 3000, id, 2), -ESTALE);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(do_size_at(&f, ino, GROW, 3000, id, 3), 0);
	assert_int_equal(do_open(&f, ino, true), 0);
	assert_int_equal(f.reply->attr->truncations, 4);
	assert_int_equal(f.reply->attr->truncated_at, 3000);
}

static void a_trim_is_not_ended_by_the_end_of_the_one_before(void **state)
{
	uint64_t ino = file_with(5 * MIB), id = f.reply->attr->file_id;

	assert_int_equal(do_size(&f, ino, SIZE, 1000, 0), 0);
	assert_int_equal(do_size_at(&f, ino, GROW, 2000, id, 1), 0);
	assert_int_equal(do_size(&f, ino, SIZE, 1000, 0), 0);
	assert_int_equal(do_size_at(&f, ino, TRIM_DONE, 1000, 0, 1), 0);
	assert_int_equal(f.reply->attr->trim_to, 2000);
	assert_int_equal(do_size_at(&f, ino, TRIM_DONE, 1000, 0, 2), 0);
	assert_int_equal(f.reply->attr->trim_to, 0);
}

static void truncation_to_zero_gives_a_fresh_file_id_and_queues_the_old(void **state)
{
	uint64_t ino = file_with(5 * MIB), id = f.reply->attr->file_id, fresh;
	struct state_removal queue[16];

	f.time = 2000;
	assert_int_equal(do_size(&f, ino, SIZE, 0, 0), 0);
	fresh = f.reply->attr->file_id;
	assert_int_not_equal(fresh, id);
	assert_int_equal(f.reply->attr->size, 0);
	assert_int_equal(f.reply->attr->allocated, 0);
	assert_int_equal(f.reply->attr->mtime, 2000);
	assert_int_equal(removals(queue), 1);
	assert_int_equal(queue[0].file_id, id);
	assert_int_equal(queue[0].pool, 1);
	assert_int_equal(queue[0].size, 5 * MIB);
	/* What was written under the old id comes too late. */
	assert_int_equal(do_size(&f, ino, GROW, 10, id), -ESTALE);
	/* Again, and by open: there may be bytes that nobody reported, but none to remove. */
	assert_int_equal(do_open(&f, ino, true), 0);
	assert_int_not_equal(f.reply->attr->file_id, fresh);
	assert_int_equal(removals(queue), 1);
}

static void truncation_to_more_than_zero_records_a_trim(void **state)
{
	uint64_t ino = file_with(5 * MIB), id = f.reply->attr->file_id;
	struct state_removal queue[16];

	assert_int_equal(do_size(&f, ino, SIZE, MIB, 0), 0);
	assert_int_equal(f.reply->attr->file_id, id);
	assert_int_equal(f.reply->attr->size, MIB);
	assert_int_equal(f.reply->attr->allocated, 5 * MIB);
	assert_int_equal(f.reply->attr->trim_from, MIB);
	assert_int_equal(f.reply->attr->trim_to, 5 * MIB);
	assert_int_equal(f.reply->attr->trim_session, FIXTURE_SESSION);
	assert_int_equal(removals(queue), 0);
	/* Nothing may extend the file over bytes that are still there. */
	assert_int_equal(do_size(&f, ino, SIZE, 2 * MIB, 0), -EBUSY);
	assert_int_equal(f.reply->attr->trim_from, MIB);
	assert_int_equal(do_size(&f, ino, SIZE, MIB, 0), 0);
	/* A second one takes both ranges together. */
	assert_int_equal(do_size(&f, ino, SIZE, 1000, 0), 0);
	assert_int_equal(f.reply->attr->trim_from, 1000);
	assert_int_equal(f.reply->attr->trim_to, 5 * MIB);
	assert_int_equal(do_size(&f, ino, TRIM_DONE, MIB, 0), 0);
	assert_int_equal(f.reply->attr->trim_to, 5 * MIB); /* that was the first one's */
	assert_int_equal(do_size(&f, ino, TRIM_DONE, 1000, 0), 0);
	assert_int_equal(f.reply->attr->trim_to, 0);
	assert_int_equal(f.reply->attr->trim_session, 0);
	assert_int_equal(f.reply->attr->allocated, 5 * MIB);       /* empty chunks may be left */
	assert_int_equal(do_size(&f, ino, TRIM_DONE, 1000, 0), 0); /* said twice */
	assert_int_equal(do_size(&f, ino, SIZE, 2 * MIB, 0), 0);
	assert_int_equal(f.reply->attr->allocated, 5 * MIB);
	assert_int_equal(do_size(&f, ino, SIZE, 1000, 0), 0);
	assert_int_equal(f.reply->attr->trim_to, 2 * MIB);
	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0);
	assert_int_equal(removals(queue), 1);
	assert_int_equal(queue[0].size, 5 * MIB);
}

static void an_unfinished_trim_is_removed_whole_with_the_file(void **state)
{
	uint64_t ino = file_with(5 * MIB);
	struct state_removal queue[16];

	assert_int_equal(do_size(&f, ino, SIZE, 10, 0), 0);
	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0);
	assert_int_equal(removals(queue), 1);
	assert_int_equal(queue[0].size, 5 * MIB);
}

static void truncation_to_zero_ends_a_trim(void **state)
{
	uint64_t ino = file_with(5 * MIB);

	assert_int_equal(do_size(&f, ino, SIZE, 10, 0), 0);
	assert_int_equal(do_size(&f, ino, SIZE, 0, 0), 0);
	assert_int_equal(f.reply->attr->trim_to, 0);
	assert_int_equal(do_size(&f, ino, TRIM_DONE, 10, 0), 0);
	assert_int_equal(do_size(&f, ino, SIZE, 100, 0), 0);
}

static void a_trim_is_taken_over_only_when_its_session_is_gone(void **state)
{
	uint64_t ino = file_with(5 * MIB), id = f.reply->attr->file_id;

	assert_int_equal(do_size(&f, ino, SIZE, 1000, 0), 0);
	f.session = OTHER_SESSION;
	assert_int_equal(do_size(&f, ino, TRIM_DONE, 1000, 0), 0);
	assert_int_equal(f.reply->attr->trim_session, FIXTURE_SESSION);
	assert_int_equal(do_size(&f, ino, TRIM_TAKE, 0, 0), -EBUSY);
	assert_int_equal(do_size(&f, ino, GROW, 900, id), 0);
	assert_int_equal(do_size(&f, ino, GROW, 2000, id), -EBUSY);
	assert_int_equal(f.reply->attr->trim_to, 5 * MIB);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, FIXTURE_SESSION, NULL, 0),
			 0);
	assert_int_equal(do_size(&f, ino, GROW, 2000, id), -EBUSY);
	assert_int_equal(do_size(&f, ino, TRIM_TAKE, 0, 0), 0);
	assert_int_equal(f.reply->attr->trim_session, OTHER_SESSION);
	assert_int_equal(f.reply->attr->trim_from, 1000);
	assert_int_equal(do_size(&f, ino, TRIM_TAKE, 0, 0), 0);
	assert_int_equal(do_size(&f, ino, TRIM_DONE, 1000, 0), 0);
	assert_int_equal(f.reply->attr->trim_to, 0);
	assert_int_equal(do_size(&f, ino, TRIM_TAKE, 0, 0), 0);
	assert_int_equal(f.reply->attr->trim_session, 0);
	assert_int_equal(do_size(&f, ino, GROW, 2000, id), 0);
}

static void its_own_session_growing_past_a_trim_has_done_it(void **state)
{
	uint64_t ino = file_with(5 * MIB), id = f.reply->attr->file_id;

	assert_int_equal(do_size(&f, ino, SIZE, 1000, 0), 0);
	assert_int_equal(do_size(&f, ino, GROW, 2000, id), 0);
	assert_int_equal(f.reply->attr->trim_to, 0);
	assert_int_equal(f.reply->attr->size, 2000);
}

/* ---- open and close ---- */

static void an_unlinked_file_lives_until_its_last_close(void **state)
{
	uint64_t ino = file_with(MIB);
	struct state_counts counts;
	struct state_removal queue[16];

	assert_int_equal(do_open(&f, ino, false), 0);
	assert_int_equal(do_open(&f, ino, false), 0);
	f.session = OTHER_SESSION;
	assert_int_equal(do_open(&f, ino, false), 0);
	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0);
	assert_int_equal(f.reply->attr->nlink, 0);
	state_counts(f.state, &counts);
	assert_int_equal(counts.orphans, 1);
	assert_int_equal(counts.inodes, 2);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(attr_of(ino)->nlink, 0);
	/* It can still be written. */
	assert_int_equal(do_size(&f, ino, GROW, 2 * MIB, f.reply->attr->file_id), 0);
	assert_int_equal(do_close(&f, ino, 5), 0); /* more than it had */
	assert_int_equal(attr_of(ino)->nlink, 0);
	f.session = FIXTURE_SESSION;
	assert_int_equal(do_close(&f, ino, 1), 0);
	assert_int_equal(removals(queue), 0);
	assert_int_equal(attr_of(ino)->nlink, 0);
	assert_int_equal(do_close(&f, ino, 1), 0);
	assert_int_equal(do_getattr(&f, ino), -ESTALE);
	assert_int_equal(removals(queue), 1);
	assert_int_equal(queue[0].size, 2 * MIB);
	state_counts(f.state, &counts);
	assert_int_equal(counts.orphans, 0);
	assert_int_equal(counts.inodes, 1);
	assert_int_equal(counts.removals, 1);
	assert_int_equal(counts.allocated_bytes, 0);
	assert_int_equal(do_close(&f, ino, 1), 0); /* said twice */
	assert_int_equal(do_open(&f, ino, false), -ESTALE);
}

static void the_end_of_a_session_closes_its_files(void **state)
{
	uint64_t kept = made(do_create(&f, ROOT_INO, "kept"));
	uint64_t shared = file_with(MIB);
	uint64_t own = made(do_create_full(&f, ROOT_INO, "own", S_IFREG, true, true));
	uint64_t dir = made(do_mkdir(&f, ROOT_INO, "dir"));
	struct state_removal queue[16];

	assert_int_equal(do_open(&f, kept, false), 0);
	assert_int_equal(do_open(&f, shared, false), 0);
	assert_int_equal(do_open(&f, dir, false), 0);
	f.session = OTHER_SESSION;
	assert_int_equal(do_open(&f, shared, false), 0);
	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0);
	assert_int_equal(do_unlink(&f, ROOT_INO, "own"), 0);
	assert_int_equal(do_rmdir(&f, ROOT_INO, "dir"), 0);
	assert_int_equal(f.state->counters.orphans, 3);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, FIXTURE_SESSION, NULL, 0),
			 0);
	assert_true(state_is_sound(&f));
	assert_int_equal(do_getattr(&f, own), -ESTALE);
	assert_int_equal(do_getattr(&f, dir), -ESTALE);
	assert_int_equal(attr_of(shared)->nlink, 0);
	assert_int_equal(attr_of(kept)->nlink, 1);
	assert_int_equal(removals(queue), 0);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, OTHER_SESSION, NULL, 0), 0);
	assert_int_equal(removals(queue), 1);
	assert_int_equal(f.state->counters.orphans, 0);
}

static void a_file_replaced_by_rename_lives_while_it_is_open(void **state)
{
	uint64_t old = file_with(MIB);

	made(do_create(&f, ROOT_INO, "new"));
	assert_int_equal(do_open(&f, old, false), 0);
	assert_int_equal(do_rename(&f, ROOT_INO, "new", ROOT_INO, "file", 0), 0);
	assert_int_equal(f.reply->attr->ino, old);
	assert_int_equal(f.reply->attr->nlink, 0);
	assert_int_equal(attr_of(old)->size, MIB);
	assert_int_equal(do_close(&f, old, 1), 0);
	assert_int_equal(do_getattr(&f, old), -ESTALE);
}

/* ---- the removal queue ---- */

static void removed_chunks_leave_the_queue_once(void **state)
{
	struct state_removal queue[16];
	uint64_t sequences[4];
	char name[16];

	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		made(do_create(&f, ROOT_INO, name));
		assert_int_equal(do_size(&f, reply_ino(&f), GROW, 1, f.reply->attr->file_id), 0);
		assert_int_equal(do_unlink(&f, ROOT_INO, name), 0);
	}
	made(do_create(&f, ROOT_INO, "empty"));
	assert_int_equal(do_unlink(&f, ROOT_INO, "empty"), 0);
	assert_int_equal(removals(queue), 5);
	for (int i = 1; i < 5; i++)
		assert_true(queue[i].sequence > queue[i - 1].sequence);
	assert_int_equal(state_removals(f.state, queue[1].sequence, queue, 2), 2);
	assert_int_equal(queue[0].sequence, 3);
	sequences[0] = 4;
	sequences[1] = 2;
	sequences[2] = 2;
	sequences[3] = 77;
	assert_int_equal(state_apply_removed(f.state, ++f.index, sequences, 4), 0);
	assert_int_equal(state_apply_removed(f.state, ++f.index, sequences, 4), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(removals(queue), 3);
	assert_int_equal(f.state->counters.removals, 3);
	assert_int_equal(queue[1].sequence, 3);
}

/* ---- extended attributes ---- */

enum { GET = 1, SET = 2, LIST = 3, REMOVE = 4 };

static void xattrs_are_set_read_listed_and_removed(void **state)
{
	uint64_t ino = made(do_create(&f, ROOT_INO, "file"));
	uint64_t link = made(do_symlink(&f, ROOT_INO, "link", "target"));

	assert_int_equal(do_xattr(&f, ino, GET, "user.a", "", 0), -ENODATA);
	assert_int_equal(do_xattr(&f, ino, LIST, "", "", 0), 0);
	assert_int_equal(f.reply->data.len, 0);
	assert_int_equal(do_xattr(&f, ino, SET, "user.a", "1", XATTR_REPLACE), -ENODATA);
	f.time = 2000;
	assert_int_equal(do_xattr(&f, ino, SET, "user.a", "1", XATTR_CREATE), 0);
	assert_int_equal(attr_of(ino)->ctime, 2000);
	assert_int_equal(do_xattr(&f, ino, SET, "user.a", "22", XATTR_CREATE), -EEXIST);
	assert_int_equal(do_xattr(&f, ino, SET, "user.a", "22", XATTR_REPLACE), 0);
	assert_int_equal(do_xattr(&f, ino, SET, "user.empty", "", 0), 0);
	assert_int_equal(do_xattr(&f, ino, SET, "user.b", "3", 4), -EINVAL);
	assert_int_equal(do_xattr(&f, ino, GET, "user.a", "", 0), 0);
	assert_int_equal(f.reply->data.len, 2);
	assert_memory_equal(f.reply->data.data, "22", 2);
	assert_int_equal(do_xattr(&f, ino, GET, "user.empty", "", 0), 0);
	assert_int_equal(f.reply->data.len, 0);
	assert_int_equal(do_xattr(&f, ino, LIST, "", "", 0), 0);
	assert_int_equal(f.reply->data.len, 7 + 11);
	assert_memory_equal(f.reply->data.data, "user.a\0user.empty", 18);
	assert_int_equal(do_xattr(&f, ino, REMOVE, "user.b", "", 0), -ENODATA);
	assert_int_equal(do_xattr(&f, ino, REMOVE, "user.a", "", 0), 0);
	assert_int_equal(do_xattr(&f, ino, GET, "user.a", "", 0), -ENODATA);
	/* A symlink's target is not one of its attributes. */
	assert_int_equal(do_xattr(&f, link, SET, "trusted.x", "1", 0), 0);
	assert_int_equal(do_xattr(&f, link, LIST, "", "", 0), 0);
	assert_int_equal(f.reply->data.len, 10);
	assert_int_equal(do_xattr(&f, link, REMOVE, "trusted.x", "", 0), 0);
	assert_int_equal(do_readlink(&f, link), 0);
	assert_int_equal(do_xattr(&f, ino, GET, "", "", 0), -EINVAL);
	assert_int_equal(do_xattr(&f, 999, GET, "user.a", "", 0), -ESTALE);
	assert_int_equal(do_xattr(&f, ino, 9, "user.a", "", 0), -EINVAL);
}

static void xattrs_are_bounded(void **state)
{
	uint64_t ino = made(do_create(&f, ROOT_INO, "file"));
	char *value = calloc(1, XATTR_BYTES_MAX + 2);
	char name[300];

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(do_xattr(&f, ino, SET, name, "1", 0), -ERANGE);
	name[255] = '\0';
	assert_int_equal(do_xattr(&f, ino, SET, name, "1", 0), 0);
	memset(value, 'v', XATTR_BYTES_MAX + 1);
	assert_int_equal(do_xattr(&f, ino, SET, "user.big", value, 0), -E2BIG);
	value[XATTR_BYTES_MAX] = '\0';
	assert_int_equal(do_xattr(&f, ino, SET, "user.1", value, 0), 0);
	assert_int_equal(do_xattr(&f, ino, SET, "user.2", value, 0), 0);
	assert_int_equal(do_xattr(&f, ino, SET, "user.3", value, 0), 0);
	assert_int_equal(do_xattr(&f, ino, SET, "user.4", value, 0), -ENOSPC);
	assert_int_equal(do_xattr(&f, ino, SET, "user.3", value, 0), 0);
	assert_int_equal(do_xattr(&f, ino, REMOVE, "user.2", "", 0), 0);
	assert_int_equal(do_xattr(&f, ino, SET, "user.4", value, 0), 0);
	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0); /* and nothing of them is left */
	free(value);
}

static void xattrs_of_a_neighbour_stay(void **state)
{
	uint64_t a = made(do_create(&f, ROOT_INO, "a")), b = made(do_create(&f, ROOT_INO, "b"));

	assert_int_equal(b, a + 1);
	assert_int_equal(do_xattr(&f, a, SET, "user.x", "a", 0), 0);
	assert_int_equal(do_xattr(&f, b, SET, "user.x", "b", 0), 0);
	assert_int_equal(do_unlink(&f, ROOT_INO, "a"), 0);
	assert_int_equal(do_xattr(&f, b, GET, "user.x", "", 0), 0);
}

static void statfs_counts_inodes(void **state)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__StatfsReq req = CATENA__STATFS_REQ__INIT;

	made(do_create(&f, ROOT_INO, "a"));
	request.op_case = CATENA__REQUEST__OP_STATFS;
	request.statfs = &req;
	assert_int_equal(fixture_send(&f, &request), 0);
	assert_int_equal(f.reply->statfs->inodes, 2);
	assert_int_equal(f.reply->statfs->copies, 3);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(setattr_changes_what_the_mask_says_and_ctime),
		TEST(sgid_without_group_execute_is_mandatory_locking_and_stays),
		TEST(only_files_have_a_size_to_set),
		TEST(growing_takes_the_greater_size_of_the_same_file),
		TEST(times_of_reads_and_writes_that_are_told_late_change_nothing_newer),
		TEST(a_new_size_takes_the_times_of_the_writes_that_made_it),
		TEST(what_was_written_before_a_truncation_does_not_come_back),
		TEST(a_trim_is_not_ended_by_the_end_of_the_one_before),
		TEST(truncation_to_zero_gives_a_fresh_file_id_and_queues_the_old),
		TEST(truncation_to_more_than_zero_records_a_trim),
		TEST(an_unfinished_trim_is_removed_whole_with_the_file),
		TEST(truncation_to_zero_ends_a_trim),
		TEST(a_trim_is_taken_over_only_when_its_session_is_gone),
		TEST(its_own_session_growing_past_a_trim_has_done_it),
		TEST(an_unlinked_file_lives_until_its_last_close),
		TEST(the_end_of_a_session_closes_its_files),
		TEST(a_file_replaced_by_rename_lives_while_it_is_open),
		TEST(removed_chunks_leave_the_queue_once),
		TEST(xattrs_are_set_read_listed_and_removed),
		TEST(xattrs_are_bounded),
		TEST(xattrs_of_a_neighbour_stay),
		TEST(statfs_counts_inodes),
	};

	return cmocka_run_group_tests_name("attributes", tests, NULL, NULL);
}
