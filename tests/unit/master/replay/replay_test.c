/* replay_test - a log that is kept, and applied once more.
 *
 * Goal: what a master does is kept whole through restarts, kills, failing stores and segments that
 * end, and applying it again comes to the same; whatever is not the same is found: an entry, a
 * result, a record of the store that no command has put there; a log that is damaged or has a gap is
 * told from that. Keeping it fails without harm.
 * Method: a store on disk with the local log and a keeper of small segments; what a kill leaves is
 * made by telling the keeper of entries whose batch does not come to the store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "common/os/log.h"
#include "master/kept/directory.h"
#include "master/kept/keeper.h"
#include "master/kept/segment.h"
#include "master/replay/copy.h"
#include "master/replay/replay.h"
#include "tests/lib/tree.h"
#include "tests/unit/master/replay/segment_edit.h"

#define SEGMENT_BYTES (16u << 10)

static struct {
	char path[256], store[320], log[320], work[320], copy[320];
	struct kv *kv;
	struct state *state;
	struct keeper *keeper;
	struct command_log *command_log;
	pthread_mutex_t lock;
	uint64_t session, chance, names, requests;
	char *said; /* what replay() printed */
	size_t said_size;
	char error[512];
} m = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The next write of the keeper fails when half of it is done. */
static bool write_half;

ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
	struct iovec part = parts[1];

	if (!write_half)
		return __real_writev(fd, parts, count);
	write_half = false;
	part.iov_len /= 2;
	return __real_writev(fd, &part, 1);
}

/* ---- a master ---- */

static void on_done(struct command_call *call, int status)
{
	free(call->result.answer.reply);
	assert_int_equal(status, 0);
}

/* Some commands as one batch. */
struct turn {
	struct command_call calls[8];
	Catena__Request requests[8];
	Catena__CreateReq creates[8];
	Catena__UnlinkReq unlinks[8];
	char names[8][32];
	unsigned count;
};

static struct command_call *next_call(struct turn *turn)
{
	struct command_call *call = &turn->calls[turn->count++];

	*call = (struct command_call){.done = on_done};
	return call;
}

static void add_request(struct turn *turn)
{
	unsigned i = turn->count;
	Catena__Request *request = &turn->requests[i];
	struct command_call *call = next_call(turn);

	catena__request__init(request);
	request->id = ++m.requests;
	request->time = (int64_t)m.requests;
	snprintf(turn->names[i], sizeof(turn->names[i]), "name-%llu",
		 (unsigned long long)(m.names - (m.requests % 4 == 0)));
	if (m.requests % 4 == 0) {
		catena__unlink_req__init(&turn->unlinks[i]);
		turn->unlinks[i].parent = ROOT_INO;
		turn->unlinks[i].name.data = (uint8_t *)turn->names[i];
		turn->unlinks[i].name.len = strlen(turn->names[i]);
		request->unlink = &turn->unlinks[i];
		request->op_case = CATENA__REQUEST__OP_UNLINK;
	} else {
		catena__create_req__init(&turn->creates[i]);
		turn->creates[i].parent = ROOT_INO;
		turn->creates[i].name.data = (uint8_t *)turn->names[i];
		turn->creates[i].name.len = strlen(turn->names[i]);
		turn->creates[i].mode = S_IFREG | 0644;
		turn->creates[i].exclusive = true;
		request->create = &turn->creates[i];
		request->op_case = CATENA__REQUEST__OP_CREATE;
		m.names++;
	}
	call->command = (struct log_command){
		.kind = COMMAND_REQUEST, .session = m.session, .request = {.message = request}};
}

static void take_turn(struct turn *turn)
{
	pthread_mutex_lock(&m.lock);
	for (unsigned i = 0; i < turn->count; i++)
		command_log_propose(m.command_log, &turn->calls[i]);
	command_log_turn(m.command_log);
	pthread_mutex_unlock(&m.lock);
}

/* As many commands, in batches of different length. */
static void work(unsigned commands)
{
	while (commands > 0) {
		unsigned count = 1 + commands % 8;
		struct turn turn = {.count = 0};

		for (unsigned i = 0; i < count && commands > 0; i++, commands--)
			add_request(&turn);
		take_turn(&turn);
	}
}

static void open_session(void)
{
	struct command_call call = {.done = on_done};

	call.command = (struct log_command){
		.kind = COMMAND_SESSION_OPEN,
		.session_open = {.secret = 1, .mount = "mount", .name = "name"}};
	m.session = state_next_session_id(m.state);
	pthread_mutex_lock(&m.lock);
	command_log_propose(m.command_log, &call);
	command_log_turn(m.command_log);
	pthread_mutex_unlock(&m.lock);
}

