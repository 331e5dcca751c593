/* leases_test - sessions' time and the sole client's lease.
 *
 * Goal: no client ever believes, by its own clock, that it is the only one while another is
 * admitted; nobody is let in while a session that may have something under way by its lease is
 * neither back nor over; nobody hears of a lease that is not in the store; nobody waits for ever; a
 * lone client gets the lease, and keeps its session however long it was away. Method: single steps
 * by hand, then seeded runs of simulated clients with clocks that drift, messages that are late,
 * connections that break, clients that die, freeze or do not return, a log that takes its time, and
 * a master that restarts. */
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

/* One client, admitted as session 1, that has the lease of generation 9 and knows it. */
static struct leases *make_held(uint64_t now)
{
	struct leases *l = make();
	struct lease_action a;

	assert_int_equal(leases_arrive(l, 100), 0);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	assert_int_equal(leases_admitted(l, 1, true, now), 0);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	expect_none(l, now);
	leases_granted(l, 1, 9);
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_TELL);
	assert_int_equal(a.number, 9);
	expect_none(l, now);
	return l;
}

static void test_a_lone_client_is_granted_and_recalled_for_the_second(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;

	assert_int_equal(leases_arrive(l, 101), 0);
	leases_return(l, 1, 9); /* unasked: it may have crossed a grant */
	assert_true(leases_next(l, 4, &a));
	assert_int_equal(a.kind, LEASE_ACTION_RECALL);
	assert_true(a.number != 9);
	expect_none(l, 5);
	leases_return(l, 1, a.number + 7); /* of another recall */
	leases_return(l, 1, 9);            /* of a grant */
	expect_none(l, 5);
	leases_return(l, 1, a.number);
	assert_true(leases_next(l, 5, &a));
	assert_int_equal(a.kind, LEASE_ACTION_END);
	assert_int_equal(a.number, 9);
	/* Nobody is let in before that is in the log. */
	expect_none(l, 6);
	leases_end_failed(l, 1, 6);
	expect_none(l, 7);
	expect_action(l, 6 + 2 * S, LEASE_ACTION_END, 1);
	leases_ended(l, 1, 9);
	expect_action(l, 6 + 2 * S, LEASE_ACTION_ADMIT, 101);
	assert_int_equal(leases_admitted(l, 2, true, 6 + 2 * S), 0);
	expect_none(l, 7 + 2 * S);
	leases_closed(l, 2);
	expect_action(l, 8 + 2 * S, LEASE_ACTION_GRANT, 1);
	leases_destroy(l);
}

static void test_a_lease_is_told_only_when_it_is_durable(void **state)
{
	struct leases *l = make();
	struct lease_action a;

	leases_arrive(l, 100);
	expect_action(l, 1, LEASE_ACTION_ADMIT, 100);
	leases_admitted(l, 1, true, 1);
	expect_action(l, 1, LEASE_ACTION_GRANT, 1);
	assert_true(leases_renew(l, 1, 2));
	expect_none(l, 2);
	leases_grant_failed(l, 1, 3);
	expect_none(l, 4);
	/* It may be in the store all the same: nobody is let in before that is known. */
	leases_arrive(l, 101);
	expect_none(l, 5);
	expect_action(l, 3 + 2 * S, LEASE_ACTION_GRANT, 1);
	leases_granted(l, 1, 4);
	/* It was never told: so it need not be asked for. */
	assert_true(leases_next(l, 3 + 2 * S, &a));
	assert_int_equal(a.kind, LEASE_ACTION_END);
	assert_int_equal(a.number, 4);
	leases_ended(l, 1, 4);
	expect_action(l, 3 + 2 * S, LEASE_ACTION_ADMIT, 101);
	leases_destroy(l);
}

static void test_a_silent_holder_delays_the_second_until_its_session_is_over(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1;

	leases_disconnect(l, 1, now);
	leases_arrive(l, 101);
	assert_true(run_until(l, &now, 10 * S, &a));
	assert_true(now > 4400 * MS);
	assert_true(now < 4700 * MS);
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_int_equal(a.id, 1);
	/* As long as the fence takes; and it is too late for the client. */
	assert_false(run_until(l, &now, 40 * S, &a));
	assert_false(leases_renew(l, 1, now));
	leases_close_failed(l, 1);
	expect_action(l, now, LEASE_ACTION_FENCE, 1);
	leases_closed(l, 1);
	expect_action(l, now, LEASE_ACTION_ADMIT, 101);
	leases_admitted(l, 2, true, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 2);
	leases_destroy(l);
}

