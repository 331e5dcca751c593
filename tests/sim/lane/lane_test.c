/* lane_test.c - a mount's commands, over broken streams and power cuts of the master.
 *
 * Goal: every command of a sole client takes effect once, in the order in which it was sent, and ends
 * for its program as it does in the master; whatever is lost on the way, answers included, and
 * however often the master loses what it has not flushed. What is durable need not be kept.
 * Method: the mount's ring of requests and the master's state machine, on the memory twin of the
 * store, with messages between them that are lost with their stream. Programs make and remove names
 * in one directory; a set of names says what each command must find. All is seeded; run with:
 * lane_test [SEED [COUNT]] */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <time.h>
#include "fs/session/meta_pending.h"
#include "tests/lib/random.h"
#include "tests/lib/state_fixture.h"

#define RUNS     200
#define STEPS    400
#define NAMES    6
#define SENT_MAX 4096u
#define PUSH_MAX 64u
#define ANY      1

/* A command of a program, and what it was told. */
struct call {
	int expected; /* error, by the order of sending; ANY: what was sent later may be done before */
	int told;
	unsigned tellings;
};

/* From the mount: requests as bytes. */
struct message {
	uint8_t *bytes;
	size_t size;
	struct message *next;
};

/* To the mount. */
struct push {
	struct {
		uint64_t id;
		int error;
	} replies[PUSH_MAX];
	unsigned count;
	uint64_t lane_done, index, durable;
	struct push *next;
};

static struct {
	uint64_t seed, random;
	struct fixture f;
	struct meta_pending_ring ring;
	struct message *to_master;
	struct push *to_mount;
	uint64_t durable; /* index of the log */
	bool names[NAMES];
	struct call calls[SENT_MAX];
	unsigned sent;
} sim;

static uint64_t first_seed, seed_count;

static uint64_t draw(uint64_t below)
{
	return random_below(&sim.random, below);
}

/* ---- the mount ---- */

static void on_done(void *user, int error, const Catena__Reply *reply)
{
	struct call *call = user;

	call->told = error;
	call->tellings++;
}

static void send(const void *bytes, size_t size)
{
	struct message *message = calloc(1, sizeof(*message)), **end = &sim.to_master;

	assert_non_null(message);
	message->bytes = malloc(size);
	assert_non_null(message->bytes);
	memcpy(message->bytes, bytes, size);
	message->size = size;
	while (*end != NULL)
		end = &(*end)->next;
	*end = message;
}

static void call(Catena__Request *request, int expected)
{
	struct meta_pending *pending;
	struct call *call = &sim.calls[sim.sent++];

	assert_true(sim.sent < SENT_MAX);
	*call = (struct call){.expected = expected};
	request->time = 1;
	pending = meta_pending_new(request);
	assert_non_null(pending);
	pending->done = on_done;
	pending->user = call;
	pending->in_lane = pending->command && draw(3) > 0;
	pending->kept = pending->command;
	assert_int_equal(meta_pending_add(&sim.ring, pending), 0);
	send(pending->bytes + pending->start, pending->size);
}

static void play_call(void)
{
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	char name[2] = {(char)('a' + draw(NAMES))};
	bool *there = &sim.names[name[0] - 'a'];

	switch (draw(5)) {
	case 0:
		request.op_case = CATENA__REQUEST__OP_LOOKUP;
		request.lookup = &lookup;
		lookup.parent = 1;
		lookup.name = bytes_of(name);
		call(&request, ANY);
		break;
	case 1:
	case 2:
		request.op_case = CATENA__REQUEST__OP_CREATE;
		request.create = &create;
		create.parent = 1;
		create.name = bytes_of(name);
		create.mode = S_IFREG | 0600;
		create.exclusive = true;
		call(&request, *there ? -EEXIST : 0);
		*there = true;
		break;
	default:
		request.op_case = CATENA__REQUEST__OP_UNLINK;
		request.unlink = &unlink;
		unlink.parent = 1;
		unlink.name = bytes_of(name);
		call(&request, *there ? 0 : -ENOENT);
		*there = false;
	}
}

static void take_reply(uint64_t id, int error, uint64_t index)
{
	struct meta_pending *pending;
	enum meta_pending_news news;
	bool gone;

	news = meta_pending_answer(&sim.ring, id, error, index, &pending, &gone);
	if (news == META_PENDING_OTHER_END)
		fail_msg("seed %llu: request %llu ends otherwise than before",
			 (unsigned long long)sim.seed, (unsigned long long)id);
	if (news == META_PENDING_NEWS)
		pending->done(pending->user, -error, NULL);
	if (gone)
		free(pending);
}

static void take_push(void)
{
	struct push *push = sim.to_mount;
	meta_done_fn *done;
	void *user;

	if (push == NULL)
		return;
	sim.to_mount = push->next;
	for (unsigned i = 0; i < push->count; i++)
		take_reply(push->replies[i].id, push->replies[i].error, push->index);
	while (meta_pending_lane_done(&sim.ring, push->lane_done, push->index, &done, &user))
		done(user, 0, NULL);
	meta_pending_durable(&sim.ring, push->durable);
	free(push);
}

/* ---- the master ---- */

static void add_reply(struct push *push, const uint8_t *bytes, size_t size)
{
	Catena__Reply *reply = catena__reply__unpack(NULL, size, bytes);

	assert_non_null(reply);
	push->replies[push->count].id = reply->id;
	push->replies[push->count++].error = reply->error;
	catena__reply__free_unpacked(reply, NULL);
}

