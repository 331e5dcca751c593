/* Goal: when chains change or members fall silent, requests go where they should, soon, once, and
 * with the same operation id. Method: the chain client over fake_chain.h, in virtual time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/os/log.h"
#include "fs/chains/health.h"
#include "fs/chains/internal.h"
#include "fs/chains/ops.h"
#include "fs/chains/retry.h"
#include "tests/lib/fake_chain.h"

#define SEC (1000 * FAKE_MS)

struct fixture {
	struct fake *fake;
	struct chains_client *client;
};

static struct fixture fixture;

static void publish(struct fixture *f)
{
	struct cluster_map *map = fake_map(f->fake);

	chains_client_set_map(f->client, map);
	cluster_map_unref(map);
}

static int setup_with(uint64_t soft_timeout_ns)
{
	struct fixture *f = &fixture;
	struct chains_client_options options;

	*f = (struct fixture){.fake = fake_new(3)};
	options = (struct chains_client_options){
		.transport = &f->fake->base,
		.pool = f->fake->pool,
		.soft_timeout_ns = soft_timeout_ns,
	};
	assert_int_equal(chains_client_create(&options, &f->client), 0);
	publish(f);
	chains_client_set_session(f->client, 5);
	return 0;
}

static int setup(void **state)
{
	*state = &fixture;
	return setup_with(0);
}

static int setup_soft(void **state)
{
	*state = &fixture;
	return setup_with(2 * SEC);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->fake->inline_ticks = true;
	chains_client_stop(f->client);
	chains_client_destroy(f->client);
	if (f->fake->broken != NULL)
		fail_msg("%s", f->fake->broken);
	assert_true(fake_free(f->fake));
	return 0;
}

struct asked {
	struct chains_request request;
	struct fixture *fixture;
	bool done;
	int error;
	uint64_t done_ns;
};

static void on_done(struct chains_request *request, int error, const struct frame_header *answer,
		    struct buf *payload)
{
	struct asked *asked = request->user;

	asked->done = true;
	asked->error = error;
	asked->done_ns = asked->fixture->fake->now;
	buf_unref(payload);
}

static void ask(struct fixture *f, struct asked *asked, uint8_t op, uint32_t index)
{
	*asked = (struct asked){
		.request = {.op = op,
			    .key = chunk_key_of(FAKE_POOL, FAKE_PARTITIONS, 1, index),
			    .range = op == FRAME_READ || op == FRAME_PUNCH ? BLOCK_SIZE : 0,
			    .done = on_done,
			    .user = asked},
		.fixture = f,
	};
	chains_client_send(f->client, &asked->request);
}

static void run_for(struct fixture *f, uint64_t ns)
{
	uint64_t until = f->fake->now + ns;

	while (fake_step(f->fake, until))
		;
	f->fake->now = until;
}

/* What happens between a request's choice of a member and its place among those that wait: the
 * clock is read there. */
static struct {
	struct chains_transport_ops ops;
	bool (*now)(void); /* whether this is the moment */
	void (*meanwhile)(struct fixture *f);
} between;

static uint64_t now_and_more(struct chains_transport *t)
{
	if (between.now != NULL && between.now()) {
		between.now = NULL;
		between.meanwhile(&fixture);
	}
	return fake_now(t);
}

static void do_between(struct fixture *f, bool (*now)(void), void (*meanwhile)(struct fixture *f))
{
	between.ops = fake_ops;
	between.ops.now = now_and_more;
	between.now = now;
	between.meanwhile = meanwhile;
	f->fake->base.ops = &between.ops;
}

static unsigned head_of(struct fixture *f, const struct asked *asked)
{
	return f->fake->rotation[asked->request.key.partition];
}

