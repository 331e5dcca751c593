/* sessions.c - what both kinds of sessions do when something happens below them; see sessions.h. */
#include "master/sessions/sessions.h"
#include "master/leases/fences.h"
#include "master/sessions/chunkservers.h"
#include "master/sessions/client_fences.h"
#include "master/sessions/client_leases.h"
#include "master/sessions/clients.h"

static void on_published(struct master *master)
{
	client_fences_shown(master);
	clients_push_map(master);
	chunkservers_push_map(master);
}

static void on_deciding(struct master *master, uint64_t now_ns)
{
	if (fences_owed(master->fences))
		client_fences_act(master, now_ns);
}

static void on_turning_away(struct master *master)
{
	clients_turn_away(master);
	chunkservers_turn_away(master);
}

const struct session_events session_events = {
	.published = on_published,
	.deciding = on_deciding,
	.renewable = chunkservers_renew_late,
	.admitting = clients_heard,
	.turning_away = on_turning_away,
	.closed = client_leases_act,
};
