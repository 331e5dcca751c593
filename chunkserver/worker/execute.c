/* Executes the actions of chains.
 *
 * An action begins an operation of the store, or sends a frame. The operation's end is an event of
 * the chain, whose actions are executed in turn. Flushes wait until no other action is left; reads
 * wait when there is no buffer. */
#include "chunkserver/worker/execute.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/worker/fence.h"
#include "chunkserver/worker/links.h"
#include "chunkserver/worker/peers.h"
#include "chunkserver/worker/status.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "worker"

#define BUFFER_RETRY_MS 2u

/* Bytes of updates that heads of this process have admitted and not answered, on all targets. */
static _Atomic uint64_t admitted;

static struct execution *execution_of(struct chain_work *request)
{
	return request->scratch;
}

/* ---- events from the store ---- */

static void on_prepared(struct store_update *update, int error)
{
	struct chain_work *request = update->user;
	struct worker *worker = execution_of(request)->target->worker;

	worker_event_begin(worker);
	chain_prepared(request, error, error != 0 && update->touched);
	worker_event_end(worker);
}

static void on_flushed(struct store_flush *flush, int error)
{
	struct chain_work *request = flush->user;
	struct worker *worker = execution_of(request)->target->worker;

	worker_event_begin(worker);
	chain_flushed(request, error);
	worker_event_end(worker);
}

static void on_read(struct store_read *read, int error, uint32_t length, uint64_t version)
{
	struct chain_work *request = read->user;
	struct worker *worker = execution_of(request)->target->worker;
	struct buf *payload = read->into;

	expects(error != 0 || length <= read->length);
	worker_event_begin(worker);
	payload->length = error == 0 ? length : 0;
	chain_read_done(request, error, payload, version);
	worker_event_end(worker);
}

struct execute_removal {
	struct worker *worker;
	struct chain_work *request;
};

static void on_removed(void *user, int error)
{
	struct execute_removal removal = *(struct execute_removal *)user;

	free(user);
	worker_event_begin(removal.worker);
	chain_remove_done(removal.request, error);
	worker_event_end(removal.worker);
}

/* A read of the walk has no request: this is its memory. */
struct walk_read {
	struct store_read read;
	struct worker_target *target;
	uint64_t serial;
};

static void walk_read_end(struct worker_target *target, uint64_t serial, int error, struct buf *buf,
			  uint32_t offset)
{
	worker_event_begin(target->worker);
	chain_walk_read_done(target->env, serial, error, buf, offset);
	worker_event_end(target->worker);
}

static void on_walk_read(struct store_read *read, int error, uint32_t length, uint64_t version)
{
	struct walk_read *walk = read->user;
	struct walk_read copy = *walk;

	(void)version;
	free(walk);
	if (error == 0)
		copy.read.into->length = length;
	else
		buf_unref(copy.read.into);
	walk_read_end(copy.target, copy.serial, error, error == 0 ? copy.read.into : NULL,
		      copy.read.offset);
}

/* ---- actions ---- */

static void do_prepare(struct worker_target *target, struct chain_work *request)
{
	struct execution *execution = execution_of(request);
	struct store_update *update = &execution->update;

	execution->target = target;
	memset(update, 0, sizeof(*update));
	update->key = request->key;
	update->offset = request->offset;
	update->length = request->length;
	update->payload = request->payload;
	update->epoch = request->epoch;
	update->version = request->version;
	update->client_id = request->client_id;
	update->op_id = request->op_id;
	update->answered = request->answered;
	update->closing = request->closing;
	update->done = on_prepared;
	update->user = request;
	switch (request->op) {
	case FRAME_PUNCH:
		update->op = STORE_PUNCH;
		break;
	case FRAME_TRUNCATE:
		update->op = STORE_TRUNCATE;
		break;
	case FRAME_CATCHUP_DATA:
		update->op = request->payload != NULL ? STORE_WRITE : STORE_PUNCH;
		update->catching_up = true;
		break;
	default:
		update->op = STORE_WRITE;
	}
	store_prepare(target->view, update);
}

