/* master_test - clients of the master, over the wire.
 *
 * Goal: sessions begin, resume and end as docs/protocol.md says; only one client at a time believes
 * to be alone; a request takes effect once, also over broken streams and a restarted master; who
 * does not keep to the protocol, or has the wrong role, loses his stream and nothing else. Method:
 * a master in this process, with its store in a temporary directory and short leases; peers that
 * send and receive plain messages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/shared/push.h"
#include "tests/unit/master/shell/master_fixture.h"

/* Opens a session and gives its id and secret. */
static struct peer *new_client(uint64_t *session, uint64_t *secret)
{
	struct peer *p = client_open_stream(0, 0);
	Catena__ClientPush *push = peer_push(p, has_opened, 1);

	assert_non_null(push);
	assert_int_equal(push->opened[0]->error, 0);
	assert_int_equal(push->opened[0]->lease_ns, fx.config.client_lease_ns);
	assert_string_equal(push->opened[0]->cluster, CLUSTER);
	assert_int_not_equal(push->opened[0]->session_id, 0);
	assert_int_not_equal(push->opened[0]->session_secret, 0);
	*session = push->opened[0]->session_id;
	*secret = push->opened[0]->session_secret;
	push_free_unpacked(push);
	return p;
}

static void send_return(struct peer *p, uint64_t sequence)
{
	Catena__Lease lease = CATENA__LEASE__INIT, *leases[1] = {&lease};
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;

	lease.sequence = sequence;
	batch.n_returns = 1;
	batch.returns = leases;
	peer_send(p, &batch.base);
}

static void send_goodbye(struct peer *p)
{
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;
	uint32_t one = 1;

	batch.n_goodbye = 1;
	batch.goodbye = &one;
	peer_send(p, &batch.base);
}

/* The error of the reply to request @id; -1: none came. */
static int reply_error(struct peer *p, uint64_t id)
{
	Catena__ClientPush *push = peer_push(p, has_reply, id);
	int error = push == NULL ? -1 : find_reply(push, id)->error;

	if (push != NULL)
		push_free_unpacked(push);
	return error;
}

static int opened_error(struct peer *p)
{
	Catena__ClientPush *push = peer_push(p, has_opened, 1);
	int error = push == NULL ? -1 : push->opened[0]->error;

	if (push != NULL)
		push_free_unpacked(push);
	return error;
}

/* ---- requests ---- */

static void test_a_lone_client_gets_the_lease_a_map_and_answers(void **state)
{
	uint64_t session, secret;
	struct peer *p = new_client(&session, &secret);
	Catena__ClientPush *push = peer_push(p, has_grants, 1);
	Catena__Request request = CATENA__REQUEST__INIT, *requests[1] = {&request};
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;

	assert_non_null(push);
	assert_int_equal(push->grants[0]->ino, 0);
	assert_int_equal(push->grants[0]->kind, CATENA__LEASE_KIND__LEASE_EXCLUSIVE);
	assert_true(push->n_maps >= 1);
	assert_int_equal(push->maps[0]->n_pools, 1);
	push_free_unpacked(push);
	send_create(p, 1, "file", false);
	assert_int_equal(reply_error(p, 1), 0);
	send_create(p, 2, "file", true);
	assert_int_equal(reply_error(p, 2), EEXIST);
	request.id = 3;
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	lookup.parent = 1;
	lookup.name.data = (uint8_t *)"file";
	lookup.name.len = 4;
	send_requests(p, requests, 1);
	push = peer_push(p, has_reply, 3);
	assert_non_null(push);
	assert_int_equal(find_reply(push, 3)->error, 0);
	assert_int_equal(find_reply(push, 3)->attr->mode, 0100644);
	push_free_unpacked(push);
	peer_close(p);
}