static const struct command_keeper *telling(void)
{
	return keeper_interface(m.keeper);
}

/* The first entry of a life, as the shell applies it. */
static void apply_start(void)
{
	struct log_command command = {
		.kind = COMMAND_START,
		.start = {.life = {.instance = 5, .chance = ++m.chance}, .id_gap = STATE_ID_GAP}};
	uint64_t index = state_applied_index(m.state) + 1;
	struct command_result result = {0};

	state_batch_begin(m.state);
	telling()->entry(telling()->user, index, &command);
	assert_int_equal(command_apply(m.state, index, &command, &result), 0);
	telling()->applied(telling()->user, index, 0, &result);
	telling()->commit(telling()->user);
	assert_int_equal(state_batch_commit(m.state), 0);
}

static void recovered(void *user)
{
}

static void open_state(void)
{
	struct kv_options options = {.path = m.store,
				     .families = records_families,
				     .family_count = records_family_count,
				     .memtable_bytes = 1u << 20,
				     .create = true};
	const struct state_options fresh = {
		.copies = 1, .partitions = 4, .chunk_size = 1 << 20, .instance = 4};
	char error[256];
	int rc;

	assert_int_equal(kv_open(&options, &m.kv, error, sizeof(error)), 0);
	rc = state_init(m.kv, "cluster", &fresh);
	assert_true(rc == 0 || rc == -EEXIST);
	assert_int_equal(state_open(m.kv, &m.state, error, sizeof(error)), 0);
}

static void start(void)
{
	struct command_log_options log = {.state_lock = &m.lock, .recovered = recovered};
	struct keeper_options keep = {.path = m.log, .bytes = 4 * SEGMENT_BYTES};

	open_state();
	keep.kv = m.kv;
	keep.state = m.state;
	assert_int_equal(keeper_open(&keep, &m.keeper), 0);
	apply_start();
	log.kv = m.kv;
	log.state = m.state;
	log.keeper = telling();
	assert_int_equal(command_log_open(&log, &m.command_log), 0);
	if (m.session == 0)
		open_session();
}

static void stop(void)
{
	command_log_close(m.command_log);
	keeper_close(m.keeper);
	state_close(m.state);
	kv_close(m.kv);
	m.command_log = NULL;
	m.keeper = NULL;
	m.state = NULL;
	m.kv = NULL;
}

static int setup(void **state)
{
	log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	if (tree_make(m.path, sizeof(m.path), "replay_test") == NULL)
		return -1;
	snprintf(m.store, sizeof(m.store), "%s/store", m.path);
	snprintf(m.log, sizeof(m.log), "%s/log", m.path);
	snprintf(m.work, sizeof(m.work), "%s/work", m.path);
	snprintf(m.copy, sizeof(m.copy), "%s/copy", m.path);
	m.session = m.chance = m.names = m.requests = 0;
	return mkdir(m.work, 0700);
}

static int teardown(void **state)
{
	if (m.kv != NULL)
		stop();
	tree_remove(m.path);
	free(m.said);
	m.said = NULL;
	return 0;
}

/* ---- what is kept ---- */

static size_t list(struct kept_part **parts)
{
	int fd = open(m.log, O_RDONLY | O_DIRECTORY);
	size_t count = 0;

	assert_true(fd >= 0);
	assert_int_equal(kept_list(fd, parts, &count), 0);
	close(fd);
	return count;
}

/* Waits until the last part has, or some part after @first has, a checkpoint. */
static void wait_for_checkpoint(uint32_t first)
{
	for (int i = 0; i < 6000; i++) {
		struct kept_part *parts;
		bool found = false;
		size_t count = list(&parts);

		for (size_t k = 0; k < count; k++)
			found = found || (parts[k].number >= first && parts[k].has_store);
		free(parts);
		if (found)
			return;
		usleep(10000);
	}
	fail_msg("no checkpoint");
}

static uint32_t last_number(void)
{
	struct kept_part *parts;
	size_t count = list(&parts);
	uint32_t number = count == 0 ? 0 : parts[count - 1].number;

	free(parts);
	return number;
}

static const char *segment_path(uint32_t number)
{
	static char path[400];
	char name[KEPT_NAME_MAX];

	kept_entries_name(number, name);
	snprintf(path, sizeof(path), "%s/%s", m.log, name);
	return path;
}