/* At the head, the version is given between prepare and commit. */
static void do_commit(struct worker_target *target, struct chain_work *request)
{
	struct store_update *update = &execution_of(request)->update;
	int error;

	update->version = request->version;
	update->epoch = request->epoch;
	update->sessions = request->sessions;
	error = store_commit(target->view, update);
	chain_committed(request, error, error != 0 && update->touched);
}

static void do_flush(struct worker_target *target, struct chain_work *request)
{
	struct execution *execution = execution_of(request);

	expects(*target->worker->last_flush == NULL);
	execution->target = target;
	execution->next_flush = NULL;
	execution->flush =
		(struct store_flush){.key = request->key, .done = on_flushed, .user = request};
	*target->worker->last_flush = request;
	target->worker->last_flush = &execution->next_flush;
}

/* Begins the flushes that chains have decided on, after all frames are sent: the successor has the
 * longer way, and the thread that flushes the log may take this CPU when it is woken. False: there
 * were none. */
static bool begin_flushes(struct worker *worker)
{
	struct chain_work *request = worker->flushes, *next;

	if (request == NULL)
		return false;
	expects(worker->executing);
	worker->flushes = NULL;
	worker->last_flush = &worker->flushes;
	conn_batch_flush();
	for (; request != NULL; request = next) {
		struct execution *execution = execution_of(request);

		next = execution->next_flush; /* the request may end within store_flush() */
		store_flush(execution->target->view, &execution->flush);
	}
	return true;
}

static bool start_read(struct worker_target *target, struct chain_work *request)
{
	struct execution *execution = execution_of(request);
	struct buf *into = buf_get(target->worker->options.pool, request->length);

	if (into == NULL)
		return false;
	execution->target = target;
	execution->read = (struct store_read){
		.key = request->key,
		.offset = request->offset,
		.length = request->length,
		.into = into,
		.verify = request->verify,
		.done = on_read,
		.user = request,
	};
	store_read(target->view, &execution->read);
	return true;
}

static void retry_reads(struct worker *worker)
{
	struct waiting_read *waiting;

	worker_event_begin(worker);
	while ((waiting = worker->waiting_reads) != NULL) {
		/* The request may end within start_read(), and its memory with it. */
		LL_DELETE(worker->waiting_reads, waiting);
		if (!start_read(waiting->target, waiting->request)) {
			LL_PREPEND(worker->waiting_reads, waiting);
			break;
		}
		free(waiting);
	}
	if (worker->waiting_reads == NULL)
		uv_timer_stop(&worker->read_timer);
	worker_event_end(worker);
}

static void on_read_timer(uv_timer_t *timer)
{
	retry_reads(timer->data);
}

static void do_read(struct worker_target *target, struct chain_work *request)
{
	struct worker *worker = target->worker;
	struct waiting_read *waiting;

	if (worker->waiting_reads == NULL && start_read(target, request))
		return;
	waiting = calloc(1, sizeof(*waiting));
	if (waiting == NULL) {
		chain_read_done(request, -ENOMEM, NULL, 0);
		return;
	}
	waiting->target = target;
	waiting->request = request;
	LL_APPEND(worker->waiting_reads, waiting);
	if (!uv_is_active((uv_handle_t *)&worker->read_timer))
		uv_timer_start(&worker->read_timer, on_read_timer, BUFFER_RETRY_MS,
			       BUFFER_RETRY_MS);
}

static void do_remove(struct worker_target *target, struct chain_work *request)
{
	struct execute_removal *removal = calloc(1, sizeof(*removal));

	if (removal == NULL) {
		chain_remove_done(request, -ENOMEM);
		return;
	}
	removal->worker = target->worker;
	removal->request = request;
	store_remove(target->view, request->keys, request->key_count, on_removed, removal);
}

