/* chunkserver_register.c - a chunkserver registers, with its targets.
 *
 * 1. Register comes on a new stream. It is checked: protocol, cluster, name, numbers.
 * 2. What its targets have seen is compared with the store (state_check_seen()).
 * 3. Targets that are older copies of their disks are left out, when no other member knows what
 *    they lack (chain_manager_check()).
 * 4. The log gets the registration. When that is durable, the server is in the table, its lease
 *    begins, and it is told its ids; then it gets the map.
 *
 * Failures:
 * - It is refused: the server is told why, comes again in seconds, and the status names it
 *   (shared/refusals.h).
 * - A target has seen more than the store: the store is behind, and nothing is served any more.
 * - Another of the same name or target is on its way: it is refused until that is in the table.
 * - The log refuses it, as what was read in the state is not so any more: so is the server. */
#define LOG_MODULE "chunkserver"
#include "master/sessions/chunkserver_register.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/list.h"
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/hearing.h"
#include "master/cluster/publisher.h"
#include "master/older_store/hearing_rules.h"
#include "master/shared/chains.h"
#include "master/cluster/removals.h"
#include "master/leases/fences.h"

#define TARGETS_MAX STATE_REGISTERED_MAX

static struct log_rate noise;

struct registration {
	struct command_call call;
	struct command_flush flush;
	struct master *master;
	struct chunkserver_stream *stream; /* referenced */
	struct map_server server;
	struct state_registration proposed;
	/* The targets that are taken, and behind them those that are refused. */
	size_t count, refused_count;
	struct state_registered_target targets[TARGETS_MAX];
	struct liveness_report states[TARGETS_MAX]; /* of the same */
	char why_refused[300];
	struct registration *prev, *next; /* of those on their way into the log or to the disk */
};

static void refuse(struct chunkserver_stream *stream, int error, const char *message)
{
	Catena__Registered registered = CATENA__REGISTERED__INIT;
	struct push push = {0};

	if (refusals_add(&stream->master->refusals, stream->name, message, clock_boottime_ns()) &&
	    log_rate_ok(&noise, 5))
		log_warn("registration refused name=%s reason=\"%s\"", stream->name, message);
	registered.error = error;
	registered.message = (char *)message;
	registered.cluster = (char *)state_cluster(stream->master->state);
	registered.instance = state_instance(stream->master->state);
	push_message(&push, SERVER_PUSH_REGISTERED, &registered.base);
	chunkserver_send(stream, &push);
	push_free(&push);
}

/* ---- what was sent ---- */

/* False: too long. */
static bool take_text(char *out, size_t room, const char *text)
{
	size_t size = strlen(text);

	if (size >= room)
		return false;
	memcpy(out, text, size + 1);
	return true;
}

static bool take_targets(struct registration *r, const Catena__Register *message)
{
	for (size_t i = 0; i < message->n_targets; i++) {
		const Catena__TargetReport *report = message->targets[i];
		struct state_registered_target *target = &r->targets[i];

		if (report->uuid[0] == '\0' ||
		    !take_text(target->uuid, sizeof(target->uuid), report->uuid))
			return false;
		for (size_t j = 0; j < i; j++)
			if (strcmp(r->targets[j].uuid, target->uuid) == 0)
				return false;
		r->states[i] = (struct liveness_report){.life = report->life,
							.damaged = report->damaged != 0,
							.capacity = report->capacity,
							.used = report->used,
							.full = report->full != 0,
							.error = report->error};
	}
	r->count = message->n_targets;
	return true;
}

static bool take(struct registration *r, const char *name, const Catena__Register *message)
{
	struct map_server *server = &r->server;

	server->workers = message->workers;
	return take_text(server->name, sizeof(server->name), name) && message->address[0] != '\0' &&
	       take_text(server->address, sizeof(server->address), message->address) &&
	       take_text(server->host, sizeof(server->host), message->host) &&
	       take_text(server->rack, sizeof(server->rack), message->rack) &&
	       take_text(server->zone, sizeof(server->zone), message->zone) &&
	       take_targets(r, message);
}

static bool shares_target(const struct registration *a, const struct registration *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++)
			if (strcmp(a->targets[i].uuid, b->targets[j].uuid) == 0)
				return true;
	return false;
}

/* True when the same name or target is being registered. Until that is durable it is in no table:
 * nothing else shows that somebody holds it. */
static bool is_under_way(const struct master *master, const struct registration *r)
{
	for (const struct registration *o = master->registrations; o != NULL; o = o->next)
		if (strcmp(o->server.name, r->server.name) == 0 || shares_target(o, r))
			return true;
	return false;
}

/* True when another server may still serve one of these targets: a copied data directory must not
 * take it away. */
