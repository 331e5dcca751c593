/* admin.c - the Admin call: what administrators set. Answered when it is durable. */
#define LOG_MODULE "admin"
#include "master/shell/admin.h"
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/unpack.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/hearing.h"
#include "master/cluster/publisher.h"
#include "master/shared/chains.h"

#define DRAIN_MAX      4096u
#define PARTITIONS_ALL UINT32_MAX
#define MESSAGE_BYTES  256

struct admin_answer {
	struct command_call log_call;
	struct command_flush flush;
	struct master *master;
	struct rpc_call *call;
	Catena__AdminRequest *request;
	struct unpack unpack;
	bool called; /* the log, which tells when it is done */
	int error;   /* positive */
	char message[MESSAGE_BYTES];
};

static void say(struct admin_answer *answer, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(answer->message, sizeof(answer->message), format, args);
	va_end(args);
	answer->error = error;
}

static void send_answer(struct admin_answer *answer)
{
	Catena__AdminReply reply = CATENA__ADMIN_REPLY__INIT;
	uint8_t data[MESSAGE_BYTES + 64];
	size_t size;

	reply.error = answer->error;
	reply.message = answer->message;
	size = catena__admin_reply__pack(&reply, data);
	rpc_call_reply(answer->call, 0, data, size);
	catena__admin_request__free_unpacked(answer->request, &answer->unpack.allocator);
	free(answer);
}

/* On the log's thread. */
static void on_durable(struct command_flush *flush, int status)
{
	struct admin_answer *answer =
		(struct admin_answer *)((char *)flush - offsetof(struct admin_answer, flush));
	struct master *master = answer->master;

	if (status != 0) {
		say(answer, -status, "the master's store does not work: %s", strerror(-status));
	} else {
		master_lock(master);
		if (!master->stopping)
			publisher_act(master, clock_boottime_ns());
		master_unlock(master);
	}
	send_answer(answer);
}

static void propose(struct admin_answer *answer,
		    void (*applied)(struct command_call *call, int status))
{
	answer->called = true;
	answer->log_call.done = applied;
	command_log_propose(answer->master->log, &answer->log_call);
}

/* True: it is applied. Else it is answered. */
static bool applied(struct admin_answer *answer, int status)
{
	if (status == 0)
		return true;
	say(answer, status == COMMAND_MAY_HAPPEN ? EIO : -status, "%s",
	    status == COMMAND_MAY_HAPPEN
		    ? "the master's store has failed: whether it is done is not known"
		    : strerror(-status));
	send_answer(answer);
	return false;
}

static void answer_when_durable(struct admin_answer *answer)
{
	answer->flush.index = answer->log_call.index;
	command_log_flush(answer->master->log, &answer->flush);
}

/* ---- operations: each calls the log, or says why not ---- */

static void on_drained(struct command_call *call, int status)
{
	struct admin_answer *answer = (struct admin_answer *)call;
	const Catena__DrainRequest *request = answer->request->drain;

	/* It was there when this was proposed. */
	if (status == -ENOENT) {
		say(answer, ENOENT, "one of the targets is not there any more");
		send_answer(answer);
		return;
	}
	if (!applied(answer, status))
		return;
	publisher_changed(answer->master, call->index);
	say(answer, 0, "%zu targets %s", request->n_target_ids,
	    request->undo ? "are used again" : "are being emptied");
	log_info("drain targets=%zu first=%u undo=%d", request->n_target_ids,
		 request->target_ids[0], request->undo);
	answer_when_durable(answer);
}

static void drain(struct admin_answer *answer, const Catena__DrainRequest *request)
{
	const struct cluster_map *map = chains_map(answer->master);

	if (request->n_target_ids == 0 || request->n_target_ids > DRAIN_MAX) {
		say(answer, EINVAL, "name 1 to %u targets", DRAIN_MAX);
		return;
	}
	for (size_t i = 0; map != NULL && i < request->n_target_ids; i++)
		if (cluster_map_target(map, request->target_ids[i]) == NULL) {
			say(answer, ENOENT, "there is no target %u", request->target_ids[i]);
			return;
		}
	answer->log_call.command = (struct log_command){.kind = COMMAND_DRAIN,
							.drain = {.targets = request->target_ids,
								  .count = request->n_target_ids,
								  .draining = request->undo == 0}};
	propose(answer, on_drained);
}

static void on_recovery_set(struct command_call *call, int status)
{
	struct admin_answer *answer = (struct admin_answer *)call;
	const struct state_recovery *recovery = &call->command.recovery;

	if (!applied(answer, status))
		return;
	chain_manager_set_recovery(answer->master->chain_manager, recovery->paused);
	publisher_push_recovery(answer->master, NULL);
	say(answer, 0, "recovery %s, rate %llu bytes/s", recovery->paused ? "is paused" : "goes on",
	    (unsigned long long)recovery->rate);
	log_info("recovery rate=%llu paused=%d", (unsigned long long)recovery->rate,
		 recovery->paused);
	answer_when_durable(answer);
}

