/* refused_test - commands that meet a damaged record.
 *
 * Goal: such a command is refused with EIO, alone of its turn, and the log has the refusal in its
 * place: a master whose record is fine, and that reads the log, comes to the same state, and gives
 * the same answers. Method: a log on a state of which one inode's record was damaged in its store;
 * its entries, applied to a copy of the store from before. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include "common/os/log.h"
#include "master/log/command_log.h"
#include "master/log/entry.h"
#include "tests/lib/state_fixture.h"

#define TURN_CALLS 4

static struct fixture f, copy;
static struct command_log *command_log;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t damaged_ino;

/* What the log has kept at its last index. */
static struct {
	uint8_t *bytes;
	size_t size;
} kept;

static void keep_entry(void *user, uint64_t index, const struct log_command *command)
{
	(void)user;
	free(kept.bytes);
	assert_int_equal(entry_encode(command, index, &kept.bytes, &kept.size), 0);
}

static void keep_applied(void *user, uint64_t index, int status,
			 const struct command_result *result)
{
	(void)user;
	(void)index;
	(void)status;
	(void)result;
}

static void keep_commit(void *user)
{
	(void)user;
}

static void keep_undone(void *user, uint64_t index)
{
	(void)user;
	(void)index;
}

static const struct command_keeper keeper = {
	.entry = keep_entry, .applied = keep_applied, .commit = keep_commit, .undone = keep_undone};

struct sent {
	struct command_call call;
	Catena__Request request;
	Catena__CreateReq create;
	Catena__SetattrReq setattr;
	Catena__UnlinkReq unlink;
	Catena__RenameReq rename;
	int told, status, error; /* of the reply; -1: there is none */
	uint64_t lane;
};

static void damage(uint64_t ino, bool gone)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[8];

	key_u64(key, ino);
	if (gone)
		kv_batch_delete(batch, FAMILY_INODES, key, sizeof(key));
	else
		kv_batch_put(batch, FAMILY_INODES, key, sizeof(key), "damaged", 7);
	assert_int_equal(kv_write(f.kv, batch, true), 0);
	kv_batch_free(batch);
}

/* Of a test whose damaged file is open and has no name; of one with three removals in the queue; of one
 * whose file has no record at all. */
static bool unnamed, queued, gone;

static int queue_removals(void)
{
	for (int i = 0; i < 3; i++)
		if (do_create(&f, ROOT_INO, "x") != 0 ||
		    do_size_at(&f, reply_ino(&f), CATENA__SET_MASK__SET_SIZE, 5, 0, 0) != 0 ||
		    do_unlink(&f, ROOT_INO, "x") != 0)
			return -1;
	return 0;
}

static int setup(void **state)
{
	struct command_log_options options = {.state_lock = &lock, .keeper = &keeper};

	log_set_level(LOG_LEVEL_ERROR);
	if (fixture_init(&f, UINT64_MAX) != 0 || do_create(&f, ROOT_INO, "good") != 0 ||
	    do_open(&f, reply_ino(&f), false) != 0 || do_unlink(&f, ROOT_INO, "good") != 0 ||
	    do_create(&f, ROOT_INO, "bad") != 0)
		return -1;
	damaged_ino = reply_ino(&f);
	if (*state == &unnamed &&
	    (do_open(&f, damaged_ino, false) != 0 || do_unlink(&f, ROOT_INO, "bad") != 0))
		return -1;
	if (*state == &queued && queue_removals() != 0)
		return -1;
	copy = (struct fixture){.session = f.session, .name_mask = f.name_mask};
	if (kv_memory_copy(f.kv, &copy.kv) != 0 || fixture_open_state(&copy) != 0)
		return -1;
	damage(damaged_ino, *state == &gone);
	if (fixture_reopen(&f) != 0)
		return -1;
	options.state = f.state;
	options.kv = f.kv;
	return command_log_open(&options, &command_log);
}

static int teardown(void **state)
{
	/* A test that fails leaves the lock taken. */
	(void)pthread_mutex_trylock(&lock);
	pthread_mutex_unlock(&lock);
	command_log_close(command_log);
	free(kept.bytes);
	kept.bytes = NULL;
	fixture_end(&f);
	fixture_end(&copy);
	return 0;
}

