/* meta_test - the mount's session with a master that misbehaves on command.
 *
 * Goal: every call ends exactly once, whatever happens to streams and sessions; what was sent is
 * sent again under the same id after a break, and nothing that changes is repeated in a new
 * session; the lease is believed as long as renewals are answered and no longer. Method: a master
 * of the test's own behind the real RPC layer, in one process, certificates made here. It executes
 * nothing; it notes what comes and answers as the test says. Callbacks only note; the test's thread
 * asserts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/log.h"
#include "fs/meta.h"
#include "tests/tree.h"
#include "tests/unit/catena_ca.h"

#define PATIENCE (5 * NS_PER_SEC)
#define LEASE_NS (400 * NS_PER_MSEC)
#define IDS_MAX  20000u

/* ---- the master ---- */

static struct {
	pthread_mutex_t lock;
	struct rpc_server *server;
	struct rpc_stream *stream; /* the newest, borrowed while open */
	char address[64];
	/* What it does. */
	bool hold_replies, hold_renews, refuse_sessions, forget_sessions, forget_commands;
	uint64_t session, secret, instance;
	/* What it saw. */
	uint32_t goodbye; /* the last */
	unsigned opens, resumes, goodbyes, renews, returns;
	uint64_t returned_sequence, answered, commands_told;
	uint64_t unreachable[META_UNREACHABLE_MAX + 1];
	size_t unreachable_count;
	uint64_t ids[IDS_MAX];
	uint32_t ops[IDS_MAX];
	unsigned requests;
} master;

/* For how long the machine has slept: only the boot time counts that. Takes the place of libc's. */
static _Atomic uint64_t slept_ns;

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, out);
	uint64_t ns;

	if (rc != 0 || clock != CLOCK_BOOTTIME)
		return rc;
	ns = (uint64_t)out->tv_sec * NS_PER_SEC + (uint64_t)out->tv_nsec + slept_ns;
	out->tv_sec = (time_t)(ns / NS_PER_SEC);
	out->tv_nsec = (long)(ns % NS_PER_SEC);
	return 0;
}

static char dir[CA_PATH_MAX];
static struct ca_files master_files, client_files, admin_files;

static void push(struct rpc_stream *stream, const Catena__ClientPush *message)
{
	size_t size = catena__client_push__get_packed_size(message);
	uint8_t *data = malloc(size + 1);

	catena__client_push__pack(message, data);
	rpc_stream_send(stream, data, size);
	free(data);
}

static void answer_open(struct rpc_stream *stream, const Catena__SessionOpen *open)
{
	Catena__SessionOpened opened = CATENA__SESSION_OPENED__INIT, *list[1] = {&opened};
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;

	message.n_opened = 1;
	message.opened = list;
	opened.lease_ns = LEASE_NS;
	opened.default_pool = 3;
	opened.instance = master.instance;
	if (master.refuse_sessions) {
		opened.error = EUSERS;
		opened.message = (char *)"too many clients";
	} else if (open->session_id != 0 &&
		   (master.forget_sessions || open->session_id != master.session ||
		    open->session_secret != master.secret)) {
		opened.error = ESTALE;
		master.forget_sessions = false;
	} else if (open->session_id != 0) {
		master.resumes++;
		master.commands_told = open->answered;
		opened.forgotten = master.forget_commands;
	} else {
		master.opens++;
		master.session++;
		master.secret += 17;
	}
	opened.session_id = master.session;
	opened.session_secret = master.secret;
	push(stream, &message);
}

static void answer_requests(struct rpc_stream *stream, const Catena__ClientBatch *batch)
{
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;
	Catena__Reply *replies = calloc(batch->n_requests + 1, sizeof(*replies));
	Catena__Reply **list = calloc(batch->n_requests + 1, sizeof(*list));

	for (size_t i = 0; i < batch->n_requests; i++) {
		const Catena__Request *request = batch->requests[i];

		if (master.requests < IDS_MAX) {
			master.ids[master.requests] = request->id;
			master.ops[master.requests++] = request->op_case;
		}
		catena__reply__init(&replies[i]);
		replies[i].id = request->id;
		replies[i].error = request->op_case == CATENA__REQUEST__OP_LOOKUP ? ENOENT : 0;
		/* The last first: order is not promised. */
		list[batch->n_requests - 1 - i] = &replies[i];
	}
	message.n_replies = batch->n_requests;
	message.replies = list;
	if (batch->n_requests > 0 && !master.hold_replies)
		push(stream, &message);
	free(replies);
	free(list);
}

