/* Goal: whatever is written, punched, sent, answered or lost, in any order, a read finds the newest
 * bytes, updates that overlap are never under way together, and a wait ends neither early nor
 * never. Method: a seeded random run against plain byte arrays: `truth` has every accepted byte,
 * `chain` what has been answered, and for each byte the number of the write that it is from. Run
 * with a number to repeat one seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/chunk.h"
#include "fs/writeback/writeback.h"
#include "tests/unit/fs/writeback/writeback_fixture.h"

#define CHUNK      MIB
#define FILE_BYTES (3u * MIB)
#define IN_FLIGHT  4u

static uint64_t only_seed;

/* ---- the random run ---- */

struct sent {
	struct writeback_extent *e;
	uint32_t *stamps; /* number of the write that each byte is from */
	bool applied;
};

struct watcher {
	struct writeback_wait wait;
	bool used, through;
	uint32_t from, to;
	uint32_t *stamps; /* what the chain must have when it fires */
};

struct punch {
	struct writeback_hole hole;
	bool active;
	uint32_t stamp;
	uint32_t next_chunk;
};

struct world {
	struct buf_pool *pool;
	struct writeback *wb;
	uint8_t *truth, *chain, *unsure;
	uint32_t *truth_stamp, *chain_stamp;
	uint32_t stamp;
	struct sent sent[IN_FLIGHT * 3];
	unsigned sent_count;
	struct watcher watchers[3];
	struct punch punch;
	bool failing;
	int expect_error; /* an update without a wait of its own was lost */
	uint64_t version;
};

static const char *trouble;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			trouble = #condition;                                                      \
			return false;                                                              \
		}                                                                                  \
	} while (0)

static bool check_fired(struct world *w)
{
	struct writeback_wait *next;

	for (struct writeback_wait *wait = writeback_fired(w->wb); wait != NULL; wait = next) {
		struct watcher *watcher = (struct watcher *)wait;

		next = wait->next;
		CHECK(watcher->used);
		watcher->used = false;
		for (uint32_t i = watcher->from; !w->failing && i < watcher->to; i++)
			CHECK(w->chain_stamp[i] >= watcher->stamps[i]);
		CHECK(w->failing || wait->error == 0);
		free(watcher->stamps);
	}
	return true;
}

static struct watcher *watch(struct world *w, uint32_t from, uint32_t to)
{
	for (size_t i = 0; i < 3; i++) {
		struct watcher *watcher = &w->watchers[i];

		if (watcher->used)
			continue;
		*watcher = (struct watcher){.used = true, .from = from, .to = to};
		watcher->stamps = malloc(FILE_BYTES * sizeof(uint32_t));
		memcpy(watcher->stamps, w->truth_stamp, FILE_BYTES * sizeof(uint32_t));
		return watcher;
	}
	return NULL;
}

static bool do_write(struct world *w)
{
	static const uint32_t sizes[] = {1, 100, 4096, 20000, 300000, 800000, MIB};
	uint32_t length = sizes[below(7)], offset;
	struct watcher *watcher = NULL;
	struct buf *payload;

	if (below(2) == 0)
		length = 1 + below(length);
	offset = below(FILE_BYTES - length + 1);
	if (below(2) == 0)
		offset &= ~(BLOCK_SIZE - 1);
	if (below(4) == 0)
		offset = offset / 65536 * 65536;
	payload = payload_of(w->pool, length, 0);
	w->stamp++;
	for (uint32_t i = 0; i < length; i++) {
		buf_payload(payload)[i] = (uint8_t)(w->stamp * 31 + i * 7);
		w->truth[offset + i] = buf_payload(payload)[i];
		w->truth_stamp[offset + i] = w->stamp;
		w->unsure[offset + i] = 0;
	}
	if (below(8) == 0)
		watcher = watch(w, offset, offset + length);
	CHECK(writeback_write(w->wb, offset, payload, false,
			      watcher == NULL ? NULL : &watcher->wait) == 0);
	return check_fired(w);
}