static void do_walk_read(struct worker_target *target, const struct chain_action *action)
{
	struct walk_read *walk = calloc(1, sizeof(*walk));
	struct buf *into = buf_get(target->worker->peer_pool, action->header.range);

	if (walk == NULL || into == NULL) {
		free(walk);
		buf_unref(into);
		chain_walk_read_done(target->env, action->serial, -ENOMEM, NULL,
				     action->header.offset);
		return;
	}
	walk->target = target;
	walk->serial = action->serial;
	walk->read = (struct store_read){
		.key = action->header.key,
		.offset = action->header.offset,
		.length = action->header.range,
		.into = into,
		.verify = true,
		.done = on_walk_read,
		.user = walk,
	};
	store_read(target->view, &walk->read);
}

/* A flush of a partition has no request either. */
struct partition_flush {
	struct worker_target *target;
	uint64_t serial;
};

static void on_partition_flushed(void *user, int error)
{
	struct partition_flush all = *(struct partition_flush *)user;
	struct worker *worker = all.target->worker;

	free(user);
	expects(worker->background > 0);
	worker->background--;
	worker_event_begin(worker);
	chain_all_flushed(all.target->env, all.serial, error);
	worker_event_end(worker);
}

static void do_flush_all(struct worker_target *target, const struct chain_action *action)
{
	struct partition_flush *all = calloc(1, sizeof(*all));

	if (all == NULL) {
		chain_all_flushed(target->env, action->serial, -ENOMEM);
		return;
	}
	all->target = target;
	all->serial = action->serial;
	target->worker->background++;
	store_flush_partition(target->view, action->header.key.pool, action->header.key.partition,
			      on_partition_flushed, all);
}

static void do_send(struct worker *worker, const struct chain_action *action)
{
	struct link *link = link_find(worker, action->conn);

	/* The chain hears from a link that it is gone. */
	if (link != NULL)
		(void)conn_send(link->conn, &action->header, action->payload);
}

static void do_answer(struct worker *worker, const struct chain_action *action)
{
	struct peer *peer = peer_find(worker, action->conn);

	if (peer != NULL)
		peer_answer(peer, &action->header, action->payload);
}

void execute_check_store(struct worker_target *target)
{
	bool down = store_is_down(target->store);

	if (down == target->failed)
		return;
	target->failed = down;
	if (down) {
		log_error("target serves no longer uuid=%s reason=\"its store failed\"",
			  store_uuid(target->store));
		chain_store_failed(target->env);
		peers_close_predecessors(target->worker, "the store failed");
		worker_changed(target->worker);
	} else {
		log_info("target serves again uuid=%s", store_uuid(target->store));
		chain_store_back(target->env);
		peers_close_predecessors(target->worker, "the store is back");
		worker_changed(target->worker);
	}
}

static void do_report(struct worker *worker, const struct chain_action *action)
{
	struct report report = {
		.pool = action->header.key.pool,
		.partition = action->header.key.partition,
		.epoch = action->header.epoch,
		.target_id = (uint32_t)action->header.arg,
		.kind = (uint32_t)action->report,
	};

	if (worker->options.events.report != NULL)
		worker->options.events.report(worker->options.events.user, &report);
}

static void execute(struct worker_target *target, const struct chain_action *action)
{
	switch (action->kind) {
	case CHAIN_PREPARE:
		do_prepare(target, action->request);
		break;
	case CHAIN_COMMIT:
		do_commit(target, action->request);
		break;
	case CHAIN_ABORT:
		store_abort(target->view, &execution_of(action->request)->update);
		break;
	case CHAIN_FLUSH:
		do_flush(target, action->request);
		break;
	case CHAIN_READ:
		do_read(target, action->request);
		break;
	case CHAIN_REMOVE:
		do_remove(target, action->request);
		break;
	case CHAIN_WALK_READ:
		do_walk_read(target, action);
		break;
	case CHAIN_SEND:
		do_send(target->worker, action);
		break;
	case CHAIN_ANSWER:
		do_answer(target->worker, action);
		break;
	case CHAIN_TROUBLE:
		execute_check_store(target);
		break;
	case CHAIN_FLUSH_ALL:
		do_flush_all(target, action);
		break;
	case CHAIN_REPORT:
		do_report(target->worker, action);
		break;
	}
}

