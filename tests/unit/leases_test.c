/* leases_test - sessions' time and the sole client's lease.
 *
 * Goal: no client ever believes, by its own clock, that it is the only one while another is
 * admitted; nobody waits for ever; a lone client gets the lease. Method: single steps by hand, then
 * seeded runs of simulated clients with clocks that drift, messages that are late, connections that
 * break, clients that die, freeze or do not return, and a master that restarts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "master/leases.h"
#include "tests/random.h"

#define MS 1000000ull
#define S  (1000 * MS)

static const struct leases_options options = {
	.lease_ns = 4 * S,
	.margin_ns = 400 * MS,
	.session_timeout_ns = 30 * S,
	.recall_timeout_ns = 10 * S,
	.sessions_max = 8,
};

/* ---- by hand ---- */

static struct leases *make(void)
{
	struct leases *l;

	assert_int_equal(leases_create(&options, &l), 0);
	return l;
}

static void expect_action(struct leases *l, uint64_t now, enum lease_action_kind kind, uint64_t id)
{
	struct lease_action a;

	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, kind);
	assert_int_equal(a.id, id);
}

static void expect_none(struct leases *l, uint64_t now)
{
	struct lease_action a;

	assert_false(leases_next(l, now, &a));
}

/* Looks often, as the master does, so that no pause is seen. */
static bool run_until(struct leases *l, uint64_t *now, uint64_t until, struct lease_action *out)
{
	for (; *now < until; *now += 100 * MS)
		if (leases_next(l, *now, out))
			return true;
	return false;
}

static void test_a_lone_client_is_granted_and_recalled_for_the_second(void **state)
{
	struct leases *l = make();
	struct lease_action a;

	expect_none(l, 1);
	assert_int_equal(leases_arrive(l, 100), 0);
	expect_action(l, 1, LEASE_ACTION_ADMIT, 100);
	expect_none(l, 1);
	assert_int_equal(leases_admitted(l, 1, true, 1), 0);
	assert_true(leases_next(l, 2, &a));
	assert_int_equal(a.kind, LEASE_ACTION_GRANT);
	assert_int_equal(a.id, 1);
	expect_none(l, 3);
	assert_int_equal(leases_arrive(l, 101), 0);
	leases_return(l, 1, a.sequence); /* unasked: it may have crossed a grant */
	assert_int_equal(leases_holder(l), 1);
	assert_true(leases_next(l, 4, &a));
	assert_int_equal(a.kind, LEASE_ACTION_RECALL);
	expect_none(l, 5);
	leases_return(l, 1, a.sequence + 7); /* of another recall */
	expect_none(l, 5);
	leases_return(l, 1, a.sequence);
	expect_action(l, 6, LEASE_ACTION_ADMIT, 101);
	assert_int_equal(leases_admitted(l, 2, true, 6), 0);
	expect_none(l, 7);
	leases_closed(l, 2);
	expect_action(l, 8, LEASE_ACTION_GRANT, 1);
	leases_destroy(l);
}