static int replay_in(unsigned batch)
{
	FILE *out;
	int rc;
	struct replay_options options = {.path = m.log, .work = m.work, .batch = batch};

	free(m.said);
	out = open_memstream(&m.said, &m.said_size);
	assert_non_null(out);
	options.out = out;
	options.print = batch == 3;
	rc = replay(&options, m.error, sizeof(m.error));
	fclose(out);
	if (getenv("TEST_LOG") != NULL)
		print_message("%s%s\n", m.said, rc < 0 ? m.error : "");
	return rc;
}

static void expect_equal(void)
{
	for (unsigned batch = 1; batch <= 100; batch = batch * 3 + (batch > 3 ? 90 : 0))
		if (replay_in(batch) != 0)
			fail_msg("%s%s", m.said, m.error);
}

static void expect_difference(unsigned batch)
{
	if (replay_in(batch) != 1)
		fail_msg("no difference: %s%s", m.said, m.error);
}

static void expect_said(const char *text)
{
	if (strstr(m.said, text) == NULL)
		fail_msg("not said: %s\n%s%s", text, m.said, m.error);
}

/* ---- tests ---- */

static void test_what_was_done_comes_out_equal(void **state)
{
	char text[64];

	start();
	wait_for_checkpoint(1);
	work(100);
	expect_equal(); /* the master goes on meanwhile */
	snprintf(text, sizeof(text), "to %llu are equal",
		 (unsigned long long)state_applied_index(m.state));
	expect_said(text);
	assert_int_equal(replay_in(3), 0);
	expect_said("request{session=16777217 request{id=1 time=1 create{");
	expect_said("name=\"name-0\"");
}

static void test_it_goes_on_through_restarts_and_segments(void **state)
{
	uint64_t applied;
	char text[64];

	start();
	wait_for_checkpoint(1);
	for (unsigned i = 0; i < 3; i++) {
		work(120);
		stop();
		start();
	}
	assert_true(last_number() >= 4);
	wait_for_checkpoint(last_number() - 1);
	work(50);
	applied = state_applied_index(m.state);
	stop();
	expect_equal();
	snprintf(text, sizeof(text), "to %llu are equal", (unsigned long long)applied);
	expect_said(text);
	assert_null(strstr(m.said, "later checkpoints\n") == NULL ? "none"
								  : strstr(m.said, "of 0 later"));
}

static void test_only_so_much_is_kept(void **state)
{
	struct kept_part *parts;
	uint64_t size = 0;
	size_t count;

	start();
	wait_for_checkpoint(1);
	for (unsigned i = 0; i < 12; i++) {
		work(300);
		wait_for_checkpoint(last_number());
	}
	for (int i = 0; i < 6000; i++) {
		count = list(&parts);
		size = 0;
		for (size_t k = 0; k < count; k++)
			size += parts[k].size;
		free(parts);
		if (size < 9 * SEGMENT_BYTES)
			break;
		usleep(10000);
	}
	assert_in_range(size, 4 * SEGMENT_BYTES, 9 * SEGMENT_BYTES);
	stop();
	assert_true(list(&parts) > 0);
	assert_true(parts[0].number > 1);
	assert_true(parts[0].has_store);
	free(parts);
	expect_equal();
}

/* The keeper is told of these, and the batch does not come to the store. */
static void tell_of_a_lost_batch(unsigned count, bool last_has_result)
{
	struct turn turn = {.count = 0};
	uint64_t index = command_log_applied(m.command_log);

	for (unsigned i = 0; i < count; i++)
		add_request(&turn);
	pthread_mutex_lock(&m.lock);
	state_batch_begin(m.state);
	for (unsigned i = 0; i < count; i++) {
		struct command_result result = {0};

		telling()->entry(telling()->user, ++index, &turn.calls[i].command);
		if (i + 1 == count && !last_has_result)
			break;
		assert_int_equal(command_apply(m.state, index, &turn.calls[i].command, &result), 0);
		telling()->applied(telling()->user, index, 0, &result);
		free(result.answer.reply);
	}
	if (last_has_result)
		telling()->commit(telling()->user);
	state_batch_abandon(m.state);
	pthread_mutex_unlock(&m.lock);
}

static void test_entries_that_the_store_does_not_have_are_undone(void **state)
{
	start();
	wait_for_checkpoint(1);
	work(20);
	tell_of_a_lost_batch(3, true);
	stop();
	start();
	work(20);
	stop();
	expect_equal();
	expect_said("has 3 entries besides that were undone");
	assert_null(strstr(m.said, "differs"));
}

