/* checked_again_test - what proposers have read is checked again when their commands are applied.
 *
 * Goal: of two commands that were both decided before either was applied, the second is refused
 * when the first has changed what it was decided by; no command fills the state beyond its bounds.
 * Method: pairs of commands, proposed by one state of things, in one batch of a state on the memory
 * twin. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/log/command.h"
#include "master/state/chain_change.h"
#include "tests/lib/state_fixture.h"

static struct fixture f;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	fixture_end(&f);
	return 0;
}

/* ---- pairs ---- */

struct registering {
	struct state_registration registration;
	struct map_server server;
	struct state_registered_target target;
	struct log_command command;
};

/* Decided now, by what the state knows. */
static void decide(struct registering *r, const char *name, const char *address, const char *uuid)
{
	*r = (struct registering){.server = fixture_server(name)};
	snprintf(r->server.address, sizeof(r->server.address), "%s", address);
	snprintf(r->target.uuid, sizeof(r->target.uuid), "%s", uuid);
	r->registration = (struct state_registration){
		.server = &r->server, .targets = &r->target, .target_count = 1};
	state_registration_read(f.state, &r->registration);
	r->command =
		(struct log_command){.kind = COMMAND_REGISTER, .registration = &r->registration};
}

static int apply(const struct log_command *command)
{
	struct command_result result = {0};
	int rc = command_apply(f.state, f.index + 1, command, &result);

	assert_false(command_has_failed(rc));
	f.index++;
	free(result.answer.reply);
	return rc;
}

