/* session_test.c - sessions, exactly-once, restarts and failing writes of the master's state.
 *
 * Goal: a command has its effect once, however often it comes and whatever is restarted in between,
 * and its answer is always the same; a command that the store failed has no effect at all, also not
 * in memory; two replicas given the same commands are equal byte for byte.
 * Method: a script of commands that touches every kind of record is run again and again with write
 * number n failing, n = 1, 2, ... until none fails, and compared with a run without failures. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/state_fixture.h"

static struct fixture f;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	bool sound = state_is_sound(&f);

	fixture_end(&f);
	return sound ? 0 : -1;
}

/* Sends a create with an id of our own choice. */
static int create_as(uint64_t id, const char *name)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CreateReq req = CATENA__CREATE_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &req;
	request.id = id;
	req.parent = ROOT_INO;
	req.name = bytes_of(name);
	req.mode = S_IFREG | 0644;
	req.open = true;
	req.exclusive = true;
	return fixture_send(&f, &request);
}

struct copy {
	uint8_t *bytes;
	size_t size;
};

static struct copy copy_reply(void)
{
	struct copy copy = {.bytes = malloc(f.size), .size = f.size};

	memcpy(copy.bytes, f.bytes, f.size);
	return copy;
}

static void assert_same_reply(struct copy *copy)
{
	assert_int_equal(f.size, copy->size);
	assert_memory_equal(f.bytes, copy->bytes, copy->size);
	free(copy->bytes);
}

/* ---- exactly once ---- */

static void a_repeated_request_gets_the_identical_answer_and_no_effect(void **state)
{
	struct copy copy;
	uint64_t ino;

	assert_int_equal(create_as(5, "file"), 0);
	copy = copy_reply();
	ino = reply_ino(&f);
	assert_int_equal(create_as(5, "file"), 0);
	assert_int_equal(session_open_total(f.state, ino), 1);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(create_as(5, "file"), 0);
	assert_same_reply(&copy);
	assert_int_equal(session_open_total(f.state, ino), 1);
	/* Refusals are answers too. */
	assert_int_equal(create_as(6, "file"), -EEXIST);
	assert_int_equal(do_unlink(&f, ROOT_INO, "file"), 0);
	assert_int_equal(create_as(6, "file"), -EEXIST);
	assert_int_equal(do_lookup(&f, ROOT_INO, "file"), -ENOENT);
}

static void ids_may_come_in_any_order_and_with_gaps(void **state)
{
	static const uint64_t ids[] = {10, 3, 7, 100, 8};
	char name[16];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(create_as(ids[i], name), 0);
	}
	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(create_as(ids[i], name), 0);
	}
	assert_int_equal(f.state->counters.inodes, 6);
}

static void answered_requests_are_forgotten_but_never_done_again(void **state)
{
	struct session *session = session_find(f.state, f.session);
	char name[16];

	for (unsigned i = 1; i <= 200; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(create_as(i, name), 0);
	}
	assert_int_equal(session->reply_end - session->reply_first, 200);
	f.answered = 150;
	assert_int_equal(create_as(150, "late"), -EALREADY);
	assert_int_equal(session_replies_above(session, 150), 50);
	assert_int_equal(create_as(151, "f151"), 0);
	assert_int_equal(create_as(201, "f201"), 0);
	/* A restart forgets no more than that, and does not forget what was answered. */
	assert_int_equal(fixture_reopen(&f), 0);
	session = session_find(f.state, f.session);
	assert_int_equal(session->reply_end - session->reply_first, 51);
	assert_int_equal(create_as(150, "late"), -EALREADY);
	assert_int_equal(create_as(151, "f151"), 0);
	f.answered = 10;
	assert_int_equal(create_as(150, "late"), -EALREADY);
}

static void sessions_have_ids_of_their_own(void **state)
{
	assert_int_equal(session_open_as(f.state, ++f.index, 8, 1, "m", "n"), 0);
	assert_int_equal(create_as(5, "a"), 0);
	f.session = 8;
	assert_int_equal(create_as(5, "b"), 0);
	assert_int_equal(do_lookup(&f, ROOT_INO, "b"), 0);
}