static bool is_held_by_another(struct master *master, const struct cluster_map *map,
			       const struct registration *r, uint64_t now_ns)
{
	uint64_t self = state_server_id(master->state, r->server.name);

	for (size_t i = 0; i < map->target_count; i++) {
		const struct map_target *target = &map->targets[i];

		if (target->server_id == self ||
		    !chain_manager_holds(master->chain_manager, target->server_id, target->id,
					 now_ns))
			continue;
		for (size_t j = 0; j < r->count; j++)
			if (strcmp(target->uuid, r->targets[j].uuid) == 0)
				return true;
	}
	return false;
}

static bool is_elsewhere(struct master *master, const struct cluster_map *map, const char *name,
			 const char *address, uint64_t now_ns)
{
	uint64_t id = state_server_id(master->state, name);
	const struct map_server *known = id == 0 ? NULL : cluster_map_server(map, id);

	return known != NULL && strcmp(known->address, address) != 0 &&
	       (chain_manager_online(master->chain_manager, id, now_ns) ||
		!chain_manager_harmless(master->chain_manager, id, now_ns));
}

/* Returns 1 when a target has seen what the store does not know: then the store, not the target, is
 * the older. Else 0, or -errno when the store cannot be read. */
static int knows_more(struct master *master, const Catena__Register *message)
{
	char why[MASTER_BEHIND_MAX];
	struct state_life life;

	state_life(master->state, &life);
	for (size_t i = 0; i < message->n_targets; i++) {
		const Catena__TargetReport *target = message->targets[i];
		struct state_seen seen = {.life = target->seen_life,
					  .chance = target->seen_chance,
					  .version = target->seen_version,
					  .index = target->seen_index};
		enum state_seen_verdict verdict;
		int rc = state_check_seen(master->state, target->uuid, &seen, &verdict);

		if (rc != 0)
			return rc;
		if (verdict == STATE_SEEN_FINE)
			continue;
		snprintf(why, sizeof(why),
			 "%s (target %.36s knows start %llu and map %llu, the store %llu and "
			 "%llu): start the master on the newest store, or see "
			 "--accept-older-store in catena-master(8)",
			 verdict == STATE_SEEN_LATER ? "its store is an older copy"
						     : "another copy of its store has been started",
			 target->uuid, (unsigned long long)seen.life,
			 (unsigned long long)(seen.version >> MAP_CHANGE_BITS),
			 (unsigned long long)life.number,
			 (unsigned long long)state_map_version(master->state));
		hearing_found_behind(master, why);
		return 1;
	}
	return 0;
}

/* True for a server of new targets while it is not known that the store is no older copy. */
static bool is_early(const struct master *master, const struct cluster_map *map,
		     const Catena__Register *message)
{
	const char *uuids[TARGETS_MAX];

	if (master_may_serve(master))
		return false;
	for (size_t i = 0; i < message->n_targets; i++)
		uuids[i] = message->targets[i]->uuid;
	return !hearing_rules_take(map, uuids, message->n_targets);
}

/* Returns 0, or the error and the reason for which the server may not register. */
static int check(struct chunkserver_stream *stream, const Catena__Register *message,
		 const char **why)
{
	struct master *master = stream->master;
	const struct cluster_map *map = chains_map(master);
	int more;

	if (message->protocol != MASTER_PROTOCOL) {
		*why = "the master speaks protocol 1";
		return EPROTONOSUPPORT;
	}
	if (message->cluster[0] != '\0' &&
	    strcmp(message->cluster, state_cluster(master->state)) != 0) {
		*why = "this is the master of another cluster";
		return EXDEV;
	}
	if (message->instance != 0 && message->instance != state_instance(master->state)) {
		*why = "the targets belong to another cluster of this name: the store of this "
		       "master was made anew (catena-master --init) after them. Start the master "
		       "on the store that they belong to, or make new targets with "
		       "catena-chunkserver --init in empty directories";
		return EXDEV;
	}
	if (message->workers == 0 || message->workers > STATE_WORKERS_MAX ||
	    message->n_targets == 0 || message->n_targets > TARGETS_MAX) {
		*why = "too few or too many workers or targets";
		return EINVAL;
	}
	if (command_log_error(master->log) != 0) {
		*why = "the master's store does not work";
		return -command_log_error(master->log);
	}
	more = knows_more(master, message);
	if (more < 0) {
		*why = "the master's store does not work";
		return -more;
	}
	if (more != 0 || master->behind[0] != '\0') {
		*why = master->behind;
		return MASTER_ERROR_BEHIND;
	}
	if (message->name[0] != '\0' && strcmp(message->name, stream->name) != 0) {
		*why = "the name is not the certificate's";
		return EACCES;
	}
	if (map == NULL) {
		*why = "out of memory";
		return ENOMEM;
	}
	if (is_early(master, map, message)) {
		*why = "the master has started, and hears the targets that it knows before it "
		       "takes "
		       "new ones: this takes seconds";
		return HEARING_FIRST;
	}
	if (is_elsewhere(master, map, stream->name, message->address, clock_boottime_ns())) {
		*why = "a chunkserver with this name is online at another address, or was a moment "
		       "ago";
		return EBUSY;
	}
	return 0;
}

