/* replay_rig.c - see replay_rig.h. */
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
#include "master/kept/segment.h"
#include "master/replay/replay.h"
#include "tests/lib/tree.h"
#include "tests/unit/master/replay/replay_rig.h"

struct replay_rig rig = {.lock = PTHREAD_MUTEX_INITIALIZER};

ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
	struct iovec part = parts[1];

	if (!rig.write_half)
		return __real_writev(fd, parts, count);
	rig.write_half = false;
	part.iov_len /= 2;
	return __real_writev(fd, &part, 1);
}

bool __wrap_kv_space_low(struct kv *kv);
bool __wrap_kv_space_low(struct kv *kv)
{
	return rig.space_low;
}

/* ---- a master ---- */

static void on_done(struct command_call *call, int status)
{
	free(call->result.answer.reply);
	assert_int_equal(status, 0);
}

struct command_call *rig_next_call(struct rig_turn *turn)
{
	struct command_call *call = &turn->calls[turn->count++];

	*call = (struct command_call){.done = on_done};
	return call;
}

void rig_add_request(struct rig_turn *turn)
{
	unsigned i = turn->count;
	Catena__Request *request = &turn->requests[i];
	struct command_call *call = rig_next_call(turn);

	catena__request__init(request);
	request->id = ++rig.requests;
	request->time = (int64_t)rig.requests;
	snprintf(turn->names[i], sizeof(turn->names[i]), "name-%llu",
		 (unsigned long long)(rig.names - (rig.requests % 4 == 0)));
	if (rig.requests % 4 == 0) {
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
		rig.names++;
	}
	call->command = (struct log_command){
		.kind = COMMAND_REQUEST, .session = rig.session, .request = {.message = request}};
}

void rig_take_turn(struct rig_turn *turn)
{
	pthread_mutex_lock(&rig.lock);
	for (unsigned i = 0; i < turn->count; i++)
		command_log_propose(rig.command_log, &turn->calls[i]);
	command_log_turn(rig.command_log);
	pthread_mutex_unlock(&rig.lock);
}

/* As many commands, in batches of different length. */
void rig_work(unsigned commands)
{
	while (commands > 0) {
		unsigned count = 1 + commands % 8;
		struct rig_turn turn = {.count = 0};

		for (unsigned i = 0; i < count && commands > 0; i++, commands--)
			rig_add_request(&turn);
		rig_take_turn(&turn);
	}
}

static void open_session(void)
{
	struct command_call call = {.done = on_done};

	call.command = (struct log_command){
		.kind = COMMAND_SESSION_OPEN,
		.session_open = {.secret = 1, .mount = "mount", .name = "name"}};
	rig.session = state_next_session_id(rig.state);
	pthread_mutex_lock(&rig.lock);
	command_log_propose(rig.command_log, &call);
	command_log_turn(rig.command_log);
	pthread_mutex_unlock(&rig.lock);
}

const struct command_keeper *rig_telling(void)
{
	return keeper_interface(rig.keeper);
}

/* The first entry of a life, as the shell applies it. */
static void apply_start(void)
{
	struct log_command command = {
		.kind = COMMAND_START,
		.start = {.life = {.instance = 5, .chance = ++rig.chance}, .id_gap = STATE_ID_GAP}};
	uint64_t index = state_applied_index(rig.state) + 1;
	struct command_result result = {0};

	state_batch_begin(rig.state);
	rig_telling()->entry(rig_telling()->user, index, &command);
	assert_int_equal(command_apply(rig.state, index, &command, &result), 0);
	rig_telling()->applied(rig_telling()->user, index, 0, &result);
	rig_telling()->commit(rig_telling()->user);
	assert_int_equal(state_batch_commit(rig.state), 0);
}

static void recovered(void *user)
{
}

void rig_open_state(void)
{
	struct kv_options options = {.path = rig.store,
				     .families = records_families,
				     .family_count = records_family_count,
				     .memtable_bytes = 1u << 20,
				     .create = true};
	const struct state_options fresh = {
		.copies = 1, .partitions = 4, .chunk_size = 1 << 20, .instance = 4};
	char error[256];
	int rc;

	assert_int_equal(kv_open(&options, &rig.kv, error, sizeof(error)), 0);
	rc = state_init(rig.kv, "cluster", &fresh);
	assert_true(rc == 0 || rc == -EEXIST);
	assert_int_equal(state_open(rig.kv, &rig.state, error, sizeof(error)), 0);
}