static void test_durable_requests_are_answered_when_they_are(void **state)
{
	uint64_t session, secret;
	struct peer *p = new_client(&session, &secret);
	char name[32];

	for (uint64_t id = 1; id <= 200; id++) {
		snprintf(name, sizeof(name), "file-%d", (int)id);
		send_create(p, id, name, id % 3 == 0);
	}
	for (uint64_t id = 1; id <= 200; id++)
		assert_int_equal(reply_error(p, id), 0);
	assert_true(command_log_is_durable(fx.master->log, 198));
	/* Nothing new: durable already, answered at once. */
	send_create(p, 201, "file-1", true);
	assert_int_equal(reply_error(p, 201), EEXIST);
	peer_close(p);
}

/* A number of a message, and what is behind it. */
static uint64_t read_varint(const struct peer *p, size_t *at)
{
	uint64_t value = 0;

	for (unsigned shift = 0;; shift += 7) {
		assert_true(*at < p->size && shift < 64);
		value |= (uint64_t)(p->bytes[*at] & 0x7f) << shift;
		if ((p->bytes[(*at)++] & 0x80) == 0)
			return value;
	}
}

/* How often the master has said up to where commands may be lost, while answers that are longer than
 * @max together never went without. */
static unsigned count_indices(struct peer *p, size_t max, uint64_t least)
{
	unsigned count = 0;
	size_t answers = 0;

	pthread_mutex_lock(&p->lock);
	for (size_t at = 0; at < p->size;) {
		uint64_t tag = read_varint(p, &at), size = read_varint(p, &at);
		size_t body = at;

		assert_int_equal(tag & 7, 2); /* numbers come packed */
		at += (size_t)size;
		if (tag >> 3 == CLIENT_PUSH_REPLIES)
			answers += (size_t)size;
		/* It may come by itself, too, when more has become durable. */
		if (tag >> 3 != CLIENT_PUSH_INDEX || answers == 0)
			continue;
		assert_true(read_varint(p, &body) >= least);
		assert_in_range(answers, 1, max);
		answers = 0;
		count++;
	}
	assert_int_equal(answers, 0);
	pthread_mutex_unlock(&p->lock);
	return count;
}

#define LONG_VALUE    65536u
#define LONG_REQUESTS 60u

/* The answers to one message, which are too long for one: each says up to where it may be lost. */
static void test_long_answers_come_in_parts_that_say_what_may_be_lost(void **state)
{
	static uint8_t value[LONG_VALUE];
	static char names[LONG_REQUESTS][16];
	Catena__Request requests[LONG_REQUESTS], *list[LONG_REQUESTS];
	Catena__XattrReq xattrs[LONG_REQUESTS];
	Catena__CreateReq creates[LONG_REQUESTS];
	uint64_t session, secret, before;
	struct peer *p = new_client(&session, &secret);

	for (unsigned i = 0; i < LONG_REQUESTS; i++) {
		catena__request__init(&requests[i]);
		catena__xattr_req__init(&xattrs[i]);
		catena__create_req__init(&creates[i]);
		list[i] = &requests[i];
		requests[i].id = 2 + i;
		requests[i].op_case = CATENA__REQUEST__OP_XATTR;
		requests[i].xattr = &xattrs[i];
		xattrs[i].ino = 1;
		xattrs[i].op = 1;
		xattrs[i].name.data = (uint8_t *)"user.long";
		xattrs[i].name.len = 9;
	}
	requests[0].id = 1;
	xattrs[0].op = 2;
	xattrs[0].value.data = value;
	xattrs[0].value.len = sizeof(value);
	send_requests(p, list, 1);
	assert_int_equal(reply_error(p, 1), 0);
	before = command_log_applied(fx.master->log);
	peer_forget(p);
	/* Commands between them, so that what is answered is new. */
	requests[0].id = 2;
	xattrs[0].op = 1;
	xattrs[0].value.len = 0;
	for (unsigned i = 0; i < LONG_REQUESTS; i += 20) {
		snprintf(names[i], sizeof(names[i]), "file-%u", i);
		requests[i].op_case = CATENA__REQUEST__OP_CREATE;
		requests[i].create = &creates[i];
		creates[i].parent = 1;
		creates[i].name.data = (uint8_t *)names[i];
		creates[i].name.len = strlen(names[i]);
		creates[i].mode = 0100644;
	}
	send_requests(p, list, LONG_REQUESTS);
	for (unsigned i = 0; i < LONG_REQUESTS; i++)
		assert_int_equal(reply_error(p, 2 + i), 0);
	assert_true(count_indices(p, (1u << 20) + 2 * LONG_VALUE, before + 3) >= 3);
	peer_close(p);
}

