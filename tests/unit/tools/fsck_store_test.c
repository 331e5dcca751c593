/* fsck_store_test - fsck.catena on the store of a stopped master.
 *
 * Goal: a store without a fault is called healthy, and one with a fault is not, in the first line;
 * what could not be seen is never called healthy; for programs it is all in one JSON object, whatever
 * bytes a name has; the exit status has the bits of fsck(8). Nothing in the store is changed.
 * Method: a store on disk made by the state machine, damaged by hand. What a check finds is tested in
 * tests/unit/master/check. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "common/os/log.h"
#include "master/records/core.h"
#include "master/state/state.h"
#include "tests/lib/sessions.h"
#include "tests/lib/tree.h"
#include "tools/fsck/answer.h"
#include "tools/fsck/store.h"

static struct {
	char path[256], store[300];
	char *said; /* by the last check */
	size_t size;
	uint64_t ino; /* of the file */
} t;

static struct kv *open_store(bool create)
{
	struct kv_options options = {.path = t.store,
				     .families = records_families,
				     .family_count = records_family_count,
				     .memtable_bytes = 1u << 20,
				     .create = create};
	char error[256];
	struct kv *kv = NULL;

	assert_int_equal(kv_open(&options, &kv, error, sizeof(error)), 0);
	return kv;
}

/* A file with a name that no terminal should see. */
static void make_file(struct state *state)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	struct state_request command = {.session = 1, .message = &request};
	struct state_answer answer;
	Catena__Reply *reply;

	session_open_as(state, state_applied_index(state) + 1, 1, 1, "mount", "name");
	create.parent = ROOT_INO;
	create.name.data = (uint8_t *)"a\033[\xff";
	create.name.len = 4;
	create.mode = S_IFREG | 0644;
	request.id = 1;
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &create;
	assert_int_equal(
		state_apply_request(state, state_applied_index(state) + 1, &command, &answer), 0);
	reply = catena__reply__unpack(NULL, answer.reply_size, answer.reply);
	assert_int_equal(reply->error, 0);
	t.ino = reply->attr->ino;
	catena__reply__free_unpacked(reply, NULL);
	free(answer.reply);
}

static int setup(void **unused)
{
	const struct state_options options = {
		.copies = 1, .partitions = 4, .chunk_size = 1 << 20, .instance = 4};
	struct state *state;
	struct kv *kv;
	char error[256];

	log_set_level(LOG_LEVEL_ERROR + 1);
	if (tree_make(t.path, sizeof(t.path), "fsck_test") == NULL)
		return -1;
	snprintf(t.store, sizeof(t.store), "%s/store", t.path);
	kv = open_store(true);
	assert_int_equal(state_init(kv, "cluster", &options), 0);
	assert_int_equal(state_open(kv, &state, error, sizeof(error)), 0);
	make_file(state);
	state_close(state);
	kv_close(kv);
	return 0;
}

static int teardown(void **unused)
{
	tree_remove(t.path);
	free(t.said);
	t.said = NULL;
	return 0;
}

static void remove_inode(void)
{
	struct kv *kv = open_store(false);
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[8];

	key_u64(key, t.ino);
	kv_batch_delete(batch, FAMILY_INODES, key, sizeof(key));
	assert_int_equal(kv_write(kv, batch, true), 0);
	kv_batch_free(batch);
	kv_close(kv);
}

static int check(const struct fsck_options *options)
{
	FILE *out;
	int status;

	free(t.said);
	out = open_memstream(&t.said, &t.size);
	assert_non_null(out);
	status = fsck_store(options, out);
	fclose(out);
	if (getenv("TEST_LOG") != NULL)
		print_message("%s", t.said);
	return status;
}

static int check_text(void)
{
	const struct fsck_options options = {.directory = t.path};

	return check(&options);
}

static json_t *check_json(int status)
{
	const struct fsck_options options = {.directory = t.path, .json = true};
	json_error_t error;
	json_t *json;

	assert_int_equal(check(&options), status);
	json = json_loads(t.said, 0, &error);
	if (json == NULL)
		fail_msg("%s at %d:%d of %s", error.text, error.line, error.column, t.said);
	return json;
}

static void expect_first_line(const char *words)
{
	char line[600];

	snprintf(line, sizeof(line), "fsck.catena: %s: %s\n", t.path, words);
	if (strncmp(t.said, line, strlen(line)) != 0)
		fail_msg("not first: %sbut: %s", line, t.said);
}

static void expect_said(const char *words)
{
	if (strstr(t.said, words) == NULL)
		fail_msg("not said: %s\nbut: %s", words, t.said);
}

/* ---- tests ---- */

