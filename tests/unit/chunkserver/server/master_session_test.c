/* Goal: the master hears what it has to know at the moment it has to, and what it says is taken up
 * in an order in which no lease outlives what it was given for. Method: a master that writes down
 * what comes, and says what the test wants; the session's callbacks write down, too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "chunkserver/server/master_session.h"
#include "common/os/clock.h"
#include "tests/lib/catena_ca.h"
#include "tests/unit/chunkserver/server/server_master.h"
#include "tests/lib/rpc_end.h"

#define WAIT_NS (10 * NS_PER_SEC)

static char dir[CA_PATH_MAX], ca[CA_PATH_MAX], address[64];
static struct ca_files master_cert, server_cert;
static uv_loop_t loop;
static struct master_session *session;
static char happened[256]; /* a letter for each callback */
static struct server_status status_now;
static int target_error;
static uint64_t recovery_rate;
static bool recovery_paused;
static uint64_t lease_until;

static uint64_t own_instance, said_instance;
static bool refused; /* the target */

static void say_registered(void)
{
	Catena__TargetReport target = CATENA__TARGET_REPORT__INIT, *targets[1] = {&target};
	Catena__Registered message = CATENA__REGISTERED__INIT, *messages[1] = {&message};
	Catena__ServerPush push = CATENA__SERVER_PUSH__INIT;

	target.uuid = "uuid-1";
	target.target_id = refused ? 0 : 10;
	target.error = refused ? ESTALE : 0;
	message.server_id = 100;
	message.instance = said_instance;
	message.life = 3;
	message.chance = 4;
	message.lease_ns = 2 * NS_PER_SEC;
	message.targets = targets;
	message.n_targets = 1;
	push.registered = messages;
	push.n_registered = 1;
	say(&push);
}

/* A map and a renewal in one message. */
static void say_map_and_renewal(bool bad_map, uint64_t sequence)
{
	Catena__ClusterMap map = CATENA__CLUSTER_MAP__INIT, *maps[1] = {&map};
	Catena__Target target = CATENA__TARGET__INIT, *targets[1] = {&target};
	Catena__Renew renew = CATENA__RENEW__INIT, *renews[1] = {&renew};
	Catena__ServerPush push = CATENA__SERVER_PUSH__INIT;

	map.version = 7;
	map.cluster = "test";
	/* A target of a server that is not there. */
	target.id = 10;
	target.server_id = 5;
	target.uuid = "x";
	map.targets = targets;
	map.n_targets = bad_map ? 1 : 0;
	renew.sequence = sequence;
	push.maps = maps;
	push.n_maps = 1;
	push.renewed = renews;
	push.n_renewed = 1;
	say(&push);
}

/* ---- the session's callbacks ---- */

static void note(char what)
{
	size_t n = strlen(happened);

	if (n + 1 < sizeof(happened))
		happened[n] = what;
}

static void on_report(void *user, unsigned index, struct target_report *report)
{
	*report = (struct target_report){.uuid = "uuid-1",
					 .capacity = 1000,
					 .used = 10,
					 .error = target_error,
					 .life = 42,
					 .seen = {.life = 2, .chance = 9, .version = 1ull << 40}};
}

static void on_status(void *user, struct server_status *status)
{
	*status = status_now;
}

static uint64_t index_told;

static void on_index(void *user, uint64_t index)
{
	index_told = index;
}

static uint64_t on_instance(void *user)
{
	return own_instance;
}

static int on_joined(void *user, const struct master_identity *is)
{
	assert_int_equal(is->life, 3);
	assert_int_equal(is->chance, 4);
	if (own_instance != 0 && own_instance != is->instance) {
		note('x');
		return -EXDEV;
	}
	own_instance = is->instance;
	return 0;
}

static void on_registered(void *user, uint64_t server_id, const uint32_t *target_ids,
			  uint64_t map_version)
{
	note('r');
}

static void on_map(void *user, struct cluster_map *map)
{
	note('m');
}

