/* removals.c - walking the removal queue; see removals.h. */
#define LOG_MODULE "removal"
#include "master/cluster/removals.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/shared/chains.h"
#include "master/shared/chunkserver.h"

#define BATCH_CHUNKS_MAX  1000u
#define WINDOW_CHUNKS     4096u
#define WINDOW_TRIES      3u
#define IN_FLIGHT_MAX     16384u /* chunks named and not answered, on all targets together */
#define ROUND_CHUNKS_MAX  2048u  /* chunks looked at with the lock held */
#define FETCH_MAX         128
#define JOBS_MAX          4096u
#define SETTLE_MAX        256u /* files that are told to the log at once */
#define ANSWER_TIMEOUT_NS (30 * NS_PER_SEC)
#define IDLE_NS           (200 * NS_PER_MSEC)
#define BUSY_NS           NS_PER_MSEC
#define PARKED_NS         (10 * NS_PER_MSEC) /* between looks at files that must wait */
#define AGAIN_NS          (3 * NS_PER_SEC)   /* to look again at what could not be done */

/* A file on its way out. */
struct removal_job {
	uint64_t sequence;
	struct state_removal removal;
	uint64_t chunks; /* in all */
	/* A window of chunks at a time is named to the members, one after another as they stand in
	 * their chains. @place: whose turn it is. @places: what the longest of the chains has. */
	uint64_t window, next; /* its first chunk, the next one to be named */
	uint32_t place, places;
	uint64_t epochs, epochs_before; /* sums over the chunks, at this place and at the last */
	bool doubt;                     /* the window is to be done again, and so often it was: */
	unsigned tries;
	size_t outstanding; /* named and not answered */
	bool failed;        /* begin again later */
	UT_hash_handle hh;
};

/* One message to one target. */
struct removal_batch {
	uint64_t sequence;
	uint32_t target_id;
	struct rpc_stream *rpc; /* referenced: where it was sent */
	uint64_t sent_ns;
	uint32_t count;
	struct {
		uint64_t job, file_id, epoch;
		uint32_t pool, partition, index;
	} chunks[BATCH_CHUNKS_MAX];
	UT_hash_handle hh;          /* of those in flight, by sequence */
	struct removal_batch *next; /* of those being filled */
};

struct removals {
	struct master *master;
	pthread_t thread;
	pthread_cond_t wake; /* with the state lock */
	bool stop, kicked;
	bool parked; /* nothing of what was looked at last can be done now */
	struct removal_job *jobs;
	/* Jobs that are done, on their way into the log. */
	struct command_call settling;
	uint64_t settled[SETTLE_MAX];
	size_t settled_count; /* 0: none are on their way */
	struct removal_batch *in_flight, *filling;
	size_t chunks_out; /* in batches, filling or in flight */
	uint64_t last_batch;
	uint64_t cursor; /* last sequence looked at */
	/* Entries below this sequence are durable; those below the mark, when the log is up to its
	 * index. 0: there is no mark. */
	uint64_t durable_end, mark_end, mark_index;
	bool looked_at_all; /* to the end of the queue: it may begin anew */
	uint64_t again_ns;
};

/* ---- batches ---- */

static void batch_free(struct removals *r, struct removal_batch *batch)
{
	expects(r->chunks_out >= batch->count);
	r->chunks_out -= batch->count;
	rpc_stream_unref(batch->rpc);
	free(batch);
}

/* True when the chain has changed since the chunk was named: then it is named again. A member may
 * have got the chunk back from one that comes before it now, and had not removed it. */
static bool has_changed(struct removals *r, const struct removal_batch *batch, uint32_t i)
{
	const struct cluster_map *map = chains_map(r->master);
	const struct map_chain *chain = map == NULL ? NULL
						    : cluster_map_chain(map, batch->chunks[i].pool,
									batch->chunks[i].partition);

	return chain == NULL || chain->epoch != batch->chunks[i].epoch;
}

/* Ends a batch: its chunks are gone, or in doubt. */
static void batch_end(struct removals *r, struct removal_batch *batch, bool failed)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct removal_job *job;

		HASH_FIND(hh, r->jobs, &batch->chunks[i].job, sizeof(uint64_t), job);
		if (job == NULL)
			continue;
		expects(job->outstanding > 0);
		job->outstanding--;
		job->failed |= failed;
		job->doubt |= has_changed(r, batch, i);
	}
	batch_free(r, batch);
	r->kicked = true;
	pthread_cond_signal(&r->wake);
}

