/* Goal: the right member is asked, an answer's status leads to the right next step, an update keeps
 * its operation id over all attempts and ends with its session, and `answered` never says too much.
 * Method: the pure decisions on maps made by hand; the client over fake_chain.h in virtual time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/os/log.h"
#include "fs/chains/internal.h"
#include "fs/chains/link.h"
#include "fs/chains/ops.h"
#include "tests/lib/fake_chain.h"

#define SEC (1000 * FAKE_MS)

/* ---- whom to ask ---- */

struct loads {
	struct chains_load of[FAKE_SERVERS];
};

static struct chains_load load_of(void *user, uint64_t server_id, uint32_t worker)
{
	const struct loads *loads = user;

	return loads->of[server_id - 1];
}

static struct chains_request request_of(uint8_t op, uint64_t file_id, uint32_t index)
{
	return (struct chains_request){
		.op = op,
		.key = chunk_key_of(FAKE_POOL, FAKE_PARTITIONS, file_id, index),
		.range = BLOCK_SIZE,
	};
}

struct fixture {
	struct fake *fake;
	struct cluster_map *map;
	struct loads loads;
	struct chains_asker asker;
	struct chains_client *client;
};

static struct fixture fixture;

static int setup(void **state)
{
	struct fixture *f = &fixture;
	struct chains_client_options options;

	*f = (struct fixture){.fake = fake_new(3)};
	f->map = fake_map(f->fake);
	f->asker = (struct chains_asker){
		.near = {.host = "", .rack = "", .zone = ""},
		.load = load_of,
		.user = &f->loads,
	};
	options = (struct chains_client_options){
		.transport = &f->fake->base,
		.pool = f->fake->pool,
	};
	assert_int_equal(chains_client_create(&options, &f->client), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->fake->inline_ticks = true;
	chains_client_stop(f->client);
	chains_client_destroy(f->client);
	cluster_map_unref(f->map);
	if (f->fake->broken != NULL)
		fail_msg("%s", f->fake->broken);
	assert_true(fake_free(f->fake));
	return 0;
}

static uint32_t target_chosen(struct fixture *f, const struct chains_request *request)
{
	struct chains_route route;

	assert_int_equal(chains_route_choose(f->map, request, &f->asker, &route), 0);
	assert_int_equal(route.server_id, route.target_id);
	assert_int_equal(route.worker, request->key.partition % FAKE_WORKERS);
	assert_int_equal(route.epoch, 1);
	return route.target_id;
}

static void test_updates_and_flushes_go_to_the_head(void **state)
{
	static const uint8_t ops[] = {FRAME_WRITE, FRAME_PUNCH, FRAME_TRUNCATE, FRAME_FLUSH};

	for (uint32_t index = 0; index < 20; index++) {
		for (size_t i = 0; i < 4; i++) {
			struct chains_request r = request_of(ops[i], 1, index);

			assert_int_equal(target_chosen(*state, &r),
					 r.key.partition % FAKE_SERVERS + 1);
		}
	}
}

static void test_the_tail_is_asked_when_it_must_be(void **state)
{
	for (uint32_t index = 0; index < 20; index++) {
		struct chains_request r = request_of(FRAME_READ, 1, index);

		r.to_tail = true;
		assert_int_equal(target_chosen(*state, &r),
				 (r.key.partition + 2) % FAKE_SERVERS + 1);
	}
}

static void test_reads_of_many_chunks_are_spread_but_each_chunk_stays_with_one(void **state)
{
	unsigned asked[FAKE_SERVERS + 1] = {0};

	for (uint32_t index = 0; index < 300; index++) {
		struct chains_request r = request_of(FRAME_READ, 1, index);
		uint32_t target = target_chosen(*state, &r);

		asked[target]++;
		r.offset = 64 * BLOCK_SIZE;
		assert_int_equal(target_chosen(*state, &r), target);
	}
	for (uint32_t i = 1; i <= FAKE_SERVERS; i++)
		assert_in_range(asked[i], 60, 140);
}

static void test_bulk_reads_of_one_chunk_are_spread(void **state)
{
	unsigned asked[FAKE_SERVERS + 1] = {0};

	for (uint32_t piece = 0; piece < 15; piece++) {
		struct chains_request r = request_of(FRAME_READ, 1, 0);

		r.bulk = true;
		r.offset = piece << 22;
		asked[target_chosen(*state, &r)]++;
	}
	for (uint32_t i = 1; i <= FAKE_SERVERS; i++)
		assert_int_equal(asked[i], 5);
}

static void test_the_near_member_is_preferred_unless_it_is_down(void **state)
{
	struct fixture *f = *state;

	for (uint32_t index = 0; index < 20; index++) {
		struct chains_request r = request_of(FRAME_READ, 1, index);

		f->asker.near = (struct chains_near){.host = "host-1", .rack = "", .zone = ""};
		assert_int_equal(target_chosen(f, &r), 2);
		f->loads.of[1].requests = 1000;
		assert_int_equal(target_chosen(f, &r), 2);
		f->loads.of[1] = (struct chains_load){.down = true};
		assert_int_not_equal(target_chosen(f, &r), 2);
		f->loads.of[1] = (struct chains_load){0};
		f->asker.near =
			(struct chains_near){.host = "elsewhere", .rack = "rack-1", .zone = ""};
		assert_int_equal(target_chosen(f, &r), 3);
	}
}

static void test_a_busy_member_is_left_to_others(void **state)
{
	struct fixture *f = *state;
	struct chains_request r = request_of(FRAME_READ, 1, 0);
	uint32_t favourite = target_chosen(f, &r);

	f->loads.of[favourite - 1].requests = 4;
	assert_int_equal(target_chosen(f, &r), favourite);
	f->loads.of[favourite - 1].requests = 5;
	assert_int_not_equal(target_chosen(f, &r), favourite);
}

static void test_members_that_failed_are_not_asked_again(void **state)
{
	struct fixture *f = *state;
	struct chains_request r = request_of(FRAME_READ, 1, 0);
	struct chains_route route;

	for (uint8_t i = 0; i < FAKE_SERVERS; i++) {
		uint32_t target = target_chosen(f, &r);

		for (uint8_t k = 0; k < i; k++)
			assert_int_not_equal(target, r.tried[k]);
		r.tried[r.tried_count++] = target;
	}
	assert_int_equal(chains_route_choose(f->map, &r, &f->asker, &route), -EAGAIN);
	r.tried_count = 0;
	for (uint8_t i = 0; i < FAKE_SERVERS; i++)
		r.bad[r.bad_count++] = i + 1u;
	assert_int_equal(chains_route_choose(f->map, &r, &f->asker, &route), -EIO);
}

static void test_a_chain_without_members_cannot_be_asked(void **state)
{
	struct fixture *f = *state;
	struct chains_request r = request_of(FRAME_WRITE, 1, 0);
	struct map_chain *chain = &f->map->pools[0].chains[r.key.partition];
	struct chains_route route;

	for (uint32_t i = 0; i < chain->count; i++)
		chain->members[i].state = MEMBER_OFFLINE;
	assert_int_equal(chains_route_choose(f->map, &r, &f->asker, &route), -EAGAIN);
	r.op = FRAME_READ;
	assert_int_equal(chains_route_choose(f->map, &r, &f->asker, &route), -EAGAIN);
	chain->epoch = 0;
	assert_int_equal(chains_route_choose(f->map, &r, &f->asker, &route), -ENOENT);
	r.key.pool = 99;
	assert_int_equal(chains_route_choose(f->map, &r, &f->asker, &route), -EAGAIN);
}

static void test_each_status_has_its_consequence(void **state)
{
	static const struct {
		uint8_t op;
		uint32_t status;
		enum chains_verdict verdict;
		int error;
	} cases[] = {
		{FRAME_WRITE, FRAME_OK, CHAINS_DONE, 0},
		{FRAME_WRITE, ENOSPC, CHAINS_DONE, -ENOSPC},
		{FRAME_WRITE, EIO, CHAINS_DONE, -EIO},
		{FRAME_WRITE, ENOENT, CHAINS_DONE, -EIO},
		{FRAME_WRITE, FRAME_STATUS_EPOCH, CHAINS_RETRY, 0},
		{FRAME_WRITE, FRAME_STATUS_NOT_HEAD, CHAINS_RETRY, 0},
		{FRAME_WRITE, FRAME_STATUS_NOT_READY, CHAINS_RETRY, 0},
		{FRAME_WRITE, FRAME_STATUS_NO_LEASE, CHAINS_RETRY, 0},
		{FRAME_WRITE, FRAME_STATUS_NOT_MINE, CHAINS_RETRY, 0},
		{FRAME_WRITE, FRAME_STATUS_GAP, CHAINS_RETRY, 0},
		{FRAME_WRITE, FRAME_STATUS_FENCED, CHAINS_DONE, -EIO},
		{FRAME_WRITE, FRAME_STATUS_LOST, CHAINS_DONE, -ENODATA},
		{FRAME_FLUSH, FRAME_STATUS_LOST, CHAINS_DONE, -ENODATA},
		{FRAME_FLUSH, FRAME_STATUS_FENCED, CHAINS_RETRY, 0},
		{FRAME_READ, FRAME_STATUS_FENCED, CHAINS_RETRY, 0},
		{FRAME_WRITE, FRAME_STATUS_CHECKSUM, CHAINS_SEND_AGAIN, 0},
		{FRAME_FLUSH, FRAME_STATUS_NOT_READY, CHAINS_RETRY, 0},
		{FRAME_FLUSH, EIO, CHAINS_DONE, -EIO},
		{FRAME_READ, FRAME_OK, CHAINS_DONE, 0},
		{FRAME_READ, EIO, CHAINS_BAD_COPY, 0},
		{FRAME_READ, EBADMSG, CHAINS_BAD_COPY, 0},
		{FRAME_READ, FRAME_STATUS_ASK_TAIL, CHAINS_ASK_TAIL, 0},
		{FRAME_READ, FRAME_STATUS_NOT_READY, CHAINS_OTHER_MEMBER, 0},
		{FRAME_READ, FRAME_STATUS_NO_LEASE, CHAINS_OTHER_MEMBER, 0},
		{FRAME_READ, FRAME_STATUS_EPOCH, CHAINS_RETRY, 0},
		{FRAME_READ, EACCES, CHAINS_DONE, -EACCES},
		{FRAME_STAT, EIO, CHAINS_BAD_COPY, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct chains_request r = {.op = cases[i].op};
		int error = 1;

		assert_int_equal(chains_route_judge(&r, cases[i].status, &error), cases[i].verdict);
		assert_int_equal(error, cases[i].error);
	}
}

static void test_pauses_grow_to_half_a_second(void **state)
{
	uint64_t before = 0;

	assert_int_equal(chains_route_backoff_ns(0), FAKE_MS);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(chains_route_backoff_ns(i) >= before);
		before = chains_route_backoff_ns(i);
	}
	assert_int_equal(before, 500 * FAKE_MS);
}

/* ---- requests from beginning to end ---- */

struct asked {
	struct chains_request request;
	bool done;
	int error;
	uint64_t version;
};

static void on_done(struct chains_request *request, int error, const struct frame_header *answer,
		    struct buf *payload)
{
	struct asked *asked = request->user;

	asked->done = true;
	asked->error = error;
	asked->version = answer == NULL ? 0 : answer->version;
	buf_unref(payload);
}

static void ask(struct fixture *f, struct asked *asked, uint8_t op, uint32_t index)
{
	*asked = (struct asked){.request = request_of(op, 1, index)};
	asked->request.done = on_done;
	asked->request.user = asked;
	if (frame_is_update(op) || op == FRAME_FLUSH)
		asked->request.range = op == FRAME_PUNCH ? BLOCK_SIZE : 0;
	chains_client_send(f->client, &asked->request);
}

static void begin(struct fixture *f)
{
	chains_client_set_map(f->client, f->map);
	chains_client_set_session(f->client, 5);
}

static void run_for(struct fixture *f, uint64_t ns)
{
	uint64_t until = f->fake->now + ns;

	while (fake_step(f->fake, until))
		;
	f->fake->now = until;
}

static void test_nothing_is_sent_before_there_is_a_map_and_a_session(void **state)
{
	struct fixture *f = *state;
	struct asked asked;

	ask(f, &asked, FRAME_PUNCH, 0);
	run_for(f, 10 * SEC);
	chains_client_set_map(f->client, f->map);
	run_for(f, 10 * SEC);
	assert_int_equal(f->fake->connects, 0);
	chains_client_set_session(f->client, 5);
	run_for(f, 100 * FAKE_MS);
	assert_true(asked.done);
	assert_int_equal(asked.error, 0);
}

static void test_a_server_of_another_cluster_of_this_name_is_asked_nothing(void **state)
{
	struct fixture *f = *state;
	struct asked asked;

	f->fake->made_anew = 1;
	begin(f);
	ask(f, &asked, FRAME_PUNCH, 0);
	run_for(f, 10 * SEC);
	assert_true(f->fake->connects > 1);
	assert_false(asked.done);
	f->fake->made_anew = 0;
	run_for(f, 10 * SEC);
	assert_true(asked.done);
	assert_int_equal(asked.error, 0);
}

static void test_done_is_never_called_in_the_call(void **state)
{
	struct fixture *f = *state;
	struct asked asked[4];

	begin(f);
	f->map->pools[0].chains[request_of(FRAME_READ, 1, 0).key.partition].epoch = 0;
	ask(f, &asked[0], FRAME_READ, 0);
	ask(f, &asked[1], FRAME_FLUSH, 0);
	assert_false(asked[0].done || asked[1].done);
	run_for(f, FAKE_MS);
	assert_true(asked[0].done && asked[1].done);
	assert_int_equal(asked[0].error, 0);
	assert_int_equal(f->fake->connects, 0);
}

static void test_an_update_keeps_its_id_until_it_is_answered(void **state)
{
	struct fixture *f = *state;
	static struct chains_answered known = {3, 2};
	struct asked first, second, third;
	struct frame_header header;
	uint64_t id;

	begin(f);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(f->fake, i);
	ask(f, &first, FRAME_PUNCH, 0);
	ask(f, &second, FRAME_PUNCH, 1);
	third = (struct asked){.request = request_of(FRAME_PUNCH, 1, 0)};
	third.request.offset = BLOCK_SIZE;
	third.request.done = on_done;
	third.request.user = &third;
	chains_client_send(f->client, &third.request);
	chains_ops_header(f->client, &first.request, &header);
	assert_int_equal(header.version, 0);
	first.request.known = &known;
	chains_ops_header(f->client, &first.request, &header);
	assert_int_equal(header.version, 3);
	assert_int_equal(header.arg, 2);
	chains_answered_set(&known, 4, 3);
	id = header.op_id;
	assert_int_equal(header.client_id, 5);
	assert_int_equal(header.answered, id - 1);
	/* The first of its chunk is still open; another chunk's are nothing to it. */
	chains_ops_header(f->client, &third.request, &header);
	assert_int_equal(header.answered, id - 1);
	chains_ops_header(f->client, &second.request, &header);
	assert_int_equal(header.answered, header.op_id - 1);
	run_for(f, 3 * SEC);
	assert_true(chains_ops_header(f->client, &first.request, &header));
	assert_int_equal(header.op_id, id);
	assert_int_equal(header.version, 4);
	assert_int_equal(header.arg, 3);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].up = true;
	run_for(f, 3 * SEC);
	assert_true(first.done && second.done && third.done);
	assert_int_equal(first.error, 0);
	assert_int_equal(second.error, 0);
	assert_int_equal(third.error, 0);
}