static void answer_renews(struct rpc_stream *stream, const Catena__ClientBatch *batch)
{
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;

	master.renews += (unsigned)batch->n_renews;
	if (batch->n_renews > 0) {
		master.unreachable_count = batch->n_unreachable;
		for (size_t i = 0; i < batch->n_unreachable && i <= META_UNREACHABLE_MAX; i++)
			master.unreachable[i] = batch->unreachable[i];
	}
	if (master.hold_renews || batch->n_renews == 0)
		return;
	message.n_renewed = batch->n_renews;
	message.renewed = batch->renews;
	push(stream, &message);
}

static int on_open(void *user, struct rpc_stream *stream, const struct tls_identity *peer,
		   void **stream_user)
{
	*stream_user = NULL;
	return peer->role == TLS_ROLE_CLIENT ? 0 : -EACCES;
}

static void on_message(void *user, struct rpc_stream *stream, const uint8_t *data, size_t size)
{
	Catena__ClientBatch *batch = catena__client_batch__unpack(NULL, size, data);

	pthread_mutex_lock(&master.lock);
	master.stream = stream;
	for (size_t i = 0; i < batch->n_open; i++)
		answer_open(stream, batch->open[i]);
	answer_requests(stream, batch);
	answer_renews(stream, batch);
	for (size_t i = 0; i < batch->n_returns; i++) {
		master.returns++;
		master.returned_sequence = batch->returns[i]->sequence;
	}
	for (size_t i = 0; i < batch->n_answered; i++)
		master.answered = batch->answered[i];
	master.goodbyes += (unsigned)batch->n_goodbye;
	if (batch->n_goodbye > 0)
		master.goodbye = batch->goodbye[0];
	pthread_mutex_unlock(&master.lock);
	catena__client_batch__free_unpacked(batch, NULL);
}

static void on_closed(void *user, struct rpc_stream *stream, int error)
{
	pthread_mutex_lock(&master.lock);
	if (master.stream == stream)
		master.stream = NULL;
	pthread_mutex_unlock(&master.lock);
}

static void master_start(const char *listen)
{
	static const struct rpc_stream_handler handler = {
		.open = on_open, .message = on_message, .closed = on_closed};
	static const struct rpc_method methods[] = {{"/catena.Master/Session", &handler, NULL},
						    {NULL, NULL, NULL}};
	struct rpc_server_options options = {
		.listen = listen, .tls = master_files.files, .methods = methods};
	char error[256];

	if (rpc_server_start(&options, &master.server, error, sizeof(error)) != 0)
		fail_msg("%s", error);
	snprintf(master.address, sizeof(master.address), "127.0.0.1:%u",
		 rpc_server_port(master.server));
}

/* The stream breaks, as if the connection did. */
static void master_break(void)
{
	pthread_mutex_lock(&master.lock);
	if (master.stream != NULL)
		rpc_stream_close(master.stream);
	pthread_mutex_unlock(&master.lock);
}

static void send_lease(bool grant, uint64_t sequence)
{
	Catena__Lease lease = CATENA__LEASE__INIT, *list[1] = {&lease};
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;

	lease.sequence = sequence;
	lease.kind = grant ? CATENA__LEASE_KIND__LEASE_EXCLUSIVE : CATENA__LEASE_KIND__LEASE_NONE;
	if (grant) {
		message.n_grants = 1;
		message.grants = list;
	} else {
		message.n_recalls = 1;
		message.recalls = list;
	}
	pthread_mutex_lock(&master.lock);
	push(master.stream, &message);
	pthread_mutex_unlock(&master.lock);
}

/* ---- the mount's side ---- */

