/* namespace_append_test - the right to append.
 *
 * Goal: one session at a time has it; it survives a restart and ends with its session; who has it
 * tells the new size with it, nobody else does; a truncation by others waits for it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/log/command.h"
#include "master/log/log_hash.h"
#include "tests/lib/state_fixture.h"

#define OTHER 8u

static struct fixture fx;

static int setup(void **state)
{
	(void)state;
	return fixture_init(&fx, UINT64_MAX) != 0 ||
	       session_open_as(fx.state, ++fx.index, OTHER, 1, "other:/mnt", "c2") != 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_end(&fx);
	return 0;
}

static int append(uint64_t session, uint64_t ino, bool release)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__AppendReq req = CATENA__APPEND_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_APPEND;
	request.append = &req;
	req.ino = ino;
	req.release = release;
	fx.session = session;
	return fixture_send(&fx, &request);
}

static int grow(uint64_t session, const Catena__Attr *attr, uint64_t size, bool done)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;

	setattr.ino = attr->ino;
	setattr.file_id = attr->file_id;
	setattr.truncations = attr->truncations;
	setattr.mask = CATENA__SET_MASK__SET_GROW;
	setattr.size = size;
	setattr.append_done = done;
	fx.session = session;
	return do_setattr(&fx, &setattr);
}

static int cut(uint64_t session, uint64_t ino, uint64_t size)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;

	setattr.ino = ino;
	setattr.mask = CATENA__SET_MASK__SET_SIZE;
	setattr.size = size;
	fx.session = session;
	return do_setattr(&fx, &setattr);
}

static Catena__Attr make_file(const char *name)
{
	fx.session = FIXTURE_SESSION;
	assert_int_equal(do_create(&fx, ROOT_INO, name), 0);
	return *fx.reply->attr;
}

static void one_session_at_a_time_has_it(void **state)
{
	Catena__Attr file = make_file("a"), other = make_file("b");
	(void)state;

	assert_int_equal(append(FIXTURE_SESSION, file.ino, false), 0);
	assert_int_equal(fx.reply->attr->size, 0);
	assert_int_equal(append(FIXTURE_SESSION, file.ino, false), 0);
	assert_int_equal(append(OTHER, file.ino, false), -EAGAIN);
	assert_int_equal(append(OTHER, other.ino, false), 0);
	/* Nobody gives back what is another's. */
	assert_int_equal(append(OTHER, file.ino, true), 0);
	assert_int_equal(append(OTHER, file.ino, false), -EAGAIN);
	assert_int_equal(grow(FIXTURE_SESSION, &file, 10, true), 0);
	assert_int_equal(state_append_holder(fx.state, file.ino), 0);
	assert_int_equal(append(OTHER, file.ino, false), 0);
	assert_int_equal(fx.reply->attr->size, 10);
	assert_int_equal(append(OTHER, file.ino, true), 0);
	assert_int_equal(append(FIXTURE_SESSION, file.ino, false), 0);
	assert_int_equal(append(FIXTURE_SESSION, ROOT_INO, false), -EINVAL);
	assert_int_equal(append(FIXTURE_SESSION, 12345, false), -ESTALE);
}

static void who_does_not_have_it_tells_no_append(void **state)
{
	Catena__Attr file = make_file("a");
	(void)state;

	assert_int_equal(grow(FIXTURE_SESSION, &file, 10, true), -EPERM);
	assert_int_equal(append(OTHER, file.ino, false), 0);
	assert_int_equal(grow(FIXTURE_SESSION, &file, 10, true), -EPERM);
	assert_int_equal(do_getattr(&fx, file.ino), 0);
	assert_int_equal(fx.reply->attr->size, 0);
	/* What was written somewhere is told as always, and what is refused gives nothing back. */
	assert_int_equal(grow(FIXTURE_SESSION, &file, 20, false), 0);
	file.truncations++;
	assert_int_equal(grow(OTHER, &file, 30, true), -ESTALE);
	assert_int_equal(state_append_holder(fx.state, file.ino), OTHER);
}