/* When nothing of it is open any more, and only then. */
static void test_a_crowded_chunk_is_closed(void **state)
{
	struct fixture *f = *state;
	struct asked asked[3];

	begin(f);
	ask(f, &asked[0], FRAME_PUNCH, 0);
	run_for(f, SEC);
	assert_true(asked[0].done);
	assert_int_equal(f->fake->closed, 0);
	f->fake->crowded = true;
	f->fake->hold_commits = true;
	ask(f, &asked[0], FRAME_PUNCH, 0);
	asked[1] = (struct asked){.request = request_of(FRAME_PUNCH, 1, 0)};
	asked[1].request.offset = BLOCK_SIZE;
	asked[1].request.done = on_done;
	asked[1].request.user = &asked[1];
	chains_client_send(f->client, &asked[1].request);
	run_for(f, 100 * FAKE_MS);
	for (unsigned i = 0; i < f->fake->chunk_count; i++)
		if (f->fake->chunks[i].pending != NULL)
			fake_commit(f->fake, &f->fake->chunks[i]);
	run_for(f, 100 * FAKE_MS);
	assert_true(asked[0].done && !asked[1].done);
	assert_int_equal(f->fake->closed, 0);
	f->fake->crowded = false;
	f->fake->hold_commits = false;
	fake_commit_all(f->fake);
	run_for(f, SEC);
	assert_true(asked[1].done);
	assert_int_equal(f->fake->closed, 1);
	assert_int_equal(f->fake->closed_answered, 3);
	ask(f, &asked[2], FRAME_PUNCH, 0);
	run_for(f, SEC);
	assert_true(asked[2].done);
	assert_int_equal(f->fake->closed, 1);
}