static void recovery(struct admin_answer *answer, const Catena__Recovery *request)
{
	answer->log_call.command = (struct log_command){
		.kind = COMMAND_RECOVERY,
		.recovery = {.rate = request->rate, .paused = request->paused != 0}};
	propose(answer, on_recovery_set);
}

static void accept_one(struct admin_answer *answer, const Catena__AcceptDataLossRequest *request)
{
	struct master *master = answer->master;
	int rc = chain_manager_accept_data_loss(master->chain_manager, chains_map(master),
						request->pool, request->partition,
						request->target_id);

	if (rc == -ENOENT)
		say(answer, ENOENT, "target %u is no member of partition %u of pool %u",
		    request->target_id, request->partition, request->pool);
	else if (rc == -EBUSY)
		say(answer, EBUSY,
		    "partition %u of pool %u has an in-sync member that is there: nothing is lost",
		    request->partition, request->pool);
	else if (rc == -EAGAIN)
		say(answer, EAGAIN, "target %u is not there", request->target_id);
	else
		say(answer, 0, "partition %u of pool %u goes on with what target %u has",
		    request->partition, request->pool, request->target_id);
}

static void accept_all(struct admin_answer *answer, const Catena__AcceptDataLossRequest *request)
{
	struct master *master = answer->master;
	const struct map_pool *pool = cluster_map_pool(chains_map(master), request->pool);
	uint32_t count = 0;

	if (pool == NULL) {
		say(answer, ENOENT, "there is no pool %u", request->pool);
		return;
	}
	for (uint32_t p = 0; p < pool->partitions; p++)
		count += chain_manager_accept_data_loss(master->chain_manager, chains_map(master),
							request->pool, p, request->target_id) == 0
				 ? 1
				 : 0;
	if (count == 0)
		say(answer, ENOENT,
		    "no partition of pool %u has lost all in-sync members and has target %u, or "
		    "that is not there",
		    request->pool, request->target_id);
	else
		say(answer, 0, "%u partitions of pool %u go on with what target %u has", count,
		    request->pool, request->target_id);
}

static void accept_loss(struct admin_answer *answer, const Catena__AcceptDataLossRequest *request)
{
	if (chains_map(answer->master) == NULL)
		say(answer, ENOMEM, "out of memory");
	else if (request->partition == PARTITIONS_ALL)
		accept_all(answer, request);
	else
		accept_one(answer, request);
	log_warn("data loss accepted pool=%u partition=%u target=%u result=\"%s\"", request->pool,
		 request->partition, request->target_id, answer->message);
	if (answer->error == 0)
		publisher_act(answer->master, clock_boottime_ns());
}

static void execute(struct admin_answer *answer, const Catena__AdminRequest *request)
{
	char why[MASTER_BEHIND_MAX + 64];

	if (hearing_describe(answer->master, why, sizeof(why))) {
		say(answer, EAGAIN, "%s", why);
		return;
	}
	switch (request->op_case) {
	case CATENA__ADMIN_REQUEST__OP_DRAIN:
		drain(answer, request->drain);
		break;
	case CATENA__ADMIN_REQUEST__OP_RECOVERY:
		recovery(answer, request->recovery);
		break;
	case CATENA__ADMIN_REQUEST__OP_ACCEPT_DATA_LOSS:
		accept_loss(answer, request->accept_data_loss);
		break;
	default:
		say(answer, EINVAL, "the master does not know this request");
	}
}

void admin_serve(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		 const uint8_t *data, size_t size)
{
	static struct log_rate rate;
	struct master *master = server_user;
	struct admin_answer *answer;
	bool called;

	if (peer->role != TLS_ROLE_ADMIN || strcmp(peer->cluster, master->self.cluster) != 0) {
		if (log_rate_ok(&rate, 5))
			log_warn("administration refused name=%s role=%s", peer->name,
				 tls_role_name(peer->role));
		rpc_call_reply(call, -EACCES, NULL, 0);
		return;
	}
	answer = calloc(1, sizeof(*answer));
	if (answer == NULL) {
		rpc_call_reply(call, -ENOMEM, NULL, 0);
		return;
	}
	answer->request = catena__admin_request__unpack(unpack_begin(&answer->unpack), size, data);
	if (answer->request == NULL) {
		free(answer);
		rpc_call_reply(call, -EINVAL, NULL, 0);
		return;
	}
	answer->flush.done = on_durable;
	answer->master = master;
	answer->call = call;
	master_lock(master);
	execute(answer, answer->request);
	called = answer->called;
	master_unlock(master);
	if (!called)
		send_answer(answer);
}
