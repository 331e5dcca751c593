/* client_fences.c - carrying out what fences.h decides: sessions of clients are ended.
 *
 * 1. The session's stream ends, and the log gets the fence. From here on nothing of the session is
 *    executed.
 * 2. When that is durable, the map names the session, and is published.
 * 3. Chunkservers acknowledge that map (take_fence() in chunkservers.c) when nothing of the session
 *    is left with them.
 * 4. When the fence is complete for all chains, the session's record is closed: its opens, its
 *    lease and its rights go, and others get what it had.
 *
 * Failures:
 * - The log refuses the fence or the close: it is tried again (client_leases_retry()).
 * - There is no memory for the map's chains: they are all owed if any was, and the map is told to
 *   the fences again with the next tick.
 * - A member does not acknowledge in time: the chain manager is told that it is unfit.
 * - A chain has no member with a lease: it is owed. That is in the log before the session is
 *   closed, as the next life of the master must know it, too.
 * - The master is started anew in between: it finds the session fenced in its store, and begins
 *   again. */
#define LOG_MODULE "client"
#include "master/sessions/client_fences.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/publisher.h"
#include "master/shared/chains.h"
#include "master/leases/fences.h"
#include "master/leases/leases.h"
#include "master/sessions/client.h"
#include "master/sessions/client_session.h"

/* A member that does not acknowledge a session's end for so long loses its place. */
#define OVERDUE_NS (10 * NS_PER_SEC)

static struct log_rate noise;

struct fencing {
	struct command_call call;
	struct command_flush flush;
	struct master *master;
	uint64_t session;
};

int client_fences_start(struct master *master)
{
	master->fences = fences_new(OVERDUE_NS, state_fences_owed(master->state));
	return master->fences == NULL ? -ENOMEM : 0;
}

/* ---- beginning ---- */

static void begun(struct master *master, uint64_t session)
{
	if (fences_begin(master->fences, session) != 0) {
		leases_close_failed(master->leases, session);
		return;
	}
	log_info("session fenced session=%llu", (unsigned long long)session);
	publisher_act(master, clock_boottime_ns());
	/* The map may have said it already. */
	client_fences_shown(master);
	client_fences_act(master, clock_boottime_ns());
}

/* On the log's thread. */
static void on_fence_durable(struct command_flush *flush, int status)
{
	struct fencing *fencing =
		(struct fencing *)((char *)flush - offsetof(struct fencing, flush));
	struct master *master = fencing->master;

	master_lock(master);
	if (status != 0)
		leases_close_failed(master->leases, fencing->session);
	else if (!master->stopping)
		begun(master, fencing->session);
	master_unlock(master);
	free(fencing);
}

static void on_fenced(struct command_call *call, int status)
{
	struct fencing *fencing = (struct fencing *)call;
	struct master *master = fencing->master;
	struct client_session *session = client_session_find(master, fencing->session);

	expects(session != NULL && session->ending);
	session->ending = false;
	if (status == 0) {
		publisher_changed(master, call->index);
		fencing->flush.index = call->index;
		command_log_flush(master->log, &fencing->flush);
		return;
	}
	if (status == -ENOENT) {
		/* Its end had failed, and was in the store all the same. */
		client_session_gone(master, session);
		client_session_flush_close(master, fencing->session, call->index);
	} else {
		session->close_failed = true;
	}
	free(fencing);
}

void client_fences_begin(struct master *master, struct client_session *session)
{
	struct fencing *fencing;

	client_session_end_stream(master, session);
	if (session->ending)
		return;
	fencing = calloc(1, sizeof(*fencing));
	if (fencing == NULL) {
		session->close_failed = true;
		return;
	}
	session->ending = true;
	fencing->call.done = on_fenced;
	fencing->call.command =
		(struct log_command){.kind = COMMAND_SESSION_FENCE, .session = session->id};
	fencing->flush.done = on_fence_durable;
	fencing->master = master;
	fencing->session = session->id;
	command_log_propose(master->log, &fencing->call);
}

/* ---- what servers say ---- */

void client_fences_shown(struct master *master)
{
	if (!master->published.hidden &&
	    fences_map(master->fences, master->published.map,
		       published_map_version(&master->published), clock_boottime_ns()) != 0 &&
	    log_rate_ok(&noise, 5))
		log_error("fences wait: out of memory");
}

/* While chains change no server is harmless: the next chain may have a member that is not. */
static bool is_harmless(void *user, uint64_t server)
{
	struct master *master = user;

	return publisher_settled(master) &&
	       chain_manager_harmless(master->chain_manager, server, clock_boottime_ns());
}

static void complete(struct master *master, uint64_t id);

static void on_owed(struct command_call *call, int status)
{
	struct master *master = (struct master *)((char *)call - offsetof(struct master, owing));
	struct client_session *session, *next;

	master->owing_under_way = false;
	HASH_ITER(hh, master->clients, session, next)
	{
		if (!session->complete)
			continue;
		session->complete = false;
		if (status == 0)
			complete(master, session->id);
		else
			session->close_failed = true;
	}
}

/* True: the log has it. Else it is on its way. */
static bool log_owed(struct master *master, bool owed)
{
	if (master->owing_under_way)
		return false;
	if (state_fences_owed(master->state) == owed)
		return true;
	master->owing_under_way = true;
	master->owing.done = on_owed;
	master->owing.command = (struct log_command){.kind = COMMAND_FENCES_OWED, .owed = owed};
	command_log_propose(master->log, &master->owing);
	return false;
}

/* Closes a session whose fence is complete. What chains owe is in the log before: the next life of
 * the master has to know it, too. */
static void complete(struct master *master, uint64_t id)
{
	struct client_session *session = client_session_find(master, id);

	if (session == NULL)
		fences_end(master->fences, id);
	else if (fences_owed(master->fences) && !log_owed(master, true))
		session->complete = true;
	else
		client_session_close(master, session, "fenced");
}

static void expel(struct master *master, const struct fence_action *action)
{
	const struct cluster_map *map = chains_map(master);
	struct chain_manager_report report = {.server = action->server,
					      .pool = action->pool,
					      .partition = action->partition,
					      .epoch = action->epoch,
					      .target = action->target};

	log_warn("target %u does not let go of a client whose session is over: partition=%u",
		 action->target, action->partition);
	if (map != NULL)
		chain_manager_unfit(master->chain_manager, map, &report);
}

static void tell_manager(void *user, uint32_t pool, uint32_t partition, bool owed)
{
	chain_manager_owes_chain(user, pool, partition, owed);
}

void client_fences_act(struct master *master, uint64_t now_ns)
{
	struct fence_action action;
	bool owed = fences_owed(master->fences);

	lock_held(&master->lock);
	if (!master_may_serve(master))
		return;
	while (fences_next(master->fences, now_ns, is_harmless, master, &action)) {
		if (action.kind == FENCE_COMPLETE)
			complete(master, action.session);
		else
			expel(master, &action);
	}
	if (owed || fences_owed(master->fences))
		fences_each_chain(master->fences, tell_manager, master->chain_manager);
	if (owed && !fences_owed(master->fences))
		master->sessions->renewable(master, now_ns);
}

void client_fences_tick(struct master *master, uint64_t now_ns)
{
	if (!master_may_serve(master))
		return;
	if (!fences_has_map(master->fences))
		client_fences_shown(master);
	client_fences_act(master, now_ns);
	if (!fences_owed(master->fences) && state_fences_owed(master->state))
		(void)log_owed(master, false);
}