/* False: the stream is over. */
static bool execute(const Catena__Request *request, struct push *push)
{
	struct state_request command = {.session = sim.f.session, .message = request};
	struct state_answer answer = {0};
	int rc;

	if (state_request_is_command(request))
		rc = state_apply_request(sim.f.state, sim.f.index + 1, &command, &answer);
	else
		rc = state_query(sim.f.state, sim.f.session, request, &answer.reply,
				 &answer.reply_size);
	sim.f.index = state_applied_index(sim.f.state);
	if (rc == -EPROTO)
		return false;
	assert_int_equal(rc, 0);
	if (answer.lane != 0)
		push->lane_done = answer.lane;
	if (answer.reply != NULL)
		add_reply(push, answer.reply, answer.reply_size);
	free(answer.reply);
	return true;
}

static void break_stream(void);

static void take_message(void)
{
	struct message *message = sim.to_master;
	struct push *push, **end = &sim.to_mount;
	Catena__ClientBatch *batch;
	bool over = false;

	if (message == NULL)
		return;
	sim.to_master = message->next;
	push = calloc(1, sizeof(*push));
	assert_non_null(push);
	batch = catena__client_batch__unpack(NULL, message->size, message->bytes);
	assert_non_null(batch);
	for (size_t i = 0; i < batch->n_requests && !over; i++)
		over = !execute(batch->requests[i], push);
	push->index = sim.f.index;
	push->durable = sim.durable;
	while (*end != NULL)
		end = &(*end)->next;
	*end = push;
	catena__client_batch__free_unpacked(batch, NULL);
	free(message->bytes);
	free(message);
	if (over)
		break_stream();
}

static void flush(void)
{
	assert_int_equal(kv_flush(sim.f.kv), 0);
	sim.durable = sim.f.index;
}

/* ---- trouble ---- */

static void forget_messages(void)
{
	while (sim.to_master != NULL) {
		struct message *next = sim.to_master->next;

		free(sim.to_master->bytes);
		free(sim.to_master);
		sim.to_master = next;
	}
	while (sim.to_mount != NULL) {
		struct push *next = sim.to_mount->next;

		free(sim.to_mount);
		sim.to_mount = next;
	}
}

/* What is on its way is lost, from some message on; another stream resumes the session. */
static void break_stream(void)
{
	for (uint64_t i = draw(3); i > 0; i--)
		take_message();
	for (uint64_t i = draw(3); i > 0; i--)
		take_push();
	forget_messages();
	meta_pending_send_again(&sim.ring, true);
	for (uint64_t id = sim.ring.first; id < sim.ring.next; id++) {
		struct meta_pending *pending = meta_pending_find(&sim.ring, id);

		if (pending != NULL)
			send(pending->bytes + pending->start, pending->size);
	}
}

static void power_cut(void)
{
	kv_memory_crash(sim.f.kv);
	assert_int_equal(fixture_reopen(&sim.f), 0);
	sim.f.index = state_applied_index(sim.f.state);
	assert_true(sim.f.index >= sim.durable);
	/* The master's answers of before may have come or not. */
	for (uint64_t i = draw(4); i > 0; i--)
		take_push();
	forget_messages();
	break_stream();
}

/* ---- runs ---- */

static void settle(void)
{
	while (sim.to_master != NULL || sim.to_mount != NULL) {
		take_message();
		take_push();
	}
}

static void compare(void)
{
	char name[2] = "";

	settle();
	for (unsigned i = 0; i < sim.sent; i++) {
		const struct call *call = &sim.calls[i];

		if (call->tellings != 1 || (call->told != call->expected && call->expected != ANY))
			fail_msg("seed %llu: call %u was told %d %u times, expected %d",
				 (unsigned long long)sim.seed, i, call->told, call->tellings,
				 call->expected);
	}
	for (int i = 0; i < NAMES; i++) {
		name[0] = (char)('a' + i);
		sim.f.request_id = 1u << 30; /* not one of the mount's */
		assert_int_equal(do_lookup(&sim.f, 1, name), sim.names[i] ? 0 : -ENOENT);
	}
	assert_true(state_is_sound(&sim.f));
}

static void step(void)
{
	switch (draw(16)) {
	case 0:
		if (draw(4) == 0)
			break_stream();
		break;
	case 1:
		if (draw(4) == 0)
			power_cut();
		break;
	case 2:
		flush();
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		take_message();
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		take_push();
		break;
	default:
		play_call();
	}
}

static void run(uint64_t seed)
{
	memset(&sim, 0, sizeof(sim));
	sim.seed = sim.random = seed;
	assert_int_equal(fixture_init(&sim.f, UINT64_MAX), 0);
	flush();
	assert_int_equal(meta_pending_ring_init(&sim.ring), 0);
	for (int i = 0; i < STEPS; i++)
		step();
	compare();
	power_cut();
	compare();
	flush();
	meta_pending_durable(&sim.ring, sim.durable);
	/* What was answered and is durable is kept no longer. */
	assert_true(sim.ring.first == sim.ring.next);
	assert_int_equal(sim.ring.kept_bytes, 0);
	forget_messages();
	meta_pending_ring_free(&sim.ring);
	fixture_end(&sim.f);
}

static void every_command_takes_effect_once_and_in_order(void **state)
{
	for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++)
		run(seed);
	print_message("seeds %llu to %llu\n", (unsigned long long)first_seed,
		      (unsigned long long)(first_seed + seed_count - 1));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_takes_effect_once_and_in_order),
	};

	first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL) * 1000;
	seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : RUNS;
	return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