static void batch_fail(struct removals *r, struct removal_batch *batch)
{
	HASH_DEL(r->in_flight, batch);
	batch_end(r, batch, true);
}

static void name_again(struct removals *r, const struct removal_batch *batch,
		       const Catena__RemoveChunk *chunk)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct removal_job *job;

		if (batch->chunks[i].file_id != chunk->file_id ||
		    batch->chunks[i].index != chunk->index || batch->chunks[i].pool != chunk->pool)
			continue;
		HASH_FIND(hh, r->jobs, &batch->chunks[i].job, sizeof(uint64_t), job);
		if (job != NULL)
			job->doubt = true;
	}
}

void removals_answer(struct removals *r, const struct rpc_stream *from,
		     const Catena__Removed *answer)
{
	uint32_t target_id = answer->target_id;
	uint64_t sequence = answer->sequence;
	int error = answer->error;
	static struct log_rate rate;
	struct removal_batch *batch;

	lock_held(&r->master->lock);
	HASH_FIND(hh, r->in_flight, &sequence, sizeof(sequence), batch);
	if (batch == NULL || batch->target_id != target_id || batch->rpc != from)
		return; /* late: it is being done again */
	HASH_DEL(r->in_flight, batch);
	if (error != 0 && log_rate_ok(&rate, 2))
		log_warn("target cannot remove chunks target=%u error=\"%s\"", target_id,
			 strerror(error < 0 ? -error : error));
	for (size_t i = 0; error == 0 && i < answer->n_again && i < batch->count; i++)
		name_again(r, batch, answer->again[i]);
	batch_end(r, batch, error != 0);
}

/* The stream to the server that has this target (referenced); NULL: not there now. */
static struct rpc_stream *stream_of(const struct removals *r, uint32_t target_id)
{
	const struct master *master = r->master;
	const struct map_target *target = cluster_map_target(master->published.map, target_id);
	const struct chunkserver *server;
	uint64_t now_ns;

	if (target == NULL)
		return NULL;
	server = chunkserver_find(master, target->server_id);
	if (server == NULL || server->stream == NULL)
		return NULL;
	now_ns = clock_boottime_ns();
	if (!chain_manager_online(master->chain_manager, server->id, now_ns) ||
	    !chain_manager_holds(master->chain_manager, server->id, target_id, now_ns))
		return NULL;
	return rpc_stream_ref(server->stream->rpc);
}

/* Fails batches that were sent on a stream that is the target's no more, or too long ago. */
static void fail_doubtful(struct removals *r)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct removal_batch *batch, *next;

	lock_held(&r->master->lock);
	HASH_ITER(hh, r->in_flight, batch, next)
	{
		struct rpc_stream *rpc = stream_of(r, batch->target_id);

		if (rpc != batch->rpc || now_ns > batch->sent_ns + ANSWER_TIMEOUT_NS)
			batch_fail(r, batch);
		rpc_stream_unref(rpc);
	}
}

void removals_online(struct removals *r)
{
	if (r == NULL)
		return;
	fail_doubtful(r);
	r->again_ns = 0;
	r->kicked = true;
	pthread_cond_signal(&r->wake);
}

void removals_lost(struct removals *r)
{
	if (r != NULL)
		fail_doubtful(r);
}

static struct removal_batch *batch_for(struct removals *r, uint32_t target_id)
{
	struct removal_batch *batch;

	for (batch = r->filling; batch != NULL; batch = batch->next)
		if (batch->target_id == target_id && batch->count < BATCH_CHUNKS_MAX)
			return batch;
	batch = malloc(sizeof(*batch));
	if (batch == NULL)
		return NULL;
	batch->sequence = ++r->last_batch;
	batch->target_id = target_id;
	batch->count = 0;
	batch->rpc = stream_of(r, target_id);
	if (batch->rpc == NULL) {
		free(batch);
		return NULL;
	}
	batch->next = r->filling;
	r->filling = batch;
	return batch;
}

/* ---- jobs ---- */