static bool do_send(struct world *w, bool all)
{
	struct writeback_extent *e;

	while (w->sent_count < IN_FLIGHT * 3 && (e = writeback_next(w->wb, all, false)) != NULL) {
		struct sent *s = &w->sent[w->sent_count];
		struct buf *payload = writeback_payload(w->wb, e);

		CHECK(e->length <= FRAME_PAYLOAD_MAX && e->length > 0);
		CHECK(e->offset / CHUNK == (e->offset + e->length - 1) / CHUNK);
		CHECK(payload->length == e->length);
		for (unsigned i = 0; i < w->sent_count; i++)
			CHECK(w->sent[i].e->offset >= e->offset + e->length ||
			      e->offset >= w->sent[i].e->offset + w->sent[i].e->length);
		CHECK(!w->punch.active || w->punch.hole.from >= e->offset + e->length ||
		      w->punch.hole.to <= e->offset);
		CHECK(memcmp(buf_payload(payload), w->truth + e->offset, e->length) == 0);
		buf_unref(payload);
		*s = (struct sent){.e = e};
		s->stamps = malloc(e->length * sizeof(uint32_t));
		memcpy(s->stamps, w->truth_stamp + e->offset, e->length * sizeof(uint32_t));
		w->sent_count++;
		if (below(2) == 0)
			break;
	}
	return check_fired(w);
}

static bool apply(struct world *w, struct sent *s)
{
	struct buf *payload;

	if (s->applied)
		return true;
	s->applied = true;
	payload = writeback_payload(w->wb, s->e);
	CHECK(payload != NULL);
	memcpy(w->chain + s->e->offset, buf_payload(payload), s->e->length);
	memcpy(w->chain_stamp + s->e->offset, s->stamps, s->e->length * sizeof(uint32_t));
	buf_unref(payload);
	return true;
}

static bool do_answer(struct world *w)
{
	unsigned at;
	struct sent s;

	if (w->sent_count == 0)
		return true;
	at = below(w->sent_count);
	if (below(3) == 0)
		return apply(w, &w->sent[at]);
	s = w->sent[at];
	w->sent[at] = w->sent[--w->sent_count];
	if (w->failing && !s.applied && below(4) == 0) {
		/* The bytes are gone: what was there before shows again. */
		for (uint32_t i = 0; i < s.e->length; i++) {
			uint64_t b = s.e->offset + i;

			if (w->truth_stamp[b] != s.stamps[i])
				continue;
			w->truth[b] = w->chain[b];
			w->truth_stamp[b] = w->chain_stamp[b];
		}
		writeback_done(w->wb, s.e, -EIO, 0, 1, false);
	} else {
		CHECK(apply(w, &s));
		writeback_done(w->wb, s.e, 0, ++w->version, 1, below(2) == 0);
	}
	free(s.stamps);
	return check_fired(w);
}

static bool do_punch(struct world *w)
{
	struct punch *p = &w->punch;
	uint32_t from, to, index;
	int rc;

	if (!p->active) {
		from = below(FILE_BYTES);
		to = from + 1 + below(FILE_BYTES - from);
		if (below(2) == 0)
			to = from + 1 + below(to - from < 9000 ? to - from : 9000);
		CHECK(writeback_hole_begin(w->wb, &p->hole, from, to) == 0);
		p->active = true;
		p->stamp = ++w->stamp;
		p->next_chunk = from / CHUNK;
		for (uint32_t i = from; i < to; i++) {
			w->truth[i] = 0;
			w->truth_stamp[i] = p->stamp;
			w->unsure[i] = 1;
		}
		return check_fired(w);
	}
	index = p->next_chunk;
	from = (uint32_t)(p->hole.from > index * CHUNK ? p->hole.from : index * CHUNK);
	to = (uint32_t)(p->hole.to < (index + 1) * CHUNK ? p->hole.to : (index + 1) * CHUNK);
	if (from < to) {
		struct writeback_chunk *chunk;

		rc = writeback_hole_chunk(w->wb, &p->hole, index, from, to, &chunk);
		if (rc == -EAGAIN)
			return true;
		CHECK(rc == 0);
		for (uint32_t i = from; i < to; i++) {
			w->chain[i] = 0;
			w->chain_stamp[i] = p->stamp;
		}
		writeback_hole_answered(w->wb, chunk, 0, ++w->version, 1, false);
		p->next_chunk++;
		return true;
	}
	for (uint32_t i = (uint32_t)p->hole.from; i < p->hole.to; i++)
		w->unsure[i] = 0;
	p->active = false;
	writeback_hole_end(w->wb, &p->hole);
	return check_fired(w);
}

