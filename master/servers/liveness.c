/* liveness.c - servers, their targets, and what was heard of them; see liveness.h. */
#include "master/servers/liveness.h"
#include <errno.h>
#include <stdlib.h>
#include "common/base/duration.h"
#include "master/state/chain_faults.h"

/* A process that is being killed loses its connections a little before its port. */
#define PROBE_QUICK_NS     (20 * NS_PER_MSEC)
#define PROBE_SLOW_NS      (250 * NS_PER_MSEC)
#define PROBE_QUICK_FOR_NS NS_PER_SEC
#define SOON_NS            (50 * NS_PER_MSEC)

struct live_server *liveness_server(const struct liveness *live, uint64_t id)
{
	struct live_server *server;

	HASH_FIND(hh, live->servers, &id, sizeof(id), server);
	return server;
}

struct live_target *liveness_target(const struct liveness *live, uint32_t id)
{
	struct live_target *target;

	HASH_FIND(hh, live->targets, &id, sizeof(id), target);
	return target;
}

void liveness_free(struct liveness *live)
{
	while (live->servers != NULL) {
		struct live_server *server = live->servers;

		HASH_DEL(live->servers, server);
		free(server);
	}
	while (live->targets != NULL) {
		struct live_target *target = live->targets;

		HASH_DEL(live->targets, target);
		free(target);
	}
}

static struct live_server *server_make(struct liveness *live, uint64_t id)
{
	struct live_server *server = liveness_server(live, id);

	if (server != NULL)
		return server;
	server = calloc(1, sizeof(*server));
	if (server == NULL)
		return NULL;
	server->id = id;
	HASH_ADD(hh, live->servers, id, sizeof(server->id), server);
	return server;
}

struct live_target *liveness_target_make(struct liveness *live, uint32_t id)
{
	struct live_target *target = liveness_target(live, id);

	if (target != NULL)
		return target;
	target = calloc(1, sizeof(*target));
	if (target == NULL)
		return NULL;
	target->id = id;
	HASH_ADD(hh, live->targets, id, sizeof(target->id), target);
	return target;
}

/* ---- what happens ---- */

void liveness_restore(struct liveness *live, uint64_t id, uint64_t now_ns)
{
	struct live_server *server = server_make(live, id);

	if (server == NULL || server->registered)
		return;
	/* The former life of the master may have renewed its lease as its last deed. */
	server->heard_ns = server->renewed_ns = server->disconnected_ns = now_ns;
	live->changed = true;
}

static void report(struct live_target *target, const struct liveness_report *from, uint64_t now_ns)
{
	target->capacity = from->capacity;
	target->used = from->used;
	target->full = from->full;
	target->error = from->error;
	if (from->error != 0)
		target->failed_ns = now_ns;
}

static void unlist_missing(struct liveness *live, uint64_t server,
			   const struct liveness_report *targets, size_t count, uint64_t now_ns)
{
	for (struct live_target *t = live->targets; t != NULL; t = t->hh.next) {
		bool among = false;

		if (t->server != server || !t->listed)
			continue;
		for (size_t i = 0; i < count && !among; i++)
			among = targets[i].id == t->id;
		if (!among) {
			t->listed = false;
			t->unlisted_ns = now_ns;
		}
	}
}

int liveness_registered(struct liveness *live, uint64_t id, const struct liveness_report *targets,
			size_t count, uint64_t now_ns)
{
	struct live_server *server = server_make(live, id);

	if (server == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (liveness_target_make(live, targets[i].id) == NULL)
			return -ENOMEM;
	unlist_missing(live, id, targets, count, now_ns);
	for (size_t i = 0; i < count; i++) {
		struct live_target *target = liveness_target(live, targets[i].id);

		target->server = id;
		target->life = targets[i].life;
		/* What the store says may be of a plan that is not published yet. */
		if (!live->lives_held || target->seen_life == 0)
			target->seen_life = targets[i].seen_life;
		target->damaged = targets[i].damaged;
		target->listed = true;
		target->old_refused = false;
		report(target, &targets[i], now_ns);
	}
	server->registered = server->connected = true;
	server->leaving = server->refused = false;
	server->heard_ns = now_ns;
	server->out_ns = 0;
	live->changed = true;
	return 0;
}

struct live_server *liveness_heartbeat(struct liveness *live, uint64_t id, bool leaving,
				       const struct liveness_report *targets, size_t count,
				       uint64_t now_ns)
{
	struct live_server *server = liveness_server(live, id);

	if (server == NULL || !server->registered)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		struct live_target *target = liveness_target(live, targets[i].id);

		if (target == NULL || target->server != id || !target->listed)
			continue;
		live->changed |= target->full != targets[i].full ||
				 (target->error != 0) != (targets[i].error != 0);
		report(target, &targets[i], now_ns);
	}
	live->changed |= server->leaving != leaving || server->out_ns != 0;
	server->leaving = leaving;
	server->heard_ns = now_ns;
	return server;
}

void liveness_disconnected(struct liveness *live, uint64_t id, uint64_t now_ns)
{
	struct live_server *server = liveness_server(live, id);

	if (server == NULL)
		return;
	server->connected = false;
	server->disconnected_ns = now_ns;
	server->probed_ns = 0;
	live->changed = true;
}