static struct meta *meta;
static atomic_uint sessions, grants, recalls, losts, done_ok, done_failed, done_absent,
	done_unanswered;

static void note_map(void *user, struct cluster_map *map)
{
}
static void note_session(void *user, uint64_t id)
{
	atomic_fetch_add(&sessions, 1);
}
static void note_granted(void *user)
{
	atomic_fetch_add(&grants, 1);
}
static void note_recalled(void *user)
{
	atomic_fetch_add(&recalls, 1);
}
static void note_lost(void *user)
{
	atomic_fetch_add(&losts, 1);
}
static atomic_uint forgettings;
static void note_forgotten(void *user)
{
	atomic_fetch_add(&forgettings, 1);
}
static atomic_uint lost_servers;
static size_t note_unreachable(void *user, uint64_t *servers, size_t max)
{
	size_t count = atomic_load(&lost_servers);

	count = count < max ? count : max;
	for (size_t i = 0; i < count; i++)
		servers[i] = UINT64_MAX - i;
	return count;
}

static void note_done(void *user, int error, const Catena__Reply *reply)
{
	atomic_uint *calls = user;

	if (calls != NULL)
		atomic_fetch_add(calls, 1);
	if (reply == NULL)
		atomic_fetch_add(&done_unanswered, 1);
	if (error == 0)
		atomic_fetch_add(&done_ok, 1);
	else if (error == -ENOENT)
		atomic_fetch_add(&done_absent, 1);
	else
		atomic_fetch_add(&done_failed, 1);
}

static void call_by(void (*how)(struct meta *meta, Catena__Request *request, meta_done_fn *done,
				void *user),
		    uint32_t op, atomic_uint *calls)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__StatfsReq statfs = CATENA__STATFS_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	request.op_case = (Catena__Request__OpCase)op;
	if (op == CATENA__REQUEST__OP_GETATTR)
		request.getattr = &getattr;
	else if (op == CATENA__REQUEST__OP_LOOKUP)
		request.lookup = &lookup;
	else if (op == CATENA__REQUEST__OP_STATFS)
		request.statfs = &statfs;
	else
		request.unlink = &unlink;
	how(meta, &request, note_done, calls);
}

static void call(uint32_t op, atomic_uint *calls)
{
	call_by(meta_call, op, calls);
}

static void call_later(uint32_t op, atomic_uint *calls)
{
	call_by(meta_call_later, op, calls);
}

static bool wait_for(bool (*holds)(void))
{
	uint64_t end = clock_monotonic_ns() + PATIENCE;

	while (!holds()) {
		if (clock_monotonic_ns() > end)
			return false;
		usleep(1000);
	}
	return true;
}

static unsigned seen(const unsigned *counter)
{
	unsigned value;

	pthread_mutex_lock(&master.lock);
	value = *counter;
	pthread_mutex_unlock(&master.lock);
	return value;
}

static int open_meta(uint64_t soft_ns, char *error, size_t size)
{
	struct meta_options options = {
		.masters = master.address,
		.tls = client_files.files,
		.mount_name = "test:/mnt",
		.soft_timeout_ns = soft_ns,
		.callbacks = {note_map, note_session, note_granted, note_recalled, note_lost,
			      note_unreachable, note_forgotten},
	};

	return meta_open(&options, PATIENCE, &meta, error, size);
}

