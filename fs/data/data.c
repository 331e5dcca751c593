/* data.c - one mount's data: its parts put together, and taken apart. */
#include "fs/data/data.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "fs/data/data_fetch.h"
#include "fs/data/data_file.h"
#include "fs/data/data_internal.h"
#include "fs/data/data_list.h"
#include "fs/data/data_room.h"
#include "fs/data/data_write.h"

#define LOG_MODULE "data"

/* Below this nothing would ever be in flight together. */
#define MEMORY_MIN (8u << 20)
/* Beside what is counted: payloads of callers, buffers larger than what is in them. */
#define POOL_SLACK (128u << 20)

static uint64_t limit_of(const struct data_options *options)
{
	return options->memory_limit < MEMORY_MIN ? MEMORY_MIN : options->memory_limit;
}

static void on_tick(void *user, uint64_t now)
{
	struct data *data = user;

	data_dirty_tick(data, now);
	data_cache_tick(data, now);
	data_linger_tick(data, now);
	data_room_tick(data, now);
	data_lists_tick(data, now);
}

static void data_free(struct data *data)
{
	chains_client_destroy(data->chain);
	data_files_destroy(data);
	data->transport->ops->destroy(data->transport);
	pthread_mutex_destroy(&data->files_lock);
	pthread_mutex_destroy(&data->memory_lock);
	pthread_mutex_destroy(&data->dirty_lock);
	pthread_mutex_destroy(&data->listings_lock);
	pthread_mutex_destroy(&data->cache_lock);
	free(data);
}

int data_open_on(const struct data_options *options, struct chains_transport *transport,
		 struct buf_pool *pool, struct data **out)
{
	struct data *data = calloc(1, sizeof(*data));
	uint64_t limit = limit_of(options);
	struct chains_client_options chain = {
		.transport = transport,
		.pool = pool,
		.host = options->host,
		.rack = options->rack,
		.zone = options->zone,
		.soft_timeout_ns = options->soft_timeout_ns,
		.tick = on_tick,
		.user = data,
	};
	int rc;

	if (data == NULL) {
		transport->ops->destroy(transport);
		return -ENOMEM;
	}
	data->pool = pool;
	data->transport = transport;
	data->ask_gone = options->ask_gone;
	data->lost = options->lost;
	data->failed = options->failed;
	data->user = options->user;
	data->write_limit = limit / 2;
	data->read_limit = limit / 2;
	data->write_queue_end = &data->write_queue;
	data->read_queue_end = &data->read_queue;
	data->dirty_end = &data->dirty_first;
	pthread_mutex_init(&data->files_lock, NULL);
	pthread_mutex_init(&data->memory_lock, NULL);
	pthread_mutex_init(&data->dirty_lock, NULL);
	pthread_mutex_init(&data->listings_lock, NULL);
	pthread_mutex_init(&data->cache_lock, NULL);
	rc = chains_client_create(&chain, &data->chain);
	if (rc < 0) {
		data->chain = NULL;
		data_free(data);
		return rc;
	}
	*out = data;
	return 0;
}

static unsigned loops_wanted(unsigned asked)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned loops = asked;

	if (loops == 0)
		loops = cores < 4 ? 1 : cores >= 8 ? 4 : (unsigned)cores / 2;
	return loops < CHAINS_LOOPS_MAX ? loops : CHAINS_LOOPS_MAX;
}

int data_open(const struct data_options *options, struct data **out, char *error, size_t error_size)
{
	struct chains_transport *transport;
	struct buf_pool *pool;
	int rc;

	/* Not limited: what is dirty, in flight and read ahead is counted here, and a pool that
	 * runs empty would keep answers from being read that free memory. */
	rc = buf_pool_create(0, &pool);
	if (rc < 0) {
		snprintf(error, error_size, "out of memory");
		return rc;
	}
	rc = chains_net_create(&options->tls, pool, loops_wanted(options->loops), &transport, error,
			       error_size);
	if (rc == 0) {
		rc = data_open_on(options, transport, pool, out);
		if (rc < 0)
			snprintf(error, error_size, "starting the data threads failed");
	}
	if (rc < 0)
		buf_pool_destroy(pool);
	return rc;
}