/* What was sent and has no answer may have an id there for good. */
static void test_a_chunk_is_closed_behind_what_has_no_answer(void **state)
{
	struct fixture *f = *state;
	struct asked asked[2];

	begin(f);
	f->fake->hold_commits = true;
	ask(f, &asked[0], FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	chains_client_cancel(&asked[0].request);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(f->fake, i);
	/* One that was never sent has none. */
	ask(f, &asked[1], FRAME_PUNCH, 1);
	chains_client_cancel(&asked[1].request);
	run_for(f, 3 * SEC);
	assert_int_equal(asked[0].error, -ECANCELED);
	assert_int_equal(asked[1].error, -ECANCELED);
	f->fake->hold_commits = false;
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].up = true;
	run_for(f, 3 * SEC);
	assert_int_equal(f->fake->closed, 1);
	assert_int_equal(f->fake->seen[FRAME_TRUNCATE], 1);
}

/* Nor does the client's end wait for it: teardown() ends it. */
static void test_a_closing_ends_with_its_session(void **state)
{
	struct fixture *f = *state;
	struct asked asked;

	begin(f);
	f->fake->crowded = true;
	ask(f, &asked, FRAME_PUNCH, 0);
	while (!asked.done && fake_step(f->fake, f->fake->now + SEC))
		;
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(f->fake, i);
	run_for(f, 3 * SEC);
	assert_int_equal(f->fake->closed, 0);
	assert_int_equal(atomic_load(&f->client->active), 1);
	chains_client_set_session(f->client, 6);
	run_for(f, SEC);
	assert_int_equal(atomic_load(&f->client->active), 0);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].up = true;
	f->fake->crowded = true;
	ask(f, &asked, FRAME_PUNCH, 0);
	while (!asked.done && fake_step(f->fake, f->fake->now + SEC))
		;
	assert_int_equal(f->fake->closed, 0);
	assert_int_equal(atomic_load(&f->client->active), 1);
}

