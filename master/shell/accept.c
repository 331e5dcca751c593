/* accept.c - see accept.h. What the targets say is gathered by the RPC thread, and acted by when
 * all have spoken, on the caller's. */
#define LOG_MODULE "accept"
#include "master/shell/accept.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "common/cluster/unpack.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/rpc/rpc.h"
#include "master/log/command_log.h"
#include "master/older_store/accept_decision.h"
#include "master/shared/master.h"
#include "master/shared/push.h"
#include "master/shell/start.h"

#define TARGETS_MAX 65536u

struct accept {
	const struct master_config *config;
	const struct accept_options *options;
	struct tls_identity self;
	struct kv *kv;
	struct state *state;
	struct cluster_map *map;
	struct rpc_server *rpc;
	struct command_log *log;
	pthread_mutex_t state_lock;
	pthread_mutex_t lock; /* of what follows; the rest does not change while the port is open */
	struct accept_plan *plan;
	struct accept_target *targets;
	size_t count;
	char clash[512]; /* why it cannot be done; "": it can */
};

struct accept_stream {
	struct accept *accept;
	struct map_server server; /* as it has registered; name: of the certificate */
};

/* ---- what chunkservers say ---- */

static struct accept_target *find_told(struct accept *a, const char *uuid)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->targets[i].uuid, uuid) == 0)
			return &a->targets[i];
	return NULL;
}

static void take_target(struct accept *a, const struct accept_stream *stream,
			const Catena__TargetReport *report)
{
	struct accept_target *target = find_told(a, report->uuid), *bigger;
	uint64_t server_id;

	if (strlen(report->uuid) != 36 || a->count == TARGETS_MAX)
		return;
	if (target == NULL) {
		bigger = realloc(a->targets, (a->count + 1) * sizeof(*bigger));
		if (bigger == NULL)
			return; /* it registers again */
		a->targets = bigger;
		target = &a->targets[a->count++];
		memset(target, 0, sizeof(*target));
		snprintf(target->uuid, sizeof(target->uuid), "%s", report->uuid);
	}
	target->seen = (struct state_seen){.life = report->seen_life,
					   .chance = report->seen_chance,
					   .version = report->seen_version,
					   .index = report->seen_index};
	target->life = report->life;
	target->settled = report->settled != 0;
	/* The id is told with what was seen; a target that registers again may have told it. */
	server_id = target->server.id;
	target->server = stream->server;
	target->server.id = server_id;
}

static void set_text(char out[MAP_NAME_MAX], const char *text)
{
	snprintf(out, MAP_NAME_MAX, "%s", text);
}

static void take_registration(struct accept_stream *stream, struct rpc_stream *rpc,
			      const Catena__Register *message)
{
	struct accept *a = stream->accept;
	Catena__Registered answer = CATENA__REGISTERED__INIT;
	struct push push = {0};

	answer.error = MASTER_ERROR_BEHIND;
	answer.message = (char *)"an administrator accepts an older store for this master: it "
				 "serves when it is started after that";
	answer.cluster = (char *)state_cluster(a->state);
	answer.instance = state_instance(a->state);
	if (strcmp(message->cluster, answer.cluster) != 0 ||
	    (message->instance != 0 && message->instance != answer.instance) ||
	    message->workers == 0 || message->workers > 1024) {
		answer.error = EXDEV;
		answer.message = (char *)"the targets belong to another cluster";
	} else {
		answer.tell = 1;
		stream->server.workers = message->workers;
		set_text(stream->server.address, message->address);
		set_text(stream->server.host, message->host);
		set_text(stream->server.rack, message->rack);
		set_text(stream->server.zone, message->zone);
		for (size_t i = 0; i < message->n_targets; i++)
			take_target(a, stream, message->targets[i]);
	}
	push_message(&push, SERVER_PUSH_REGISTERED, &answer.base);
	if (!push.failed)
		(void)rpc_stream_send(rpc, push.data, push.size);
	push_free(&push);
}

static bool chain_from(const Catena__Chain *from, struct map_chain *out)
{
	memset(out, 0, sizeof(*out));
	if (from == NULL || from->n_members > CHAIN_MEMBERS_MAX)
		return false;
	out->epoch = from->epoch;
	for (size_t i = 0; i < from->n_members; i++) {
		out->members[i].target_id = from->members[i]->target_id;
		out->members[i].state = (enum member_state)from->members[i]->state;
	}
	out->count = (uint32_t)from->n_members;
	return true;
}