static int error_of(const struct state_answer *answer)
{
	Catena__Reply *reply;
	int error;

	if (answer->reply == NULL)
		return -1;
	reply = catena__reply__unpack(NULL, answer->reply_size, answer->reply);
	assert_non_null(reply);
	error = reply->error;
	catena__reply__free_unpacked(reply, NULL);
	return error;
}

static void on_done(struct command_call *call, int status)
{
	struct sent *sent = (struct sent *)call;

	sent->told++;
	sent->status = status;
	sent->error = status == 0 ? error_of(&call->result.answer) : -1;
	sent->lane = call->result.answer.lane;
	free(call->result.answer.reply);
}

static void propose(struct sent *sent, uint64_t id, uint64_t lane)
{
	sent->request.id = id;
	sent->request.lane = lane;
	sent->call.done = on_done;
	sent->call.command = (struct log_command){.kind = COMMAND_REQUEST,
						  .session = f.session,
						  .request = {.message = &sent->request}};
	command_log_propose(command_log, &sent->call);
}

static void make(struct sent *sent, uint64_t id, uint64_t lane, const char *name)
{
	*sent = (struct sent){.request = CATENA__REQUEST__INIT, .create = CATENA__CREATE_REQ__INIT};
	sent->create.parent = ROOT_INO;
	sent->create.name = bytes_of(name);
	sent->create.mode = S_IFREG | 0644;
	sent->request.op_case = CATENA__REQUEST__OP_CREATE;
	sent->request.create = &sent->create;
	propose(sent, id, lane);
}

static void change_damaged(struct sent *sent, uint64_t id, uint64_t lane)
{
	*sent = (struct sent){.request = CATENA__REQUEST__INIT,
			      .setattr = CATENA__SETATTR_REQ__INIT};
	sent->setattr.ino = damaged_ino;
	sent->setattr.mask = CATENA__SET_MASK__SET_MODE;
	sent->setattr.mode = 0600;
	sent->request.op_case = CATENA__REQUEST__OP_SETATTR;
	sent->request.setattr = &sent->setattr;
	propose(sent, id, lane);
}

static void remove_name(struct sent *sent, uint64_t id, const char *name)
{
	*sent = (struct sent){.request = CATENA__REQUEST__INIT, .unlink = CATENA__UNLINK_REQ__INIT};
	sent->unlink.parent = ROOT_INO;
	sent->unlink.name = bytes_of(name);
	sent->request.op_case = CATENA__REQUEST__OP_UNLINK;
	sent->request.unlink = &sent->unlink;
	propose(sent, id, 0);
}

static void move(struct sent *sent, uint64_t id, const char *name, const char *new_name)
{
	*sent = (struct sent){.request = CATENA__REQUEST__INIT, .rename = CATENA__RENAME_REQ__INIT};
	sent->rename.parent = sent->rename.new_parent = ROOT_INO;
	sent->rename.name = bytes_of(name);
	sent->rename.new_name = bytes_of(new_name);
	sent->request.op_case = CATENA__REQUEST__OP_RENAME;
	sent->request.rename = &sent->rename;
	propose(sent, id, 0);
}

/* What a log that is kept has of it, decoded and applied on the copy. */
static void replay(const struct sent *sent)
{
	const struct log_command *command = &sent->call.command;
	struct log_command instead;
	uint64_t *numbers = NULL;
	struct command_result result = {0};
	struct entry *entry;
	uint8_t *bytes;
	size_t size;

	if (sent->call.refused) {
		assert_int_equal(command_without_damage(f.state, command, &instead, &numbers), 0);
		assert_null(numbers);
		command = &instead;
	}
	assert_int_equal(entry_encode(command, sent->call.index, &bytes, &size), 0);
	assert_int_equal(entry_decode(bytes, size, &entry), 0);
	assert_int_equal(command_apply(copy.state, entry->index, &entry->command, &result), 0);
	assert_int_equal(error_of(&result.answer), sent->error);
	assert_int_equal(result.answer.lane, sent->lane);
	free(result.answer.reply);
	entry_free(entry);
	free(bytes);
}