static int setup(void **state)
{
	char error[256] = "";
	(void)state;

	pthread_mutex_lock(&master.lock);
	master.hold_replies = master.hold_renews = master.refuse_sessions = false;
	master.forget_sessions = master.forget_commands = false;
	master.instance = 7;
	master.opens = master.resumes = master.goodbyes = master.renews = master.returns = 0;
	master.requests = 0;
	master.answered = 0;
	pthread_mutex_unlock(&master.lock);
	sessions = grants = recalls = losts = 0;
	done_ok = done_failed = done_absent = done_unanswered = 0;
	if (open_meta(0, error, sizeof(error)) != 0) {
		fprintf(stderr, "%s\n", error);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	meta_close(meta, true);
	meta = NULL;
	return 0;
}

/* ---- calls ---- */

static bool thousand_done(void)
{
	return done_ok + done_absent == 1000;
}

static bool one_done(void)
{
	return done_ok + done_absent == 1;
}

static bool all_told(void)
{
	bool yes;

	pthread_mutex_lock(&master.lock);
	yes = master.answered == 1000;
	pthread_mutex_unlock(&master.lock);
	return yes;
}

static void test_every_call_is_answered_once_in_the_order_sent(void **state)
{
	static atomic_uint calls[1000];
	(void)state;

	assert_int_equal(sessions, 1);
	assert_int_equal(meta_default_pool(meta), 3);
	for (unsigned i = 0; i < 1000; i++)
		(i % 7 < 5 ? call_later : call)(i % 2 ? CATENA__REQUEST__OP_LOOKUP
						      : CATENA__REQUEST__OP_GETATTR,
						&calls[i]);
	assert_true(wait_for(thousand_done));
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(calls[i], 1);
	assert_int_equal(done_ok, 500);
	assert_int_equal(done_absent, 500);
	assert_int_equal(seen(&master.requests), 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(master.ids[i], i + 1);
	/* The master may forget its replies. */
	assert_true(wait_for(all_told));
}

static void test_a_call_that_nobody_waits_for_is_sent_all_the_same(void **state)
{
	static atomic_uint calls;
	(void)state;

	call_later(CATENA__REQUEST__OP_GETATTR, &calls);
	assert_true(wait_for(one_done));
	assert_int_equal(calls, 1);
}

/* ---- what is held ---- */

static atomic_uint went;

static void go(void *user)
{
	call_by(meta_call_now, CATENA__REQUEST__OP_STATFS, user);
	atomic_fetch_add(&went, 1);
}

static bool three_done(void)
{
	return done_ok + done_absent + done_failed == 3;
}

static bool six_done(void)
{
	return done_ok + done_absent + done_failed == 6;
}

static void test_what_is_held_goes_in_its_order_with_its_own_in_front(void **state)
{
	const uint32_t expected[] = {CATENA__REQUEST__OP_GETATTR, CATENA__REQUEST__OP_STATFS,
				     CATENA__REQUEST__OP_UNLINK,  CATENA__REQUEST__OP_STATFS,
				     CATENA__REQUEST__OP_LOOKUP,  CATENA__REQUEST__OP_GETATTR};
	struct meta_hold *first, *second;
	atomic_uint held = 0, other = 0;
	(void)state;

	went = 0;
	first = meta_hold(meta, go, NULL);
	call(CATENA__REQUEST__OP_UNLINK, &held);
	second = meta_hold(meta, go, NULL);
	call_later(CATENA__REQUEST__OP_LOOKUP, &held);
	call(CATENA__REQUEST__OP_GETATTR, &held);
	call_by(meta_call_now, CATENA__REQUEST__OP_GETATTR, &other);
	assert_true(wait_for(one_done));
	assert_int_equal(other, 1);
	meta_release(meta, second);
	usleep(50000);
	assert_int_equal(held, 0);
	assert_int_equal(went, 0);
	meta_release(meta, first);
	assert_int_equal(went, 2);
	assert_true(wait_for(six_done));
	assert_int_equal(held, 3);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(master.ops[i], expected[i]);
		assert_int_equal(master.ids[i], i + 1);
	}
	/* Afterwards nothing waits. */
	done_ok = done_absent = done_failed = 0;
	call(CATENA__REQUEST__OP_GETATTR, &held);
	assert_true(wait_for(one_done));
}

static void test_nobody_waits_for_ever_for_what_is_held(void **state)
{
	uint64_t began = clock_monotonic_ns();
	struct meta_hold *hold = meta_hold(meta, go, NULL);
	atomic_uint held = 0;
	(void)state;

	went = 0;
	call(CATENA__REQUEST__OP_GETATTR, &held);
	while (held == 0 && clock_monotonic_ns() < began + 3 * META_HOLD_MAX_NS)
		usleep(10000);
	assert_int_equal(held, 1);
	assert_true(clock_monotonic_ns() >= began + META_HOLD_MAX_NS);
	assert_int_equal(went, 0);
	meta_release(meta, hold);
	assert_int_equal(went, 1);
}

static void test_in_a_new_session_held_changes_fail_too(void **state)
{
	struct meta_hold *hold = meta_hold(meta, go, NULL);
	atomic_uint unlink = 0, getattr = 0;
	(void)state;

	went = 0;
	call(CATENA__REQUEST__OP_UNLINK, &unlink);
	call(CATENA__REQUEST__OP_GETATTR, &getattr);
	pthread_mutex_lock(&master.lock);
	master.forget_sessions = true;
	pthread_mutex_unlock(&master.lock);
	master_break();
	for (unsigned i = 0; i < 5000 && unlink == 0; i++)
		usleep(1000);
	assert_int_equal(unlink, 1);
	assert_int_equal(done_unanswered, 1);
	assert_int_equal(getattr, 0);
	meta_release(meta, hold);
	assert_true(wait_for(three_done));
	assert_int_equal(getattr, 1);
	assert_int_equal(seen(&master.requests), 2);
}

static void test_closing_ends_what_is_held(void **state)
{
	atomic_uint held = 0;
	struct meta_hold *hold = meta_hold(meta, go, NULL);
	(void)state;

	call(CATENA__REQUEST__OP_GETATTR, &held);
	meta_close(meta, true);
	meta = NULL;
	assert_int_equal(held, 1);
	assert_int_equal(done_unanswered, 1);
	free(hold); /* nobody will release it */
}

static bool ten_seen(void)
{
	return seen(&master.requests) >= 10;
}
static bool resumed(void)
{
	return seen(&master.resumes) >= 1;
}
static bool resumed_twice(void)
{
	return seen(&master.resumes) >= 2;
}
static bool resumed_three_times(void)
{
	return seen(&master.resumes) >= 3;
}
static uint64_t seen_long(const uint64_t *value)
{
	uint64_t copy;

	pthread_mutex_lock(&master.lock);
	copy = *value;
	pthread_mutex_unlock(&master.lock);
	return copy;
}
static bool twenty_seen(void)
{
	return seen(&master.requests) >= 20;
}
static bool ten_done(void)
{
	return done_ok + done_absent + done_failed >= 10;
}

static void test_a_broken_stream_is_resumed_and_what_has_no_answer_sent_again(void **state)
{
	static atomic_uint calls[10];
	(void)state;

	memset(calls, 0, sizeof(calls));
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 10; i++)
		(i % 2 ? call : call_later)(CATENA__REQUEST__OP_UNLINK, &calls[i]);
	assert_true(wait_for(ten_seen));
	pthread_mutex_lock(&master.lock);
	master.hold_replies = false;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(resumed));
	assert_true(wait_for(ten_done));
	assert_true(wait_for(twenty_seen));
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(calls[i], 1);
		assert_int_equal(master.ids[i], i + 1);
		assert_int_equal(master.ids[10 + i], i + 1);
	}
	assert_int_equal(done_ok, 10);
	assert_int_equal(sessions, 1);
	assert_int_equal(seen(&master.opens), 1);
}