static void who_gets_it_takes_capabilities_away(void **state)
{
	Catena__Attr file = make_file("a");
	uint64_t version;
	(void)state;

	assert_int_equal(do_xattr(&fx, file.ino, 2, "security.capability", "cap", 0), 0);
	assert_int_equal(do_xattr(&fx, file.ino, 2, "user.kept", "kept", 0), 0);
	version = fx.reply->attr->version;
	assert_int_equal(append(OTHER, file.ino, false), 0);
	assert_true(fx.reply->attr->version > version);
	assert_int_equal(do_xattr(&fx, file.ino, 1, "security.capability", "", 0), -ENODATA);
	assert_int_equal(do_xattr(&fx, file.ino, 1, "user.kept", "", 0), 0);
}

static void a_truncation_by_others_waits_for_it(void **state)
{
	Catena__Attr file = make_file("a");
	(void)state;

	assert_int_equal(append(OTHER, file.ino, false), 0);
	assert_int_equal(cut(FIXTURE_SESSION, file.ino, 0), -EAGAIN);
	assert_int_equal(do_open(&fx, file.ino, true), -EAGAIN);
	assert_int_equal(grow(OTHER, &file, 10, true), 0);
	assert_int_equal(cut(FIXTURE_SESSION, file.ino, 4), 0);
	/* One's own does not. */
	assert_int_equal(append(FIXTURE_SESSION, file.ino, false), 0);
	assert_int_equal(cut(FIXTURE_SESSION, file.ino, 0), 0);
	assert_int_equal(state_append_holder(fx.state, file.ino), FIXTURE_SESSION);
}

static void it_survives_a_restart_and_ends_with_its_session(void **state)
{
	Catena__Attr file = make_file("a"), other = make_file("b");
	(void)state;

	assert_int_equal(append(OTHER, file.ino, false), 0);
	assert_int_equal(append(FIXTURE_SESSION, other.ino, false), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(state_append_holder(fx.state, file.ino), OTHER);
	assert_int_equal(append(FIXTURE_SESSION, file.ino, false), -EAGAIN);
	assert_int_equal(state_apply_session_close(fx.state, ++fx.index, OTHER, NULL, 0), 0);
	assert_int_equal(state_append_holder(fx.state, file.ino), 0);
	assert_int_equal(state_append_holder(fx.state, other.ino), FIXTURE_SESSION);
	assert_int_equal(append(FIXTURE_SESSION, file.ino, false), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(state_append_holder(fx.state, file.ino), FIXTURE_SESSION);
	assert_int_equal(append(FIXTURE_SESSION, file.ino, true), 0);
	assert_int_equal(append(FIXTURE_SESSION, other.ino, true), 0);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(state_append_holder(fx.state, file.ino), 0);
	assert_int_equal(state_append_holder(fx.state, other.ino), 0);
}

/* A session that ends gives its rights back in the same order on a replica that was started since. */
static void rights_end_in_one_order(void **state)
{
	Catena__Attr files[3] = {make_file("a"), make_file("b"), make_file("c")};
	const struct log_command close = {.kind = COMMAND_SESSION_CLOSE, .session = OTHER};
	struct fixture replica = {.name_mask = fx.name_mask};
	struct fixture *both[] = {&fx, &replica};
	struct log_trace traces[2];
	(void)state;

	for (int i = 2; i >= 0; i--)
		assert_int_equal(append(OTHER, files[i].ino, false), 0);
	assert_int_equal(kv_memory_copy(fx.kv, &replica.kv), 0);
	assert_int_equal(fixture_open_state(&replica), 0);
	for (int i = 0; i < 2; i++) {
		struct command_result result = {0};
		struct log_hash *hash;

		assert_int_equal(log_hash_new(&hash), 0);
		state_listen(both[i]->state, log_hash_changes, hash);
		log_hash_begin(hash, (const uint8_t *)"close", 5);
		assert_int_equal(command_apply(both[i]->state, fx.index + 1, &close, &result), 0);
		assert_int_equal(log_hash_end(hash, 0, &result, &traces[i]), 0);
		state_listen(both[i]->state, NULL, NULL);
		log_hash_free(hash);
	}
	assert_memory_equal(traces[0].hash, traces[1].hash, LOG_HASH_BYTES);
	fixture_end(&replica);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_session_at_a_time_has_it, setup, teardown),
		cmocka_unit_test_setup_teardown(rights_end_in_one_order, setup, teardown),
		cmocka_unit_test_setup_teardown(who_does_not_have_it_tells_no_append, setup,
						teardown),
		cmocka_unit_test_setup_teardown(who_gets_it_takes_capabilities_away, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_truncation_by_others_waits_for_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(it_survives_a_restart_and_ends_with_its_session,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