static void test_what_is_under_way_at_a_head_that_stays_is_not_sent_again(void **state)
{
	struct fixture *f = *state;
	struct asked update;

	f->fake->hold_commits = true;
	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 10 * FAKE_MS);
	for (unsigned i = 0; i < 5; i++) {
		f->fake->epochs[update.request.key.partition]++;
		publish(f);
		run_for(f, 10 * FAKE_MS);
	}
	assert_int_equal(f->fake->seen[FRAME_PUNCH], 1);
	fake_commit(f->fake, &f->fake->chunks[0]);
	run_for(f, 10 * FAKE_MS);
	assert_true(update.done);
	assert_int_equal(update.error, 0);
	assert_false(update.request.repeated);
}

static void test_what_a_head_that_stays_has_lost_is_sent_again_after_a_while(void **state)
{
	struct fixture *f = *state;
	struct asked update;

	f->fake->hold_commits = true;
	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 10 * FAKE_MS);
	f->fake->epochs[update.request.key.partition]++;
	publish(f);
	run_for(f, 5 * SEC);
	assert_int_equal(f->fake->seen[FRAME_PUNCH], 2);
	/* The servers knew it by its id: there is one update only. */
	assert_null(f->fake->chunks[0].pending->next);
	fake_commit(f->fake, &f->fake->chunks[0]);
	run_for(f, 10 * FAKE_MS);
	assert_true(update.done);
}

static void test_updates_and_flushes_move_to_the_new_head_with_the_map(void **state)
{
	static const uint8_t ops[] = {FRAME_PUNCH, FRAME_FLUSH};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		struct asked asked;
		struct frame_header header;
		uint64_t id = 0, start;

		ask(f, &asked, FRAME_PUNCH, i);
		run_for(f, 100 * FAKE_MS);
		assert_true(asked.done);
		f->fake->servers[head_of(f, &asked)].frozen = true;
		ask(f, &asked, ops[i], i);
		run_for(f, 100 * FAKE_MS);
		assert_false(asked.done);
		if (ops[i] == FRAME_PUNCH) {
			chains_ops_header(f->client, &asked.request, &header);
			id = header.op_id;
		}
		fake_change_chain(f->fake, asked.request.key.partition);
		publish(f);
		start = f->fake->now;
		if (id != 0) {
			chains_ops_header(f->client, &asked.request, &header);
			assert_int_equal(header.op_id, id);
		}
		run_for(f, 100 * FAKE_MS);
		assert_true(asked.done);
		assert_int_equal(asked.error, 0);
		assert_true(asked.done_ns - start < 20 * FAKE_MS);
		for (unsigned s = 0; s < FAKE_SERVERS; s++)
			f->fake->servers[s].frozen = false;
		run_for(f, SEC);
	}
}

static void test_after_the_head_was_killed_the_new_map_is_acted_on_at_once(void **state)
{
	struct fixture *f = *state;
	struct asked update;
	uint64_t start;

	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	fake_kill(f->fake, head_of(f, &update));
	ask(f, &update, FRAME_PUNCH, 0);
	/* However long it took: pauses have grown by then. */
	run_for(f, 20 * SEC);
	assert_false(update.done);
	fake_change_chain(f->fake, update.request.key.partition);
	publish(f);
	start = f->fake->now;
	run_for(f, SEC);
	assert_true(update.done);
	assert_int_equal(update.error, 0);
	assert_true(update.done_ns - start < 20 * FAKE_MS);
}

static void test_a_map_that_does_not_concern_a_chain_hurries_nobody(void **state)
{
	struct fixture *f = *state;
	struct asked update;
	unsigned connects;

	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	fake_kill(f->fake, head_of(f, &update));
	publish(f);
	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 10 * SEC);
	connects = f->fake->connects;
	for (unsigned i = 0; i < 256; i++) {
		f->fake->epochs[(update.request.key.partition + 1) % FAKE_PARTITIONS]++;
		publish(f);
		run_for(f, FAKE_MS);
	}
	assert_true(f->fake->connects - connects <= 3);
	fake_change_chain(f->fake, update.request.key.partition);
	publish(f);
	run_for(f, 100 * FAKE_MS);
	assert_true(update.done);
}