static void unanswered_commands_of_one_session_are_bounded(void **state)
{
	struct session *session = session_find(f.state, f.session);
	size_t end;

	assert_int_equal(create_as(1, "a"), 0);
	end = session->reply_end;
	session->reply_first = end - REPLIES_MAX; /* as if there were so many */
	assert_int_equal(create_as(2, "b"), -ENOBUFS);
	session->reply_first = end - 1;
	assert_int_equal(do_lookup(&f, ROOT_INO, "b"), -ENOENT);
}

/* What a request that leaves nothing in the store has said, a state machine that is started
 * afterwards does not know: so the others must not go by it either. */
static void what_was_answered_counts_with_the_store_only(void **state)
{
	struct session *session = session_find(f.state, f.session);
	char name[16];

	for (unsigned i = 1; i <= 100; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(create_as(i, name), 0);
	}
	f.answered = 90;
	assert_int_equal(create_as(90, "late"), -EALREADY);
	f.answered = 0;
	assert_int_equal(create_as(101, "f101"), 0);
	assert_int_equal(session->reply_end - session->reply_first, 101);
	assert_int_equal(session->answered, 0);
	/* Nor does a session's record say more than the store has forgotten. */
	f.answered = 50;
	f.request_id = 101;
	assert_int_equal(do_delegate(&f, 10), 0);
	assert_int_equal(session->reply_end - session->reply_first, 102);
	assert_int_equal(fixture_reopen(&f), 0);
	session = session_find(f.state, f.session);
	assert_int_equal(session->reply_end - session->reply_first, 102);
	assert_int_equal(session->answered, 0);
	/* Both in one batch: the range and what is forgotten. */
	f.answered = 100;
	assert_int_equal(do_delegate(&f, 10), 0);
	assert_int_equal(session->answered, 100);
	assert_int_equal(fixture_reopen(&f), 0);
	session = session_find(f.state, f.session);
	assert_int_equal(session->reply_end - session->reply_first, 3);
	assert_int_equal(session->answered, 100);
	assert_int_equal(session->delegations[0].count, 10);
	assert_true(session->delegations[0].first_ino > session->delegations[1].first_ino);
}

/* ---- sessions ---- */

static int count_sessions(void *user, uint64_t session, const char *mount, const char *name)
{
	int *count = user;

	(*count)++;
	return strcmp(mount, "host:/mnt") == 0 && strcmp(name, "client-1") == 0 ? 0 : -EBADMSG;
}

static void sessions_survive_a_restart_and_end_for_good(void **state)
{
	int count = 0;

	assert_int_equal(state_session_check(f.state, f.session, FIXTURE_SECRET), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_session_check(f.state, f.session, FIXTURE_SECRET), 0);
	assert_int_equal(state_session_check(f.state, f.session, FIXTURE_SECRET + 1), -EACCES);
	assert_int_equal(state_session_check(f.state, 99, FIXTURE_SECRET), -ENOENT);
	assert_int_equal(state_sessions(f.state, count_sessions, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(state_next_session_id(f.state), FIXTURE_SESSION + 1);
	assert_int_equal(create_as(1, "a"), 0);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, f.session, NULL, 0), 0);
	assert_int_equal(state_apply_session_close(f.state, f.index + 1, f.session, NULL, 0),
			 -ENOENT);
	assert_int_equal(create_as(1, "a"), -ESTALE);
	assert_int_equal(do_getattr(&f, ROOT_INO), -ESTALE);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_session_check(f.state, f.session, FIXTURE_SECRET), -ENOENT);
	assert_int_equal(state_next_session_id(f.state), FIXTURE_SESSION + 1);
	/* Nothing of it is left that could answer for its successor. */
	assert_int_equal(session_open_as(f.state, ++f.index, f.session, 1, "", ""), 0);
	assert_int_equal(create_as(1, "b"), 0);
}

static void a_store_is_initialised_once(void **state)
{
	struct state_options options = {.copies = 3, .partitions = 8, .chunk_size = 16u << 20};
	struct state *second;
	char error[128] = "";
	struct kv *kv;

	assert_int_equal(state_init(f.kv, "other", &options), -EEXIST);
	assert_string_equal(state_cluster(f.state), "cluster-1");
	assert_int_equal(kv_open_memory(records_families, records_family_count, &kv), 0);
	assert_int_equal(state_open(kv, &second, error, sizeof(error)), -ENOENT);
	assert_true(strlen(error) > 0);
	options.copies = 0;
	assert_int_equal(state_init(kv, "c", &options), -EINVAL);
	options.copies = 3;
	options.chunk_size = 12345;
	assert_int_equal(state_init(kv, "c", &options), -EINVAL);
	kv_close(kv);
}