/* Without those it may be accepted: they come later, as targets that were not heard. */
static void look_for_clash(struct accept *a, const struct accept_target *target)
{
	const char *other =
		accept_decision_clash(a->plan, a->targets, a->count, (size_t)(target - a->targets));

	if (other == NULL)
		return;
	snprintf(a->clash, sizeof(a->clash),
		 "target %s was number %u, which is %s%s: masters have given numbers from this "
		 "store, "
		 "or from several copies of it, since, and it cannot be accepted as it is. Accept "
		 "another copy that is as it was when it was made, or stop the chunkservers of all "
		 "targets with such numbers and add --without-missing",
		 target->uuid, target->id,
		 strcmp(other, target->uuid) == 0 ? "another one than this store has for it"
						  : "also that of target ",
		 strcmp(other, target->uuid) == 0 ? "" : other);
}

static void take_seen(struct accept *a, const Catena__SeenChains *message)
{
	struct accept_target *target = find_told(a, message->uuid);

	if (target == NULL)
		return;
	target->id = accept_plan_number(a->plan, target->uuid, message->target_id);
	target->server.id = message->server_id;
	for (size_t i = 0; target->id != 0 && i < message->n_chains; i++) {
		const Catena__SeenChain *from = message->chains[i];
		struct map_chain chain;

		if (chain_from(from->chain, &chain) &&
		    accept_plan_chain(a->plan, target->id, from->pool, from->partition, &chain,
				      target->seen.version) == -EINVAL)
			log_warn("a chain that is told does not fit the store uuid=%s pool=%u "
				 "partition=%u",
				 target->uuid, from->pool, from->partition);
	}
	if (!message->last)
		return;
	if (target->id != 0) {
		look_for_clash(a, target);
		if (accept_plan_heard(a->plan, target->id) != 0)
			return; /* it is told again */
	}
	if (!target->heard)
		log_info("target has told what it has seen uuid=%s target=%u", target->uuid,
			 target->id);
	target->heard = true;
}

static void on_message(void *stream_user, struct rpc_stream *rpc, const uint8_t *data, size_t size)
{
	struct accept_stream *stream = stream_user;
	struct unpack unpack;
	Catena__ServerBatch *batch =
		catena__server_batch__unpack(unpack_begin(&unpack), size, data);

	if (batch == NULL) {
		rpc_stream_close(rpc);
		return;
	}
	pthread_mutex_lock(&stream->accept->lock);
	for (size_t i = 0; i < batch->n_registrations; i++)
		take_registration(stream, rpc, batch->registrations[i]);
	for (size_t i = 0; i < batch->n_seen; i++)
		take_seen(stream->accept, batch->seen[i]);
	pthread_mutex_unlock(&stream->accept->lock);
	catena__server_batch__free_unpacked(batch, &unpack.allocator);
}

static int on_open(void *server_user, struct rpc_stream *rpc, const struct tls_identity *peer,
		   void **stream_user)
{
	struct accept *a = server_user;
	struct accept_stream *stream;

	if (peer->role != TLS_ROLE_CHUNKSERVER || strcmp(peer->cluster, a->self.cluster) != 0)
		return -EACCES;
	stream = calloc(1, sizeof(*stream));
	if (stream == NULL)
		return -ENOMEM;
	stream->accept = a;
	snprintf(stream->server.name, sizeof(stream->server.name), "%s", peer->name);
	*stream_user = stream;
	return 0;
}

static void on_closed(void *stream_user, struct rpc_stream *rpc, int error)
{
	free(stream_user);
}

/* ---- waiting ---- */

static bool all_heard(struct accept *a)
{
	bool yes = a->count != 0;

	for (size_t i = 0; i < a->count; i++)
		yes = yes && a->targets[i].heard;
	return yes && accept_plan_missing(a->plan, 0) == 0 && accept_plan_unknown(a->plan) == 0;
}

static void gather(struct accept *a)
{
	/* By the lives that the older store knows, running processes may seem to have been started
	 * anew. Then no one would wait for their leases. */
	uint64_t leases_ns =
		clock_monotonic_ns() + a->config->serving_lease_ns + a->config->lease_margin_ns;
	uint64_t until_ns = clock_monotonic_ns() + a->options->wait_ns;
	bool done = false;

	while ((!done && clock_monotonic_ns() < until_ns) || clock_monotonic_ns() < leases_ns) {
		nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MSEC}, NULL);
		pthread_mutex_lock(&a->lock);
		done = a->clash[0] != '\0' || all_heard(a);
		pthread_mutex_unlock(&a->lock);
	}
}

/* ---- what is lost ---- */