/* In whatever place it is: with a connection that is made, with one that stands, waiting for
 * another try, or not sent at all. */
static void test_updates_end_with_their_session(void **state)
{
	struct fixture *f = *state;
	struct asked sent, waiting, flush, later, bound;
	struct frame_header header;
	unsigned seen;

	begin(f);
	f->fake->hold_commits = true;
	ask(f, &sent, FRAME_PUNCH, 0);
	run_for(f, 100 * FAKE_MS);
	seen = f->fake->seen[FRAME_PUNCH];
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(f->fake, i);
	ask(f, &waiting, FRAME_PUNCH, 1);
	ask(f, &flush, FRAME_FLUSH, 2);
	run_for(f, 3 * SEC);
	assert_false(sent.done || waiting.done || flush.done);
	assert_true(chains_ops_header(f->client, &waiting.request, &header));
	/* Also while nobody can be asked. */
	chains_client_set_session(f->client, 6);
	assert_false(chains_ops_header(f->client, &waiting.request, &header));
	run_for(f, 3 * SEC);
	assert_true(sent.done && waiting.done);
	assert_int_equal(sent.error, -EIO);
	assert_int_equal(waiting.error, -EIO);
	assert_false(flush.done);
	f->fake->hold_commits = false;
	fake_commit_all(f->fake);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].up = true;
	/* One that was made for the session that is over is not sent at all. */
	bound = (struct asked){.request = request_of(FRAME_PUNCH, 1, 3)};
	bound.request.done = on_done;
	bound.request.user = &bound;
	bound.request.range = BLOCK_SIZE;
	bound.request.session = 5;
	chains_client_send(f->client, &bound.request);
	run_for(f, 3 * SEC);
	assert_int_equal(bound.error, -EIO);
	assert_int_equal(f->fake->seen[FRAME_PUNCH], seen);
	/* What changes nothing goes on. */
	assert_true(flush.done);
	assert_int_equal(flush.error, 0);
	ask(f, &later, FRAME_PUNCH, 0);
	assert_true(chains_ops_header(f->client, &later.request, &header));
	assert_int_equal(header.client_id, 6);
	assert_int_equal(header.op_id, 1);
	assert_int_equal(header.answered, 0);
	run_for(f, 3 * SEC);
	assert_true(later.done);
	assert_int_equal(later.error, 0);
}