static void assert_equal_stores(void)
{
	const uint8_t *key_a, *key_b, *value_a, *value_b;
	size_t key_size_a, key_size_b, size_a, size_b;

	damage(damaged_ino, false); /* nothing was put in its place */
	for (unsigned family = 0; family < FAMILY_COUNT; family++) {
		struct kv_iter *a, *b;
		int more;

		assert_int_equal(kv_iter_open(f.kv, family, "", 0, NULL, 0, &a), 0);
		assert_int_equal(kv_iter_open(copy.kv, family, "", 0, NULL, 0, &b), 0);
		while ((more = kv_iter_next(a, &key_a, &key_size_a, &value_a, &size_a)) == 1) {
			assert_int_equal(kv_iter_next(b, &key_b, &key_size_b, &value_b, &size_b),
					 1);
			assert_int_equal(key_size_a, key_size_b);
			assert_memory_equal(key_a, key_b, key_size_a);
			if (family == FAMILY_INODES && get_be64(key_a) == damaged_ino)
				continue;
			assert_int_equal(size_a, size_b);
			assert_memory_equal(value_a, value_b, size_a);
		}
		assert_int_equal(more, 0);
		assert_int_equal(kv_iter_next(b, &key_b, &key_size_b, &value_b, &size_b), 0);
		kv_iter_free(a);
		kv_iter_free(b);
	}
}

static void turn(struct sent *sent, size_t count)
{
	command_log_turn(command_log);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(sent[i].told, 1);
		assert_int_equal(sent[i].status, 0);
		if (i > 0)
			assert_int_equal(sent[i].call.index, sent[i - 1].call.index + 1);
		replay(&sent[i]);
	}
	assert_int_equal(command_log_error(command_log), 0);
	assert_int_equal(command_log_applied(command_log), sent[count - 1].call.index);
	assert_equal_stores();
}

static void a_command_that_meets_damage_is_refused_alone_of_its_turn(void **state)
{
	struct sent sent[TURN_CALLS], again;

	pthread_mutex_lock(&lock);
	make(&sent[0], 10, 0, "one");
	change_damaged(&sent[1], 11, 0);
	make(&sent[2], 12, 0, "two");
	change_damaged(&sent[3], 13, 0);
	turn(sent, TURN_CALLS);
	assert_int_equal(sent[0].error, 0);
	assert_int_equal(sent[1].error, EIO);
	assert_int_equal(sent[2].error, 0);
	assert_int_equal(sent[3].error, EIO);
	assert_true(sent[1].call.refused && !sent[2].call.refused);
	/* A repetition is answered as the first time, also where the record is fine. */
	change_damaged(&again, 11, 0);
	turn(&again, 1);
	assert_int_equal(again.error, EIO);
	assert_false(again.call.refused);
	pthread_mutex_unlock(&lock);
}

static void an_entry_without_its_inode_is_damage(void **state)
{
	struct sent sent[5];

	(void)state;
	pthread_mutex_lock(&lock);
	make(&sent[0], 10, 0, "bad"); /* opens what is there */
	remove_name(&sent[1], 11, "bad");
	move(&sent[2], 12, "bad", "other");
	make(&sent[3], 13, 0, "new");
	move(&sent[4], 14, "new", "bad");
	turn(sent, 5);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(sent[i].error, i == 3 ? 0 : EIO);
		assert_int_equal(sent[i].call.refused, i != 3);
	}
	pthread_mutex_unlock(&lock);
}

static void a_new_field_counts_from_its_level(void **state)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct log_command command = {.kind = COMMAND_REQUEST, .request = {.message = &request}};

	(void)state;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	assert_int_equal(command_level(&command), 0);
	setattr.new_file_id = 1;
	assert_int_equal(command_level(&command), 2);
}

static void a_lane_goes_on_behind_damage(void **state)
{
	struct sent sent[TURN_CALLS];

	pthread_mutex_lock(&lock);
	make(&sent[0], 10, 1, "one");
	change_damaged(&sent[1], 11, 2);
	make(&sent[2], 12, 3, "two");
	change_damaged(&sent[3], 11, 2);
	turn(sent, TURN_CALLS);
	assert_int_equal(sent[0].error, -1);
	assert_int_equal(sent[1].error, EIO);
	assert_int_equal(sent[1].lane, 2);
	assert_int_equal(sent[2].error, -1);
	assert_int_equal(sent[3].error, EIO);
	pthread_mutex_unlock(&lock);
}