static void test_an_entry_with_which_the_master_ended_is_applied(void **state)
{
	start();
	wait_for_checkpoint(1);
	work(20);
	tell_of_a_lost_batch(2, false);
	stop();
	/* Before the next start, it is the last one; afterwards, one that was undone. */
	assert_int_equal(replay_in(1), 0);
	expect_said("has no result");
	start();
	m.names -= 2;
	m.requests -= 2;
	work(20);
	stop();
	expect_equal();
	expect_said("has no result");
}

static void test_an_entry_in_the_place_of_another_counts(void **state)
{
	const struct log_command first = {.kind = COMMAND_FENCES_OWED, .owed = true};
	const struct log_command second = {.kind = COMMAND_FENCES_OWED, .owed = false};
	struct command_result result = {0};
	uint64_t index;

	start();
	wait_for_checkpoint(1);
	work(10);
	index = state_applied_index(m.state) + 1;
	state_batch_begin(m.state);
	telling()->entry(telling()->user, index, &first);
	telling()->entry(telling()->user, index, &second);
	assert_int_equal(command_apply(m.state, index, &second, &result), 0);
	telling()->applied(telling()->user, index, 0, &result);
	telling()->commit(telling()->user);
	assert_int_equal(state_batch_commit(m.state), 0);
	stop();
	start();
	work(10);
	stop();
	expect_equal();
	expect_said("has no result");
}

/* The same batch fails before its last entry has a result, or behind it, and is undone. */
static void fail_batch(unsigned count, bool last_has_result)
{
	tell_of_a_lost_batch(count, last_has_result);
	pthread_mutex_lock(&m.lock);
	telling()->undone(telling()->user, command_log_applied(m.command_log));
	pthread_mutex_unlock(&m.lock);
	m.names -= count;
	m.requests -= count;
}

static void test_a_failing_store_undoes_and_goes_on(void **state)
{
	start();
	wait_for_checkpoint(1);
	work(9);
	fail_batch(3, true);
	/* Attempts that lie side by side, and are not one. */
	fail_batch(1, false);
	m.names += 7; /* what comes in its place is another */
	work(1);
	fail_batch(2, false);
	fail_batch(2, false);
	work(29);
	stop();
	expect_equal();
	assert_int_equal(last_number(), 1);
}

static void test_a_write_that_fails_ends_the_run_and_nothing_else(void **state)
{
	start();
	wait_for_checkpoint(1);
	work(20);
	write_half = true;
	log_set_level(LOG_LEVEL_ERROR + 1);
	work(20);
	assert_false(write_half);
	assert_int_equal(last_number(), 1);
	stop();
	expect_equal(); /* up to there, and nothing is torn */
	assert_null(strstr(m.said, "cut off"));
	start();
	wait_for_checkpoint(2);
	work(20);
	stop();
	expect_equal();
	expect_said("checkpoint 1 of");
	expect_said("checkpoint 2 of");
}

static void test_what_was_not_kept_is_a_gap_and_begins_a_run(void **state)
{
	const struct log_command command = {.kind = COMMAND_FENCES_OWED, .owed = true};
	struct command_result result = {0};

	start();
	wait_for_checkpoint(1);
	work(20);
	stop();
	open_state();
	assert_int_equal(
		command_apply(m.state, state_applied_index(m.state) + 1, &command, &result), 0);
	stop();
	start();
	wait_for_checkpoint(2);
	work(20);
	stop();
	expect_equal();
	expect_said("checkpoint 2 of");
}

static void test_a_life_that_was_not_kept_begins_a_run(void **state)
{
	struct state_start life = {.instance = 5, .chance = 99};
	char old[400];

	start();
	wait_for_checkpoint(1);
	work(20);
	/* An older store, and as many entries as the log has, but others. */
	snprintf(old, sizeof(old), "%s/old", m.path);
	assert_int_equal(kv_checkpoint(m.kv, old), 0);
	work(2);
	stop();
	tree_remove(m.store);
	assert_int_equal(rename(old, m.store), 0);
	open_state();
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(state_apply_start(m.state, state_applied_index(m.state) + 1, &life,
						   STATE_ID_GAP),
				 0);
	stop();
	start();
	wait_for_checkpoint(2);
	stop();
	expect_equal();
	expect_said("checkpoint 2 of");
}

/* ---- what is not as it was ---- */

static void make_one_segment(void)
{
	start();
	wait_for_checkpoint(1);
	work(40);
	stop();
	expect_equal();
}