/* A map in which nobody of the chain can be asked. */
static void publish_without(struct fixture *f, unsigned partition)
{
	struct cluster_map *map;
	struct map_chain *chain;

	f->fake->epochs[partition]++;
	map = fake_map(f->fake);
	chain = &map->pools[0].chains[partition];
	for (unsigned i = 0; i < chain->count; i++)
		chain->members[i].state = MEMBER_OFFLINE;
	chains_client_set_map(f->client, map);
	cluster_map_unref(map);
}

static void publish_version(struct fixture *f, uint64_t version)
{
	struct cluster_map *map = fake_map(f->fake);

	map->version = version;
	chains_client_set_map(f->client, map);
	cluster_map_unref(map);
}

static uint64_t version_now(struct fixture *f)
{
	struct cluster_map *map = chains_client_map(f->client);
	uint64_t version = map->version;

	cluster_map_unref(map);
	return version;
}

/* It would know of no chain as it is, and ask in vain for ever. */
static void test_an_older_map_is_taken_from_another_master(void **state)
{
	struct fixture *f = &fixture;

	publish_version(f, 1000);
	publish_version(f, 900);
	assert_int_equal(version_now(f), 1000);
	chains_client_other_master(f->client);
	publish_version(f, 900);
	assert_int_equal(version_now(f), 900);
	publish_version(f, 800);
	assert_int_equal(version_now(f), 900);
}

static unsigned clock_reads;
static unsigned partition_0;

static bool second_read_of_the_clock(void)
{
	return ++clock_reads == 2;
}

static void chain_0_is_back(struct fixture *f)
{
	f->fake->epochs[partition_0]++;
	publish(f);
}

static void test_a_map_that_comes_just_before_a_request_waits_is_not_missed(void **state)
{
	struct fixture *f = *state;
	struct asked update;
	uint64_t start;

	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	partition_0 = update.request.key.partition;
	publish_without(f, partition_0);
	clock_reads = 0;
	do_between(f, second_read_of_the_clock, chain_0_is_back);
	start = f->fake->now;
	ask(f, &update, FRAME_PUNCH, 0);
	assert_null(between.now);
	run_for(f, SEC);
	assert_true(update.done);
	assert_true(update.done_ns - start < 20 * FAKE_MS);
}

/* As if chosen just now; it is for the caller to let it wait. */
static void choose(struct fixture *f, struct asked *asked, uint32_t index)
{
	struct chains_request *request = &asked->request;

	*asked = (struct asked){
		.request = {.op = FRAME_PUNCH,
			    .key = chunk_key_of(FAKE_POOL, FAKE_PARTITIONS, 1, index),
			    .range = BLOCK_SIZE,
			    .done = on_done,
			    .user = asked},
		.fixture = f,
	};
	request->start_ns = f->fake->now;
	request->map_count = atomic_load(&f->client->map_count);
	request->epoch = f->fake->epochs[request->key.partition];
	request->target_id = head_of(f, asked) + 1;
	request->server_id = request->target_id;
	request->attempts = 20;
	atomic_fetch_add(&f->client->active, 1);
	chains_health_begin(f->client, request);
}

static void test_a_server_that_is_back_just_before_a_request_waits_is_not_missed(void **state)
{
	struct fixture *f = *state;
	struct asked missed, not_concerned;
	uint64_t start;

	choose(f, &missed, 0);
	f->fake->servers[head_of(f, &missed)].up = false;
	publish(f);
	missed.request.map_count = atomic_load(&f->client->map_count);
	f->fake->servers[head_of(f, &missed)].up = true;
	publish(f);
	choose(f, &not_concerned, 1);
	f->fake->epochs[(not_concerned.request.key.partition + 1) % FAKE_PARTITIONS]++;
	publish(f);
	start = f->fake->now;
	chains_retry_later(f->client, &missed.request);
	chains_retry_later(f->client, &not_concerned.request);
	run_for(f, SEC);
	assert_true(missed.done && missed.done_ns - start < 20 * FAKE_MS);
	/* Maps alone are no reason to hurry. */
	assert_true(not_concerned.done && not_concerned.done_ns - start >= 50 * FAKE_MS);
}

