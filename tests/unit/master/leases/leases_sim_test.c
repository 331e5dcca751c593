/* leases_sim_test - sessions' time and the sole client's lease among clients that misbehave.
 *
 * Goal: no client ever believes, by its own clock, that it is the only one while another is
 * admitted; nobody is let in while a session that may have something under way by its lease is
 * neither back nor over; nobody hears of a lease that is not in the store; a lone client gets the
 * lease in the end. Method: seeded runs of simulated clients with clocks that drift, messages that
 * are late, connections that break, clients that die, freeze or do not return, a log that takes its
 * time, and a master that restarts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/lib/random.h"
#include "tests/unit/master/leases/leases_fixture.h"

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
		cmocka_unit_test(test_nobody_works_beside_one_who_believes_to_be_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