static void test_statfs_says_copies_and_space(void **state)
{
	uint64_t session, secret;
	struct peer *p = new_client(&session, &secret);
	Catena__Request request = CATENA__REQUEST__INIT, *requests[1] = {&request};
	Catena__StatfsReq statfs = CATENA__STATFS_REQ__INIT;
	Catena__ClientPush *push;

	request.id = 1;
	request.op_case = CATENA__REQUEST__OP_STATFS;
	request.statfs = &statfs;
	send_requests(p, requests, 1);
	push = peer_push(p, has_reply, 1);
	assert_non_null(push);
	assert_non_null(find_reply(push, 1)->statfs);
	assert_int_equal(find_reply(push, 1)->statfs->copies, 3);
	push_free_unpacked(push);
	peer_close(p);
}

/* ---- the lease ---- */

static void test_a_second_client_waits_for_the_lease_of_the_first(void **state)
{
	uint64_t session, secret, sequence;
	struct peer *a = new_client(&session, &secret), *b;
	Catena__ClientPush *push = peer_push(a, has_grants, 1);

	assert_non_null(push);
	push_free_unpacked(push);
	b = client_open_stream(0, 0);
	push = peer_push(a, has_recalls, 1);
	assert_non_null(push);
	sequence = push->recalls[0]->sequence;
	push_free_unpacked(push);
	assert_null(peer_wait_for(b, &catena__client_push__descriptor, has_opened, 1, 200));
	send_return(a, sequence + 1);
	assert_null(peer_wait_for(b, &catena__client_push__descriptor, has_opened, 1, 200));
	send_return(a, sequence);
	assert_int_equal(opened_error(b), 0);
	assert_null(peer_wait_for(b, &catena__client_push__descriptor, has_grants, 1, 200));
	/* Alone again. */
	peer_forget(a);
	send_goodbye(b);
	push = peer_push(a, has_grants, 1);
	assert_non_null(push);
	push_free_unpacked(push);
	assert_true(peer_wait_closed(b));
	peer_close(a);
	peer_close(b);
}

static void test_a_silent_first_client_is_waited_for_as_long_as_its_lease(void **state)
{
	uint64_t session, secret, start;
	struct peer *a = new_client(&session, &secret), *b;
	Catena__ClientPush *push = peer_push(a, has_grants, 1);

	push_free_unpacked(push);
	send_renew(a, 7);
	start = clock_monotonic_ns();
	peer_close(a);
	b = client_open_stream(0, 0);
	assert_int_equal(opened_error(b), 0);
	assert_true(clock_monotonic_ns() - start > NS_PER_SEC);
	assert_true(clock_monotonic_ns() - start < 2 * NS_PER_SEC);
	push = peer_push(b, has_grants, 1);
	assert_non_null(push);
	push_free_unpacked(push);
	peer_close(b);
}

static bool has_renewed(const void *message, uint64_t sequence)
{
	const Catena__ClientPush *push = message;

	for (size_t i = 0; i < push->n_renewed; i++)
		if (push->renewed[i]->sequence == sequence)
			return true;
	return false;
}

/* ---- the right to append ---- */