static void test_a_silent_holder_delays_the_second_until_its_time_is_surely_over(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1;

	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_admitted(l, 1, true, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	leases_disconnect(l, 1, now);
	leases_arrive(l, 101);
	assert_true(run_until(l, &now, 10 * S, &a));
	assert_true(now > 4400 * MS);
	assert_true(now < 4700 * MS);
	assert_int_equal(a.kind, LEASE_ACTION_EXPIRE);
	assert_int_equal(a.id, 1);
	expect_action(l, now, LEASE_ACTION_ADMIT, 101);
	leases_admitted(l, 2, true, now);
	expect_none(l, now);
	leases_closed(l, 1);
	expect_action(l, now, LEASE_ACTION_GRANT, 2);
	leases_destroy(l);
}

static void test_a_holder_that_renews_but_does_not_return_is_not_waited_for_for_ever(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1, answered = 0;
	bool admitted = false;

	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_admitted(l, 1, true, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	leases_arrive(l, 101);
	expect_action(l, now, LEASE_ACTION_RECALL, 1);
	for (; now < 30 * S && !admitted; now += 100 * MS) {
		if (leases_renew(l, 1, now) && leases_holder(l) == 1)
			answered = now;
		if (leases_next(l, now, &a)) {
			assert_int_equal(a.kind, LEASE_ACTION_ADMIT);
			admitted = true;
		}
	}
	assert_true(admitted);
	assert_true(answered < 11 * S);
	assert_true(now > answered + options.lease_ns + options.margin_ns);
	leases_destroy(l);
}

static void test_after_a_restart_a_single_session_may_hold_the_lease(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 5;

	assert_int_equal(leases_restore(l, 7, now), 0);
	leases_arrive(l, 100);
	expect_none(l, now);
	/* It comes back: told to return at once. */
	leases_resume(l, 7, now);
	expect_action(l, now, LEASE_ACTION_RECALL, 7);
	leases_destroy(l);

	/* It never comes back. */
	l = make();
	leases_restore(l, 7, now);
	leases_arrive(l, 100);
	assert_true(run_until(l, &now, 10 * S, &a));
	assert_true(now > 4400 * MS);
	leases_destroy(l);

	/* Of two, none holds. */
	l = make();
	leases_restore(l, 7, now);
	leases_restore(l, 8, now);
	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_destroy(l);
}

static void test_a_pause_of_the_master_expires_nobody(void **state)
{
	struct leases *l = make();
	uint64_t now = 1;

	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_admitted(l, 1, true, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	expect_none(l, now + 60 * S);
	assert_false(leases_lapsed(l, 1, now + 60 * S));
	leases_destroy(l);
}

static void test_a_connected_silent_session_lives_longer_than_its_lease(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1;

	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_admitted(l, 1, true, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	assert_false(run_until(l, &now, 20 * S, &a));
	assert_int_equal(leases_holder(l), 0);
	/* It thaws: nothing is held, and it is granted again. */
	assert_true(leases_renew(l, 1, now));
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	assert_true(run_until(l, &now, 80 * S, &a));
	assert_int_equal(a.kind, LEASE_ACTION_EXPIRE);
	assert_true(now > 54 * S);
	leases_destroy(l);
}

static void test_a_stopped_client_has_time_to_come_back(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1;

	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_admitted(l, 1, true, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	assert_false(run_until(l, &now, 10 * S, &a));
	leases_disconnect(l, 1, now);
	assert_false(run_until(l, &now, 13 * S, &a));
	leases_resume(l, 1, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	leases_disconnect(l, 1, now);
	assert_true(run_until(l, &now, 40 * S, &a));
	assert_int_equal(a.kind, LEASE_ACTION_EXPIRE);
	leases_destroy(l);
}

static void test_there_are_never_more_sessions_than_allowed(void **state)
{
	struct leases *l = make();
	struct lease_action a;

	for (uint64_t i = 0; i < options.sessions_max; i++) {
		assert_int_equal(leases_arrive(l, 100 + i), 0);
		if (leases_holder(l) != 0)
			continue;
		assert_true(leases_next(l, 1, &a));
		leases_admitted(l, 1 + i, true, 1);
	}
	assert_true(leases_arrive(l, 500) < 0);
	leases_depart(l, 101);
	leases_destroy(l);
}

/* ---- simulation ---- */

enum { CLIENTS = 4, MESSAGES = 64 };
enum kind { M_OPEN, M_RENEW, M_RETURN, M_OPENED, M_RENEWED, M_GRANT, M_RECALL };

struct message {
	enum kind kind;
	uint64_t at, value;
};

struct pipe { /* one direction of a connection: in order */
	struct message m[MESSAGES];
	unsigned head, tail;
	uint64_t last;
};

struct client {
	bool alive, frozen, opened, connected, stubborn;
	double rate; /* its clock's speed */
	uint64_t session, connection;
	struct pipe up, down;
	uint64_t until, renew_sent[16], sequence_sent, lease_sequence, return_at;
	uint64_t renew_due;
	bool sole;
};

struct world {
	struct leases *l;
	struct client c[CLIENTS];
	uint64_t now, next_session, next_connection;
	uint64_t stored[16], stored_count;
	unsigned grants, admissions, restarts;
	uint64_t master_until; /* it is stopped */
};

static uint64_t rng;

static uint64_t below(uint64_t n)
{
	return random_below(&rng, n);
}

static uint64_t clock_of(const struct world *w, const struct client *c)
{
	return (uint64_t)((double)w->now * c->rate);
}

static void put(struct world *w, struct pipe *p, enum kind kind, uint64_t value)
{
	uint64_t at = w->now + below(below(20) == 0 ? 2 * S : 20 * MS);

	if (at < p->last)
		at = p->last;
	p->last = at;
	if (p->tail - p->head < MESSAGES)
		p->m[p->tail++ % MESSAGES] = (struct message){kind, at, value};
}

static bool get(struct world *w, struct pipe *p, struct message *out)
{
	if (p->head == p->tail || p->m[p->head % MESSAGES].at > w->now)
		return false;
	*out = p->m[p->head++ % MESSAGES];
	return true;
}

static bool holds(const struct world *w, const struct client *c)
{
	return c->alive && c->sole && clock_of(w, c) < c->until;
}

static bool is_stored(const struct world *w, uint64_t session)
{
	for (uint64_t i = 0; i < w->stored_count; i++)
		if (w->stored[i] == session)
			return true;
	return false;
}

static void unstore(struct world *w, uint64_t session)
{
	for (uint64_t i = 0; i < w->stored_count; i++)
		if (w->stored[i] == session)
			w->stored[i] = w->stored[--w->stored_count];
}

/* Nobody else may work while one believes to be alone. */
static void check(const struct world *w, uint64_t seed)
{
	for (int i = 0; i < CLIENTS; i++)
		for (int j = 0; j < CLIENTS; j++)
			if (i != j && holds(w, &w->c[i]) && w->c[j].alive && w->c[j].opened)
				fail_msg("seed %llu: client %d believes to be alone, %d works, "
					 "t=%llu ms",
					 (unsigned long long)seed, i, j,
					 (unsigned long long)(w->now / MS));
}

static void disconnect(struct world *w, struct client *c)
{
	if (!c->connected)
		return;
	c->connected = false;
	c->opened = false;
	c->up.head = c->up.tail = c->down.head = c->down.tail = 0;
	c->up.last = c->down.last = 0;
	leases_depart(w->l, c->connection);
	if (c->session != 0)
		leases_disconnect(w->l, c->session, w->now);
}

static void connect_client(struct world *w, struct client *c)
{
	c->connected = true;
	c->connection = w->next_connection++;
	c->sequence_sent = 0;
	memset(c->renew_sent, 0, sizeof(c->renew_sent));
	c->renew_sent[0] = clock_of(w, c);
	put(w, &c->up, M_OPEN, c->session);
}

static struct client *by_session(struct world *w, uint64_t session)
{
	for (int i = 0; i < CLIENTS; i++)
		if (w->c[i].alive && w->c[i].session == session)
			return &w->c[i];
	return NULL;
}

static void admit(struct world *w, uint64_t connection)
{
	struct client *c = NULL;

	for (int i = 0; i < CLIENTS; i++)
		if (w->c[i].connected && w->c[i].connection == connection)
			c = &w->c[i];
	w->admissions++;
	if (c == NULL) {
		leases_admit_failed(w->l);
		return;
	}
	w->stored[w->stored_count++] = w->next_session;
	leases_admitted(w->l, w->next_session, true, w->now);
	c->session = w->next_session;
	put(w, &c->down, M_OPENED, w->next_session++);
}

static void act(struct world *w)
{
	struct lease_action a;
	struct client *c;

	while (leases_next(w->l, w->now, &a)) {
		c = by_session(w, a.id);
		switch (a.kind) {
		case LEASE_ACTION_ADMIT:
			admit(w, a.id);
			break;
		case LEASE_ACTION_GRANT:
			w->grants++;
			assert_int_equal(w->stored_count, 1);
			if (c != NULL && c->connected)
				put(w, &c->down, M_GRANT, a.sequence);
			break;
		case LEASE_ACTION_RECALL:
			if (c != NULL && c->connected)
				put(w, &c->down, M_RECALL, a.sequence);
			break;
		case LEASE_ACTION_EXPIRE:
			unstore(w, a.id);
			leases_closed(w->l, a.id);
			if (c != NULL)
				disconnect(w, c);
			break;
		}
	}
}

static void master_receive(struct world *w, struct client *c)
{
	struct message m;

	while (c->connected && get(w, &c->up, &m)) {
		if (m.kind == M_OPEN && m.value != 0 && is_stored(w, m.value)) {
			leases_resume(w->l, m.value, w->now);
			put(w, &c->down, M_OPENED, m.value);
		} else if (m.kind == M_OPEN) {
			c->session = 0; /* ESTALE, and asks for a new one */
			if (leases_arrive(w->l, c->connection) != 0)
				disconnect(w, c);
		} else if (m.kind == M_RENEW && c->session != 0) {
			if (leases_renew(w->l, c->session, w->now))
				put(w, &c->down, M_RENEWED, m.value);
		} else if (m.kind == M_RETURN) {
			leases_return(w->l, c->session, m.value);
		}
		act(w);
	}
}

static void client_receive(struct world *w, struct client *c)
{
	struct message m;

	while (c->connected && get(w, &c->down, &m)) {
		uint64_t mine = clock_of(w, c);

		switch (m.kind) {
		case M_OPENED:
			c->opened = true;
			c->sole = false;
			c->return_at = 0;
			c->until = c->renew_sent[0] + options.lease_ns;
			c->renew_due = mine + options.lease_ns / 4;
			break;
		case M_RENEWED:
			if (c->renew_sent[m.value % 16] + options.lease_ns > c->until &&
			    !(c->sole && mine >= c->until))
				c->until = c->renew_sent[m.value % 16] + options.lease_ns;
			break;
		case M_GRANT:
			if (mine < c->until) {
				c->sole = true;
				c->lease_sequence = m.value;
				c->return_at = 0;
			}
			break;
		case M_RECALL:
			c->lease_sequence = m.value;
			/* Still holds while it writes back. */
			c->return_at = c->stubborn ? UINT64_MAX : mine + below(3 * S);
			break;
		default:
			break;
		}
	}
}

static void client_work(struct world *w, struct client *c)
{
	uint64_t mine = clock_of(w, c);

	if (!c->connected) {
		if (below(5) == 0)
			connect_client(w, c);
		return;
	}
	client_receive(w, c);
	if (!c->opened)
		return;
	if (c->sole && mine >= c->until)
		c->sole = false;
	if (c->return_at != 0 && mine >= c->return_at) {
		c->return_at = 0;
		c->sole = false;
		put(w, &c->up, M_RETURN, c->lease_sequence);
	}
	if (mine >= c->renew_due) {
		c->renew_sent[++c->sequence_sent % 16] = mine;
		c->renew_due = mine + options.lease_ns / 4;
		put(w, &c->up, M_RENEW, c->sequence_sent);
	}
}

static void mishap(struct world *w)
{
	struct client *c = &w->c[below(CLIENTS)];

	switch (below(8)) {
	case 0: /* dies, or is started */
		if (c->alive) {
			disconnect(w, c);
			c->alive = false;
			break;
		}
		memset(c, 0, sizeof(*c));
		c->alive = true;
		c->stubborn = below(10) == 0;
		c->rate = 0.97 + (double)below(60) / 1000;
		break;
	case 1:
	case 2:
		disconnect(w, c);
		break;
	case 3:
		c->frozen = !c->frozen;
		break;
	case 4: /* the master restarts: what is stored stays */
		if (below(3) != 0)
			break;
		for (int i = 0; i < CLIENTS; i++)
			disconnect(w, &w->c[i]);
		leases_destroy(w->l);
		assert_int_equal(leases_create(&options, &w->l), 0);
		for (uint64_t i = 0; i < w->stored_count; i++)
			leases_restore(w->l, w->stored[i], w->now);
		w->restarts++;
		break;
	case 5: /* the master stops for a while */
		if (below(4) == 0)
			w->master_until = w->now + below(10 * S);
		break;
	default:
		break;
	}
}

static void run_world(uint64_t seed, unsigned *grants, unsigned *admissions)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	rng = seed;
	w.now = S;
	w.next_session = w.next_connection = 1;
	assert_int_equal(leases_create(&options, &w.l), 0);
	for (int step = 0; step < 40000; step++) {
		w.now += 20 * MS;
		if (below(100) == 0)
			mishap(&w);
		if (w.now >= w.master_until) {
			for (int i = 0; i < CLIENTS; i++)
				master_receive(&w, &w.c[i]);
			act(&w);
		}
		for (int i = 0; i < CLIENTS; i++)
			if (w.c[i].alive && !w.c[i].frozen)
				client_work(&w, &w.c[i]);
		check(&w, seed);
		assert_true(w.stored_count < 16);
	}
	/* The dust settles: one client alone gets the lease, within what may run out. */
	w.master_until = 0;
	for (int i = 1; i < CLIENTS; i++) {
		disconnect(&w, &w.c[i]);
		w.c[i].alive = false;
	}
	w.c[0].alive = true;
	w.c[0].frozen = w.c[0].stubborn = false;
	if (w.c[0].rate < 0.5)
		w.c[0].rate = 1;
	for (int step = 0; step < 4000 && !holds(&w, &w.c[0]); step++) {
		w.now += 20 * MS;
		master_receive(&w, &w.c[0]);
		act(&w);
		client_work(&w, &w.c[0]);
	}
	if (!holds(&w, &w.c[0]))
		fail_msg("seed %llu: a lone client gets no lease: connected=%d opened=%d "
			 "session=%llu "
			 "holder=%llu sessions=%zu stored=%llu",
			 (unsigned long long)seed, w.c[0].connected, w.c[0].opened,
			 (unsigned long long)w.c[0].session, (unsigned long long)leases_holder(w.l),
			 leases_count(w.l), (unsigned long long)w.stored_count);
	*grants += w.grants;
	*admissions += w.admissions;
	leases_destroy(w.l);
}

static void test_nobody_works_beside_one_who_believes_to_be_alone(void **state)
{
	const char *text = getenv("SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	unsigned grants = 0, admissions = 0;

	print_message("SEED=%llu\n", (unsigned long long)seed);
	for (uint64_t i = 0; i < (text != NULL ? 1 : 100); i++)
		run_world(seed + i, &grants, &admissions);
	print_message("%u grants, %u admissions\n", grants, admissions);
	assert_true(grants > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_lone_client_is_granted_and_recalled_for_the_second),
		cmocka_unit_test(
			test_a_silent_holder_delays_the_second_until_its_time_is_surely_over),
		cmocka_unit_test(
			test_a_holder_that_renews_but_does_not_return_is_not_waited_for_for_ever),
		cmocka_unit_test(test_after_a_restart_a_single_session_may_hold_the_lease),
		cmocka_unit_test(test_a_pause_of_the_master_expires_nobody),
		cmocka_unit_test(test_a_connected_silent_session_lives_longer_than_its_lease),
		cmocka_unit_test(test_a_stopped_client_has_time_to_come_back),
		cmocka_unit_test(test_there_are_never_more_sessions_than_allowed),
		cmocka_unit_test(test_nobody_works_beside_one_who_believes_to_be_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