void liveness_refused(struct liveness *live, uint64_t id, uint64_t asked_ns)
{
	struct live_server *server = liveness_server(live, id);

	if (server == NULL || server->connected || asked_ns < server->disconnected_ns)
		return;
	server->refused = true;
	live->changed = true;
}

void liveness_paused(struct liveness *live, uint64_t gap_ns)
{
	for (struct live_server *s = live->servers; s != NULL; s = s->hh.next) {
		s->heard_ns += gap_ns;
		s->renewed_ns += s->renewed_ns == 0 ? 0 : gap_ns;
		s->disconnected_ns += gap_ns;
	}
}

bool liveness_probe(struct liveness *live, uint64_t now_ns, uint64_t *out)
{
	for (struct live_server *s = live->servers; s != NULL; s = s->hh.next) {
		bool quick = now_ns < s->disconnected_ns + PROBE_QUICK_FOR_NS;

		/* A server that leaves is out, and may have a lease that a plan waits for. */
		if (s->connected || s->refused ||
		    (s->out_ns != 0 && liveness_harmless(live, s->id, now_ns)) ||
		    (s->probed_ns != 0 &&
		     now_ns < s->probed_ns + (quick ? PROBE_QUICK_NS : PROBE_SLOW_NS)))
			continue;
		s->probed_ns = now_ns;
		*out = s->id;
		return true;
	}
	return false;
}

/* ---- what follows ---- */

static bool silent(const struct liveness *live, const struct live_server *server, uint64_t now_ns)
{
	return now_ns > server->heard_ns + live->lease_ns + live->margin_ns;
}

void liveness_update(struct liveness *live, uint64_t now_ns)
{
	for (struct live_server *s = live->servers; s != NULL; s = s->hh.next) {
		bool out = s->leaving || s->refused || silent(live, s, now_ns) ||
			   (!s->connected && MANAGER_FAULTY(OUT_WITHOUT_WAITING));

		if (!out)
			s->out_ns = 0;
		else if (s->out_ns == 0)
			s->out_ns = now_ns;
	}
}

/* Says out, but not before @gather_ns: other servers may have died in the same moment. */
static enum presence out_since(const struct liveness *live, uint64_t since_ns, uint64_t now_ns)
{
	return now_ns < since_ns + live->gather_ns ? PRESENT_QUIET : PRESENT_OUT;
}

bool liveness_target_is_old(const struct live_target *target)
{
	return liveness_life_is_old(target->life, target->seen_life, target->damaged);
}

enum presence liveness_presence(const struct liveness *live, uint32_t id, uint64_t map_server,
				uint64_t now_ns, bool *certain)
{
	const struct live_target *target = liveness_target(live, id);
	const struct live_server *server;

	*certain = false;
	server = liveness_server(live, target == NULL ? map_server : target->server);
	if (server == NULL)
		return PRESENT_OUT;
	*certain = server->leaving || server->refused;
	if (server->out_ns != 0)
		return out_since(live, server->out_ns, now_ns);
	if (!server->registered)
		return PRESENT_QUIET;
	*certain = true;
	if (target == NULL)
		return PRESENT_OUT; /* the server came without it */
	if (!target->listed)
		return out_since(live, target->unlisted_ns, now_ns);
	/* First, or its life would be settled as that of a disk that only fails. */
	if (liveness_target_is_old(target) && !target->forgiven)
		return PRESENT_OLD;
	if (target->error != 0)
		return PRESENT_FAILED;
	if (target->life != target->seen_life && target->seen_life != 0)
		return PRESENT_RESTARTED;
	*certain = false;
	if (!server->connected || now_ns > server->heard_ns + live->lease_ns / 2)
		return PRESENT_QUIET;
	return PRESENT_HERE;
}

bool liveness_harmless(const struct liveness *live, uint64_t id, uint64_t now_ns)
{
	const struct live_server *server = liveness_server(live, id);

	return server == NULL || server->refused ||
	       now_ns > server->renewed_ns + live->lease_ns + live->margin_ns;
}

bool liveness_holds(const struct liveness *live, uint64_t id, uint32_t target_id, uint64_t now_ns)
{
	const struct live_server *server = liveness_server(live, id);
	const struct live_target *target = liveness_target(live, target_id);

	if (liveness_harmless(live, id, now_ns) && !liveness_online(live, id, now_ns))
		return false;
	return !server->registered || (target != NULL && target->listed && target->server == id);
}

bool liveness_online(const struct liveness *live, uint64_t id, uint64_t now_ns)
{
	const struct live_server *server = liveness_server(live, id);

	return server != NULL && server->registered && !server->leaving && !server->refused &&
	       !silent(live, server, now_ns);
}

bool liveness_soon(const struct liveness *live, uint64_t now_ns)
{
	for (struct live_server *s = live->servers; s != NULL; s = s->hh.next) {
		if (s->leaving && s->out_ns == 0)
			return true;
		if (s->out_ns != 0 && now_ns < s->out_ns + live->gather_ns + SOON_NS)
			return true;
	}
	return false;
}