/* ---- the end ---- */

struct farewell {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done, abandoned;
	int error;
};

static void farewell_free(struct farewell *f)
{
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f);
}

static void farewell_flushed(void *user, int error)
{
	struct farewell *f = user;
	bool abandoned;

	pthread_mutex_lock(&f->lock);
	f->done = true;
	f->error = error;
	abandoned = f->abandoned;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	if (abandoned)
		farewell_free(f);
}

/* Whoever ends a mount expects that everything is safe then. */
static void flush_at_end(struct data *data, uint64_t timeout_ns)
{
	struct farewell *f = calloc(1, sizeof(*f));
	uint64_t until_ns = clock_monotonic_ns() + timeout_ns;

	if (f == NULL)
		return;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	data_flush_all(data, true, farewell_flushed, f);
	pthread_mutex_lock(&f->lock);
	while (!f->done && cond_wait_until(&f->changed, &f->lock, until_ns))
		;
	if (f->done) {
		if (f->error != 0)
			log_error("writing back at the end failed error=%d", -f->error);
		pthread_mutex_unlock(&f->lock);
		farewell_free(f);
		return;
	}
	log_error("gave up waiting for data to be written back");
	f->abandoned = true;
	pthread_mutex_unlock(&f->lock);
}

void data_close(struct data *data, uint64_t timeout_ns)
{
	struct buf_pool *pool = data->pool;

	flush_at_end(data, timeout_ns);
	chains_client_stop(data->chain);
	data_free(data);
	buf_pool_destroy(pool);
}

/* ---- small things ---- */

void data_set_map(struct data *data, struct cluster_map *map)
{
	chains_client_set_map(data->chain, map);
}

void data_other_master(struct data *data)
{
	chains_client_other_master(data->chain);
}

struct buf_pool *data_pool(struct data *data)
{
	return data->pool;
}

uint64_t data_space_left(const struct data *data)
{
	return chains_client_space_left(data->chain);
}

size_t data_unreachable(struct data *data, uint64_t *servers, size_t max)
{
	return chains_client_unreachable(data->chain, servers, max);
}

void data_stats(struct data *data, char *out, size_t size)
{
	struct chains_client_stats chain;

	chains_client_stats(data->chain, &chain);
	snprintf(out, size,
		 "writes %" PRIu64 " write_bytes %" PRIu64 " updates %" PRIu64
		 " update_bytes %" PRIu64 " reads %" PRIu64 " read_bytes %" PRIu64
		 " fetches %" PRIu64 " fetch_bytes %" PRIu64 " ahead_bytes %" PRIu64
		 " flushes %" PRIu64 " flush_frames %" PRIu64 " memory_waits %" PRIu64
		 " lost_updates %" PRIu64 " dirty_memory %zu read_memory %zu requests %" PRIu64
		 " repeats %" PRIu64 " resets %" PRIu64 " bad_blocks %" PRIu64 " hedges %" PRIu64,
		 atomic_load(&data->stat_writes), atomic_load(&data->stat_write_bytes),
		 atomic_load(&data->stat_updates), atomic_load(&data->stat_update_bytes),
		 atomic_load(&data->stat_reads), atomic_load(&data->stat_read_bytes),
		 atomic_load(&data->stat_fetches), atomic_load(&data->stat_fetch_bytes),
		 atomic_load(&data->stat_ahead_bytes), atomic_load(&data->stat_flushes),
		 atomic_load(&data->stat_flush_frames), atomic_load(&data->stat_waits),
		 atomic_load(&data->stat_lost), atomic_load(&data->write_used),
		 atomic_load(&data->read_used), chain.requests, chain.repeats, chain.resets,
		 chain.bad_blocks, chain.hedges);
}