/* Applies both as one batch, and gives the result of the second; the first is done. */
static int second_of(const struct log_command *first, const struct log_command *second)
{
	int rc;

	f.index = state_applied_index(f.state);
	state_batch_begin(f.state);
	assert_int_equal(apply(first), 0);
	rc = apply(second);
	assert_int_equal(state_batch_commit(f.state), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_true(state_is_sound(&f));
	return rc;
}

static void assert_target_at(const char *uuid, const char *server)
{
	struct cluster_map *map = state_map(f.state);
	const struct map_server *at =
		cluster_map_target_server(map, state_target_id(f.state, uuid));

	assert_non_null(at);
	assert_string_equal(at->name, server);
	cluster_map_unref(map);
}

static void of_two_servers_with_one_new_target_the_first_has_it(void **state)
{
	struct registering a, b;

	decide(&a, "a", "a:1", "copied");
	decide(&b, "b", "b:1", "copied");
	assert_int_equal(second_of(&a.command, &b.command), -EBUSY);
	assert_target_at("copied", "a");
	assert_int_equal(state_server_id(f.state, "b"), 0);
}

static void of_two_servers_with_one_known_target_the_first_has_it(void **state)
{
	struct registering a, b;

	assert_int_equal(do_register(&f, "gone", "copied", NULL), 0);
	decide(&a, "a", "a:1", "copied");
	decide(&b, "b", "b:1", "copied");
	assert_int_equal(second_of(&a.command, &b.command), -EBUSY);
	assert_target_at("copied", "a");
	/* Decided anew it may move: nobody has it any more. */
	decide(&b, "b", "b:1", "copied");
	assert_int_equal(apply(&b.command), 0);
	assert_target_at("copied", "b");
}

static void of_two_servers_with_one_name_the_first_is_it(void **state)
{
	struct registering here, there;

	decide(&here, "a", "here:1", "one");
	decide(&there, "a", "there:1", "another");
	assert_int_equal(second_of(&here.command, &there.command), -EBUSY);
	assert_int_equal(state_target_id(f.state, "another"), 0);
	/* The same of one that is known. */
	decide(&here, "a", "moved:1", "one");
	decide(&there, "a", "there:1", "another");
	assert_int_equal(second_of(&here.command, &there.command), -EBUSY);
	assert_int_equal(state_target_id(f.state, "another"), 0);
}

static void a_server_that_comes_twice_is_registered_twice(void **state)
{
	struct registering first, again;

	assert_int_equal(do_register(&f, "a", "one", NULL), 0);
	decide(&first, "a", "a:1234", "one");
	decide(&again, "a", "a:1234", "one");
	assert_int_equal(second_of(&first.command, &again.command), 0);
}

static void a_target_whose_life_was_settled_meanwhile_is_looked_at_anew(void **state)
{
	struct chain_life life = {.life = 9};
	struct log_command settled = {.kind = COMMAND_CHAINS,
				      .chains = {.lives = &life, .life_count = 1}};
	struct registering copy;

	assert_int_equal(do_register(&f, "a", "one", NULL), 0);
	life.target = state_target_id(f.state, "one");
	decide(&copy, "a", "a:1234", "one");
	assert_int_equal(second_of(&settled, &copy.command), -EBUSY);
}

static void of_two_changes_of_one_chain_the_first_counts(void **state)
{
	struct chain_change first = {.pool = 1,
				     .chain = {.epoch = 1,
					       .count = 1,
					       .members = {{1, MEMBER_IN_SYNC}}}},
			    second = first;
	struct log_command one = {.kind = COMMAND_CHAINS,
				  .chains = {.changes = &first, .change_count = 1}},
			   other = one;
	struct cluster_map *map;

	assert_int_equal(fixture_three_targets(&f), 0);
	second.chain.members[0].target_id = 2;
	other.chains.changes = &second;
	assert_int_equal(second_of(&one, &other), -EINVAL);
	map = state_map(f.state);
	assert_int_equal(cluster_map_chain(map, 1, 0)->members[0].target_id, 1);
	cluster_map_unref(map);
}

static void no_session_is_opened_behind_a_grant_and_no_lease_granted_behind_a_session(void **state)
{
	struct log_command grant = {.kind = COMMAND_LEASE_GRANT, .session = f.session};
	struct log_command open = {.kind = COMMAND_SESSION_OPEN,
				   .session_open = {.mount = "", .name = ""}};
	struct log_command end = {.kind = COMMAND_LEASE_END, .session = f.session, .generation = 1};

	assert_int_equal(second_of(&grant, &open), -EBUSY);
	assert_int_equal(apply(&end), 0);
	assert_int_equal(second_of(&open, &grant), -EBUSY);
}

static void a_session_that_is_closed_is_not_fenced_behind(void **state)
{
	struct log_command end = {.kind = COMMAND_SESSION_CLOSE, .session = f.session};
	struct log_command fence = {.kind = COMMAND_SESSION_FENCE, .session = f.session};

	assert_int_equal(second_of(&end, &fence), -ENOENT);
}

static void an_acceptance_is_refused_while_there_are_sessions(void **state)
{
	struct state_accept accept = {.chance = 99};

	assert_int_equal(state_apply_accept(f.state, f.index + 1, &accept), -EBUSY);
	assert_int_equal(fixture_accept(&f, &accept), 0);
}

static void targets_that_are_not_there_are_not_drained(void **state)
{
	uint32_t targets[] = {1, 77};
	struct log_command drain = {.kind = COMMAND_DRAIN,
				    .drain = {.targets = targets, .count = 2, .draining = true}};
	struct cluster_map *map;

	assert_int_equal(fixture_three_targets(&f), 0);
	f.index = state_applied_index(f.state);
	assert_int_equal(apply(&drain), -ENOENT);
	map = state_map(f.state);
	assert_false(cluster_map_target(map, 1)->draining);
	cluster_map_unref(map);
}

/* ---- bounds ---- */

static void a_server_has_as_many_workers_as_an_entry_may_say(void **state)
{
	struct registering r;

	decide(&r, "a", "a:1", "one");
	r.server.workers = STATE_WORKERS_MAX + 1;
	assert_int_equal(apply(&r.command), -EINVAL);
	r.server.workers = STATE_WORKERS_MAX;
	assert_int_equal(apply(&r.command), 0);
}

static void there_are_as_many_servers_as_a_map_may_name(void **state)
{
	struct registering r;
	char name[32], uuid[32];

	for (unsigned i = 0; i < STATE_SERVERS_MAX; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		snprintf(uuid, sizeof(uuid), "t%u", i);
		decide(&r, name, name, uuid);
		if (i == STATE_SERVERS_MAX - 1) /* one batch with the one too many */
			state_batch_begin(f.state);
		assert_int_equal(apply(&r.command), 0);
	}
	decide(&r, "late", "late:1", "late");
	assert_int_equal(apply(&r.command), -EUSERS);
	assert_int_equal(state_batch_commit(f.state), 0);
	/* One that is known may come with another disk. */
	decide(&r, "s5", "s5", "new-disk");
	assert_int_equal(apply(&r.command), 0);
	cluster_map_unref(state_map(f.state));
	assert_int_equal(f.state->cluster.server_count, STATE_SERVERS_MAX);
}

/* To register them all would take minutes: most are only said to be there. */
static void there_are_as_many_targets_as_a_map_may_name(void **state)
{
	struct cluster *cluster = &f.state->cluster;
	size_t bytes = (STATE_TARGETS_MAX + 2) * sizeof(*cluster->targets);
	struct registering r;

	assert_int_equal(do_register(&f, "a", "one", NULL), 0);
	cluster->targets = realloc(cluster->targets, bytes);
	assert_non_null(cluster->targets);
	for (uint32_t i = 1; i < STATE_TARGETS_MAX; i++)
		cluster->targets[i] = (struct state_target){.id = i + 1, .server_id = 1};
	cluster->target_count = STATE_TARGETS_MAX;
	f.index = state_applied_index(f.state);
	decide(&r, "a", "a:1234", "two");
	assert_int_equal(apply(&r.command), -EUSERS);
	decide(&r, "a", "a:1234", "one");
	assert_int_equal(apply(&r.command), 0);
	cluster->target_count--;
	decide(&r, "a", "a:1234", "two");
	assert_int_equal(apply(&r.command), 0);
}

static void there_are_as_many_sessions_as_leases_can_look_after(void **state)
{
	struct log_command open = {.kind = COMMAND_SESSION_OPEN,
				   .session_open = {.mount = "m", .name = "n"}};
	struct log_command end = {.kind = COMMAND_SESSION_CLOSE, .session = f.session};

	for (unsigned i = 1; i < STATE_SESSIONS_MAX - 1; i++)
		assert_int_equal(apply(&open), 0);
	assert_int_equal(second_of(&open, &open), -EUSERS);
	assert_int_equal(apply(&end), 0);
	assert_int_equal(apply(&open), 0);
}

static void a_session_has_no_more_inodes_open_than_its_bound(void **state)
{
	struct session *session;
	unsigned count;
	uint64_t one;

	assert_int_equal(do_create_full(&f, ROOT_INO, "one", S_IFREG | 0644, true, true), 0);
	one = reply_ino(&f);
	assert_int_equal(do_create(&f, ROOT_INO, "two"), 0);
	session = session_find(f.state, f.session);
	count = session->opens->hh.tbl->num_items;
	session->opens->hh.tbl->num_items = STATE_OPENS_MAX;
	assert_int_equal(do_open(&f, reply_ino(&f), false), -ENFILE);
	assert_int_equal(do_create_full(&f, ROOT_INO, "three", S_IFREG | 0644, true, true),
			 -ENFILE);
	assert_int_equal(do_create_full(&f, ROOT_INO, "two", S_IFREG | 0644, true, false), -ENFILE);
	assert_int_equal(do_create(&f, ROOT_INO, "three"), 0);
	assert_int_equal(do_open(&f, one, false), 0);
	session->opens->hh.tbl->num_items = count;
	assert_true(state_is_sound(&f));
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(of_two_servers_with_one_new_target_the_first_has_it),
		TEST(of_two_servers_with_one_known_target_the_first_has_it),
		TEST(of_two_servers_with_one_name_the_first_is_it),
		TEST(a_server_that_comes_twice_is_registered_twice),
		TEST(a_target_whose_life_was_settled_meanwhile_is_looked_at_anew),
		TEST(of_two_changes_of_one_chain_the_first_counts),
		TEST(no_session_is_opened_behind_a_grant_and_no_lease_granted_behind_a_session),
		TEST(a_session_that_is_closed_is_not_fenced_behind),
		TEST(an_acceptance_is_refused_while_there_are_sessions),
		TEST(targets_that_are_not_there_are_not_drained),
		TEST(a_server_has_as_many_workers_as_an_entry_may_say),
		TEST(there_are_as_many_servers_as_a_map_may_name),
		TEST(there_are_as_many_targets_as_a_map_may_name),
		TEST(there_are_as_many_sessions_as_leases_can_look_after),
		TEST(a_session_has_no_more_inodes_open_than_its_bound),
	};

	return cmocka_run_group_tests_name("checked again", tests, NULL, NULL);
}