static void on_lease(void *user, uint64_t until_ns)
{
	lease_until = until_ns;
	note('l');
}

static void on_remove(void *user, unsigned index, uint64_t sequence,
		      const struct chunk_order *chunks, size_t count)
{
	note('d');
}

static void on_recovery(void *user, uint64_t rate, bool paused)
{
	recovery_rate = rate;
	recovery_paused = paused;
	note('y');
}

/* ---- the fixture ---- */

static int group_setup(void **state)
{
	ca_temp_dir(dir);
	snprintf(ca, sizeof(ca), "%.200s/ca", dir);
	ca_init(ca, "test");
	ca_issue(ca, "master", "m1", NULL, &master_cert);
	ca_issue(ca, "chunkserver", "cs", NULL, &server_cert);
	rpc_init();
	return 0;
}

static int group_teardown(void **state)
{
	rpc_end();
	tree_remove(dir);
	return 0;
}

static int setup(void **state)
{
	struct master_session_options session_options = {
		.loop = &loop,
		.master = address,
		.tls = server_cert.files,
		.cluster = "test",
		.name = "cs",
		.address = "127.0.0.1:1",
		.workers = 1,
		.target_count = 1,
		.instance = on_instance,
		.callbacks = {.joined = on_joined,
			      .report = on_report,
			      .status = on_status,
			      .registered = on_registered,
			      .map = on_map,
			      .lease = on_lease,
			      .index = on_index,
			      .remove = on_remove,
			      .recovery = on_recovery},
	};
	char error[256];

	if (server_master_start(&master_cert.files, address, sizeof(address)) != 0)
		return -1;
	own_instance = 0;
	said_instance = 5;
	memset(happened, 0, sizeof(happened));
	memset(&status_now, 0, sizeof(status_now));
	target_error = 0;
	uv_loop_init(&loop);
	return master_session_open(&session_options, &session, error, sizeof(error));
}

static int teardown(void **state)
{
	master_session_close(session);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	server_master_stop();
	return 0;
}

static void run_a_little(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MSEC}, NULL);
}

static void wait_for(const unsigned *count, unsigned least)
{
	uint64_t until = clock_monotonic_ns() + WAIT_NS;

	while (counted(count) < least && clock_monotonic_ns() < until)
		run_a_little();
	assert_true(counted(count) >= least);
}

static void wait_happened(const char *what)
{
	uint64_t until = clock_monotonic_ns() + WAIT_NS;

	while (strcmp(happened, what) != 0 && clock_monotonic_ns() < until)
		run_a_little();
	assert_string_equal(happened, what);
}

static void register_now(void)
{
	wait_for(&master.streams, 1);
	say_registered();
	wait_happened("r");
	assert_true(master_session_registered(session));
	wait_for(&master.heartbeats, 1);
}

/* ---- tests ---- */

static void test_registration_and_heartbeats_say_which_life_it_is(void **state)
{
	Catena__ServerBatch *registration, *beat;

	register_now();
	registration = take(&master.last_register);
	assert_int_equal(registration->registrations[0]->targets[0]->life, 42);
	assert_int_equal(registration->registrations[0]->targets[0]->seen_life, 2);
	assert_int_equal(registration->registrations[0]->targets[0]->seen_chance, 9);
	assert_int_equal(registration->registrations[0]->targets[0]->seen_version, 1ull << 40);
	done_with(registration);
	beat = take(&master.last_heartbeat);
	assert_int_equal(beat->heartbeats[0]->targets[0]->life, 42);
	assert_false(beat->heartbeats[0]->leaving);
	done_with(beat);
}

static void test_a_master_of_another_cluster_is_not_listened_to(void **state)
{
	Catena__ServerBatch *registration;

	register_now();
	registration = take(&master.last_register);
	assert_int_equal(registration->registrations[0]->instance, 0);
	done_with(registration);
	said_instance = 6;
	say_registered();
	wait_happened("rx");
	assert_false(master_session_registered(session));
	wait_for(&master.registrations, 2);
	registration = take(&master.last_register);
	assert_int_equal(registration->registrations[0]->instance, 5);
	done_with(registration);
}