static void say_missing(struct accept *a)
{
	for (uint32_t id = accept_plan_missing(a->plan, 0); id != 0;
	     id = accept_plan_missing(a->plan, id)) {
		const struct map_target *target = cluster_map_target(a->map, id);
		const struct map_server *server = cluster_map_target_server(a->map, id);

		fprintf(a->options->out, "not heard: target %" PRIu32 " (%s) of %s\n", id,
			target != NULL ? target->uuid : "unknown to this store",
			server != NULL ? server->name : "a server unknown to this store");
	}
	if (accept_plan_unknown(a->plan) != 0)
		fprintf(a->options->out, "not heard: any target that knows %zu of the chains\n",
			accept_plan_unknown(a->plan));
}

/* ---- the log ---- */

/* It does not lead: the acceptance begins a life by itself. */
static int open_log(struct accept *a)
{
	struct command_log_options options = {
		.state = a->state, .kv = a->kv, .state_lock = &a->state_lock};

	return command_log_open(&options, &a->log);
}

struct proposal {
	struct command_call call;
	int status;
};

static void on_applied(struct command_call *call, int status)
{
	((struct proposal *)call)->status = status;
}

/* Proposes the command, and waits for its result. */
static int propose(struct accept *a, const struct log_command *command)
{
	struct proposal proposal = {.call = {.done = on_applied, .command = *command}};

	pthread_mutex_lock(&a->state_lock);
	command_log_propose(a->log, &proposal.call);
	command_log_turn(a->log);
	pthread_mutex_unlock(&a->state_lock);
	return proposal.status == COMMAND_MAY_HAPPEN ? -EIO : proposal.status;
}

struct waiter {
	struct command_flush flush;
	sem_t done;
	int status;
};

/* On the log's thread. */
static void on_durable(struct command_flush *flush, int status)
{
	struct waiter *waiter = (struct waiter *)flush;

	waiter->status = status;
	sem_post(&waiter->done);
}

static int wait_durable(struct accept *a)
{
	struct waiter waiter = {
		.flush = {.done = on_durable, .index = command_log_applied(a->log)}};

	sem_init(&waiter.done, 0, 0);
	command_log_flush(a->log, &waiter.flush);
	while (sem_wait(&waiter.done) != 0)
		;
	sem_destroy(&waiter.done);
	return waiter.status;
}

struct session_list {
	uint64_t *ids;
	size_t count;
	FILE *out;
};

static int list_session(void *user, uint64_t id, const char *mount, const char *name)
{
	struct session_list *list = user;
	uint64_t *bigger = realloc(list->ids, (list->count + 1) * sizeof(*bigger));

	if (bigger == NULL)
		return -ENOMEM;
	list->ids = bigger;
	list->ids[list->count++] = id;
	fprintf(list->out, "ended: session %" PRIu64 " of %s, mounted at %s\n", id, name, mount);
	return 0;
}

static int end_sessions(struct accept *a)
{
	struct session_list list = {.out = a->options->out};
	int rc = state_sessions(a->state, list_session, &list);

	for (size_t i = 0; rc == 0 && i < list.count; i++)
		rc = propose(a, &(struct log_command){.kind = COMMAND_SESSION_CLOSE,
						      .session = list.ids[i]});
	free(list.ids);
	return rc;
}

static void say_lost(struct accept *a, const struct accept_decision *r, uint64_t version,
		     uint64_t life)
{
	FILE *out = a->options->out;

	fprintf(out,
		"The store is accepted. It had come to start %" PRIu64 " and map %" PRIu64
		", the targets to start %" PRIu64 " and map %" PRIu64 ".\n"
		"Lost is all that was done to names, sizes, attributes and extended attributes in "
		"between:\n"
		"- files made since have no names any more; their chunks stay on the targets, with "
		"file numbers that this store has not given (catena-chunks lists them)\n"
		"- files removed, cut off or written anew from nothing since are as long as "
		"before, "
		"and show what was there, or zeros where their chunks are gone\n"
		"- files that have grown end where they did\n"
		"Data of files that the store knows is as it was written last, on all targets.\n",
		life, version, r->accept.seen_life, r->accept.seen_version >> MAP_CHANGE_BITS);
	fprintf(out, "chains: %zu in all, %zu taken over from what targets have gone by since\n",
		r->accept.chain_count, r->newer);
	if (r->silent != 0)
		fprintf(out, "chains: %zu of which no whole copy was heard: they wait for it\n",
			r->silent);
	if (r->unknown != 0)
		fprintf(out, "chains: %zu of which nothing was heard: they begin empty\n",
			r->unknown);
	for (size_t i = 0; i < r->accept.target_count; i++)
		fprintf(out, "taken over: target %" PRIu32 " (%s) of %s\n", r->targets[i].id,
			r->targets[i].uuid, r->targets[i].server.name);
	fprintf(out, "Start the master; mount anew what was mounted.\n");
}

/* ---- all of it ---- */