static void a_sound_store_is_healthy(void **unused)
{
	json_t *json;

	assert_int_equal(check_text(), FSCK_CLEAN);
	expect_first_line("healthy");
	expect_said("seen: 2 inodes, 1 names, 1 sessions, ");
	json = check_json(FSCK_CLEAN);
	assert_true(json_is_true(json_object_get(json, "healthy")));
	assert_true(json_is_true(json_object_get(json, "everything_seen")));
	assert_int_equal(json_array_size(json_object_get(json, "findings")), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "inodes")), 2);
	json_decref(json);
}

static void a_fault_is_told_with_its_path_and_what_to_do(void **unused)
{
	remove_inode();
	assert_int_equal(check_text(), FSCK_FOUND);
	assert_non_null(strstr(t.said, "NOT healthy: 1 loss"));
	assert_null(strstr(t.said, ": healthy"));
	expect_said("CF-1011 loss: /a\\033[\\377\n    a name leads to no inode");
	expect_said("    To do: the file is gone");
	assert_null(strchr(t.said, '\033'));
}

static void programs_get_each_fault_as_an_object(void **unused)
{
	json_t *json, *finding, *findings;
	size_t i;
	bool found = false;

	remove_inode();
	json = check_json(FSCK_FOUND);
	assert_true(json_is_false(json_object_get(json, "healthy")));
	findings = json_object_get(json, "findings");
	json_array_foreach(findings, i, finding)
	{
		if (strcmp(json_string_value(json_object_get(finding, "code")), "CF-1011") != 0)
			continue;
		found = true;
		assert_string_equal(json_string_value(json_object_get(finding, "severity")),
				    "loss");
		assert_null(json_object_get(finding, "path"));
		assert_string_equal(json_string_value(json_object_get(finding, "path_hex")),
				    "2f611b5bff");
	}
	assert_true(found);
	json_decref(json);
}

/* Fifteen attributes of inodes that are not there. */
static void leave_attributes(void)
{
	struct kv *kv = open_store(false);
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[8 + 7];

	for (unsigned i = 0; i < 15; i++) {
		key_u64(key, t.ino + 100 + i);
		memcpy(key + 8, "user.aa", 7);
		kv_batch_put(batch, FAMILY_XATTRS, key, sizeof(key), "value", 5);
	}
	assert_int_equal(kv_write(kv, batch, true), 0);
	kv_batch_free(batch);
	kv_close(kv);
}

static unsigned times_said(const char *words)
{
	unsigned count = 0;

	for (const char *at = t.said; (at = strstr(at, words)) != NULL; at++)
		count++;
	return count;
}

static void many_of_a_kind_are_told_shortly(void **unused)
{
	const struct fsck_options all = {.directory = t.path, .all = true};

	leave_attributes();
	assert_int_equal(check_text(), FSCK_FOUND);
	assert_int_equal(times_said("CF-1051 warning: "), 10);
	expect_said("CF-1051: 5 more of these (--all shows them)\n");
	assert_int_equal(check(&all), FSCK_FOUND);
	assert_int_equal(times_said("CF-1051 warning: "), 15);
	assert_null(strstr(t.said, "more of these"));
}

static void what_cannot_be_seen_is_never_healthy(void **unused)
{
	atomic_bool cancel = true;
	const struct fsck_options cancelled = {.directory = t.path, .cancel = &cancel};
	const struct fsck_options absent = {.directory = t.store};
	const struct fsck_options no_place = {.directory = t.path, .place = "/proc/version"};
	struct kv *kv = open_store(false);
	char moved[320];
	json_t *json;

	snprintf(moved, sizeof(moved), "%s.moved", t.store);
	/* Once: who looks in vain takes the lock from a process that is its own. */
	assert_int_equal(check_text(), FSCK_UNSEEN);
	expect_first_line("NOT KNOWN: not everything was seen");
	expect_said("stop catena-master");
	kv_close(kv);
	assert_int_equal(check(&cancelled), FSCK_UNSEEN | FSCK_CANCELLED);
	assert_null(strstr(t.said, ": healthy"));
	assert_int_equal(check(&absent), FSCK_UNSEEN);
	expect_said("not the data directory of a catena-master");
	assert_int_equal(rename(t.store, moved), 0);
	json = check_json(FSCK_UNSEEN);
	assert_true(json_is_false(json_object_get(json, "healthy")));
	assert_true(json_is_false(json_object_get(json, "everything_seen")));
	json_decref(json);
	assert_int_equal(rename(moved, t.store), 0);
	assert_int_equal(check(&no_place), FSCK_UNSEEN);
	expect_said("no place to sort in");
	assert_int_equal(check_text(), FSCK_CLEAN);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_sound_store_is_healthy),
		TEST(a_fault_is_told_with_its_path_and_what_to_do),
		TEST(programs_get_each_fault_as_an_object),
		TEST(many_of_a_kind_are_told_shortly),
		TEST(what_cannot_be_seen_is_never_healthy),
	};

	return cmocka_run_group_tests_name("fsck_store", tests, NULL, NULL);
}
