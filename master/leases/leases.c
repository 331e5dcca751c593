/* leases.c - sessions' time, and the lease of a sole client; see leases.h. */
#include "master/leases/leases.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/duration.h"

/* Only a stopped process explains such a gap between two looks, of which there are ten a second. */
#define PAUSE_NS NS_PER_SEC
/* A command that the log refused is tried again after this. */
#define RETRY_NS NS_PER_SEC
/* The caller says ten times a second that clients wait. */
#define HURRY_NS NS_PER_SEC
/* Marks the numbers of recalls: none is a generation. */
#define RECALL_BIT (1ull << 63)

struct lease_entry {
	uint64_t session;
	uint64_t until_ns; /* by the master's clock, without the margin */
	uint64_t gone_ns;  /* disconnected then */
	uint64_t hurry_ns; /* clients waited then for something that it has; 0: never */
	bool connected;
	bool unwanted; /* to be fenced, whatever its time */
	bool fencing;  /* told to the caller */
};

struct leases {
	struct leases_options options;
	uint64_t last_look_ns;
	struct lease_entry *entries;
	size_t count, capacity;
	uint64_t *waiters; /* in the order they came */
	size_t waiter_count, waiter_capacity;
	size_t admitting; /* ADMIT told, not answered */

	uint64_t holder;       /* session that has the lease, in the log at least; 0: nobody */
	uint64_t generation;   /* of its lease; 0: not durable yet */
	bool granting, ending; /* that is on its way into the log */
	bool returned;         /* its end is to be put into the log */
	bool told;             /* its client may know of it */
	bool grant_told, recall_told; /* lately, and on its present stream */
	uint64_t recall_ns;           /* of its first recall; 0: none */
	uint64_t recall_number;       /* of this holder; 0: none yet */
	uint64_t last_recall;         /* of all recalls */
	uint64_t retry_ns;            /* the log: not again before */
};

int leases_create(const struct leases_options *options, struct leases **out)
{
	struct leases *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->options = *options;
	l->last_recall = options->first_recall;
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

static struct lease_entry *find(const struct leases *l, uint64_t session)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->entries[i].session == session)
			return &l->entries[i];
	return NULL;
}

/* True when the session's time is surely over, whatever the client's clock says. */
static bool lapsed(const struct leases *l, const struct lease_entry *e, uint64_t now_ns)
{
	return now_ns > e->until_ns + l->options.margin_ns;
}

static int add(struct leases *l, uint64_t session, bool connected, uint64_t now_ns)
{
	struct lease_entry *bigger;
	size_t capacity;

	if (l->count == l->capacity) {
		capacity = l->capacity == 0 ? 16 : l->capacity * 2;
		bigger = realloc(l->entries, capacity * sizeof(*bigger));
		if (bigger == NULL)
			return -ENOMEM;
		l->entries = bigger;
		l->capacity = capacity;
	}
	l->entries[l->count++] = (struct lease_entry){.session = session,
						      .until_ns = now_ns + l->options.lease_ns,
						      .gone_ns = now_ns,
						      .connected = connected};
	return 0;
}

static void hold_nothing(struct leases *l)
{
	l->holder = l->generation = l->recall_ns = l->recall_number = l->retry_ns = 0;
	l->granting = l->ending = l->returned = l->told = false;
	l->grant_told = l->recall_told = false;
}

int leases_restore(struct leases *l, uint64_t session, bool fenced, uint64_t now_ns)
{
	int rc = add(l, session, false, now_ns);

	if (rc == 0)
		l->entries[l->count - 1].unwanted = fenced;
	return rc;
}

void leases_restore_lease(struct leases *l, uint64_t session, uint64_t generation)
{
	hold_nothing(l);
	l->holder = session;
	l->generation = generation;
	l->told = true;
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
	/* The client that waited before has gone: the holder was in no hurry. */
	if (l->waiter_count == 0 && l->recall_ns != 0)
		l->recall_ns = l->last_look_ns;
	l->waiters[l->waiter_count++] = waiter;
	return 0;
}

static void drop_waiter(struct leases *l, size_t at)
{
	expects(at < l->waiter_count);
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
	expects(l->admitting > 0);
	l->admitting--;
	return add(l, session, connected, now_ns);
}

void leases_admit_failed(struct leases *l)
{
	expects(l->admitting > 0);
	l->admitting--;
}

void leases_resume(struct leases *l, uint64_t session, uint64_t now_ns)
{
	struct lease_entry *e = find(l, session);

	if (e == NULL)
		return;
	e->connected = true;
	e->until_ns = now_ns + l->options.lease_ns;
	if (l->holder != session)
		return;
	l->grant_told = l->recall_told = false;
	if (l->waiter_count == 0) {
		/* No client waits for it any more. */
		l->recall_ns = 0;
		l->recall_number = 0;
	}
}

void leases_disconnect(struct leases *l, uint64_t session, uint64_t now_ns)
{
	struct lease_entry *e = find(l, session);

	if (e == NULL)
		return;
	e->connected = false;
	e->gone_ns = now_ns;
}

bool leases_renew(struct leases *l, uint64_t session, uint64_t now_ns)
{
	struct lease_entry *e = find(l, session);

	if (e == NULL || e->fencing || e->unwanted)
		return false;
	if (l->holder == session) {
		if (l->recall_ns != 0 && l->waiter_count != 0 &&
		    now_ns > l->recall_ns + l->options.recall_timeout_ns)
			return false;
		l->grant_told = false;
	}
	e->until_ns = now_ns + l->options.lease_ns;
	return true;
}

void leases_hurry(struct leases *l, uint64_t session, uint64_t now_ns)
{
	struct lease_entry *e = find(l, session);

	if (e != NULL)
		e->hurry_ns = now_ns;
}