static int decide(struct accept *a, char *error, size_t error_size)
{
	uint64_t version = state_map_version(a->state);
	struct accept_decision r = {0};
	const char *few;
	struct state_life life;
	int rc;

	state_life(a->state, &life);
	if (a->clash[0] != '\0') {
		snprintf(error, error_size, "%s", a->clash);
		return -EEXIST;
	}
	rc = accept_decision_make(a->plan, a->state, a->targets, a->count, &r);
	if (rc != 0)
		goto out;
	if (!all_heard(a))
		say_missing(a);
	if (!all_heard(a) && !a->options->without_missing) {
		rc = -ETIMEDOUT;
		snprintf(error, error_size,
			 "not all targets have been heard, and what only they know would be lost: "
			 "start their chunkservers and try again, or add --without-missing");
		goto out;
	}
	if (!r.older && r.newer == 0) {
		fprintf(a->options->out, "The store is not older than what the targets that were "
					 "heard have seen: nothing is to be accepted.\n");
		goto out;
	}
	if (r.stranded != 0) {
		rc = -EHOSTUNREACH;
		snprintf(error, error_size,
			 "nothing was heard of %zu chains, and of no target that could take them "
			 "empty: start a chunkserver of this cluster, and try again",
			 r.stranded);
		goto out;
	}
	few = state_accept_without_room(a->state, &r.accept);
	if (few != NULL) {
		rc = -EOVERFLOW;
		snprintf(error, error_size,
			 "the numbers of %s would not suffice: this store was accepted too often, "
			 "or a target that was heard tells of numbers that are far too high",
			 few);
		goto out;
	}
	rc = open_log(a);
	if (rc == 0)
		rc = end_sessions(a);
	if (rc == 0)
		rc = propose(a, &(struct log_command){.kind = COMMAND_ACCEPT, .accept = &r.accept});
	if (rc == 0)
		rc = wait_durable(a);
	if (rc == 0)
		say_lost(a, &r, version, life.number);
out:
	if (rc != 0 && error[0] == '\0')
		snprintf(error, error_size, "the store cannot be changed: %s", strerror(-rc));
	accept_decision_free(&r);
	return rc;
}

static int open_all(struct accept *a, char *error, size_t error_size)
{
	static const struct rpc_stream_handler handler = {
		.open = on_open, .message = on_message, .closed = on_closed};
	static const struct rpc_method methods[] = {
		{.path = "/catena.Master/Chunkserver", .stream = &handler},
		{0},
	};
	struct rpc_server_options rpc = {.listen = a->config->listen,
					 .tls = master_config_tls(a->config),
					 .methods = methods,
					 .user = a};
	struct tls_files tls = master_config_tls(a->config);
	uint64_t chance;
	int rc = tls_files_check(&tls, TLS_ROLE_MASTER, &a->self, error, error_size);

	if (rc == 0)
		rc = master_open_store(a->config, &a->kv, error, error_size);
	if (rc != 0)
		return rc;
	rc = state_open(a->kv, &a->state, error, error_size);
	if (rc != 0)
		return rc;
	if (strcmp(state_cluster(a->state), a->self.cluster) != 0 ||
	    state_instance(a->state) == 0) {
		snprintf(error, error_size,
			 "%s belongs to another cluster than the certificate, "
			 "or to a time without instances: there is nothing to "
			 "accept",
			 a->config->data);
		return -EXDEV;
	}
	if (getrandom(&chance, sizeof(chance), 0) != (ssize_t)sizeof(chance)) {
		snprintf(error, error_size, "no random numbers");
		return -EIO;
	}
	a->map = state_map(a->state);
	a->plan = a->map == NULL ? NULL : accept_plan_new(a->map, chance | 1);
	if (a->plan == NULL) {
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	return rpc_server_start(&rpc, &a->rpc, error, error_size);
}

int master_accept(const struct master_config *config, const struct accept_options *options,
		  char *error, size_t error_size)
{
	struct accept a = {.config = config, .options = options};
	int rc;

	error[0] = '\0';
	pthread_mutex_init(&a.lock, NULL);
	pthread_mutex_init(&a.state_lock, NULL);
	rc = open_all(&a, error, error_size);
	if (rc == 0) {
		gather(&a);
		rpc_server_stop(a.rpc);
		a.rpc = NULL;
		rc = decide(&a, error, error_size);
	}
	rpc_server_stop(a.rpc);
	command_log_close(a.log);
	accept_plan_free(a.plan);
	cluster_map_unref(a.map);
	state_close(a.state);
	kv_close(a.kv);
	free(a.targets);
	pthread_mutex_destroy(&a.state_lock);
	pthread_mutex_destroy(&a.lock);
	return rc;
}