static void test_a_read_of_a_silent_member_is_asked_of_another(void **state)
{
	struct fixture *f = *state;
	struct asked read;
	struct chains_client_stats stats;
	uint64_t start;
	unsigned favourite;

	ask(f, &read, FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	ask(f, &read, FRAME_READ, 0);
	run_for(f, 100 * FAKE_MS);
	assert_true(read.done);
	favourite = read.request.target_id - 1;
	f->fake->servers[favourite].frozen = true;
	start = f->fake->now;
	ask(f, &read, FRAME_READ, 0);
	run_for(f, SEC);
	assert_true(read.done);
	assert_int_equal(read.error, 0);
	assert_in_range(read.done_ns - start, 300 * FAKE_MS, 450 * FAKE_MS);
	assert_int_not_equal(read.request.target_id - 1, favourite);
	/* The next is not asked there in the first place. */
	start = f->fake->now;
	ask(f, &read, FRAME_READ, 0);
	run_for(f, SEC);
	assert_true(read.done && read.done_ns - start < 50 * FAKE_MS);
	/* Once it answers again it is as good as any; what it says to the old request is
	 * nobody's. */
	f->fake->servers[favourite].frozen = false;
	run_for(f, SEC);
	ask(f, &read, FRAME_READ, 0);
	run_for(f, SEC);
	assert_true(read.done);
	assert_int_equal(read.request.target_id - 1, favourite);
	chains_client_stats(f->client, &stats);
	assert_int_equal(stats.hedges, 1);
}

static void test_reads_of_members_that_are_all_slow_end(void **state)
{
	struct fixture *f = *state;
	struct asked read[20];

	f->fake->delay_max = 4 * SEC;
	for (uint32_t i = 0; i < 20; i++)
		ask(f, &read[i], FRAME_READ, i % 7);
	run_for(f, 200 * SEC);
	for (uint32_t i = 0; i < 20; i++) {
		assert_true(read[i].done);
		assert_int_equal(read[i].error, 0);
	}
}

static void test_servers_that_cannot_be_reached_are_known(void **state)
{
	struct fixture *f = *state;
	struct asked update, other;
	uint64_t servers[4];
	unsigned head;

	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	head = head_of(f, &update);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 0);
	f->fake->servers[head].frozen = true;
	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, SEC);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 0);
	run_for(f, SEC);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 1);
	assert_int_equal(servers[0], head + 1);
	/* Also after the connection was given up, until it is back. */
	run_for(f, 10 * SEC);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 1);
	f->fake->servers[head].frozen = false;
	run_for(f, 8 * SEC);
	assert_true(update.done);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 0);
	/* One that refuses; and not any more once nobody wants it, or the map knows. */
	fake_kill(f->fake, head);
	ask(f, &other, FRAME_PUNCH, 0);
	run_for(f, SEC);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 1);
	publish(f);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 0);
	f->fake->servers[head].up = true;
	publish(f);
	run_for(f, SEC);
	assert_true(other.done);
	assert_int_equal(chains_client_unreachable(f->client, servers, 4), 0);
}

static void test_a_chain_that_refuses_thousands_is_asked_by_few(void **state)
{
	static struct asked asked[2000];
	struct fixture *f = *state;
	uint64_t start;

	f->fake->fail_updates = FRAME_STATUS_NOT_READY;
	for (unsigned i = 0; i < 2000; i++)
		ask(f, &asked[i], FRAME_PUNCH, 0);
	run_for(f, 4 * SEC);
	f->fake->seen[FRAME_PUNCH] = 0;
	run_for(f, SEC);
	assert_in_range(f->fake->seen[FRAME_PUNCH], 1, 3000);
	f->fake->fail_updates = 0;
	start = f->fake->now;
	run_for(f, 2 * SEC);
	for (unsigned i = 0; i < 2000; i++)
		assert_true(asked[i].done && asked[i].done_ns - start < SEC);
	/* They overlap, which real callers never do. */
	f->fake->broken = NULL;
}