static void test_a_map_is_taken_up_before_the_renewal_that_came_with_it(void **state)
{
	uint64_t before = clock_monotonic_ns();

	register_now();
	say_map_and_renewal(false, 1);
	wait_happened("rml");
	assert_in_range(lease_until, before + 2 * NS_PER_SEC,
			clock_monotonic_ns() + 2 * NS_PER_SEC);
}

static void test_a_lease_counts_from_the_heartbeat_however_late_the_answer(void **state)
{
	uint64_t sent, later;
	unsigned beats;

	register_now();
	say_map_and_renewal(false, 1);
	wait_happened("rml");
	beats = counted(&master.heartbeats);
	master_session_heartbeat(session);
	sent = clock_boottime_ns();
	wait_for(&master.heartbeats, beats + 1);
	nanosleep(&(struct timespec){.tv_nsec = 300 * NS_PER_MSEC}, NULL);
	later = clock_boottime_ns();
	assert_true(later - sent >= 300 * NS_PER_MSEC);
	say_map_and_renewal(false, beats + 1);
	wait_happened("rmlml");
	assert_true(lease_until <= sent + 2 * NS_PER_SEC);
	assert_true(lease_until >= sent + 2 * NS_PER_SEC - 100 * NS_PER_MSEC);
}

static void test_a_map_that_cannot_be_taken_up_ends_the_stream_without_renewal(void **state)
{
	register_now();
	say_map_and_renewal(true, 1);
	wait_for(&master.streams, 2);
	assert_string_equal(happened, "r");
	assert_false(master_session_registered(session));
}

static void test_a_map_before_the_registration_ends_the_stream(void **state)
{
	wait_for(&master.streams, 1);
	say_map_and_renewal(false, 1);
	wait_for(&master.streams, 2);
	assert_string_equal(happened, "");
}

static void say_removal(uint32_t target_id)
{
	Catena__Remove message = CATENA__REMOVE__INIT, *messages[1] = {&message};
	Catena__ServerPush push = CATENA__SERVER_PUSH__INIT;

	message.target_id = target_id;
	message.sequence = 3;
	push.removes = messages;
	push.n_removes = 1;
	say(&push);
}

static void test_chunks_are_removed_of_targets_with_a_number_only(void **state)
{
	wait_for(&master.streams, 1);
	refused = true;
	say_registered();
	wait_happened("r");
	say_removal(0);
	say_removal(10);
	say_map_and_renewal(false, 0);
	wait_happened("rm");
	refused = false;
	say_registered();
	wait_happened("rmr");
	say_removal(0);
	say_removal(10);
	wait_happened("rmrd");
}

static void test_a_renewal_of_no_heartbeat_is_no_lease(void **state)
{
	register_now();
	say_map_and_renewal(false, 0);
	say_map_and_renewal(false, 1000);
	wait_happened("rmm");
	say_map_and_renewal(false, 1);
	wait_happened("rmmml");
}

static void test_a_message_that_cannot_be_decoded_ends_the_stream(void **state)
{
	register_now();
	pthread_mutex_lock(&master.mutex);
	rpc_stream_send(master.stream, "\xff\xff\xff", 3);
	pthread_mutex_unlock(&master.mutex);
	wait_for(&master.streams, 2);
	assert_false(master_session_registered(session));
}