static void
test_a_resuming_mount_tells_which_commands_were_done_and_hears_of_lost_ones(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		call(CATENA__REQUEST__OP_UNLINK, NULL);
	/* These only ask, and leave no trace at the master. */
	for (unsigned i = 0; i < 7; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	master_break();
	assert_true(wait_for(resumed));
	assert_int_equal(seen_long(&master.commands_told), 3);
	assert_int_equal(atomic_load(&forgettings), 0);
	pthread_mutex_lock(&master.lock);
	master.forget_commands = true;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(resumed_twice));
	for (unsigned i = 0; i < 1000 && atomic_load(&forgettings) == 0; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&forgettings), 1);
	/* Told once: what it is told of next time was done since. */
	pthread_mutex_lock(&master.lock);
	master.forget_commands = false;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(resumed_three_times));
	assert_int_equal(seen_long(&master.commands_told), 0);
	assert_int_equal(sessions, 1);
}

static bool two_sessions(void)
{
	return sessions == 2;
}

static void test_in_a_new_session_changes_fail_and_queries_are_repeated(void **state)
{
	(void)state;
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 5; i++) {
		call(CATENA__REQUEST__OP_UNLINK, NULL);
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	}
	assert_true(wait_for(ten_seen));
	pthread_mutex_lock(&master.lock);
	master.hold_replies = false;
	master.forget_sessions = true;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(two_sessions));
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 5);
	assert_int_equal(done_failed, 5);
	assert_int_equal(done_unanswered, 5);
	assert_int_equal(seen(&master.opens), 2);
	/* Numbered from one again. */
	assert_int_equal(seen(&master.requests), 15);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(master.ids[10 + i], i + 1);
		assert_int_equal(master.ops[10 + i], CATENA__REQUEST__OP_GETATTR);
	}
}