static bool do_read(struct world *w)
{
	uint32_t length = 1 + below(MIB), offset = below(FILE_BYTES - length + 1);
	uint8_t *got = malloc(length);
	struct writeback_segment *segs;
	uint64_t behind = offset;
	bool same = true;
	size_t count;

	memcpy(got, w->chain + offset, length);
	CHECK(writeback_lookup(w->wb, offset, length, &segs, &count) == 0);
	for (size_t i = 0; i < count; i++) {
		CHECK(segs[i].offset >= behind && segs[i].length > 0);
		behind = segs[i].offset + segs[i].length;
		CHECK(behind <= offset + length);
		memcpy(got + (segs[i].offset - offset), segs[i].data, segs[i].length);
		writeback_buffer_unpin(segs[i].mem);
	}
	CHECK(count == 0 || writeback_overlaps(w->wb, offset, offset + length));
	free(segs);
	for (uint32_t i = 0; i < length; i++)
		same = same && (got[i] == w->truth[offset + i] || w->unsure[offset + i]);
	free(got);
	CHECK(same);
	return true;
}

static bool do_wait(struct world *w)
{
	struct watcher *watcher = watch(w, 0, FILE_BYTES);

	if (watcher == NULL)
		return true;
	CHECK(writeback_wait(w->wb, &watcher->wait) == 0);
	return check_fired(w);
}

static bool finish(struct world *w)
{
	int steps = 0;

	while (writeback_busy(w->wb)) {
		CHECK(steps++ < 10000);
		CHECK(do_send(w, true));
		CHECK(do_answer(w));
		if (w->punch.active)
			CHECK(do_punch(w));
	}
	for (size_t i = 0; i < 3; i++)
		CHECK(!w->watchers[i].used);
	CHECK(writeback_memory(w->wb) == 0);
	CHECK(memcmp(w->truth, w->chain, FILE_BYTES) == 0);
	return true;
}

static bool run(uint64_t seed)
{
	struct world w = {.failing = seed % 4 == 0};
	bool ok = true;

	writeback_fixture_seed = seed;
	buf_pool_create(0, &w.pool);
	writeback_create(CHUNK, IN_FLIGHT, w.pool, &w.wb);
	w.truth = calloc(1, FILE_BYTES);
	w.chain = calloc(1, FILE_BYTES);
	w.unsure = calloc(1, FILE_BYTES);
	w.truth_stamp = calloc(FILE_BYTES, sizeof(uint32_t));
	w.chain_stamp = calloc(FILE_BYTES, sizeof(uint32_t));
	for (int step = 0; ok && step < 300; step++) {
		switch (below(12)) {
		case 0:
		case 1:
		case 2:
		case 3:
			ok = do_write(&w);
			break;
		case 4:
		case 5:
			ok = do_send(&w, below(2) == 0);
			break;
		case 6:
		case 7:
		case 8:
			ok = do_answer(&w);
			break;
		case 9:
			ok = do_read(&w);
			break;
		case 10:
			ok = w.punch.active || below(3) == 0 ? do_punch(&w) : true;
			break;
		default:
			ok = do_wait(&w);
			break;
		}
	}
	ok = ok && finish(&w);
	if (ok) {
		writeback_forget_unflushed(w.wb);
		writeback_destroy(w.wb);
		ok = buf_pool_used(w.pool) == 0;
		buf_pool_destroy(w.pool);
	}
	free(w.truth);
	free(w.chain);
	free(w.unsure);
	free(w.truth_stamp);
	free(w.chain_stamp);
	return ok;
}

static void test_random_runs_agree_with_plain_bytes(void **state)
{
	uint64_t first = only_seed != 0 ? only_seed : 1, last = only_seed != 0 ? only_seed : 8;

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++)
		if (!run(seed))
			fail_msg("seed %llu: not true: %s", (unsigned long long)seed, trouble);
	print_message("seeds %llu to %llu\n", (unsigned long long)first, (unsigned long long)last);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_runs_agree_with_plain_bytes),
	};

	if (argc > 1)
		only_seed = strtoull(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