static void send_append(struct peer *p, uint64_t id, uint64_t ino, bool release)
{
	Catena__Request request = CATENA__REQUEST__INIT, *requests[1] = {&request};
	Catena__AppendReq append = CATENA__APPEND_REQ__INIT;

	request.id = id;
	request.durable = !release;
	request.op_case = CATENA__REQUEST__OP_APPEND;
	request.append = &append;
	append.ino = ino;
	append.release = release;
	send_requests(p, requests, 1);
}

static bool replies_within(struct peer *p, uint64_t id, unsigned ms)
{
	void *push = peer_wait_for(p, &catena__client_push__descriptor, has_reply, id, ms);

	if (push != NULL)
		push_free_unpacked(push);
	return push != NULL;
}

/* Two clients with a session each. */
static void two_clients(struct peer **a, struct peer **b)
{
	uint64_t session, secret;
	Catena__ClientPush *push;

	*a = new_client(&session, &secret);
	push = peer_push(*a, has_grants, 1);
	assert_non_null(push);
	push_free_unpacked(push);
	*b = client_open_stream(0, 0);
	push = peer_push(*a, has_recalls, 1);
	assert_non_null(push);
	send_return(*a, push->recalls[0]->sequence);
	push_free_unpacked(push);
	assert_int_equal(opened_error(*b), 0);
}

static uint64_t created_ino(struct peer *p, uint64_t id, const char *name)
{
	Catena__ClientPush *push;
	uint64_t ino;

	send_create(p, id, name, false);
	push = peer_push(p, has_reply, id);
	assert_non_null(push);
	ino = find_reply(push, id)->attr->ino;
	push_free_unpacked(push);
	return ino;
}

/* Of the reply to @id, which takes its time: both sessions stay alive. */
static int error_while_renewing(struct peer *p, uint64_t id, struct peer *other)
{
	for (uint64_t i = 1; i < 30; i++) {
		Catena__ClientPush *push;
		int error;

		send_renew(p, i);
		send_renew(other, i);
		push = peer_wait_for(p, &catena__client_push__descriptor, has_reply, id, 100);
		if (push == NULL)
			continue;
		error = find_reply(push, id)->error;
		push_free_unpacked(push);
		return error;
	}
	return -1;
}

static void test_the_right_to_append_comes_to_who_has_waited_longest(void **state)
{
	struct peer *a, *b;
	uint64_t ino;
	(void)state;

	two_clients(&a, &b);
	ino = created_ino(a, 1, "log");
	send_append(a, 2, ino, false);
	assert_int_equal(reply_error(a, 2), 0);
	send_append(b, 1, ino, false);
	assert_false(replies_within(b, 1, 200));
	/* Other requests of theirs go on; who comes later has to wait, even if it is free then. */
	send_create(b, 2, "other", false);
	assert_int_equal(reply_error(b, 2), 0);
	send_append(a, 3, ino, true);
	assert_int_equal(reply_error(b, 1), 0);
	send_append(a, 4, ino, false);
	assert_false(replies_within(a, 4, 200));
	send_append(b, 3, ino, true);
	assert_int_equal(reply_error(a, 4), 0);
	/* In vain: asked again. Given up: not given. */
	send_append(b, 4, ino, false);
	assert_int_equal(error_while_renewing(b, 4, a), EAGAIN);
	send_append(b, 5, ino, false);
	send_append(b, 6, ino, true);
	assert_int_equal(reply_error(b, 5), EAGAIN);
	send_append(a, 5, ino, true);
	assert_int_equal(reply_error(a, 5), 0);
	send_append(a, 6, ino, false);
	assert_int_equal(reply_error(a, 6), 0);
	peer_close(a);
	peer_close(b);
}

