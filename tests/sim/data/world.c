#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/sim/data/world.h"

void publish(struct world *w)
{
	struct cluster_map *map = fake_map(w->fake);

	data_set_map(w->data, map);
	cluster_map_unref(map);
}

void world_open(struct world *w, uint64_t seed, uint64_t memory, uint64_t soft_ns)
{
	struct data_options options = {.memory_limit = memory, .soft_timeout_ns = soft_ns};

	w->fake = fake_new(seed);
	if (data_open_on(&options, &w->fake->base, w->fake->pool, &w->data) < 0)
		abort();
	publish(w);
	data_set_session(w->data, 77);
}

void run_for(struct world *w, uint64_t ns)
{
	uint64_t until = w->fake->now + ns;

	while (fake_step(w->fake, until))
		;
	w->fake->now = until;
}

bool world_close(struct world *w)
{
	struct buf_pool *pool = w->fake->pool;
	bool clean;

	/* What lingers is durable, the last pings are over. */
	run_for(w, 100 * SEC);
	w->fake->inline_ticks = true;
	/* data_close() gives the pool back too. */
	clean = buf_pool_used(pool) == 0;
	w->fake->pool = NULL;
	data_close(w->data, 0);
	buf_pool_create(0, &w->fake->pool);
	for (struct fake_event *e = w->fake->events; e != NULL; e = e->next)
		clean = clean && e->payload == NULL;
	return fake_free(w->fake) && clean;
}

static bool case_under_way; /* after a case: an assertion has ended it */

void world_run_case(void **state)
{
	CMUnitTestFunction run = (CMUnitTestFunction)*state;

	case_under_way = true;
	run(state);
	case_under_way = false;
}

void world_end(struct world *w)
{
	const char *broken = w->fake->broken;

	if (case_under_way)
		return;
	assert_true(world_close(w));
	if (broken != NULL)
		fail_msg("%s", broken);
}

void on_done(void *user, int error)
{
	struct result *r = user;

	r->done = true;
	r->error = error;
}

void on_seek(void *user, int error, uint64_t value)
{
	on_done(user, error);
	((struct result *)user)->value = value;
}

void on_read(void *user, int error, const struct iovec *iov, int count)
{
	struct result *r = user;
	uint8_t *to = r->bytes;

	on_done(user, error);
	for (int i = 0; i < count; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	r->length = (uint32_t)(to - r->bytes);
}

bool wait_for(struct world *w, const struct result *r, uint64_t ns)
{
	uint64_t until = w->fake->now + ns;

	while (!r->done && fake_step(w->fake, until))
		;
	return r->done;
}

struct buf *filled(struct world *w, uint32_t length, uint8_t fill)
{
	struct buf *buf = buf_get(w->fake->pool, length);

	buf->length = length;
	memset(buf->data, fill, length);
	return buf;
}

struct data_file *open_file(struct world *w, uint64_t id)
{
	struct data_file *file = NULL;

	if (data_file_get(w->data, FAKE_POOL, id, &file) < 0)
		abort();
	return file;
}

int write_now(struct world *w, struct data_file *file, uint64_t offset, uint32_t length,
	      uint8_t fill)
{
	struct result r = {0};

	data_write(file, offset, filled(w, length, fill), false, on_done, &r);
	return wait_for(w, &r, 100 * SEC) ? r.error : -ETIME;
}

int flush_now(struct world *w, struct data_file *file, bool durable)
{
	struct result r = {0};

	data_flush(file, durable, on_done, &r);
	return wait_for(w, &r, 100 * SEC) ? r.error : -ETIME;
}

int read_now(struct world *w, struct data_file *file, uint64_t offset, uint32_t length,
	     uint8_t *bytes)
{
	struct result r = {.bytes = bytes};

	data_read(file, offset, length, 0, on_read, &r);
	if (!wait_for(w, &r, 100 * SEC))
		return -ETIME;
	return r.error == 0 && r.length != length ? -EPROTO : r.error;
}

bool all_are(const uint8_t *bytes, size_t size, uint8_t value)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != value)
			return false;
	return true;
}
