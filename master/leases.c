/* leases.c - sessions' time, and the lease of a sole client; see leases.h. */
#include "master/leases.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A gap between two looks that only a stopped process explains; it looks ten times a second. */
#define PAUSE_NS 1000000000ull

struct entry {
	uint64_t session;
	uint64_t until_ns; /* by the master's clock, without the margin */
	uint64_t gone_ns;  /* disconnected then */
	bool connected;
	bool expiring; /* told to the caller */
};

struct leases {
	struct leases_options options;
	uint64_t last_look_ns;
	struct entry *entries;
	size_t count, capacity;
	uint64_t *waiters; /* in the order they came */
	size_t waiter_count, waiter_capacity;
	size_t admitting; /* ADMIT told, not answered */

	uint64_t holder;                          /* session that may hold the lease; 0: nobody */
	uint64_t last_sequence;                   /* of all grants and recalls */
	uint64_t grant_sequence, recall_sequence; /* of this holder; 0: none yet */
	bool grant_told, recall_told;             /* lately, and on its present stream */
	uint64_t recall_ns;                       /* of its first recall; 0: none */
};

int leases_create(const struct leases_options *options, struct leases **out)
{
	struct leases *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->options = *options;
	*out = l;
	return 0;
}

void leases_destroy(struct leases *l)
{
	if (l == NULL)
		return;
	free(l->entries);
	free(l->waiters);
	free(l);
}

static struct entry *find(const struct leases *l, uint64_t session)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->entries[i].session == session)
			return &l->entries[i];
	return NULL;
}

/* Surely over, whatever the client's clock says. */
static bool lapsed(const struct leases *l, const struct entry *e, uint64_t now_ns)
{
	return now_ns > e->until_ns + l->options.margin_ns;
}

static int add(struct leases *l, uint64_t session, bool connected, uint64_t now_ns)
{
	struct entry *bigger;
	size_t capacity;

	if (l->count == l->capacity) {
		capacity = l->capacity == 0 ? 16 : l->capacity * 2;
		bigger = realloc(l->entries, capacity * sizeof(*bigger));
		if (bigger == NULL)
			return -ENOMEM;
		l->entries = bigger;
		l->capacity = capacity;
	}
	l->entries[l->count++] = (struct entry){.session = session,
						.until_ns = now_ns + l->options.lease_ns,
						.gone_ns = now_ns,
						.connected = connected};
	return 0;
}

static void hold_nothing(struct leases *l)
{
	l->holder = 0;
	l->grant_sequence = l->recall_sequence = 0;
	l->grant_told = l->recall_told = false;
	l->recall_ns = 0;
}

int leases_restore(struct leases *l, uint64_t session, uint64_t now_ns)
{
	int rc = add(l, session, false, now_ns);

	if (rc != 0)
		return rc;
	/* A grant was made durable as "one session in the store" before it was told. */
	hold_nothing(l);
	if (l->count == 1)
		l->holder = session;
	return 0;
}

int leases_arrive(struct leases *l, uint64_t waiter)
{
	uint64_t *bigger;
	size_t capacity;

	if (l->count + l->waiter_count + l->admitting >= l->options.sessions_max)
		return -EUSERS;
	if (l->waiter_count == l->waiter_capacity) {
		capacity = l->waiter_capacity == 0 ? 16 : l->waiter_capacity * 2;
		bigger = realloc(l->waiters, capacity * sizeof(*bigger));
		if (bigger == NULL)
			return -ENOMEM;
		l->waiters = bigger;
		l->waiter_capacity = capacity;
	}
	l->waiters[l->waiter_count++] = waiter;
	return 0;
}

static void drop_waiter(struct leases *l, size_t at)
{
	l->waiter_count--;
	memmove(&l->waiters[at], &l->waiters[at + 1], (l->waiter_count - at) * sizeof(*l->waiters));
}

void leases_depart(struct leases *l, uint64_t waiter)
{
	for (size_t i = 0; i < l->waiter_count; i++)
		if (l->waiters[i] == waiter) {
			drop_waiter(l, i);
			return;
		}
}

int leases_admitted(struct leases *l, uint64_t session, bool connected, uint64_t now_ns)
{
	l->admitting--;
	return add(l, session, connected, now_ns);
}

void leases_admit_failed(struct leases *l)
{
	l->admitting--;
}

void leases_resume(struct leases *l, uint64_t session, uint64_t now_ns)
{
	struct entry *e = find(l, session);

	if (e == NULL)
		return;
	e->connected = true;
	e->until_ns = now_ns + l->options.lease_ns;
	if (l->holder != session)
		return;
	l->grant_told = l->recall_told = false;
	if (l->waiter_count == 0) {
		/* Nobody wants it back any more. */
		l->recall_ns = 0;
		l->recall_sequence = 0;
	}
}