/* Then the whole turn is applied once more. */
static void a_turn_with_damage_is_applied_again_when_the_disk_was_full(void **state)
{
	struct sent sent[2];

	kv_memory_fail_write(f.kv, 1, -ENOSPC);
	pthread_mutex_lock(&lock);
	change_damaged(&sent[0], 10, 0);
	make(&sent[1], 11, 0, "one");
	turn(sent, 2);
	assert_int_equal(sent[0].error, EIO);
	assert_int_equal(sent[1].error, 0);
	pthread_mutex_unlock(&lock);
}

static void the_end_of_a_session_leaves_what_is_damaged(void **state)
{
	struct state_counts counts;
	struct command_result result = {0};
	struct entry *entry;
	struct sent sent = {.told = 0};

	/* "good" and "bad", both open and without a name. */
	state_counts(f.state, &counts);
	assert_int_equal(counts.orphans, 2);
	sent.call.command =
		(struct log_command){.kind = COMMAND_SESSION_CLOSE, .session = f.session};
	sent.call.done = on_done;
	pthread_mutex_lock(&lock);
	command_log_propose(command_log, &sent.call);
	command_log_turn(command_log);
	assert_int_equal(sent.told, 1);
	assert_int_equal(sent.status, 0);
	assert_false(sent.call.refused);
	assert_null(session_find(f.state, f.session));
	state_counts(f.state, &counts);
	assert_int_equal(counts.orphans, 1);
	/* A master whose record is fine leaves it, too. */
	assert_int_equal(entry_decode(kept.bytes, kept.size, &entry), 0);
	assert_int_equal(entry->index, sent.call.index);
	assert_int_equal(entry->command.session_close.left_count, 1);
	assert_int_equal(entry->command.session_close.left[0], damaged_ino);
	assert_int_equal(command_level(&entry->command), 1);
	assert_int_equal(command_apply(copy.state, entry->index, &entry->command, &result), 0);
	entry_free(entry);
	assert_equal_stores();
	pthread_mutex_unlock(&lock);
}

static void removals_go_on_without_what_is_damaged(void **state)
{
	struct state_removal queue[3];
	struct command_result result = {0};
	uint64_t sequences[3], numbers[3];
	struct sent sent = {.told = 0};
	struct entry *entry;
	uint8_t key[8];

	(void)state;
	assert_int_equal(state_removals(f.state, 0, queue, 3), 3);
	for (int i = 0; i < 3; i++)
		sequences[i] = queue[i].sequence;
	key_u64(key, sequences[1]);
	kv_memory_damage(f.kv, FAMILY_REMOVALS, key, sizeof(key));
	assert_int_equal(state_removals_sound(f.state, sequences, 3, numbers), 2);
	sent.call.command = (struct log_command){.kind = COMMAND_REMOVED,
						 .removed = {.sequences = sequences, .count = 3}};
	sent.call.done = on_done;
	pthread_mutex_lock(&lock);
	command_log_propose(command_log, &sent.call);
	command_log_turn(command_log);
	pthread_mutex_unlock(&lock);
	assert_int_equal(sent.told, 1);
	assert_int_equal(sent.status, 0);
	assert_int_equal(entry_decode(kept.bytes, kept.size, &entry), 0);
	assert_int_equal(entry->command.removed.count, 2);
	assert_int_equal(command_apply(copy.state, entry->index, &entry->command, &result), 0);
	entry_free(entry);
	assert_int_equal(state_removals(copy.state, 0, queue, 3), 1);
	assert_int_equal(queue[0].sequence, sequences[1]);
	kv_memory_damage(f.kv, FAMILY_REMOVALS, "", 0);
	assert_equal_stores();
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_command_that_meets_damage_is_refused_alone_of_its_turn),
		cmocka_unit_test_prestate_setup_teardown(an_entry_without_its_inode_is_damage,
							 setup, teardown, &gone),
		TEST(a_new_field_counts_from_its_level),
		TEST(a_lane_goes_on_behind_damage),
		TEST(a_turn_with_damage_is_applied_again_when_the_disk_was_full),
		cmocka_unit_test_prestate_setup_teardown(removals_go_on_without_what_is_damaged,
							 setup, teardown, &queued),
		cmocka_unit_test_prestate_setup_teardown(
			the_end_of_a_session_leaves_what_is_damaged, setup, teardown, &unnamed),
	};

	return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}
