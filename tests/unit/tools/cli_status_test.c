/* Goal: catena status says what is wrong, of which target and how far recovery has come, to people
 * and to programs. Method: a status made by hand: three servers, one of them dead, one target
 * draining, one failed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/cluster_map.h"
#include "tools/cli/cli.h"

#define CHAINS 4u

struct world {
	Catena__StatusReply status;
	Catena__ClusterMap map;
	Catena__Pool pool, *pools[1];
	Catena__Chain chains[CHAINS], *chain_list[CHAINS];
	Catena__ChainMember members[CHAINS][3], *member_list[CHAINS][3];
	Catena__Server servers[3], *server_list[3];
	Catena__Target targets[3], *target_list[3];
	Catena__TargetStatus states[3], *state_list[3];
	Catena__CatchupProgress catchup, *catchups[1];
	Catena__Recovery recovery;
	char *warnings[1];
};

static struct world w;

static int setup(void **state)
{
	static char *const names[] = {"alpha", "beta", "gamma"};

	memset(&w, 0, sizeof(w));
	catena__status_reply__init(&w.status);
	catena__cluster_map__init(&w.map);
	catena__pool__init(&w.pool);
	catena__recovery__init(&w.recovery);
	catena__catchup_progress__init(&w.catchup);
	w.status.map = &w.map;
	w.status.recovery = &w.recovery;
	w.map.cluster = (char *)"c1";
	w.pools[0] = &w.pool;
	w.map.n_pools = 1;
	w.map.pools = w.pools;
	w.pool.copies = 3;
	w.pool.partitions = CHAINS;
	w.pool.chunk_size = 16 << 20;
	w.pool.n_chains = CHAINS;
	w.pool.chains = w.chain_list;
	for (unsigned i = 0; i < 3; i++) {
		catena__server__init(&w.servers[i]);
		catena__target__init(&w.targets[i]);
		catena__target_status__init(&w.states[i]);
		w.servers[i].id = 10 + i;
		w.servers[i].name = names[i];
		w.servers[i].address = (char *)"10.0.0.1:7401";
		w.servers[i].online = true;
		w.targets[i].id = i + 1;
		w.targets[i].server_id = 10 + i;
		w.targets[i].uuid = (char *)"00000000-0000-0000-0000-000000000001";
		w.targets[i].capacity = 1ull << 40;
		w.targets[i].used = 1ull << 30;
		w.states[i].id = i + 1;
		w.states[i].fair = CHAINS;
		w.server_list[i] = &w.servers[i];
		w.target_list[i] = &w.targets[i];
		w.state_list[i] = &w.states[i];
	}
	w.map.n_servers = w.map.n_targets = w.status.n_targets = 3;
	w.map.servers = w.server_list;
	w.map.targets = w.target_list;
	w.status.targets = w.state_list;
	for (unsigned c = 0; c < CHAINS; c++) {
		catena__chain__init(&w.chains[c]);
		w.chain_list[c] = &w.chains[c];
		w.chains[c].epoch = 7;
		w.chains[c].n_members = 3;
		w.chains[c].members = w.member_list[c];
		for (unsigned i = 0; i < 3; i++) {
			catena__chain_member__init(&w.members[c][i]);
			w.members[c][i].target_id = i + 1;
			w.members[c][i].state = MEMBER_IN_SYNC;
			w.member_list[c][i] = &w.members[c][i];
		}
	}
	return 0;
}

static char *text(void)
{
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	cli_status_text(file, "m:7400", &w.status);
	fclose(file);
	return out;
}

static void says(const char *what)
{
	char *out = text();

	if (strstr(out, what) == NULL)
		fail_msg("'%s' is not in:\n%s", what, out);
	free(out);
}

static void test_a_healthy_cluster_is_whole(void **state)
{
	says("partitions 4: 4 whole, 0 degraded, 0 without any member, 0 not placed");
	says("recovery nothing to do (as users leave room)");
	says("  4/4     ok\n");
}

static void test_each_trouble_is_told_where_it_is(void **state)
{
	w.servers[0].online = false;
	w.states[0].out_seconds = 34;
	w.states[1].error = 5;
	w.targets[1].full = true;
	w.targets[2].draining = true;
	for (unsigned c = 0; c < CHAINS; c++)
		w.members[c][0].state = MEMBER_OFFLINE;
	w.members[1][1].state = w.members[1][2].state = MEMBER_OFFLINE;
	w.chains[3].epoch = 0;
	w.members[2][2].state = MEMBER_SYNCING;
	w.catchup.partition = 2;
	w.catchup.target_id = 3;
	w.catchup.compared = 120;
	w.catchup.copied = 5ull << 30;
	w.catchup.damaged = true;
	w.catchups[0] = &w.catchup;
	w.status.n_catchups = 1;
	w.status.catchups = w.catchups;
	w.recovery.rate = 50 << 20;
	w.warnings[0] = (char *)"chain 1 has no member";
	w.status.n_warnings = 1;
	w.status.warnings = w.warnings;
	says("0 whole, 2 degraded, 1 without any member, 1 not placed");
	says("1 members syncing: 120 chunks compared, 5.0 GiB copied (at most 50.0 MiB/s a "
	     "server)");
	says("cannot be made whole");
	says("WARNING  chain 1 has no member\n");
	says("out 34 s\n");
	says("failed: Input/output error, full\n");
	says("draining, 4 partitions left, syncing 1: 120 chunks, 5.0 GiB\n");
	w.recovery.paused = true;
	says("(paused)");
}

static void test_a_drained_target_may_go(void **state)
{
	w.targets[2].draining = true;
	for (unsigned c = 0; c < CHAINS; c++)
		w.chains[c].n_members = 2;
	says("drained: may be taken away\n");
	says("0 whole, 4 degraded");
}

static void test_programs_get_everything(void **state)
{
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);
	json_t *root, *target;

	w.states[1].error = 5;
	w.targets[1].draining = true;
	w.recovery.rate = 1000;
	assert_int_equal(cli_status_json(file, &w.status), 0);
	fclose(file);
	root = json_loads(out, 0, NULL);
	assert_non_null(root);
	target = json_array_get(
		json_object_get(json_array_get(json_object_get(root, "servers"), 1), "targets"), 0);
	assert_int_equal(json_integer_value(json_object_get(target, "error")), 5);
	assert_true(json_is_true(json_object_get(target, "draining")));
	assert_int_equal(json_integer_value(json_object_get(target, "fair")), CHAINS);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(root, "recovery"), "rate")),
		1000);
	assert_int_equal(json_array_size(json_object_get(
				 json_array_get(json_object_get(root, "pools"), 0), "chains")),
			 CHAINS);
	json_decref(root);
	free(out);
	w.servers[0].name = (char *)"\xff";
	file = open_memstream(&out, &size);
	assert_int_equal(cli_status_json(file, &w.status), -EILSEQ);
	fclose(file);
	free(out);
}

static void test_targets_are_named_by_number_uuid_or_server(void **state)
{
	uint32_t *ids;

	w.targets[1].uuid = (char *)"abcdef00-0000-0000-0000-000000000001";
	assert_int_equal(cli_targets_named(&w.map, "2", &ids), 1);
	assert_int_equal(ids[0], 2);
	free(ids);
	assert_int_equal(cli_targets_named(&w.map, "ABCDEF00-0000-0000-0000-000000000001", &ids),
			 1);
	assert_int_equal(ids[0], 2);
	free(ids);
	w.targets[2].server_id = 10;
	assert_int_equal(cli_targets_named(&w.map, "alpha", &ids), 2);
	assert_int_equal(ids[1], 3);
	free(ids);
	assert_int_equal(cli_targets_named(&w.map, "", &ids), 0);
	free(ids);
	assert_int_equal(cli_targets_named(&w.map, "delta", &ids), 0);
	free(ids);
}

static void test_times_are_in_units_for_people(void **state)
{
	char out[32];

	assert_string_equal(cli_duration(119, out), "119 s");
	assert_string_equal(cli_duration(120, out), "2 min");
	assert_string_equal(cli_duration(7200, out), "2 h");
	assert_string_equal(cli_duration(172800, out), "2 d");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_healthy_cluster_is_whole, setup),
		cmocka_unit_test_setup(test_each_trouble_is_told_where_it_is, setup),
		cmocka_unit_test_setup(test_a_drained_target_may_go, setup),
		cmocka_unit_test_setup(test_programs_get_everything, setup),
		cmocka_unit_test_setup(test_targets_are_named_by_number_uuid_or_server, setup),
		cmocka_unit_test(test_times_are_in_units_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