static void test_a_changed_byte_is_damage(void **state)
{
	make_one_segment();
	segment_change(segment_path(1), KEPT_ENTRY, 20, 30, false);
	assert_int_equal(replay_in(1), -EBADMSG);
	assert_non_null(strstr(m.error, "00000001.entries is damaged at"));
}

static void test_an_entry_that_is_another_differs(void **state)
{
	make_one_segment();
	segment_change_name(segment_path(1), 20);
	expect_difference(16);
	expect_said(
		"entry 21 differs:\n- it changed the store in another way than here\n21 request{");
	expect_said("its changes here:\n  put ");
}

static void test_another_result_differs(void **state)
{
	make_one_segment();
	segment_change(segment_path(1), KEPT_RESULT, 20, 30, true); /* in the hash */
	expect_difference(1);
	expect_said("its bytes are not those");
}

/* Writes a record into a store that is closed. */
static void write_record(const char *path, unsigned family, const char *key)
{
	struct kv_options options = {.path = path,
				     .families = records_families,
				     .family_count = records_family_count,
				     .memtable_bytes = 1u << 20};
	struct kv_batch *batch = kv_batch_new();
	char error[256];
	struct kv *kv;

	assert_int_equal(kv_open(&options, &kv, error, sizeof(error)), 0);
	kv_batch_put(batch, family, key, strlen(key), "value", 5);
	assert_int_equal(kv_write(kv, batch, true), 0);
	kv_batch_free(batch);
	kv_close(kv);
}

static void test_a_record_that_no_command_has_put_is_found(void **state)
{
	uint32_t number;

	start();
	wait_for_checkpoint(1);
	work(50);
	stop();
	write_record(m.store, FAMILY_REMOVALS, "key");
	start();
	number = last_number();
	work(150);
	wait_for_checkpoint(number + 1);
	stop();
	expect_difference(1);
	expect_said("has other records than the entries before make");
}

static void test_a_checkpoint_that_is_another_is_found(void **state)
{
	char path[400];

	start();
	wait_for_checkpoint(1);
	work(300);
	wait_for_checkpoint(2);
	stop();
	expect_equal();
	snprintf(path, sizeof(path), "%s/00000001.store", m.log);
	write_record(path, FAMILY_XATTRS, "key");
	expect_difference(1);
}

static void test_what_was_cut_off_is_said_and_no_difference(void **state)
{
	struct stat st;

	make_one_segment();
	assert_int_equal(stat(segment_path(1), &st), 0);
	assert_int_equal(truncate(segment_path(1), st.st_size - 5), 0);
	assert_int_equal(replay_in(1), 0);
	expect_said("of a record that was cut off");
	/* The master goes on in another run, since its last entry has no result. */
	start();
	wait_for_checkpoint(2);
	stop();
	expect_equal();
	assert_null(strstr(m.said, "cut off"));
}

static void test_a_missing_segment_is_told(void **state)
{
	start();
	wait_for_checkpoint(1);
	work(400);
	assert_true(last_number() >= 3);
	stop();
	assert_int_equal(unlink(segment_path(2)), 0);
	assert_int_equal(replay_in(1), -EBADMSG);
	assert_int_equal(unlink(segment_path(1)), 0);
	for (uint32_t i = 1; i <= last_number(); i++) {
		char path[400];

		snprintf(path, sizeof(path), "%s/%08u.store", m.log, i);
		tree_remove(path);
	}
	assert_int_equal(replay_in(1), -ENOENT);
}

int main(void)
{
#define with_master(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		with_master(test_what_was_done_comes_out_equal),
		with_master(test_it_goes_on_through_restarts_and_segments),
		with_master(test_only_so_much_is_kept),
		with_master(test_entries_that_the_store_does_not_have_are_undone),
		with_master(test_an_entry_with_which_the_master_ended_is_applied),
		with_master(test_an_entry_in_the_place_of_another_counts),
		with_master(test_a_failing_store_undoes_and_goes_on),
		with_master(test_a_write_that_fails_ends_the_run_and_nothing_else),
		with_master(test_what_was_not_kept_is_a_gap_and_begins_a_run),
		with_master(test_a_life_that_was_not_kept_begins_a_run),
		with_master(test_a_changed_byte_is_damage),
		with_master(test_an_entry_that_is_another_differs),
		with_master(test_another_result_differs),
		with_master(test_a_record_that_no_command_has_put_is_found),
		with_master(test_a_checkpoint_that_is_another_is_found),
		with_master(test_what_was_cut_off_is_said_and_no_difference),
		with_master(test_a_missing_segment_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