static void test_the_right_to_append_ends_with_who_had_it(void **state)
{
	struct peer *a, *b;
	int error = EAGAIN;
	uint64_t ino;
	(void)state;

	two_clients(&a, &b);
	ino = created_ino(a, 1, "log");
	send_append(a, 2, ino, false);
	assert_int_equal(reply_error(a, 2), 0);
	/* It falls silent, with its stream open: as long as its lease, and not as a session. */
	for (uint64_t id = 1; error == EAGAIN && id < 20; id++) {
		send_renew(b, id);
		send_append(b, id, ino, false);
		error = reply_error(b, id);
	}
	assert_int_equal(error, 0);
	peer_close(a);
	peer_close(b);
}

static void test_renewals_are_answered(void **state)
{
	uint64_t session, secret;
	struct peer *p = new_client(&session, &secret);
	Catena__ClientPush *push;

	send_renew(p, 41);
	send_renew(p, 42);
	push = peer_push(p, has_renewed, 42);
	assert_non_null(push);
	assert_true(has_renewed(push, 41));
	push_free_unpacked(push);
	peer_close(p);
}

/* ---- resuming ---- */

static void test_a_session_is_resumed_and_requests_take_effect_once(void **state)
{
	uint64_t session, secret;
	struct peer *a = new_client(&session, &secret), *b;

	send_create(a, 1, "once", false);
	assert_int_equal(reply_error(a, 1), 0);
	peer_close(a);
	b = client_open_stream(session, secret);
	assert_int_equal(opened_error(b), 0);
	/* Did the answer get lost? The same answer comes again. */
	send_create(b, 1, "once", false);
	assert_int_equal(reply_error(b, 1), 0);
	send_create(b, 2, "once", false);
	assert_int_equal(reply_error(b, 2), EEXIST);
	peer_close(b);
}

static void test_a_restarted_master_knows_sessions_and_answers(void **state)
{
	uint64_t session, secret;
	struct peer *a = new_client(&session, &secret), *b;
	Catena__ClientPush *push;

	send_create(a, 1, "once", true);
	send_create(a, 2, "twice", false);
	assert_int_equal(reply_error(a, 2), 0);
	fixture_stop();
	assert_true(peer_wait_closed(a));
	peer_close(a);
	assert_int_equal(fixture_start(), 0);
	b = client_open_stream(session, secret);
	assert_int_equal(opened_error(b), 0);
	push = peer_push(b, has_grants, 1);
	assert_non_null(push);
	push_free_unpacked(push);
	send_create(b, 1, "once", false);
	assert_int_equal(reply_error(b, 1), 0);
	send_create(b, 2, "twice", false);
	assert_int_equal(reply_error(b, 2), 0);
	send_create(b, 3, "twice", false);
	assert_int_equal(reply_error(b, 3), EEXIST);
	peer_close(b);
}

static void test_unknown_and_foreign_sessions_are_refused(void **state)
{
	uint64_t session, secret;
	struct peer *a = new_client(&session, &secret), *b;

	b = client_open_stream(session, secret + 1);
	assert_int_equal(opened_error(b), EACCES);
	peer_close(b);
	b = client_open_stream(session + 1000, secret);
	assert_int_equal(opened_error(b), ESTALE);
	peer_close(b);
	/* The rightful one takes over from its own older stream. */
	b = client_open_stream(session, secret);
	assert_int_equal(opened_error(b), 0);
	assert_true(peer_wait_closed(a));
	send_create(b, 1, "x", false);
	assert_int_equal(reply_error(b, 1), 0);
	peer_close(a);
	peer_close(b);
}

static void test_a_session_that_said_goodbye_or_expired_is_gone(void **state)
{
	uint64_t session, secret, second, secret_2, third, secret_3;
	struct peer *a = new_client(&session, &secret), *b;

	send_goodbye(a);
	assert_true(peer_wait_closed(a));
	peer_close(a);
	b = client_open_stream(session, secret);
	assert_int_equal(opened_error(b), ESTALE);
	peer_close(b);
	a = new_client(&second, &secret_2);
	assert_int_not_equal(second, session);
	peer_close(a);
	/* Alone, it stands in nobody's way. */
	usleep(1500000);
	a = client_open_stream(second, secret_2);
	assert_int_equal(opened_error(a), 0);
	peer_close(a);
	/* Another one is let in when it is over. */
	b = new_client(&third, &secret_3);
	a = client_open_stream(second, secret_2);
	assert_int_equal(opened_error(a), ESTALE);
	peer_close(a);
	peer_close(b);
}