static void a_damaged_store_is_refused(void **state)
{
	struct kv_batch *batch = kv_batch_new();
	struct state *second;
	uint8_t key[META_KEY_MAX];
	char error[128];

	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SESSION, 5), "garbage", 7);
	assert_int_equal(kv_write(f.kv, batch, false), 0);
	assert_int_equal(state_open(f.kv, &second, error, sizeof(error)), -EUCLEAN);
	kv_batch_clear(batch);
	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_SESSION, 5));
	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_COUNTERS, 0));
	assert_int_equal(kv_write(f.kv, batch, false), 0);
	assert_int_equal(state_open(f.kv, &second, error, sizeof(error)), -EUCLEAN);
	kv_memory_crash(f.kv); /* forget the damage */
	kv_batch_free(batch);
}

static void a_damaged_record_refuses_its_request_only(void **state)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[8], *value;
	uint64_t ino;
	size_t size;

	assert_int_equal(create_as(1, "a"), 0);
	ino = reply_ino(&f);
	key_u64(key, ino);
	assert_int_equal(kv_get(f.kv, FAMILY_INODES, key, 8, &value, &size), 0);
	kv_batch_put(batch, FAMILY_INODES, key, 8, "?", 1);
	assert_int_equal(kv_write(f.kv, batch, false), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(do_getattr(&f, ino), -EIO);
	assert_int_equal(do_unlink(&f, ROOT_INO, "a"), -EIO);
	assert_int_equal(create_as(50, "b"), 0);
	kv_batch_clear(batch);
	kv_batch_put(batch, FAMILY_INODES, key, 8, value, size);
	assert_int_equal(kv_write(f.kv, batch, false), 0);
	free(value);
	kv_batch_free(batch);
}

/* ---- failing writes, power cuts ---- */

static Catena__SetattrReq size_request(uint64_t ino, uint32_t mask, uint64_t size, uint64_t file_id)
{
	Catena__SetattrReq req = CATENA__SETATTR_REQ__INIT;

	req.ino = ino;
	req.mask = mask;
	req.size = size;
	req.file_id = file_id;
	return req;
}

#define SCRIPT_STEPS 15

/* Step @n of the script; 1: there are no more. Inode and file ids follow from the order. */
static int script_step(struct fixture *s, int n)
{
	Catena__SetattrReq set;
	int rc;

	switch (n) {
	case 0:
		return do_mkdir(s, ROOT_INO, "dir"); /* 2 */
	case 1:
		return do_create_full(s, 2, "file", S_IFREG | 0644, true, true); /* 3 */
	case 2:
		set = size_request(3, CATENA__SET_MASK__SET_GROW, 100000, 1);
		return do_setattr(s, &set);
	case 3:
		return do_xattr(s, 3, 2, "user.a", "value", 0);
	case 4:
		return do_link(s, 3, ROOT_INO, "hard");
	case 5:
		return do_symlink(s, ROOT_INO, "soft", "dir/file"); /* 4 */
	case 6:
		return do_rename(s, 2, "file", ROOT_INO, "soft", 0);
	case 7:
		return do_unlink(s, ROOT_INO, "hard");
	case 8:
		return do_unlink(s, ROOT_INO, "soft"); /* now an orphan */
	case 9:
		return do_rmdir(s, ROOT_INO, "dir");
	case 10:
		set = size_request(3, CATENA__SET_MASK__SET_SIZE, 1000, 0);
		return do_setattr(s, &set);
	case 11:
		rc = do_rename(s, ROOT_INO, "none", ROOT_INO, "x", 0);
		return rc == -ENOENT ? 0 : rc;
	case 12:
		return do_close(s, 3, 1);
	case 13:
		return do_delegate(s, 10); /* 5 and on */
	case 14:
		return do_create_number(s, 6, "delegated");
	default:
		return 1;
	}
}