void execute_actions(struct worker *worker)
{
	const struct chain_action *action;
	bool any = true;

	expects(!worker->executing);
	worker->executing = true;
	while (any) {
		any = false;
		for (unsigned i = 0; i < worker->options.store_count; i++) {
			while ((action = chain_next(worker->targets[i].env)) != NULL) {
				execute(&worker->targets[i], action);
				any = true;
			}
		}
		any = begin_flushes(worker) || any;
	}
	worker->executing = false;
	worker_fence_look(worker);
}

/* ---- what the chains look up ---- */

static int look_info(void *ctx, const struct chunk_key *key, struct chunk_info *info)
{
	return store_info(((struct worker_target *)ctx)->view, key, info);
}

static int look_digest(void *ctx, const struct chunk_key *key, uint32_t *digest)
{
	return store_digest(((struct worker_target *)ctx)->view, key, digest);
}

static int look_presence(void *ctx, const struct chunk_key *key, uint8_t *bitmap, uint32_t *bytes)
{
	return store_presence(((struct worker_target *)ctx)->view, key, bitmap, bytes);
}

static int look_checksums(void *ctx, const struct chunk_key *key, uint32_t count, uint32_t *crcs,
			  uint8_t *bitmap)
{
	return store_checksums(((struct worker_target *)ctx)->view, key, count, crcs, bitmap);
}

static int look_scan(void *ctx, uint32_t pool, uint32_t partition, const struct chunk_key *after,
		     struct chunk_key *out, int max)
{
	return store_scan(((struct worker_target *)ctx)->view, pool, partition, after, out, max);
}

static int do_complete(void *ctx, const struct chunk_key *key, const struct chunk_info *info)
{
	return store_complete(((struct worker_target *)ctx)->view, key, info);
}

static struct buf *get_buffer(void *ctx, uint32_t size)
{
	return buf_get(((struct worker_target *)ctx)->worker->peer_pool, size);
}

static uint64_t free_bytes(void *ctx)
{
	struct worker_target *target = ctx;
	uint64_t capacity, used, left = 0;

	if (store_is_full(target->store))
		return 0;
	store_space(target->store, &capacity, &used, &left);
	return left;
}

static uint64_t in_flight(void *ctx, int64_t delta)
{
	(void)ctx;
	return atomic_fetch_add(&admitted, (uint64_t)delta) + (uint64_t)delta;
}

static bool may_copy(void *ctx, uint32_t bytes)
{
	struct worker *worker = ((struct worker_target *)ctx)->worker;

	return copy_rate_take(worker->options.copy_rate, clock_monotonic_ns(), bytes);
}

/* Returns 0, as for a partition never heard of, when the store cannot say: chunks have their
 * epochs, too. */
static uint64_t known_epoch(void *ctx, uint32_t pool, uint32_t partition)
{
	uint64_t epoch;
	int rc = store_epoch(((struct worker_target *)ctx)->view, pool, partition, &epoch);

	if (rc < 0)
		log_error("the last epoch of a partition cannot be read pool=%u partition=%u "
			  "error=\"%s\"",
			  pool, partition, strerror(-rc));
	return rc < 0 ? 0 : epoch;
}

static void set_epoch(void *ctx, uint32_t pool, uint32_t partition, uint64_t epoch)
{
	struct worker_target *target = ctx;

	/* A failure does not keep the target out: it is down, or its chunks have the epoch, too. */
	if (store_set_epoch(target->view, pool, partition, epoch) == -ENOMEM)
		log_error("the epoch of a partition is not noted: out of memory pool=%u "
			  "partition=%u",
			  pool, partition);
}

const struct chain_ops execute_chain_ops = {
	.store = {.info = look_info,
		  .digest = look_digest,
		  .presence = look_presence,
		  .checksums = look_checksums,
		  .scan = look_scan,
		  .complete = do_complete,
		  .buffer = get_buffer},
	.free_bytes = free_bytes,
	.in_flight = in_flight,
	.may_copy = may_copy,
	.epoch = known_epoch,
	.set_epoch = set_epoch,
};