/* ---- who does not keep to the rules ---- */

static void test_garbage_and_requests_without_a_session_end_the_stream(void **state)
{
	uint64_t session, secret;
	struct peer *good = new_client(&session, &secret), *p;

	p = peer_open(&fx.client_cert, "/catena.Master/Session");
	rpc_stream_send(p->stream, "\xff\xff\xff garbage", 11);
	assert_true(peer_wait_closed(p));
	peer_close(p);
	p = peer_open(&fx.client_cert, "/catena.Master/Session");
	send_create(p, 1, "file", false);
	assert_true(peer_wait_closed(p));
	peer_close(p);
	/* Twice open. */
	p = client_open_stream(session + 99, 1);
	assert_int_equal(opened_error(p), ESTALE);
	send_open(p, 0, 0);
	send_open(p, 0, 0);
	assert_true(peer_wait_closed(p));
	peer_close(p);
	send_create(good, 1, "file", false);
	assert_int_equal(reply_error(good, 1), 0);
	peer_close(good);
}

static void test_requests_with_nothing_in_them_are_errors(void **state)
{
	uint64_t session, secret;
	struct peer *p = new_client(&session, &secret);
	Catena__Request request = CATENA__REQUEST__INIT, *requests[1] = {&request};
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__XattrReq xattr = CATENA__XATTR_REQ__INIT;

	request.id = 1;
	send_requests(p, requests, 1);
	assert_int_equal(reply_error(p, 1), EINVAL);
	request.id = 2;
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	send_requests(p, requests, 1);
	assert_true(reply_error(p, 2) > 0);
	request.id = 3;
	request.op_case = CATENA__REQUEST__OP_XATTR;
	request.xattr = &xattr;
	send_requests(p, requests, 1);
	assert_true(reply_error(p, 3) > 0);
	peer_close(p);
}

/* Two bytes on the wire for each empty request: decoding must stop at a bound. */
static void test_a_message_that_grows_beyond_measure_ends_the_stream(void **state)
{
	size_t size = 3u << 20;
	uint8_t *data = malloc(size);
	struct peer *p = peer_open(&fx.client_cert, "/catena.Master/Session");

	for (size_t i = 0; i < size; i += 2) {
		data[i] = 2 << 3 | 2;
		data[i + 1] = 0;
	}
	rpc_stream_send(p->stream, data, size);
	assert_true(peer_wait_closed(p));
	peer_close(p);
	free(data);
}

static void test_roles_bind(void **state)
{
	struct peer *p;

	p = peer_open(&fx.admin_cert, "/catena.Master/Session");
	assert_true(peer_wait_closed(p));
	assert_int_equal(p->error, -EACCES);
	peer_close(p);
	p = peer_open(&fx.server_certs[0], "/catena.Master/Session");
	assert_true(peer_wait_closed(p));
	assert_int_equal(p->error, -EACCES);
	peer_close(p);
	p = peer_open(&fx.client_cert, "/catena.Master/Chunkserver");
	assert_true(peer_wait_closed(p));
	assert_int_equal(p->error, -EACCES);
	peer_close(p);
}

static int call_status(const struct ca_files *cert, Catena__StatusReply **out)
{
	struct peer *p = peer_open(cert, "/catena.Master/Status");
	uint8_t *reply = NULL;
	size_t size = 0;
	int rc = rpc_call_wait(p->client, "/catena.Master/Status", "", 0, 5 * NS_PER_SEC, &reply,
			       &size);

	if (rc == 0) {
		*out = catena__status_reply__unpack(NULL, size, reply);
		free(reply);
	}
	peer_close(p);
	return rc;
}