static void assert_equal_stores(struct kv *a, struct kv *b)
{
	for (unsigned family = 0; family < FAMILY_COUNT; family++) {
		const uint8_t *ka, *kb, *va, *vb;
		size_t ksa, ksb, vsa, vsb;
		struct kv_iter *ia, *ib;
		int ra, rb;

		assert_int_equal(kv_iter_open(a, family, "", 0, NULL, 0, &ia), 0);
		assert_int_equal(kv_iter_open(b, family, "", 0, NULL, 0, &ib), 0);
		do {
			ra = kv_iter_next(ia, &ka, &ksa, &va, &vsa);
			rb = kv_iter_next(ib, &kb, &ksb, &vb, &vsb);
			assert_int_equal(ra, rb);
			if (ra != 1)
				break;
			assert_int_equal(ksa, ksb);
			assert_memory_equal(ka, kb, ksa);
			assert_int_equal(vsa, vsb);
			assert_memory_equal(va, vb, vsa);
		} while (true);
		kv_iter_free(ia);
		kv_iter_free(ib);
	}
}

/* A second state that starts as a copy of the first, its random parts too. */
static void init_twin(struct fixture *twin)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[META_KEY_MAX], *value;
	struct kv_iter *iter;
	const uint8_t *k, *v;
	size_t ks, vs, size;

	assert_int_equal(fixture_init(twin, UINT64_MAX), 0);
	assert_int_equal(
		kv_get(f.kv, FAMILY_META, key, key_meta(key, META_SUPER, 0), &value, &size), 0);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SUPER, 0), value, size);
	free(value);
	assert_int_equal(kv_iter_open(f.kv, FAMILY_INODES, "", 0, NULL, 0, &iter), 0);
	while (kv_iter_next(iter, &k, &ks, &v, &vs) == 1)
		kv_batch_put(batch, FAMILY_INODES, k, ks, v, vs);
	kv_iter_free(iter);
	assert_int_equal(kv_write(twin->kv, batch, true), 0);
	kv_batch_free(batch);
	assert_int_equal(fixture_reopen(twin), 0);
}

/* Both free the orphans of a session, and one of them was started since they were opened. */
static void a_replica_that_was_started_frees_orphans_in_the_same_order(void **state)
{
	static const char *const names[] = {"a", "b", "c"};
	struct fixture twin, *both[2] = {&f, &twin};
	uint64_t inos[3];

	init_twin(&twin);
	for (int t = 0; t < 2; t++) {
		for (int i = 0; i < 3; i++) {
			assert_int_equal(do_create(both[t], ROOT_INO, names[i]), 0);
			inos[i] = reply_ino(both[t]);
			assert_int_equal(
				do_size(both[t], inos[i], CATENA__SET_MASK__SET_SIZE, 4096, 0), 0);
		}
		for (int i = 3; i-- > 0;)
			assert_int_equal(do_open(both[t], inos[i], false), 0);
		for (int i = 0; i < 3; i++)
			assert_int_equal(do_unlink(both[t], ROOT_INO, names[i]), 0);
	}
	assert_int_equal(fixture_reopen(&twin), 0);
	for (int t = 0; t < 2; t++)
		assert_int_equal(state_apply_session_close(both[t]->state, ++both[t]->index,
							   both[t]->session, NULL, 0),
				 0);
	assert_equal_stores(f.kv, twin.kv);
	fixture_end(&twin);
}

static void equal_commands_make_equal_replicas(void **state)
{
	struct fixture twin;

	init_twin(&twin);
	for (int n = 0; n < SCRIPT_STEPS; n++) {
		assert_int_equal(script_step(&f, n), 0);
		assert_int_equal(script_step(&twin, n), 0);
		/* One of them starts again all the time. */
		assert_int_equal(fixture_reopen(&twin), 0);
		assert_true(state_is_sound(&f));
	}
	assert_equal_stores(f.kv, twin.kv);
	fixture_end(&twin);
}

/* Runs the script with write number @nth failing, and goes on after a recovery. */
static bool run_with_failure(struct fixture *s, int nth)
{
	bool failed = false;

	kv_memory_fail_write(s->kv, nth, nth % 2 == 0 ? EIO : ENOSPC);
	for (int n = 0;; n++) {
		uint64_t id = s->request_id;
		int rc = script_step(s, n);

		if (rc == 1)
			break;
		if (rc == -EREMOTEIO) {
			assert_false(failed);
			failed = true;
			assert_true(kv_is_down(s->kv));
			assert_int_equal(do_getattr(s, ROOT_INO), -EREMOTEIO);
			assert_int_equal(kv_recover(s->kv), 0);
			/* Every other time nobody says that it has recovered. */
			if (nth % 2 == 0)
				assert_int_equal(state_reload(s->state), 0);
			s->request_id = id;
			rc = script_step(s, n);
		}
		assert_int_equal(rc, 0);
		assert_true(state_is_sound(s));
	}
	return failed;
}