static void test_calls_without_a_connection_wait_for_one(void **state)
{
	(void)state;
	master_break();
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 10);
}

static void test_garbage_from_the_master_ends_the_stream_not_the_mount(void **state)
{
	(void)state;
	pthread_mutex_lock(&master.lock);
	rpc_stream_send(master.stream, "\x12\xff\xff\xff\xff\x0f garbage", 14);
	pthread_mutex_unlock(&master.lock);
	assert_true(wait_for(resumed));
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 10);
}

static void test_answers_to_nothing_are_passed_over(void **state)
{
	Catena__Reply reply = CATENA__REPLY__INIT, *list[1] = {&reply};
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;
	(void)state;

	message.n_replies = 1;
	message.replies = list;
	pthread_mutex_lock(&master.lock);
	push(master.stream, &message);
	reply.id = 1u << 30;
	push(master.stream, &message);
	reply.id = UINT64_MAX;
	push(master.stream, &message);
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 10);
}

/* ---- the lease ---- */

static bool granted_once(void)
{
	return grants >= 1;
}
static bool is_sole(void)
{
	return meta_sole(meta);
}
static bool is_lost(void)
{
	return losts >= 1;
}
static bool is_recalled(void)
{
	return recalls >= 1;
}
static bool is_returned(void)
{
	return seen(&master.returns) >= 1;
}
static bool renewed_often(void)
{
	return seen(&master.renews) >= 12;
}

static void test_the_lease_lasts_while_renewals_are_answered_and_ends_with_them(void **state)
{
	uint64_t generation = meta_generation(meta);
	(void)state;

	assert_false(meta_sole(meta));
	send_lease(true, 1);
	assert_true(wait_for(granted_once));
	assert_true(wait_for(renewed_often)); /* far longer than one lease */
	assert_true(meta_sole(meta));
	assert_int_equal(meta_generation(meta), generation + 1);
	pthread_mutex_lock(&master.lock);
	master.hold_renews = true;
	pthread_mutex_unlock(&master.lock);
	assert_true(wait_for(is_lost));
	assert_false(meta_sole(meta));
	assert_int_equal(meta_generation(meta), generation + 2);
	/* The same grant again, once we are heard: a new generation. */
	pthread_mutex_lock(&master.lock);
	master.hold_renews = false;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 20 && !meta_sole(meta); i++) {
		usleep(100000);
		send_lease(true, 1);
	}
	assert_true(wait_for(is_sole));
	assert_int_equal(meta_generation(meta), generation + 3);
}

static void test_the_lease_ends_while_the_machine_sleeps(void **state)
{
	uint64_t generation;
	(void)state;

	send_lease(true, 1);
	assert_true(wait_for(is_sole));
	assert_true(meta_lease_left_ns(meta) > 0 && meta_lease_left_ns(meta) <= LEASE_NS);
	generation = meta_generation(meta);
	pthread_mutex_lock(&master.lock);
	master.hold_renews = true;
	pthread_mutex_unlock(&master.lock);
	slept_ns += LEASE_NS;
	/* At once, whatever the session's thread has noticed. */
	assert_false(meta_sole(meta));
	assert_int_equal(meta_lease_left_ns(meta), 0);
	assert_true(wait_for(is_lost));
	assert_int_equal(meta_generation(meta), generation + 1);
}