static void test_a_holder_that_renews_but_does_not_return_is_fenced(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1, answered = 0;
	bool fenced = false;

	leases_arrive(l, 101);
	expect_action(l, now, LEASE_ACTION_RECALL, 1);
	for (; now < 30 * S && !fenced; now += 100 * MS) {
		if (leases_renew(l, 1, now))
			answered = now;
		if (leases_next(l, now, &a)) {
			assert_int_equal(a.kind, LEASE_ACTION_FENCE);
			assert_int_equal(a.id, 1);
			fenced = true;
		}
	}
	assert_true(fenced);
	assert_true(answered < 11 * S);
	assert_true(now > answered + options.lease_ns + options.margin_ns);
	leases_closed(l, 1);
	expect_action(l, now, LEASE_ACTION_ADMIT, 101);
	leases_destroy(l);
}

static void test_after_a_restart_the_stored_holder_has_the_lease(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 5;

	assert_int_equal(leases_restore(l, 7, false, now), 0);
	leases_restore_lease(l, 7, 3);
	leases_arrive(l, 100);
	expect_none(l, now);
	/* It comes back: told to return at once. */
	leases_resume(l, 7, now);
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_RECALL);
	leases_return(l, 7, a.number);
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_END);
	assert_int_equal(a.number, 3);
	leases_destroy(l);

	/* It never comes back. */
	l = make();
	leases_restore(l, 7, false, now);
	leases_restore_lease(l, 7, 3);
	leases_arrive(l, 100);
	assert_true(run_until(l, &now, 10 * S, &a));
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_true(now > 4400 * MS);
	leases_destroy(l);

	/* Nobody has it, of one or of two. */
	l = make();
	leases_restore(l, 7, false, now);
	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_restore(l, 8, false, now);
	leases_arrive(l, 101);
	expect_action(l, now, LEASE_ACTION_ADMIT, 101);
	leases_destroy(l);
}

static void test_a_fence_that_had_begun_is_begun_again_after_a_restart(void **state)
{
	struct leases *l = make();
	uint64_t now = 5;

	leases_restore(l, 7, true, now);
	leases_restore_lease(l, 7, 3);
	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_FENCE, 7);
	expect_none(l, now);
	assert_false(leases_renew(l, 7, now));
	leases_closed(l, 7);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_destroy(l);
}

static void test_who_has_what_others_wait_for_ends_with_its_time(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1;
	(void)state;

	/* Two sessions; one falls silent, with its stream open. */
	leases_restore(l, 1, false, now);
	leases_restore(l, 2, false, now);
	leases_resume(l, 1, now);
	leases_resume(l, 2, now);
	for (now = 500 * MS; now < 10 * S; now += 500 * MS) {
		assert_true(leases_renew(l, 2, now));
		expect_none(l, now);
	}
	leases_hurry(l, 1, now);
	expect_action(l, now, LEASE_ACTION_FENCE, 1);
	leases_destroy(l);

	/* Not before; and not because others once waited. */
	l = make();
	now = 1;
	leases_restore(l, 1, false, now);
	leases_restore(l, 2, false, now);
	leases_resume(l, 1, now);
	leases_resume(l, 2, now);
	leases_hurry(l, 1, now);
	assert_true(run_until(l, &now, 20 * S, &a) == false || a.id != 1);
	leases_destroy(l);
}

static void test_who_goes_with_something_under_way_is_fenced(void **state)
{
	struct leases *l = make_held(1);

	leases_fence(l, 1);
	assert_false(leases_renew(l, 1, 2));
	expect_action(l, 2, LEASE_ACTION_FENCE, 1);
	expect_none(l, 2);
	leases_closed(l, 1);
	assert_int_equal(leases_count(l), 0);
	leases_destroy(l);
}

static void test_a_pause_of_the_master_ends_nobody(void **state)
{
	struct leases *l = make_held(1);

	leases_arrive(l, 101);
	expect_action(l, 2, LEASE_ACTION_RECALL, 1);
	expect_none(l, 60 * S);
	assert_false(leases_lapsed(l, 1, 60 * S));
	/* Nor is it the holder's fault that nobody read its return. */
	assert_true(leases_renew(l, 1, 60 * S));
	leases_destroy(l);
}

static void test_a_client_that_is_alone_may_be_away_for_ever(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1;

	leases_disconnect(l, 1, now);
	assert_false(run_until(l, &now, 3600 * S, &a));
	leases_resume(l, 1, now);
	/* What it had answered under its lease still counts: it is the same one. */
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_TELL);
	assert_int_equal(a.number, 9);
	leases_destroy(l);
}

static void test_a_silent_client_renews_if_nobody_wanted_in(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1;

	assert_false(run_until(l, &now, 200 * S, &a));
	assert_true(leases_lapsed(l, 1, now));
	assert_true(leases_renew(l, 1, now));
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_TELL);
	assert_int_equal(a.number, 9);
	leases_destroy(l);
}