static void a_command_that_the_store_failed_has_no_effect(void **state)
{
	struct fixture twin;

	for (int n = 0; n < SCRIPT_STEPS; n++)
		assert_int_equal(script_step(&f, n), 0);
	for (int nth = 1;; nth++) {
		bool failed;

		assert_int_equal(fixture_init(&twin, UINT64_MAX), 0);
		failed = run_with_failure(&twin, nth);
		assert_int_equal(twin.state->counters.next_ino, f.state->counters.next_ino);
		assert_int_equal(twin.state->counters.removals, f.state->counters.removals);
		assert_int_equal(twin.state->counters.index, f.state->counters.index);
		fixture_end(&twin);
		if (!failed)
			break;
		assert_true(nth < 100);
	}
}

static void a_power_cut_leaves_the_state_of_the_last_sync(void **state)
{
	for (int synced = 0; synced < SCRIPT_STEPS; synced++) {
		struct fixture s;

		assert_int_equal(fixture_init(&s, UINT64_MAX), 0);
		for (int n = 0; n < SCRIPT_STEPS; n++) {
			assert_int_equal(script_step(&s, n), 0);
			if (n == synced)
				assert_int_equal(kv_flush(s.kv), 0);
		}
		kv_memory_crash(s.kv);
		assert_int_equal(fixture_reopen(&s), 0);
		assert_true(state_is_sound(&s));
		/* The client sends what was not durable again, and what was too. */
		s.request_id = 0;
		for (int n = 0; n < SCRIPT_STEPS; n++)
			assert_int_equal(script_step(&s, n), 0);
		assert_true(state_is_sound(&s));
		assert_int_equal(s.state->counters.inodes, 2);
		assert_int_equal(s.state->counters.removals, 1);
		fixture_end(&s);
	}
}

static const struct state_start start = {.instance = 7, .chance = 1};

static void ids_given_out_before_a_power_cut_are_not_given_again(void **state)
{
	uint64_t session = state_next_session_id(f.state);
	uint64_t ino, file_id;

	assert_int_equal(kv_flush(f.kv), 0);
	assert_int_equal(create_as(1, "lost"), 0);
	ino = f.reply->attr->ino;
	file_id = f.reply->attr->file_id;
	kv_memory_crash(f.kv);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_apply_start(f.state, ++f.index, &start, STATE_ID_GAP), 0);
	assert_int_equal(create_as(1, "found"), 0);
	assert_true(f.reply->attr->ino > ino);
	assert_true(f.reply->attr->file_id > file_id);
	assert_true(state_next_session_id(f.state) > session);
}

/* Its record is written again with what was read, into room for texts that a session may have. */
static void a_session_with_a_text_that_is_too_long_is_damage(void **state)
{
	size_t long_text = SESSION_TEXT_MAX + 1, size = 21 + long_text + 20 * DELEGATIONS;
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[META_KEY_MAX], *value = calloc(1, size);

	for (unsigned text = 0; text < 2; text++) {
		memset(value, 0, size);
		value[0] = 1;
		put_le16(value + 17 + 2 * text, (uint16_t)long_text);
		kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SESSION, f.session), value,
			     size);
		assert_int_equal(kv_write(f.kv, batch, true), 0);
		state_close(f.state);
		f.state = NULL;
		assert_int_equal(fixture_open_state(&f), -EUCLEAN);
	}
	put_le16(value + 19, SESSION_TEXT_MAX);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SESSION, f.session), value,
		     size - 1);
	assert_int_equal(kv_write(f.kv, batch, true), 0);
	assert_int_equal(fixture_open_state(&f), 0);
	kv_batch_free(batch);
	free(value);
}