void rig_start(void)
{
	struct command_log_options log = {.state_lock = &rig.lock, .recovered = recovered};
	struct keeper_options keep = {.path = rig.log, .bytes = 4 * SEGMENT_BYTES};

	rig_open_state();
	keep.kv = rig.kv;
	keep.state = rig.state;
	assert_int_equal(keeper_open(&keep, &rig.keeper), 0);
	apply_start();
	log.kv = rig.kv;
	log.state = rig.state;
	log.keeper = rig_telling();
	assert_int_equal(command_log_open(&log, &rig.command_log), 0);
	if (rig.session == 0)
		open_session();
}

void rig_stop(void)
{
	command_log_close(rig.command_log);
	keeper_close(rig.keeper);
	state_close(rig.state);
	kv_close(rig.kv);
	rig.command_log = NULL;
	rig.keeper = NULL;
	rig.state = NULL;
	rig.kv = NULL;
}

int rig_setup(void **state)
{
	log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	if (tree_make(rig.path, sizeof(rig.path), "replay_test") == NULL)
		return -1;
	snprintf(rig.store, sizeof(rig.store), "%s/store", rig.path);
	snprintf(rig.log, sizeof(rig.log), "%s/log", rig.path);
	snprintf(rig.work, sizeof(rig.work), "%s/work", rig.path);
	snprintf(rig.copy, sizeof(rig.copy), "%s/copy", rig.path);
	rig.space_low = false;
	rig.session = rig.chance = rig.names = rig.requests = 0;
	return mkdir(rig.work, 0700);
}

int rig_teardown(void **state)
{
	if (rig.kv != NULL)
		rig_stop();
	tree_remove(rig.path);
	free(rig.said);
	rig.said = NULL;
	return 0;
}

/* ---- what is kept ---- */

size_t rig_parts(struct kept_part **parts)
{
	int fd = open(rig.log, O_RDONLY | O_DIRECTORY);
	size_t count = 0;

	assert_true(fd >= 0);
	assert_int_equal(kept_list(fd, parts, &count), 0);
	close(fd);
	return count;
}

/* Waits until the last part has, or some part after @first has, a checkpoint. */
void rig_wait_for_checkpoint(uint32_t first)
{
	for (int i = 0; i < 6000; i++) {
		struct kept_part *parts;
		bool found = false;
		size_t count = rig_parts(&parts);

		for (size_t k = 0; k < count; k++)
			found = found || (parts[k].number >= first && parts[k].has_store);
		free(parts);
		if (found)
			return;
		usleep(10000);
	}
	fail_msg("no checkpoint");
}

uint32_t rig_last_number(void)
{
	struct kept_part *parts;
	size_t count = rig_parts(&parts);
	uint32_t number = count == 0 ? 0 : parts[count - 1].number;

	free(parts);
	return number;
}

const char *rig_segment_path(uint32_t number)
{
	static char path[400];
	char name[KEPT_NAME_MAX];

	kept_entries_name(number, name);
	snprintf(path, sizeof(path), "%s/%s", rig.log, name);
	return path;
}

int rig_replay(unsigned batch)
{
	FILE *out;
	int rc;
	struct replay_options options = {.path = rig.log, .work = rig.work, .batch = batch};

	free(rig.said);
	out = open_memstream(&rig.said, &rig.said_size);
	assert_non_null(out);
	options.out = out;
	options.print = batch == 3;
	rc = replay(&options, rig.error, sizeof(rig.error));
	fclose(out);
	if (getenv("TEST_LOG") != NULL)
		print_message("%s%s\n", rig.said, rc < 0 ? rig.error : "");
	return rc;
}

void rig_expect_equal(void)
{
	for (unsigned batch = 1; batch <= 100; batch = batch * 3 + (batch > 3 ? 90 : 0))
		if (rig_replay(batch) != 0)
			fail_msg("%s%s", rig.said, rig.error);
}

void rig_expect_difference(unsigned batch)
{
	if (rig_replay(batch) != 1)
		fail_msg("no difference: %s%s", rig.said, rig.error);
}

void rig_expect_said(const char *text)
{
	if (strstr(rig.said, text) == NULL)
		fail_msg("not said: %s\n%s%s", text, rig.said, rig.error);
}

/* ---- stores ---- */

void rig_write_record(const char *path, unsigned family, const void *key, size_t size,
		      const char *value)
{
	struct kv_options options = {.path = path,
				     .families = records_families,
				     .family_count = records_family_count,
				     .memtable_bytes = 1u << 20};
	struct kv_batch *batch = kv_batch_new();
	char error[256];
	struct kv *kv;

	assert_int_equal(kv_open(&options, &kv, error, sizeof(error)), 0);
	if (value != NULL)
		kv_batch_put(batch, family, key, size, value, strlen(value));
	else
		kv_batch_delete(batch, family, key, size);
	assert_int_equal(kv_write(kv, batch, true), 0);
	kv_batch_free(batch);
	kv_close(kv);
}