static void test_of_several_sessions_the_dead_ones_are_fenced(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1;

	for (uint64_t i = 1; i <= 3; i++)
		leases_restore(l, i, false, now);
	for (uint64_t i = 1; i <= 3; i++)
		leases_resume(l, i, now);
	leases_disconnect(l, 2, now);
	for (; !leases_next(l, now, &a); now += 100 * MS)
		leases_renew(l, 1, now);
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_int_equal(a.id, 2);
	assert_true(now > options.lease_ns + options.margin_ns);
	leases_closed(l, 2);
	/* Connected, and silent: it has more time. */
	for (; !leases_next(l, now, &a); now += 100 * MS)
		leases_renew(l, 1, now);
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_int_equal(a.id, 3);
	assert_true(now > options.lease_ns + options.session_timeout_ns);
	expect_none(l, now); /* one of them is not over yet */
	leases_closed(l, 3);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	leases_destroy(l);
}

static void test_there_are_never_more_sessions_than_allowed(void **state)
{
	struct leases *l = make();
	struct lease_action a;

	for (uint64_t i = 0; i < options.sessions_max; i++) {
		assert_int_equal(leases_arrive(l, 100 + i), 0);
		if (!leases_next(l, 1, &a))
			continue;
		assert_int_equal(a.kind, LEASE_ACTION_ADMIT);
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
	uint64_t until, renew_sent[16], sequence_sent, recall, return_at;
	uint64_t renew_due;
	uint64_t
		early; /* generation under which something is answered and on its way; 0: nothing */
	uint64_t generation;
	bool sole;
};

/* What the master has put into its log, and is not durable yet. */
struct under_way {
	enum { NOTHING, GRANTING, FENCING, CLOSING } kind;
	uint64_t session, at;
};

struct world {
	struct leases *l;
	struct client c[CLIENTS];
	uint64_t now, next_session, next_connection;
	uint64_t stored[16], stored_count;
	uint64_t holder, generation, last_generation; /* as stored */
	uint64_t fenced[16], fenced_count;            /* of those stored */
	struct under_way log[8];
	unsigned grants, admissions, restarts, fences, kept;
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

static bool is_fenced(const struct world *w, uint64_t session)
{
	for (uint64_t i = 0; i < w->fenced_count; i++)
		if (w->fenced[i] == session)
			return true;
	return false;
}

static void unstore(struct world *w, uint64_t session)
{
	for (uint64_t i = 0; i < w->stored_count; i++)
		if (w->stored[i] == session)
			w->stored[i] = w->stored[--w->stored_count];
	for (uint64_t i = 0; i < w->fenced_count; i++)
		if (w->fenced[i] == session)
			w->fenced[i] = w->fenced[--w->fenced_count];
	if (w->holder == session)
		w->holder = 0;
}

static void begin(struct world *w, int kind, uint64_t session)
{
	for (size_t i = 0; i < 8; i++)
		if (w->log[i].kind == NOTHING) {
			w->log[i].kind = (unsigned)kind;
			w->log[i].session = session;
			w->log[i].at = w->now + below(below(10) == 0 ? 3 * S : 60 * MS);
			return;
		}
	fail_msg("too much under way");
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
	assert_int_equal(w->holder, 0);
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
			begin(w, GRANTING, a.id);
			break;
		case LEASE_ACTION_TELL:
			assert_int_equal(w->holder, a.id);
			assert_int_equal(w->generation, a.number);
			if (c != NULL && c->connected)
				put(w, &c->down, M_GRANT, a.number);
			break;
		case LEASE_ACTION_RECALL:
			if (c != NULL && c->connected)
				put(w, &c->down, M_RECALL, a.number);
			break;
		case LEASE_ACTION_END:
			assert_int_equal(w->holder, a.id);
			assert_int_equal(w->generation, a.number);
			if (below(8) == 0) {
				leases_end_failed(w->l, a.id, w->now);
				break;
			}
			/* Everything has come before it was given back. */
			assert_true(c == NULL || c->early != a.number);
			w->holder = 0;
			leases_ended(w->l, a.id, a.number);
			break;
		case LEASE_ACTION_FENCE:
			w->fences++;
			if (!is_fenced(w, a.id))
				w->fenced[w->fenced_count++] = a.id;
			if (c != NULL)
				disconnect(w, c);
			begin(w, FENCING, a.id);
			break;
		}
	}
}