static bool name_chunk(struct removals *r, struct removal_job *job, uint32_t target_id,
		       uint32_t partition, uint64_t epoch)
{
	struct removal_batch *batch = batch_for(r, target_id);

	if (batch == NULL)
		return false;
	batch->chunks[batch->count].job = job->sequence;
	batch->chunks[batch->count].pool = job->removal.pool;
	batch->chunks[batch->count].file_id = job->removal.file_id;
	batch->chunks[batch->count].partition = partition;
	batch->chunks[batch->count].epoch = epoch;
	batch->chunks[batch->count].index = (uint32_t)job->next;
	batch->count++;
	job->outstanding++;
	r->chunks_out++;
	return true;
}

static uint64_t window_end(const struct removal_job *job)
{
	return job->chunks - job->window > WINDOW_CHUNKS ? job->window + WINDOW_CHUNKS
							 : job->chunks;
}

/* Names the job's next chunks; returns how many were looked at. */
static unsigned advance(struct removals *r, struct removal_job *job, unsigned budget)
{
	const struct map_pool *pool = cluster_map_pool(r->master->published.map, job->removal.pool);
	unsigned looked = 0;

	if (pool == NULL)
		job->failed = true;
	while (!job->failed && job->next < window_end(job) && looked < budget &&
	       r->chunks_out < IN_FLIGHT_MAX) {
		uint32_t partition = chunk_partition(job->removal.file_id, (uint32_t)job->next,
						     pool->partitions);
		const struct map_chain *chain = &pool->chains[partition];

		/* An offline member has no say: what it has too much, it loses when it is made
		 * equal. Such are the last. */
		for (uint32_t i = 0; i < chain->count; i++)
			if (chain->members[i].state != MEMBER_OFFLINE && i >= job->places)
				job->places = i + 1;
		if (job->place < chain->count &&
		    chain->members[job->place].state != MEMBER_OFFLINE &&
		    !name_chunk(r, job, chain->members[job->place].target_id, partition,
				chain->epoch))
			job->failed = true;
		job->epochs += chain->epoch;
		job->next++;
		looked++;
	}
	return looked;
}

static void name_window(struct removal_job *job, uint64_t window)
{
	job->window = job->next = window;
	job->place = job->places = 0;
	job->doubt = false;
}

/* Goes on, when all that were named have answered. False: the job is over, or has failed. */
static bool go_on(struct removal_job *job)
{
	expects(job->outstanding == 0 && !job->failed && job->next == window_end(job));
	/* Epochs only grow: a sum that is the same is of the same chains. */
	job->doubt |= job->place > 0 && job->epochs != job->epochs_before;
	job->epochs_before = job->epochs;
	job->epochs = 0;
	if (job->place + 1 < job->places) {
		job->place++;
		job->next = job->window;
		return true;
	}
	/* All have removed it, though one may have it again. */
	if (job->doubt && job->tries == WINDOW_TRIES) {
		job->failed = true;
		return false;
	}
	job->tries = job->doubt ? job->tries + 1 : 0;
	if (!job->doubt && job->next == job->chunks)
		return false;
	name_window(job, job->doubt ? job->window : job->next);
	return true;
}

static bool all_members_there(struct removals *r, const struct removal_job *job)
{
	const struct map_pool *pool = cluster_map_pool(r->master->published.map, job->removal.pool);
	const struct map_chain *chain;

	if (pool == NULL)
		return false;
	if (job->chunks == 0)
		return true;
	/* The first chunk speaks for the rest: where they differ, the job fails on its way. */
	chain = &pool->chains[chunk_partition(job->removal.file_id, 0, pool->partitions)];
	for (uint32_t i = 0; i < chain->count; i++) {
		struct rpc_stream *rpc;

		if (chain->members[i].state == MEMBER_OFFLINE)
			continue;
		rpc = stream_of(r, chain->members[i].target_id);
		if (rpc == NULL)
			return false;
		rpc_stream_unref(rpc);
	}
	return true;
}

/* Makes a job of a file. False: the file must wait. */
static bool begin_job(struct removals *r, const struct state_removal *removal)
{
	const struct map_pool *pool = cluster_map_pool(r->master->published.map, removal->pool);
	struct removal_job *job;

	HASH_FIND(hh, r->jobs, &removal->sequence, sizeof(removal->sequence), job);
	if (job != NULL)
		return false;
	job = calloc(1, sizeof(*job));
	if (job == NULL)
		return false;
	job->sequence = removal->sequence;
	job->removal = *removal;
	if (pool != NULL)
		job->chunks = removal->size / pool->chunk_size +
			      (removal->size % pool->chunk_size != 0 ? 1 : 0);
	if (!all_members_there(r, job)) {
		free(job);
		return false;
	}
	HASH_ADD(hh, r->jobs, sequence, sizeof(job->sequence), job);
	return true;
}