/* Fills what the state knows of the targets, for the chain manager. */
static void look_up(struct registration *r)
{
	const struct state *state = r->master->state;

	for (size_t i = 0; i < r->count; i++) {
		r->states[i].id = state_target_id(state, r->targets[i].uuid);
		r->states[i].seen_life = state_target_life(state, r->targets[i].uuid);
	}
}

static void say_why(struct registration *r, size_t which)
{
	const struct liveness_report *state = &r->states[which];

	if (state->damaged)
		snprintf(r->why_refused, sizeof(r->why_refused),
			 "target %s is damaged, records that it had flushed are missing, and no "
			 "other member of some chain has them",
			 r->targets[which].uuid);
	else
		snprintf(r->why_refused, sizeof(r->why_refused),
			 "target %s is an older copy of its disk (life %llu, life %llu was seen), "
			 "and no other member of some chain has what was written since",
			 r->targets[which].uuid, (unsigned long long)state->life,
			 (unsigned long long)state->seen_life);
}

static void swap(struct registration *r, size_t a, size_t b)
{
	struct state_registered_target target = r->targets[a];
	struct liveness_report state = r->states[a];

	r->targets[a] = r->targets[b];
	r->states[a] = r->states[b];
	r->targets[b] = target;
	r->states[b] = state;
}

/* Leaves out targets that are older copies of their disks: such a copy must not take the place of
 * the last member that knows. The server's other targets are taken all the same. */
static void refuse_old(struct registration *r, const struct cluster_map *map)
{
	bool refused[TARGETS_MAX];

	look_up(r);
	r->refused_count =
		chain_manager_check(r->master->chain_manager, map, r->states, r->count, refused);
	for (size_t i = r->count; i > 0; i--) {
		hearing_target(r->master, r->states[i - 1].id, refused[i - 1]);
		if (!refused[i - 1])
			continue;
		say_why(r, i - 1);
		swap(r, i - 1, --r->count);
	}
}

/* ---- when it is durable ---- */

static struct chunkserver *adopt(struct master *master, const struct map_server *registered,
				 uint64_t id)
{
	struct chunkserver *server = chunkserver_by_name(master, registered->name);

	if (server == NULL) {
		server = calloc(1, sizeof(*server));
		if (server == NULL)
			return NULL;
		server->id = id;
		snprintf(server->name, sizeof(server->name), "%s", registered->name);
		HASH_ADD(hh, master->chunkservers, id, sizeof(server->id), server);
	}
	snprintf(server->address, sizeof(server->address), "%s", registered->address);
	return server;
}

static void take_over(struct chunkserver *server, struct chunkserver_stream *stream)
{
	if (server->stream != NULL && server->stream != stream) {
		server->stream->server = NULL;
		rpc_stream_close(server->stream->rpc);
	}
	server->stream = stream;
	server->unanswered = 0;
	stream->server = server;
}

/* Sends the map that everybody has. The one with this server in it comes when it is durable. */
static void push_map(struct chunkserver *server)
{
	struct master *master = server->stream->master;
	const struct published_map *published = &master->published;
	struct push push = {0};

	publisher_push_fence(master, server);
	if (published->hidden || !chain_manager_settled(master->chain_manager, server->id))
		return;
	push_bytes(&push, SERVER_PUSH_MAPS, published->encoded, published->encoded_size);
	chunkserver_send(server->stream, &push);
	push_free(&push);
}

static void tell_registered(struct registration *r)
{
	struct master *master = r->master;
	Catena__Registered registered = CATENA__REGISTERED__INIT;
	struct state_life life;
	Catena__TargetReport reports[TARGETS_MAX], *pointers[TARGETS_MAX];
	size_t count = r->count + r->refused_count;
	struct push push = {0};

	for (size_t i = 0; i < count; i++) {
		catena__target_report__init(&reports[i]);
		reports[i].uuid = r->targets[i].uuid;
		reports[i].target_id = i < r->count ? r->states[i].id : 0;
		reports[i].error = i < r->count ? 0 : ESTALE;
		pointers[i] = &reports[i];
	}
	registered.message = r->why_refused;
	registered.cluster = (char *)state_cluster(master->state);
	registered.instance = state_instance(master->state);
	state_life(master->state, &life);
	registered.life = life.number;
	registered.chance = life.chance;
	registered.index = command_log_durable(master->log);
	registered.server_id = r->stream->server->id;
	registered.lease_ns = master->config.serving_lease_ns;
	registered.map_version = published_map_version_of(state_map_version(master->state));
	registered.n_targets = count;
	registered.targets = pointers;
	push_message(&push, SERVER_PUSH_REGISTERED, &registered.base);
	chunkserver_send(r->stream, &push);
	push_free(&push);
}