static void test_a_recall_is_answered_with_its_sequence(void **state)
{
	(void)state;
	send_lease(true, 5);
	assert_true(wait_for(is_sole));
	send_lease(false, 6);
	assert_true(wait_for(is_recalled));
	assert_false(meta_sole(meta));
	assert_int_equal(seen(&master.returns), 0);
	meta_lease_return(meta);
	assert_true(wait_for(is_returned));
	assert_int_equal(master.returned_sequence, 6);
	meta_lease_return(meta); /* nothing is held any more */
	usleep(20000);
	assert_int_equal(seen(&master.returns), 1);
}

static void test_a_broken_stream_ends_the_lease(void **state)
{
	(void)state;
	send_lease(true, 1);
	assert_true(wait_for(is_sole));
	master_break();
	assert_true(wait_for(is_lost));
	assert_true(wait_for(resumed));
	assert_false(meta_sole(meta));
}

/* ---- ends ---- */

static void test_closing_says_goodbye_and_ends_what_waits(void **state)
{
	(void)state;
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_seen));
	meta_close(meta, true);
	meta = NULL;
	assert_int_equal(done_unanswered, 10);
	assert_int_equal(done_failed, 10);
	assert_int_equal(seen(&master.goodbyes), 1);
	assert_int_equal(seen(&master.goodbye), 1);
}

static void test_closing_says_when_something_may_be_under_way(void **state)
{
	(void)state;
	meta_close(meta, false);
	meta = NULL;
	assert_int_equal(seen(&master.goodbyes), 1);
	assert_int_not_equal(seen(&master.goodbye), 1);
}

static void test_what_belongs_to_a_session_is_not_sent_in_another(void **state)
{
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	uint64_t session = meta_session_id(meta);
	(void)state;

	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &unlink;
	meta_call_within(meta, session, true, &request, note_done, NULL);
	assert_true(wait_for(one_done));
	meta_call_within(meta, session + 1, true, &request, note_done, NULL);
	assert_int_equal(done_failed, 1);
	assert_int_equal(done_unanswered, 1);
	assert_int_equal(seen(&master.requests), 1);
}

static bool one_failed(void)
{
	return done_failed == 1;
}

static void test_a_soft_mount_gives_up_waiting(void **state)
{
	char error[256];
	uint64_t began;
	(void)state;

	meta_close(meta, true);
	assert_int_equal(open_meta(300 * NS_PER_MSEC, error, sizeof(error)), 0);
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	began = clock_monotonic_ns();
	call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(one_failed));
	assert_true(clock_monotonic_ns() - began >= 300 * NS_PER_MSEC);
	assert_true(clock_monotonic_ns() - began < 2 * NS_PER_SEC);
}

static bool all_servers_told(void)
{
	return master.unreachable_count == META_UNREACHABLE_MAX;
}
static bool no_servers_told(void)
{
	return master.unreachable_count == 0;
}

static void test_servers_out_of_reach_are_told_while_they_are(void **state)
{
	(void)state;
	atomic_store(&lost_servers, 1000);
	assert_true(wait_for(all_servers_told));
	assert_true(master.unreachable[0] == UINT64_MAX);
	assert_true(master.unreachable[63] == UINT64_MAX - 63);
	atomic_store(&lost_servers, 0);
	assert_true(wait_for(no_servers_told));
}

/* The numbers that it knows mean other files there; as before, it goes on when its own is back. */
static void test_a_cluster_that_was_made_anew_is_not_taken_for_the_old_one(void **state)
{
	static atomic_uint calls[1];
	(void)state;

	pthread_mutex_lock(&master.lock);
	master.instance++;
	pthread_mutex_unlock(&master.lock);
	master_break();
	call(CATENA__REQUEST__OP_GETATTR, &calls[0]);
	assert_true(wait_for(resumed_twice)); /* by the master only: asked again and again */
	assert_int_equal(seen(&master.requests), 0);
	assert_int_equal(done_ok, 0);
	assert_int_equal(sessions, 1);
	pthread_mutex_lock(&master.lock);
	master.instance--;
	pthread_mutex_unlock(&master.lock);
	assert_true(wait_for(one_done));
	assert_int_equal(sessions, 1);
}