void leases_return(struct leases *l, uint64_t session, uint64_t number)
{
	if (l->holder == session && l->recall_number != 0 && number == l->recall_number)
		l->returned = true;
}

void leases_granted(struct leases *l, uint64_t session, uint64_t generation)
{
	if (l->holder != session || !l->granting)
		return;
	l->granting = false;
	l->generation = generation;
}

void leases_grant_failed(struct leases *l, uint64_t session, uint64_t now_ns)
{
	if (l->holder != session || !l->granting)
		return;
	l->granting = false; /* but it may be in the store, by and by */
	l->retry_ns = now_ns + RETRY_NS;
}

void leases_ended(struct leases *l, uint64_t session, uint64_t generation)
{
	if (l->holder == session && l->generation == generation)
		hold_nothing(l);
}

void leases_end_failed(struct leases *l, uint64_t session, uint64_t now_ns)
{
	if (l->holder != session)
		return;
	l->ending = false;
	l->retry_ns = now_ns + RETRY_NS;
}

void leases_fence(struct leases *l, uint64_t session)
{
	struct lease_entry *e = find(l, session);

	if (e != NULL)
		e->unwanted = true;
}

void leases_closed(struct leases *l, uint64_t session)
{
	struct lease_entry *e = find(l, session);

	if (e == NULL)
		return;
	if (l->holder == session)
		hold_nothing(l);
	*e = l->entries[--l->count];
}

void leases_close_failed(struct leases *l, uint64_t session)
{
	struct lease_entry *e = find(l, session);

	if (e != NULL)
		e->fencing = false;
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
	if (l->last_look_ns != 0 && gap > PAUSE_NS && l->recall_ns != 0)
		l->recall_ns += gap;
	l->last_look_ns = now_ns;
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
	const struct lease_entry *e = find(l, l->holder);

	if (l->waiter_count == 0 || e == NULL || !e->connected || e->fencing || l->recall_told ||
	    l->returned || l->generation == 0)
		return false;
	if (!l->told) {
		l->returned = true; /* it never was used */
		return false;
	}
	l->recall_told = true;
	if (l->recall_ns == 0) {
		l->recall_ns = now_ns;
		l->recall_number = RECALL_BIT | ++l->last_recall;
	}
	*out = (struct lease_action){
		.kind = LEASE_ACTION_RECALL, .id = l->holder, .number = l->recall_number};
	return true;
}

static bool next_end(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	const struct lease_entry *e = find(l, l->holder);

	if (!l->returned || l->ending || e == NULL || e->fencing || now_ns < l->retry_ns)
		return false;
	l->ending = true;
	*out = (struct lease_action){
		.kind = LEASE_ACTION_END, .id = l->holder, .number = l->generation};
	return true;
}

/* A grant that the log refused is tried again: it may be in the store. */
static bool next_grant(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	const struct lease_entry *e = l->holder != 0  ? find(l, l->holder)
				      : l->count == 1 ? &l->entries[0]
						      : NULL;
	bool wanted = l->waiter_count == 0 && l->admitting == 0;

	if (e == NULL || e->fencing || e->unwanted || l->generation != 0 || l->granting ||
	    now_ns < l->retry_ns)
		return false;
	if (l->holder == 0 && (!wanted || !e->connected || lapsed(l, e, now_ns)))
		return false;
	l->holder = e->session;
	l->granting = true;
	*out = (struct lease_action){.kind = LEASE_ACTION_GRANT, .id = l->holder};
	return true;
}

static bool next_tell(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	const struct lease_entry *e = find(l, l->holder);

	if (e == NULL || l->generation == 0 || l->waiter_count != 0 || !e->connected ||
	    e->fencing || e->unwanted || lapsed(l, e, now_ns) || l->grant_told ||
	    l->recall_ns != 0 || l->returned)
		return false;
	l->grant_told = l->told = true;
	*out = (struct lease_action){
		.kind = LEASE_ACTION_TELL, .id = l->holder, .number = l->generation};
	return true;
}

static bool in_the_way(const struct leases *l, const struct lease_entry *e, uint64_t now_ns)
{
	if (e->unwanted)
		return true;
	if (!lapsed(l, e, now_ns))
		return false;
	if (l->waiter_count != 0 && l->holder == e->session)
		return true;
	if (e->hurry_ns != 0 && now_ns < e->hurry_ns + HURRY_NS)
		return true;
	if (l->count == 1 && l->waiter_count == 0 && l->admitting == 0)
		return false;
	/* A client that was stopped finds its connection dead, and comes back at once. */
	if (!e->connected)
		return now_ns > e->gone_ns + l->options.lease_ns;
	return now_ns > e->until_ns + l->options.margin_ns + l->options.session_timeout_ns;
}

static bool next_fence(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	for (size_t i = 0; i < l->count; i++) {
		struct lease_entry *e = &l->entries[i];

		if (e->fencing || !in_the_way(l, e, now_ns))
			continue;
		e->fencing = true;
		*out = (struct lease_action){.kind = LEASE_ACTION_FENCE, .id = e->session};
		return true;
	}
	return false;
}

bool leases_next(struct leases *l, uint64_t now_ns, struct lease_action *out)
{
	expects(l->holder != 0 || (l->generation == 0 && !l->granting && !l->ending &&
				   !l->returned && l->recall_ns == 0));
	look(l, now_ns);
	return next_fence(l, now_ns, out) || next_admission(l, out) ||
	       next_recall(l, now_ns, out) || next_end(l, now_ns, out) ||
	       next_grant(l, now_ns, out) || next_tell(l, now_ns, out);
}

bool leases_lapsed(const struct leases *l, uint64_t session, uint64_t now_ns)
{
	const struct lease_entry *e = find(l, session);

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