static void registered(struct registration *r)
{
	struct master *master = r->master;
	uint64_t id = state_server_id(master->state, r->server.name);
	uint64_t now_ns = clock_boottime_ns();
	struct chunkserver *server;

	if (r->stream->over)
		return;
	if (master->behind[0] != '\0') {
		refuse(r->stream, MASTER_ERROR_BEHIND, master->behind);
		return;
	}
	look_up(r);
	server = adopt(master, &r->server, id);
	if (server == NULL ||
	    chain_manager_registered(master->chain_manager, id, r->states, r->count, now_ns) != 0 ||
	    fences_acknowledged(master->fences, id, 0) != 0) {
		refuse(r->stream, ENOMEM, "out of memory");
		return;
	}
	take_over(server, r->stream);
	refusals_forget(&master->refusals, server->name);
	tell_registered(r);
	publisher_push_recovery(master, server);
	log_info("registered name=%s server=%llu address=%s targets=%zu", server->name,
		 (unsigned long long)server->id, server->address, r->count);
	if (r->refused_count != 0)
		log_warn("targets refused name=%s targets=%zu reason=\"%s\"", server->name,
			 r->refused_count, r->why_refused);
	hearing_look(master, now_ns);
	push_map(server);
	publisher_act(master, now_ns);
	removals_online(master->removals);
}

/* On the log's thread. */
static void on_durable(struct command_flush *flush, int status)
{
	struct registration *r =
		(struct registration *)((char *)flush - offsetof(struct registration, flush));
	struct master *master = r->master;

	master_lock(master);
	DL_DELETE(master->registrations, r);
	r->stream->registering = false;
	if (status == 0 && !master->stopping)
		registered(r);
	else if (status != 0)
		refuse(r->stream, -status, "the master's store does not work");
	chunkserver_stream_unref(r->stream);
	master_unlock(master);
	free(r);
}

static const char *why_not(int status)
{
	switch (status) {
	case -EBUSY:
		return "a server of this name, or with one of its targets, was registered a moment "
		       "ago";
	case -EUSERS:
		return "the cluster has as many servers or targets as it can have";
	case -EINVAL:
		return "the registration makes no sense";
	default:
		return "the master's store does not work";
	}
}

static void on_applied(struct command_call *call, int status)
{
	struct registration *r = (struct registration *)call;
	bool refused = status == -EBUSY || status == -EUSERS || status == -EINVAL;

	if (status == 0) {
		publisher_changed(r->master, call->index);
		r->flush.index = call->index;
		command_log_flush(r->master->log, &r->flush);
		return;
	}
	DL_DELETE(r->master->registrations, r);
	r->stream->registering = false;
	refuse(r->stream, refused ? -status : EIO, why_not(status));
	chunkserver_stream_unref(r->stream);
	free(r);
}

bool chunkserver_register(struct chunkserver_stream *stream, const Catena__Register *message)
{
	struct master *master = stream->master;
	const struct cluster_map *map;
	const char *why = NULL;
	struct registration *r;
	int error;

	lock_held(&master->lock);
	if (stream->registering || stream->server != NULL)
		return false;
	error = check(stream, message, &why);
	if (error != 0) {
		refuse(stream, error, why);
		return true;
	}
	r = calloc(1, sizeof(*r));
	if (r == NULL) {
		refuse(stream, ENOMEM, "out of memory");
		return true;
	}
	r->flush.done = on_durable;
	r->master = master;
	if (!take(r, stream->name, message)) {
		free(r);
		return false;
	}
	if (is_under_way(master, r)) {
		refuse(stream, EBUSY, why_not(-EBUSY));
		free(r);
		return true;
	}
	map = chains_map(master);
	if (map == NULL || is_held_by_another(master, map, r, clock_boottime_ns())) {
		refuse(stream, EBUSY,
		       "a target of this server is online at another server, or was a moment ago");
		free(r);
		return true;
	}
	refuse_old(r, map);
	if (r->count == 0) {
		refuse(stream, ESTALE, r->why_refused);
		hearing_look(master, clock_boottime_ns());
		free(r);
		return true;
	}
	r->stream = stream;
	stream->refs++;
	stream->registering = true;
	r->call.done = on_applied;
	r->proposed = (struct state_registration){
		.server = &r->server, .targets = r->targets, .target_count = r->count};
	state_registration_read(master->state, &r->proposed);
	r->call.command =
		(struct log_command){.kind = COMMAND_REGISTER, .registration = &r->proposed};
	DL_APPEND(master->registrations, r);
	command_log_propose(master->log, &r->call);
	return true;
}