static void test_status_tells_admins_and_clients(void **state)
{
	uint64_t session, secret;
	struct peer *p = new_client(&session, &secret);
	Catena__StatusReply *status = NULL;

	assert_int_equal(call_status(&fx.server_certs[0], &status), -EACCES);
	assert_int_equal(call_status(&fx.client_cert, &status), 0);
	assert_non_null(status);
	catena__status_reply__free_unpacked(status, NULL);
	assert_int_equal(call_status(&fx.admin_cert, &status), 0);
	assert_non_null(status);
	assert_int_equal(status->inodes, 1);
	assert_int_equal(status->n_sessions, 1);
	assert_int_equal(status->sessions[0]->id, session);
	assert_true(status->sessions[0]->online);
	assert_string_equal(status->sessions[0]->mount, "host:/mnt");
	assert_string_equal(status->map->cluster, CLUSTER);
	assert_string_equal(status->store_error, "");
	catena__status_reply__free_unpacked(status, NULL);
	peer_close(p);
}

/* ---- starting ---- */

static void test_what_cannot_be_started_says_why(void **state)
{
	struct master_config config = fx.config;
	struct ca_files cert;
	struct master *second;
	char error[512], empty[300], other[300];

	assert_int_equal(master_start(&config, &second, error, sizeof(error)), -EBUSY);
	assert_non_null(strstr(error, "in use"));
	assert_int_equal(master_init(&config, error, sizeof(error)), -EBUSY);
	assert_non_null(strstr(error, "already"));
	snprintf(empty, sizeof(empty), "%s/nothing", fx.dir);
	config.data = empty;
	assert_int_equal(master_start(&config, &second, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "--init"));

	fixture_stop();
	config = fx.config;
	assert_int_equal(master_init(&config, error, sizeof(error)), -EEXIST);
	assert_non_null(strstr(error, "already"));
	snprintf(other, sizeof(other), "%s/other", fx.dir);
	ca_init(other, "another-cluster");
	ca_issue(other, "master", "m1", NULL, &cert);
	config.ca = cert.ca;
	config.cert = cert.cert;
	config.key = cert.key;
	assert_int_equal(master_start(&config, &second, error, sizeof(error)), -EXDEV);
	assert_non_null(strstr(error, "another cluster"));
	config.ca = fx.config.ca;
	config.cert = fx.client_cert.cert;
	config.key = fx.client_cert.key;
	assert_true(master_start(&config, &second, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "role"));
}

#define with_master(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_master(test_a_lone_client_gets_the_lease_a_map_and_answers),
		with_master(test_durable_requests_are_answered_when_they_are),
		with_master(test_long_answers_come_in_parts_that_say_what_may_be_lost),
		with_master(test_statfs_says_copies_and_space),
		with_master(test_a_second_client_waits_for_the_lease_of_the_first),
		with_master(test_a_silent_first_client_is_waited_for_as_long_as_its_lease),
		with_master(test_the_right_to_append_comes_to_who_has_waited_longest),
		with_master(test_the_right_to_append_ends_with_who_had_it),
		with_master(test_renewals_are_answered),
		with_master(test_a_session_is_resumed_and_requests_take_effect_once),
		with_master(test_a_restarted_master_knows_sessions_and_answers),
		with_master(test_unknown_and_foreign_sessions_are_refused),
		with_master(test_a_session_that_said_goodbye_or_expired_is_gone),
		with_master(test_garbage_and_requests_without_a_session_end_the_stream),
		with_master(test_requests_with_nothing_in_them_are_errors),
		with_master(test_a_message_that_grows_beyond_measure_ends_the_stream),
		with_master(test_roles_bind),
		with_master(test_status_tells_admins_and_clients),
		with_master(test_what_cannot_be_started_says_why),
	};

	return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