/* The upper 12 bits of all numbers are for more groups of masters. */
static void numbers_end_where_another_groups_begin(void **state)
{
	uint64_t end = ID_END;

	assert_int_equal(session_open_as(f.state, f.index + 1, end, 1, "m", "n"), -EOVERFLOW);
	f.state->counters.next_session = end - 1;
	assert_int_equal(session_open_as(f.state, ++f.index, end - 1, 1, "m", "n"), 0);
	f.state->counters.next_ino = end - 1;
	assert_int_equal(create_as(1, "last"), 0);
	assert_int_equal(f.reply->attr->ino, end - 1);
	assert_int_equal(create_as(2, "one too many"), -ENOSPC);
	f.state->counters.next_ino = 1000;
	f.state->counters.next_file_id = end - 1;
	assert_int_equal(create_as(3, "the last file"), 0);
	assert_int_equal(create_as(4, "another"), -ENOSPC);
	f.state->counters.next_ino = end; /* as it was */
	assert_int_equal(state_apply_start(f.state, ++f.index, &start, STATE_ID_GAP), 0);
	assert_int_equal(create_as(5, "another"), -ENOSPC);
}

static void a_cluster_has_an_instance_of_its_own_for_ever(void **state)
{
	uint64_t instance = state_instance(f.state);

	assert_int_not_equal(instance, 0);
	assert_int_equal(state_apply_start(f.state, ++f.index, &start, STATE_ID_GAP), 0);
	assert_int_equal(state_instance(f.state), instance);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_instance(f.state), instance);
}

/* A store of a time without: as it was written then. */
static void a_store_without_instance_gets_one_when_it_is_started(void **state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	struct kv_batch *batch = kv_batch_new();

	assert_int_equal(
		kv_get(f.kv, FAMILY_META, key, key_meta(key, META_SUPER, 0), &value, &size), 0);
	value[0] = 1;
	memmove(value + 1 + NAME_KEY_BYTES, value + 1 + NAME_KEY_BYTES + 8,
		size - (1 + NAME_KEY_BYTES + 8));
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SUPER, 0), value, size - 8);
	assert_int_equal(kv_write(f.kv, batch, true), 0);
	kv_batch_free(batch);
	free(value);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_instance(f.state), 0);
	assert_int_equal(state_apply_start(f.state, ++f.index, &start, STATE_ID_GAP), 0);
	assert_int_equal(state_instance(f.state), 7);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_instance(f.state), 7);
	assert_int_equal(create_as(1, "as before"), 0);
}

static void what_a_power_cut_has_taken_is_known_by_the_newest_reply(void **state)
{
	uint64_t before = state_session_done(f.state, f.session);

	assert_int_equal(create_as(before + 5, "one"), 0);
	assert_int_equal(state_session_done(f.state, f.session), before + 5);
	assert_int_equal(kv_flush(f.kv), 0);
	/* What was received is forgotten, but never that it was done. */
	f.answered = before + 5;
	assert_int_equal(create_as(before + 5, "late"), -EALREADY);
	assert_int_equal(state_session_done(f.state, f.session), before + 5);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_session_done(f.state, f.session), before + 5);
	assert_int_equal(create_as(before + 6, "two"), 0);
	assert_int_equal(state_session_done(f.state, f.session), before + 6);
	state_close(f.state);
	f.state = NULL;
	kv_memory_crash(f.kv);
	assert_int_equal(fixture_open_state(&f), 0);
	assert_int_equal(state_session_done(f.state, f.session), before + 5);
	assert_int_equal(state_session_done(f.state, f.session + 1000), 0);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_repeated_request_gets_the_identical_answer_and_no_effect),
		TEST(ids_may_come_in_any_order_and_with_gaps),
		TEST(answered_requests_are_forgotten_but_never_done_again),
		TEST(what_was_answered_counts_with_the_store_only),
		TEST(sessions_have_ids_of_their_own),
		TEST(unanswered_commands_of_one_session_are_bounded),
		TEST(sessions_survive_a_restart_and_end_for_good),
		TEST(a_store_is_initialised_once),
		TEST(a_damaged_store_is_refused),
		TEST(a_damaged_record_refuses_its_request_only),
		TEST(equal_commands_make_equal_replicas),
		TEST(a_replica_that_was_started_frees_orphans_in_the_same_order),
		TEST(a_command_that_the_store_failed_has_no_effect),
		TEST(a_power_cut_leaves_the_state_of_the_last_sync),
		TEST(ids_given_out_before_a_power_cut_are_not_given_again),
		TEST(what_a_power_cut_has_taken_is_known_by_the_newest_reply),
		TEST(a_session_with_a_text_that_is_too_long_is_damage),
		TEST(numbers_end_where_another_groups_begin),
		TEST(a_cluster_has_an_instance_of_its_own_for_ever),
		TEST(a_store_without_instance_gets_one_when_it_is_started),
	};

	return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