#define PROBED (CHAINS_HEALTH_PROBES + 1)
static struct asked probed[PROBED];

static bool last_was_refused(void)
{
	return probed[CHAINS_HEALTH_PROBES].request.attempts == 1;
}

static void probes_are_answered(struct fixture *f)
{
	f->fake->fail_updates = 0;
	run_for(f, 200 * FAKE_MS);
	for (unsigned i = 0; i < CHAINS_HEALTH_PROBES; i++)
		assert_true(probed[i].done);
}

static void test_who_parks_while_the_last_probe_succeeds_is_not_forgotten(void **state)
{
	struct fixture *f = *state;
	uint64_t start;

	f->fake->fail_updates = FRAME_STATUS_NOT_READY;
	for (unsigned i = 0; i < CHAINS_HEALTH_PROBES; i++)
		ask(f, &probed[i], FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	do_between(f, last_was_refused, probes_are_answered);
	ask(f, &probed[CHAINS_HEALTH_PROBES], FRAME_PUNCH, 0);
	start = f->fake->now;
	run_for(f, SEC);
	assert_null(between.now);
	assert_true(probed[CHAINS_HEALTH_PROBES].done);
	assert_true(probed[CHAINS_HEALTH_PROBES].done_ns - start < 300 * FAKE_MS);
	f->fake->broken = NULL; /* they overlap */
}

static void test_a_probe_that_is_given_up_has_a_successor(void **state)
{
	struct fixture *f = *state;
	uint64_t start;

	f->fake->fail_updates = FRAME_STATUS_NOT_READY;
	for (unsigned i = 0; i < PROBED; i++)
		ask(f, &probed[i], FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	assert_true(probed[CHAINS_HEALTH_PROBES].request.parked);
	chains_client_cancel(&probed[7].request);
	run_for(f, SEC);
	assert_int_equal(probed[7].error, -ECANCELED);
	assert_true(probed[CHAINS_HEALTH_PROBES].request.probe);
	for (unsigned i = 0; i < CHAINS_HEALTH_PROBES; i++)
		chains_client_cancel(&probed[i].request);
	run_for(f, SEC);
	f->fake->fail_updates = 0;
	start = f->fake->now;
	run_for(f, SEC);
	assert_true(probed[CHAINS_HEALTH_PROBES].done);
	assert_int_equal(probed[CHAINS_HEALTH_PROBES].error, 0);
	assert_true(probed[CHAINS_HEALTH_PROBES].done_ns - start < 100 * FAKE_MS);
	f->fake->broken = NULL;
}

/* What is known of chains is known by a number, and two may have the same. */
static void test_answers_of_another_chain_wake_nobody(void **state)
{
	static struct asked stuck[2 * CHAINS_HEALTH_PROBES];
	struct fixture *f = *state;
	struct asked well;
	uint64_t due;

	for (unsigned i = 0; i < 2 * CHAINS_HEALTH_PROBES; i++) {
		choose(f, &stuck[i], 0);
		stuck[i].request.key.partition += CHAINS_SLOTS;
		chains_retry_with_map(f->client, &stuck[i].request);
	}
	run_for(f, 100 * FAKE_MS);
	due = stuck[2 * CHAINS_HEALTH_PROBES - 1].request.retry_ns;
	assert_true(stuck[2 * CHAINS_HEALTH_PROBES - 1].request.parked);
	for (unsigned i = 0; i < 10; i++) {
		ask(f, &well, FRAME_PUNCH, 0);
		assert_int_equal(chains_slot(&well.request.key),
				 chains_slot(&stuck[0].request.key));
		run_for(f, 10 * FAKE_MS);
		assert_true(well.done);
	}
	assert_int_equal(stuck[2 * CHAINS_HEALTH_PROBES - 1].request.retry_ns, due);
}

/* Each wakes its own, in whatever order they stand. */
static void test_chains_of_one_number_are_told_apart(void **state)
{
	static struct asked other[4], own[2 * CHAINS_HEALTH_PROBES];
	struct fixture *f = *state;
	uint64_t start, due;

	f->fake->fail_updates = FRAME_STATUS_NOT_READY;
	for (unsigned i = 0; i < 2 * CHAINS_HEALTH_PROBES; i++) {
		if (i >= CHAINS_HEALTH_PROBES && i % 16 == 0) {
			struct asked *o = &other[(i - CHAINS_HEALTH_PROBES) / 16];

			choose(f, o, 0);
			o->request.key.partition += CHAINS_SLOTS;
			chains_retry_with_map(f->client, &o->request);
		}
		ask(f, &own[i], FRAME_PUNCH, 0);
		run_for(f, 5 * FAKE_MS);
	}
	due = other[3].request.retry_ns;
	f->fake->fail_updates = 0;
	start = f->fake->now;
	run_for(f, SEC);
	for (unsigned i = 0; i < 2 * CHAINS_HEALTH_PROBES; i++)
		assert_true(own[i].done && own[i].done_ns - start < 100 * FAKE_MS);
	/* They have taken the places of the probes. */
	for (unsigned i = 0; i < 4; i++)
		assert_true(other[i].request.probe && !other[i].request.parked);
	assert_true(other[3].request.retry_ns < due);
	f->fake->broken = NULL;
}

static void test_a_stuck_chain_is_known_and_the_others_are_not(void **state)
{
	struct fixture *f = *state;
	struct asked stuck, well;

	f->fake->fail_updates = FRAME_STATUS_NOT_READY;
	ask(f, &stuck, FRAME_PUNCH, 0);
	run_for(f, 900 * FAKE_MS);
	assert_false(chains_client_stuck(f->client, chains_slot(&stuck.request.key), true));
	run_for(f, 200 * FAKE_MS);
	assert_true(chains_client_stuck(f->client, chains_slot(&stuck.request.key), true));
	assert_false(chains_client_stuck(f->client, chains_slot(&stuck.request.key), false));
	ask(f, &well, FRAME_READ, 1);
	assert_int_not_equal(well.request.key.partition, stuck.request.key.partition);
	assert_false(chains_client_stuck(f->client, chains_slot(&well.request.key), true));
	f->fake->fail_updates = 0;
	run_for(f, SEC);
	assert_true(stuck.done);
	assert_false(chains_client_stuck(f->client, chains_slot(&stuck.request.key), true));
}

/* Soft: wherever the request is when its time is over. */
static void test_a_soft_mount_ends_every_kind_of_waiting(void **state)
{
	struct fixture *f = *state;
	struct asked refused, silent, unanswered;
	uint64_t start = f->fake->now;

	f->fake->hold_commits = true;
	ask(f, &unanswered, FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	f->fake->fail_updates = FRAME_STATUS_NOT_READY;
	ask(f, &refused, FRAME_TRUNCATE, 1);
	run_for(f, 100 * FAKE_MS);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].frozen = true;
	ask(f, &silent, FRAME_READ, 2);
	run_for(f, 1500 * FAKE_MS);
	assert_false(refused.done || silent.done || unanswered.done);
	run_for(f, SEC);
	assert_true(refused.done && silent.done && unanswered.done);
	assert_int_equal(refused.error, -EIO);
	assert_int_equal(silent.error, -EIO);
	assert_int_equal(unanswered.error, -EIO);
	assert_in_range(silent.done_ns - start, 2 * SEC, 2500 * FAKE_MS);
	/* Nobody waits for what closes their chunks: it may take as long as it takes. */
	f->fake->fail_updates = 0;
	f->fake->hold_commits = false;
	fake_commit_all(f->fake);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].frozen = false;
	run_for(f, 10 * SEC);
	assert_true(f->fake->closed >= 2);
}

static void test_a_hard_mount_waits_for_hours(void **state)
{
	struct fixture *f = *state;
	struct asked update, read;

	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(f->fake, i);
	ask(f, &update, FRAME_PUNCH, 0);
	ask(f, &read, FRAME_READ, 1);
	run_for(f, 2 * 3600 * SEC);
	assert_false(update.done || read.done);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].up = true;
	publish(f);
	run_for(f, SEC);
	assert_true(update.done && read.done);
	assert_int_equal(update.error, 0);
	assert_int_equal(read.error, 0);
}