static void test_ask_tail_leads_to_the_tail_at_once(void **state)
{
	struct fixture *f = *state;
	struct asked update, read;
	struct fake_chunk *chunk;
	unsigned tail;

	begin(f);
	ask(f, &read, FRAME_READ, 0);
	run_for(f, 10 * FAKE_MS);
	assert_true(read.done);
	f->fake->hold_commits = true;
	ask(f, &update, FRAME_PUNCH, 0);
	run_for(f, 10 * FAKE_MS);
	memset(f->fake->asked, 0, sizeof(f->fake->asked));
	chunk = &f->fake->chunks[0];
	tail = (f->fake->rotation[chunk->key.partition] + 2) % FAKE_SERVERS;
	/* Wherever it goes first. */
	for (uint32_t server = 0; server < FAKE_SERVERS; server++) {
		ask(f, &read, FRAME_READ, 0);
		run_for(f, 10 * FAKE_MS);
		assert_true(read.done);
		assert_int_equal(read.error, 0);
	}
	assert_int_equal(f->fake->asked[tail], 3);
	fake_commit(f->fake, chunk);
	run_for(f, 10 * FAKE_MS);
	assert_true(update.done);
}

static void test_a_cancelled_request_ends_instead_of_being_tried_again(void **state)
{
	struct fixture *f = *state;
	struct asked asked;

	begin(f);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		fake_kill(f->fake, i);
	ask(f, &asked, FRAME_PUNCH, 0);
	run_for(f, SEC);
	assert_false(asked.done);
	chains_client_cancel(&asked.request);
	run_for(f, SEC);
	assert_true(asked.done);
	assert_int_equal(asked.error, -ECANCELED);
}