static void drop_job(struct removals *r, struct removal_job *job)
{
	HASH_DEL(r->jobs, job);
	free(job);
}

/* If the log has not taken it, or a power cut takes it back, they are removed once more. */
static void on_settled(struct command_call *call, int status)
{
	struct removals *r =
		(struct removals *)((char *)call - offsetof(struct removals, settling));

	for (size_t i = 0; i < r->settled_count; i++) {
		struct removal_job *job;

		HASH_FIND(hh, r->jobs, &r->settled[i], sizeof(uint64_t), job);
		expects(job != NULL);
		drop_job(r, job);
	}
	r->settled_count = 0;
	r->kicked = true;
	pthread_cond_signal(&r->wake);
}

/* Takes finished jobs out of the queue, and failed ones out of memory. */
static void settle(struct removals *r)
{
	struct removal_job *job, *next;
	size_t count = 0;

	lock_held(&r->master->lock);
	if (r->settled_count != 0)
		return;
	HASH_ITER(hh, r->jobs, job, next)
	{
		if (count == SETTLE_MAX)
			break;
		if (job->outstanding != 0 || (!job->failed && job->next < window_end(job)) ||
		    (!job->failed && go_on(job)))
			continue;
		if (job->failed)
			drop_job(r, job);
		else
			r->settled[count++] = job->sequence;
	}
	r->settled_count = count;
	if (count == 0)
		return;
	r->settling.done = on_settled;
	r->settling.command = (struct log_command){
		.kind = COMMAND_REMOVED, .removed = {.sequences = r->settled, .count = count}};
	command_log_propose(r->master->log, &r->settling);
}

/* An entry that a power cut takes back has its file back, too: its chunks stay until it cannot. */
static void note_durable(struct removals *r)
{
	const struct command_log *log = r->master->log;

	lock_held(&r->master->lock);
	if (r->mark_index != 0 && command_log_is_durable(log, r->mark_index)) {
		r->durable_end = r->mark_end;
		r->mark_index = 0;
	}
	if (r->mark_index == 0) {
		r->mark_index = command_log_applied(log);
		r->mark_end = state_removals_end(r->master->state);
	}
}

/* Takes more of the queue into memory. */
static void fetch(struct removals *r)
{
	struct state_removal removals[FETCH_MAX];
	uint64_t now_ns = clock_monotonic_ns();
	int count;

	if (HASH_COUNT(r->jobs) + FETCH_MAX > JOBS_MAX)
		return;
	if (now_ns >= r->again_ns && r->looked_at_all) {
		r->cursor = 0;
		r->looked_at_all = false;
		r->again_ns = now_ns + AGAIN_NS;
	}
	count = state_removals(r->master->state, r->cursor, removals, FETCH_MAX);
	if (count < 0) {
		command_log_failed(r->master->log, count);
		return;
	}
	r->parked = true;
	for (int i = 0; i < count; i++) {
		if (removals[i].sequence >= r->durable_end) {
			r->looked_at_all = true;
			return;
		}
		if (begin_job(r, &removals[i]))
			r->parked = false;
		r->cursor = removals[i].sequence;
	}
	if (count == FETCH_MAX)
		r->kicked = true;
	else
		r->looked_at_all = true;
}

/* ---- the thread ---- */

static void encode(const struct removal_batch *batch, struct push *push)
{
	Catena__RemoveChunk chunks[BATCH_CHUNKS_MAX], *pointers[BATCH_CHUNKS_MAX];
	Catena__Remove remove = CATENA__REMOVE__INIT;

	for (uint32_t i = 0; i < batch->count; i++) {
		catena__remove_chunk__init(&chunks[i]);
		chunks[i].pool = batch->chunks[i].pool;
		chunks[i].partition = batch->chunks[i].partition;
		chunks[i].file_id = batch->chunks[i].file_id;
		chunks[i].index = batch->chunks[i].index;
		chunks[i].epoch = batch->chunks[i].epoch;
		pointers[i] = &chunks[i];
	}
	remove.sequence = batch->sequence;
	remove.target_id = batch->target_id;
	remove.n_chunks = batch->count;
	remove.chunks = pointers;
	push_message(push, SERVER_PUSH_REMOVES, &remove.base);
}