static void test_who_cannot_be_reached_or_refuses_is_told_in_one_line(void **state)
{
	struct meta_options options = {
		.masters = "127.0.0.1:1",
		.tls = client_files.files,
		.callbacks = {note_map, note_session, note_granted, note_recalled, note_lost,
			      note_unreachable, note_forgotten},
	};
	struct meta *other = NULL;
	char error[512] = "";
	(void)state;

	assert_int_not_equal(meta_open(&options, 700 * NS_PER_MSEC, &other, error, sizeof(error)),
			     0);
	assert_non_null(strstr(error, "127.0.0.1:1"));
	assert_null(strchr(error, '\n'));
	options.masters = master.address;
	options.tls = admin_files.files; /* of this cluster, but not a client's */
	assert_int_equal(meta_open(&options, PATIENCE, &other, error, sizeof(error)), -EACCES);
	assert_non_null(strstr(error, "client"));
	options.tls = client_files.files;
	pthread_mutex_lock(&master.lock);
	master.refuse_sessions = true;
	pthread_mutex_unlock(&master.lock);
	assert_int_equal(meta_open(&options, PATIENCE, &other, error, sizeof(error)), -EACCES);
	assert_non_null(strstr(error, "too many clients"));
}

static int group_setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	ca_temp_dir(dir);
	ca_init(dir, "test");
	ca_issue(dir, "master", "master-1", NULL, &master_files);
	ca_issue(dir, "client", "mount-1", NULL, &client_files);
	ca_issue(dir, "admin", "admin-1", NULL, &admin_files);
	pthread_mutex_init(&master.lock, NULL);
	rpc_init();
	master_start("127.0.0.1:0");
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	rpc_server_stop(master.server);
	rpc_shutdown();
	tree_remove(dir);
	return 0;
}

#define IN_SESSION(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SESSION(test_every_call_is_answered_once_in_the_order_sent),
		IN_SESSION(test_a_call_that_nobody_waits_for_is_sent_all_the_same),
		IN_SESSION(test_what_is_held_goes_in_its_order_with_its_own_in_front),
		IN_SESSION(test_nobody_waits_for_ever_for_what_is_held),
		IN_SESSION(test_in_a_new_session_held_changes_fail_too),
		IN_SESSION(test_closing_ends_what_is_held),
		IN_SESSION(test_a_broken_stream_is_resumed_and_what_has_no_answer_sent_again),
		IN_SESSION(
			test_a_resuming_mount_tells_which_commands_were_done_and_hears_of_lost_ones),
		IN_SESSION(test_in_a_new_session_changes_fail_and_queries_are_repeated),
		IN_SESSION(test_calls_without_a_connection_wait_for_one),
		IN_SESSION(test_garbage_from_the_master_ends_the_stream_not_the_mount),
		IN_SESSION(test_answers_to_nothing_are_passed_over),
		IN_SESSION(test_the_lease_lasts_while_renewals_are_answered_and_ends_with_them),
		IN_SESSION(test_the_lease_ends_while_the_machine_sleeps),
		IN_SESSION(test_a_recall_is_answered_with_its_sequence),
		IN_SESSION(test_a_broken_stream_ends_the_lease),
		IN_SESSION(test_closing_says_goodbye_and_ends_what_waits),
		IN_SESSION(test_closing_says_when_something_may_be_under_way),
		IN_SESSION(test_what_belongs_to_a_session_is_not_sent_in_another),
		IN_SESSION(test_a_soft_mount_gives_up_waiting),
		IN_SESSION(test_servers_out_of_reach_are_told_while_they_are),
		IN_SESSION(test_a_cluster_that_was_made_anew_is_not_taken_for_the_old_one),
		IN_SESSION(test_who_cannot_be_reached_or_refuses_is_told_in_one_line),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