static void test_idle_connections_are_watched(void **state)
{
	struct fixture *f = *state;
	struct chains_client_stats stats;
	struct asked asked;

	begin(f);
	ask(f, &asked, FRAME_PUNCH, 0);
	run_for(f, 60 * SEC);
	chains_client_stats(f->client, &stats);
	assert_int_equal(stats.resets, 0);
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		f->fake->servers[i].frozen = true;
	run_for(f, 30 * SEC);
	chains_client_stats(f->client, &stats);
	assert_int_equal(stats.resets, 1);
}

static struct chains_link *link_under_way(struct fixture *f)
{
	struct chains_link *link = atomic_load(&f->client->links);

	while (link != NULL && atomic_load(&link->under_way) == 0)
		link = link->all_next;
	return link;
}

/* A PING of the server's own, and a second answer to HELLO. */
static void test_a_frame_that_is_no_answer_takes_no_request_away(void **state)
{
	const struct frame_header strays[] = {{.op = FRAME_PING},
					      {.op = FRAME_HELLO, .flags = FRAME_REPLY}};
	struct fixture *f = *state;

	begin(f);
	for (unsigned i = 0; i < 2; i++) {
		struct frame_header stray = strays[i];
		struct chains_link *link;
		struct asked asked;

		f->fake->hold_commits = true;
		ask(f, &asked, FRAME_PUNCH, i);
		run_for(f, 100 * FAKE_MS);
		link = link_under_way(f);
		assert_non_null(link);
		for (uint32_t slot = 0; slot < link->slot_count; slot++)
			if (link->slots[slot].request != NULL)
				stray.request_id =
					(uint64_t)link->slots[slot].generation << 32 | slot;
		chains_link_frame(link, &stray, NULL);
		f->fake->hold_commits = false;
		fake_commit_all(f->fake);
		run_for(f, 3 * SEC);
		assert_true(asked.done);
		assert_int_equal(asked.error, 0);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_updates_and_flushes_go_to_the_head),
		CASE(test_the_tail_is_asked_when_it_must_be),
		CASE(test_reads_of_many_chunks_are_spread_but_each_chunk_stays_with_one),
		CASE(test_bulk_reads_of_one_chunk_are_spread),
		CASE(test_the_near_member_is_preferred_unless_it_is_down),
		CASE(test_a_busy_member_is_left_to_others),
		CASE(test_members_that_failed_are_not_asked_again),
		CASE(test_a_chain_without_members_cannot_be_asked),
		CASE(test_each_status_has_its_consequence),
		CASE(test_pauses_grow_to_half_a_second),
		CASE(test_nothing_is_sent_before_there_is_a_map_and_a_session),
		CASE(test_a_server_of_another_cluster_of_this_name_is_asked_nothing),
		CASE(test_done_is_never_called_in_the_call),
		CASE(test_an_update_keeps_its_id_until_it_is_answered),
		CASE(test_a_crowded_chunk_is_closed),
		CASE(test_a_chunk_is_closed_behind_what_has_no_answer),
		CASE(test_a_closing_ends_with_its_session),
		CASE(test_updates_end_with_their_session),
		CASE(test_ask_tail_leads_to_the_tail_at_once),
		CASE(test_a_cancelled_request_ends_instead_of_being_tried_again),
		CASE(test_idle_connections_are_watched),
		CASE(test_a_frame_that_is_no_answer_takes_no_request_away),
	};

	log_open("/dev/null");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