static void test_a_heartbeat_can_be_sent_at_once_and_says_what_there_is(void **state)
{
	const Catena__Heartbeat *heartbeat;
	Catena__ServerBatch *batch;
	unsigned before;

	register_now();
	status_now.leaving = true;
	status_now.unreachable_count = 2;
	status_now.unreachable[0] = 101;
	status_now.unreachable[1] = 102;
	status_now.catchup_count = 1;
	status_now.catchups[0] = (struct worker_catchup){.pool = 1,
							 .partition = 3,
							 .epoch = 9,
							 .target_id = 20,
							 .compared = 5,
							 .copied = 6,
							 .damaged = true};
	status_now.report_count = 1;
	status_now.reports[0] =
		(struct report){.pool = 1, .partition = 3, .epoch = 9, .target_id = 20, .kind = 1};
	target_error = 5;
	before = counted(&master.heartbeats);
	master_session_heartbeat(session);
	wait_for(&master.heartbeats, before + 1);
	batch = take(&master.last_heartbeat);
	heartbeat = batch->heartbeats[batch->n_heartbeats - 1];
	assert_true(heartbeat->leaving);
	assert_int_equal(heartbeat->n_unreachable, 2);
	assert_int_equal(heartbeat->unreachable[1], 102);
	assert_int_equal(heartbeat->targets[0]->error, 5);
	assert_int_equal(heartbeat->n_catchups, 1);
	assert_int_equal(heartbeat->catchups[0]->partition, 3);
	assert_int_equal(heartbeat->catchups[0]->epoch, 9);
	assert_int_equal(heartbeat->catchups[0]->target_id, 20);
	assert_int_equal(heartbeat->catchups[0]->compared, 5);
	assert_int_equal(heartbeat->catchups[0]->copied, 6);
	assert_true(heartbeat->catchups[0]->damaged);
	assert_true(batch->n_reports >= 1);
	done_with(batch);
}

static void test_reports_go_out_at_once_when_registered(void **state)
{
	struct report reports[2] = {
		{.pool = 1, .partition = 3, .epoch = 9, .target_id = 20, .kind = 1},
		{.pool = 1, .partition = 4, .epoch = 8, .target_id = 10, .kind = 2},
	};
	Catena__ServerBatch *batch;

	master_session_report(session, reports, 2); /* not yet: nothing */
	register_now();
	assert_int_equal(counted(&master.reports), 0);
	master_session_report(session, reports, 2);
	wait_for(&master.reports, 2);
	batch = take(&master.last_report);
	assert_int_equal(batch->n_reports, 2);
	assert_int_equal(batch->reports[0]->kind,
			 CATENA__CHAIN_REPORT_KIND__CHAIN_REPORT_CAUGHT_UP);
	assert_int_equal(batch->reports[0]->partition, 3);
	assert_int_equal(batch->reports[0]->epoch, 9);
	assert_int_equal(batch->reports[0]->target_id, 20);
	assert_int_equal(batch->reports[1]->kind, CATENA__CHAIN_REPORT_KIND__CHAIN_REPORT_UNFIT);
	done_with(batch);
}

static void test_the_last_recovery_settings_count(void **state)
{
	Catena__Recovery first = CATENA__RECOVERY__INIT, last = CATENA__RECOVERY__INIT;
	Catena__Recovery *messages[2] = {&first, &last};
	Catena__ServerPush push = CATENA__SERVER_PUSH__INIT;

	register_now();
	first.rate = 5;
	last.rate = 1000;
	last.paused = true;
	push.recoveries = messages;
	push.n_recoveries = 2;
	say(&push);
	wait_happened("ry");
	assert_int_equal(recovery_rate, 1000);
	assert_true(recovery_paused);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_registration_and_heartbeats_say_which_life_it_is),
		TEST(test_a_master_of_another_cluster_is_not_listened_to),
		TEST(test_a_map_is_taken_up_before_the_renewal_that_came_with_it),
		TEST(test_a_lease_counts_from_the_heartbeat_however_late_the_answer),
		TEST(test_a_map_that_cannot_be_taken_up_ends_the_stream_without_renewal),
		TEST(test_a_map_before_the_registration_ends_the_stream),
		TEST(test_chunks_are_removed_of_targets_with_a_number_only),
		TEST(test_a_renewal_of_no_heartbeat_is_no_lease),
		TEST(test_a_message_that_cannot_be_decoded_ends_the_stream),
		TEST(test_a_heartbeat_can_be_sent_at_once_and_says_what_there_is),
		TEST(test_reports_go_out_at_once_when_registered),
		TEST(test_the_last_recovery_settings_count),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