/* Sends what was filled. The state lock is given up meanwhile: requests come first. */
static void send_filled(struct removals *r)
{
	struct removal_batch *batch;

	while ((batch = r->filling) != NULL) {
		struct rpc_stream *rpc = rpc_stream_ref(batch->rpc);
		uint64_t sequence = batch->sequence;
		struct push push = {0};
		int rc;

		r->filling = batch->next;
		batch->sent_ns = clock_monotonic_ns();
		encode(batch, &push);
		HASH_ADD(hh, r->in_flight, sequence, sizeof(batch->sequence), batch);
		master_unlock(r->master);
		rc = push.failed ? -ENOMEM : rpc_stream_send(rpc, push.data, push.size);
		push_free(&push);
		rpc_stream_unref(rpc);
		master_lock(r->master);
		if (rc == 0)
			continue;
		HASH_FIND(hh, r->in_flight, &sequence, sizeof(sequence), batch);
		if (batch != NULL)
			batch_fail(r, batch);
	}
}

static void work(struct removals *r)
{
	unsigned budget = ROUND_CHUNKS_MAX;
	struct state_counts counts;
	struct removal_job *job;

	lock_held(&r->master->lock);
	fail_doubtful(r);
	settle(r);
	state_counts(r->master->state, &counts);
	note_durable(r);
	if (counts.removals > HASH_COUNT(r->jobs))
		fetch(r);
	for (job = r->jobs; job != NULL && budget > 0; job = job->hh.next)
		budget -= advance(r, job, budget);
	if (budget == 0)
		r->kicked = true;
	send_filled(r);
	command_log_turn(r->master->log); /* before the lock is free while this thread waits */
}

static void wait_for(struct removals *r, uint64_t ns, bool kickable)
{
	uint64_t until = clock_monotonic_ns() + ns;

	while (!r->stop && !(kickable && r->kicked) &&
	       cond_wait_until(&r->wake, &r->master->lock, until))
		;
}

static void *removals_main(void *arg)
{
	struct removals *r = arg;

	master_lock(r->master);
	while (!r->stop) {
		wait_for(r, IDLE_NS, true);
		/* Even when busy, the thread leaves time, and the lock, to requests. */
		wait_for(r, r->parked ? PARKED_NS : BUSY_NS, false);
		r->kicked = r->parked = false;
		if (!r->stop && master_may_serve(r->master) &&
		    command_log_error(r->master->log) == 0)
			work(r);
	}
	master_unlock(r->master);
	return NULL;
}

int removals_start(struct master *master, struct removals **out)
{
	struct removals *r = calloc(1, sizeof(*r));
	int rc;

	if (r == NULL)
		return -ENOMEM;
	/* So that an answer to a former master's order is none to one of ours. */
	if (getrandom(&r->last_batch, sizeof(r->last_batch), 0) != (ssize_t)sizeof(r->last_batch)) {
		free(r);
		return -EIO;
	}
	r->master = master;
	pthread_cond_init(&r->wake, NULL);
	rc = -pthread_create(&r->thread, NULL, removals_main, r);
	if (rc != 0) {
		pthread_cond_destroy(&r->wake);
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void removals_recovered(struct removals *r)
{
	if (r == NULL)
		return;
	for (struct removal_job *job = r->jobs; job != NULL; job = job->hh.next)
		job->failed = true;
	r->durable_end = r->mark_index = r->cursor = 0;
}

void removals_stop(struct removals *r)
{
	struct removal_batch *batch, *next_batch;
	struct removal_job *job, *next_job;

	if (r == NULL)
		return;
	master_lock(r->master);
	r->stop = true;
	pthread_cond_signal(&r->wake);
	master_unlock(r->master);
	pthread_join(r->thread, NULL);
	HASH_ITER(hh, r->in_flight, batch, next_batch)
	{
		HASH_DEL(r->in_flight, batch);
		batch_free(r, batch);
	}
	HASH_ITER(hh, r->jobs, job, next_job)
	{
		HASH_DEL(r->jobs, job);
		free(job);
	}
	pthread_cond_destroy(&r->wake);
	free(r);
}
