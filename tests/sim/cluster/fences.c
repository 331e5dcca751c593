#include "tests/sim/cluster/fences.h"
#include "tests/lib/sessions.h"

#define FENCE_OVERDUE (10 * SEC)

/* ---- at the master ---- */

static bool fence_is_harmless(void *user, uint64_t server)
{
	struct world *w = user;

	return w->master.planned_index == 0 &&
	       chain_manager_harmless(w->master.manager, server, local(w, NODE_MASTER));
}

static int note_session(void *user, uint64_t session, const char *mount, const char *name)
{
	session_of(user, session)->open = true;
	return 0;
}

static void open_session(struct world *w, uint64_t id)
{
	struct master *m = &w->master;

	if (session_open_as(m->state, m->applied + 1, id, 1, "m", "client") != 0)
		abort();
	m->applied++;
}

void session_ends(struct world *w, uint64_t session)
{
	struct master *m = &w->master;

	if (state_apply_session_fence(m->state, m->applied + 1, session) != 0)
		return;
	trace(w, "session %llu is to end", (unsigned long long)session);
	m->applied++;
	master_state_changed(w);
	flush_begins(w);
}

static void session_complete(struct world *w, uint64_t session)
{
	struct master *m = &w->master;

	if (fences_owed(m->fences) && !state_fences_owed(m->state) &&
	    state_apply_fences_owed(m->state, ++m->applied, true) != 0)
		abort();
	if (state_apply_session_close(m->state, m->applied + 1, session, NULL, 0) != 0)
		return;
	trace(w, "nothing of session %llu is left", (unsigned long long)session);
	m->applied++;
	master_state_changed(w);
	flush_begins(w);
}

static void tell_manager(void *user, uint32_t pool, uint32_t partition, bool owed)
{
	chain_manager_owes_chain(user, pool, partition, owed);
}

static void fences_look(struct world *w)
{
	struct master *m = &w->master;
	struct fence_action action;

	if (!may_serve(w))
		return;
	while (m->fences != NULL &&
	       fences_next(m->fences, local(w, NODE_MASTER), fence_is_harmless, w, &action)) {
		struct chain_manager_report said = {.server = action.server,
						    .pool = action.pool,
						    .partition = action.partition,
						    .epoch = action.epoch,
						    .target = action.target};

		if (action.kind == FENCE_COMPLETE) {
			session_complete(w, action.session);
			continue;
		}
		trace(w, "target %u does not let go", action.target);
		chain_manager_unfit(m->manager, m->state_map, &said);
	}
	if (m->fences != NULL)
		fences_each_chain(m->fences, tell_manager, m->manager);
}

/* A client whose session is closed gets another one. */
static void session_follows(struct world *w, unsigned c)
{
	struct client *client = &w->clients[c];
	struct master *m = &w->master;

	/* The one that has ended it was another master, of a store that is not this one. */
	if (client->waits && session_of(w, client->session)->open &&
	    !state_session_is_fenced(m->state, client->session))
		session_ends(w, client->session);
	if (session_of(w, client->session)->open || client->next_session != 0)
		return;
	if (m->opening[c] != 0 && session_of(w, m->opening[c])->open) {
		client->next_session = m->opening[c];
		m->opening[c] = 0;
		return;
	}
	m->opening[c] = state_next_session_id(m->state);
	if (session_of(w, m->opening[c])->over_at != 0)
		problem(w, "a session came again");
	open_session(w, m->opening[c]);
	flush_begins(w);
}

static bool another_is_open(const struct world *w)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (w->sessions[i].open)
			return true;
	return false;
}

void sessions_durable(struct world *w)
{
	struct master *m = &w->master;

	if (!w->options.fences)
		return;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		w->sessions[i].open = false;
	if (state_sessions(m->state, note_session, w) != 0)
		abort();
	for (unsigned i = 0; i < SESSIONS_MAX && w->sessions[i].id != 0; i++) {
		struct session_seen *seen = &w->sessions[i];

		if (seen->open && state_session_is_fenced(m->state, seen->id)) {
			seen->fenced = true;
			if (!seen->begun && fences_begin(m->fences, seen->id) != 0)
				abort();
			seen->begun = true;
		} else if (!seen->open && seen->given_up && seen->over_at == 0) {
			/* From when another is let in. */
			if (another_is_open(w))
				session_is_over(w, seen->id);
		} else if (!seen->open && seen->fenced && seen->over_at == 0) {
			fences_end(m->fences, seen->id);
			session_is_over(w, seen->id);
		}
	}
	for (unsigned c = 0; c < CLIENTS; c++)
		session_follows(w, c);
}

void fences_published(struct world *w)
{
	struct master *m = &w->master;

	if (!w->options.fences)
		return;
	if (fences_map(m->fences, m->map, m->map->version, local(w, NODE_MASTER)) != 0)
		abort();
	fences_look(w);
}

void fences_begin_life(struct world *w)
{
	struct master *m = &w->master;

	if (!w->options.fences)
		return;
	m->fences = fences_new(FENCE_OVERDUE, state_fences_owed(m->state));
	if (m->fences == NULL)
		abort();
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		w->sessions[i].begun = false;
	memset(m->opening, 0, sizeof(m->opening));
}

void fences_told(struct world *w, unsigned s, uint64_t version)
{
	struct master *m = &w->master;

	if (!w->options.fences)
		return;
	if (fences_acknowledged(m->fences, w->id_of[s], version) != 0)
		abort();
	fences_look(w);
	chain_manager_owes(m->manager, w->id_of[s], !fences_may_renew(m->fences, w->id_of[s]));
}

void fences_ticked(struct world *w)
{
	struct master *m = &w->master;

	if (!w->options.fences)
		return;
	fences_look(w);
	for (unsigned s = 0; s < SERVERS_MAX; s++)
		if (m->streams[s].conn != 0)
			chain_manager_owes(m->manager, w->id_of[s],
					   !fences_may_renew(m->fences, w->id_of[s]));
	if (!fences_owed(m->fences) && state_fences_owed(m->state)) {
		if (state_apply_fences_owed(m->state, ++m->applied, false) != 0)
			abort();
		flush_begins(w);
	}
	/* Admissions that were lost with a power cut. */
	if (m->durable == m->applied)
		sessions_durable(w);
}