void leases_disconnect(struct leases *l, uint64_t session, uint64_t now_ns)
{
	struct entry *e = find(l, session);

	if (e == NULL)
		return;
	e->connected = false;
	e->gone_ns = now_ns;
}

bool leases_renew(struct leases *l, uint64_t session, uint64_t now_ns)
{
	struct entry *e = find(l, session);

	if (e == NULL)
		return false;
	if (l->holder == session) {
		/* Too late for the lease; the session lives on without it. */
		if (lapsed(l, e, now_ns))
			hold_nothing(l);
		else if (l->recall_ns != 0 && now_ns > l->recall_ns + l->options.recall_timeout_ns)
			return false;
		l->grant_told = false;
	}
	e->until_ns = now_ns + l->options.lease_ns;
	return true;
}

void leases_return(struct leases *l, uint64_t session, uint64_t sequence)
{
	if (l->holder == session && l->recall_sequence != 0 && sequence == l->recall_sequence)
		hold_nothing(l);
}

void leases_closed(struct leases *l, uint64_t session)
{
	struct entry *e = find(l, session);

	if (e == NULL)
		return;
	if (l->holder == session)
		hold_nothing(l);
	*e = l->entries[--l->count];
}

void leases_close_failed(struct leases *l, uint64_t session)
{
	struct entry *e = find(l, session);

	if (e != NULL)
		e->expiring = false;
}

/* ---- deciding ---- */

static void look(struct leases *l, uint64_t now_ns)
{
	uint64_t gap = now_ns - l->last_look_ns;

	if (l->last_look_ns != 0 && gap > PAUSE_NS)
		for (size_t i = 0; i < l->count; i++) {
			l->entries[i].until_ns += gap;
			l->entries[i].gone_ns += gap;
		}
	l->last_look_ns = now_ns;
}

/* The holder's time is over: it needs no recall. */
static void revoke_lapsed(struct leases *l, uint64_t now_ns)
{
	const struct entry *e = l->holder == 0 ? NULL : find(l, l->holder);

	if (e != NULL && lapsed(l, e, now_ns))
		hold_nothing(l);
}

static bool next_admission(struct leases *l, struct lease_action *out)
{
	if (l->waiter_count == 0 || l->holder != 0)
		return false;
	*out = (struct lease_action){.kind = LEASE_ACTION_ADMIT, .id = l->waiters[0]};
	drop_waiter(l, 0);
	l->admitting++;
	return true;
}

static bool next_recall(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	const struct entry *e = find(l, l->holder);

	if (l->waiter_count == 0 || e == NULL || !e->connected || l->recall_told)
		return false;
	l->recall_told = true;
	if (l->recall_ns == 0) {
		l->recall_ns = now_ns;
		l->recall_sequence = ++l->last_sequence;
	}
	*out = (struct lease_action){
		.kind = LEASE_ACTION_RECALL, .id = l->holder, .sequence = l->recall_sequence};
	return true;
}

static bool next_grant(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	const struct entry *only = l->count == 1 ? &l->entries[0] : NULL;

	if (only == NULL || l->waiter_count != 0 || l->admitting != 0 || !only->connected ||
	    only->expiring || lapsed(l, only, now_ns) || l->grant_told || l->recall_ns != 0)
		return false;
	l->holder = only->session;
	if (l->grant_sequence == 0)
		l->grant_sequence = ++l->last_sequence;
	l->grant_told = true;
	*out = (struct lease_action){
		.kind = LEASE_ACTION_GRANT, .id = l->holder, .sequence = l->grant_sequence};
	return true;
}

static bool is_over(const struct leases *l, const struct entry *e, uint64_t now_ns)
{
	if (!lapsed(l, e, now_ns))
		return false;
	/* A client that was stopped finds its connection dead, and comes back at once. */
	if (!e->connected)
		return now_ns > e->gone_ns + l->options.lease_ns;
	return now_ns > e->until_ns + l->options.margin_ns + l->options.session_timeout_ns;
}

static bool next_expiry(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	for (size_t i = 0; i < l->count; i++) {
		struct entry *e = &l->entries[i];

		if (e->expiring || !is_over(l, e, now_ns))
			continue;
		e->expiring = true;
		*out = (struct lease_action){.kind = LEASE_ACTION_EXPIRE, .id = e->session};
		return true;
	}
	return false;
}

bool leases_next(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	look(l, now_ns);
	revoke_lapsed(l, now_ns);
	return next_expiry(l, now_ns, out) || next_admission(l, out) ||
	       next_recall(l, now_ns, out) || next_grant(l, now_ns, out);
}

bool leases_lapsed(const struct leases *l, uint64_t session, uint64_t now_ns)
{
	const struct entry *e = find(l, session);

	return e == NULL || lapsed(l, e, now_ns);
}

uint64_t leases_holder(const struct leases *l)
{
	return l->holder;
}

size_t leases_count(const struct leases *l)
{
	return l->count;
}