static void test_pauses_stay_short_at_first(void **state)
{
	assert_int_equal(chains_route_pause_ns(0, 0), FAKE_MS);
	assert_int_equal(chains_route_pause_ns(4, 30 * FAKE_MS), 16 * FAKE_MS);
	assert_int_equal(chains_route_pause_ns(20, SEC), 50 * FAKE_MS);
	assert_int_equal(chains_route_pause_ns(20, 10 * SEC), 500 * FAKE_MS);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void test_a_full_disk_is_given_time_to_be_replaced(void **state)
{
	struct fixture *f = *state;
	struct asked first, second, third;

	f->fake->fail_updates = ENOSPC;
	ask(f, &first, FRAME_PUNCH, 0);
	run_for(f, 2 * SEC);
	assert_false(first.done);
	f->fake->fail_updates = 0;
	run_for(f, SEC);
	assert_true(first.done);
	assert_int_equal(first.error, 0);
	/* It is not replaced: the first one waits, the others are told at once. */
	f->fake->fail_updates = ENOSPC;
	ask(f, &second, FRAME_PUNCH, 1);
	run_for(f, 4 * SEC);
	assert_true(second.done);
	assert_int_equal(second.error, -ENOSPC);
	ask(f, &third, FRAME_PUNCH, 2);
	run_for(f, SEC / 2);
	assert_true(third.done);
	assert_int_equal(third.error, -ENOSPC);
	f->fake->fail_updates = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_an_older_map_is_taken_from_another_master),
		CASE(test_what_is_under_way_at_a_head_that_stays_is_not_sent_again),
		CASE(test_what_a_head_that_stays_has_lost_is_sent_again_after_a_while),
		CASE(test_updates_and_flushes_move_to_the_new_head_with_the_map),
		CASE(test_after_the_head_was_killed_the_new_map_is_acted_on_at_once),
		CASE(test_a_map_that_does_not_concern_a_chain_hurries_nobody),
		CASE(test_a_map_that_comes_just_before_a_request_waits_is_not_missed),
		CASE(test_a_server_that_is_back_just_before_a_request_waits_is_not_missed),
		CASE(test_a_read_of_a_silent_member_is_asked_of_another),
		CASE(test_reads_of_members_that_are_all_slow_end),
		CASE(test_servers_that_cannot_be_reached_are_known),
		CASE(test_a_chain_that_refuses_thousands_is_asked_by_few),
		CASE(test_who_parks_while_the_last_probe_succeeds_is_not_forgotten),
		CASE(test_a_probe_that_is_given_up_has_a_successor),
		CASE(test_answers_of_another_chain_wake_nobody),
		CASE(test_chains_of_one_number_are_told_apart),
		CASE(test_a_stuck_chain_is_known_and_the_others_are_not),
		cmocka_unit_test_setup_teardown(test_a_soft_mount_ends_every_kind_of_waiting,
						setup_soft, teardown),
		CASE(test_a_full_disk_is_given_time_to_be_replaced),
		CASE(test_a_hard_mount_waits_for_hours),
		cmocka_unit_test(test_pauses_stay_short_at_first),
	};

	log_open("/dev/null");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