static void durable(struct world *w, const struct under_way *what)
{
	struct client *c = by_session(w, what->session);

	if (what->kind == GRANTING && below(8) == 0) {
		leases_grant_failed(w->l, what->session, w->now);
	} else if (what->kind == GRANTING && is_stored(w, what->session)) {
		if (w->holder != what->session)
			w->generation = ++w->last_generation;
		w->holder = what->session;
		leases_granted(w->l, what->session, w->generation);
	} else if (what->kind == FENCING && below(8) == 0) {
		leases_close_failed(w->l, what->session);
	} else if (what->kind == FENCING) {
		unstore(w, what->session);
		/* Nothing of it counts from here on; its client learns it when it comes back. */
		if (c != NULL)
			c->early = 0;
		leases_closed(w->l, what->session);
	}
}

static void log_goes_on(struct world *w)
{
	for (size_t i = 0; i < 8; i++) {
		struct under_way what = w->log[i];

		if (what.kind == NOTHING || what.at > w->now)
			continue;
		w->log[i].kind = NOTHING;
		durable(w, &what);
	}
}

static void master_receive(struct world *w, struct client *c)
{
	struct message m;

	while (c->connected && get(w, &c->up, &m)) {
		if (m.kind == M_OPEN && m.value != 0 && is_stored(w, m.value) &&
		    !is_fenced(w, m.value)) {
			/* It goes on with what it has under way: nobody was let in meanwhile. */
			if (c->early != 0) {
				w->kept++;
				assert_int_equal(w->holder, m.value);
				assert_int_equal(w->generation, c->early);
			}
			leases_resume(w->l, m.value, w->now);
			put(w, &c->down, M_OPENED, m.value);
		} else if (m.kind == M_OPEN) {
			c->session = c->early = 0; /* ESTALE, and asks for a new one */
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
				c->generation = m.value;
				c->return_at = 0;
			}
			break;
		case M_RECALL:
			c->recall = m.value;
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
		c->early = 0; /* all sent, and answered */
		put(w, &c->up, M_RETURN, c->recall);
	}
	if (c->sole && below(20) == 0)
		c->early = below(2) == 0 ? 0 : c->generation;
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
			leases_restore(w->l, w->stored[i], is_fenced(w, w->stored[i]), w->now);
		if (w->holder != 0)
			leases_restore_lease(w->l, w->holder, w->generation);
		memset(w->log, 0, sizeof(w->log));
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

struct sums {
	unsigned grants, admissions, fences, kept;
};

static void run_world(uint64_t seed, struct sums *sums)
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
			log_goes_on(&w);
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
	w.c[0].return_at = w.c[0].return_at == UINT64_MAX ? 1 : w.c[0].return_at;
	if (w.c[0].rate < 0.5)
		w.c[0].rate = 1;
	for (int step = 0; step < 4000 && !holds(&w, &w.c[0]); step++) {
		w.now += 20 * MS;
		master_receive(&w, &w.c[0]);
		log_goes_on(&w);
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
	sums->grants += w.grants;
	sums->admissions += w.admissions;
	sums->fences += w.fences;
	sums->kept += w.kept;
	leases_destroy(w.l);
}

static void test_nobody_works_beside_one_who_believes_to_be_alone(void **state)
{
	const char *text = getenv("SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	struct sums sums = {0};

	print_message("SEED=%llu\n", (unsigned long long)seed);
	for (uint64_t i = 0; i < (text != NULL ? 1 : 100); i++)
		run_world(seed + i, &sums);
	print_message(
		"%u grants, %u admissions, %u fences, %u came back with something under way\n",
		sums.grants, sums.admissions, sums.fences, sums.kept);
	assert_true(sums.grants > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_lone_client_is_granted_and_recalled_for_the_second),
		cmocka_unit_test(test_a_lease_is_told_only_when_it_is_durable),
		cmocka_unit_test(test_a_silent_holder_delays_the_second_until_its_session_is_over),
		cmocka_unit_test(test_a_holder_that_renews_but_does_not_return_is_fenced),
		cmocka_unit_test(test_after_a_restart_the_stored_holder_has_the_lease),
		cmocka_unit_test(test_a_fence_that_had_begun_is_begun_again_after_a_restart),
		cmocka_unit_test(test_who_goes_with_something_under_way_is_fenced),
		cmocka_unit_test(test_who_has_what_others_wait_for_ends_with_its_time),
		cmocka_unit_test(test_a_pause_of_the_master_ends_nobody),
		cmocka_unit_test(test_a_client_that_is_alone_may_be_away_for_ever),
		cmocka_unit_test(test_a_silent_client_renews_if_nobody_wanted_in),
		cmocka_unit_test(test_of_several_sessions_the_dead_ones_are_fenced),
		cmocka_unit_test(test_there_are_never_more_sessions_than_allowed),
		cmocka_unit_test(test_nobody_works_beside_one_who_believes_to_be_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
