#include "tests/lib/store_model.h"

#define MODEL_LENGTH (5u << 18) /* 1.25 MiB: across the border of a piece */
#define MODEL_LANES  4u
#define SECTOR       512u

uint64_t model_random(struct model *m)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random;
}

static uint32_t model_below(struct model *m, uint32_t limit)
{
	return (uint32_t)(model_random(m) % limit);
}

static void model_update(struct model *m, struct model_op *op)
{
	uint32_t dice = model_below(m, 20);

	op->bytes_seed = model_random(m);
	if (dice < 16) {
		/* Small, around the border between the two kinds, and large; often aligned. */
		uint32_t most = dice < 6 ? 6000 : dice < 11 ? 70000 : 400000;

		op->op = STORE_WRITE;
		op->length = 1 + model_below(m, most);
		op->offset = model_below(m, MODEL_LENGTH - op->length);
		if (dice % 2 == 0) {
			op->offset &= ~(BLOCK_SIZE - 1);
			op->length = (op->length + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1);
			if (op->offset + op->length > MODEL_LENGTH)
				op->length = MODEL_LENGTH - op->offset;
		}
	} else if (dice < 19) {
		op->op = STORE_PUNCH;
		op->length = 1 + model_below(m, 200000);
		op->offset = model_below(m, MODEL_LENGTH);
	} else {
		op->op = STORE_TRUNCATE;
		op->offset = model_below(m, MODEL_LENGTH);
	}
}

void model_make(struct model *m, uint64_t seed, struct model_progress *progress)
{
	uint64_t version[MODEL_CHUNKS] = {0};

	memset(m, 0, sizeof(*m));
	memset((void *)progress, 0, sizeof(*progress));
	m->seed = seed;
	m->random = seed * 2654435769u + 88172645463325252ull;
	m->progress = progress;
	for (unsigned i = 0; i < 10; i++)
		model_random(m);
	for (unsigned i = 0; i < MODEL_OPS; i++) {
		struct model_op *op = &m->ops[i];
		uint32_t dice = model_below(m, 100);

		op->chunk = model_below(m, MODEL_CHUNKS);
		if (dice < 70)
			op->kind = MODEL_UPDATE;
		else if (dice < 85)
			op->kind = MODEL_SYNC;
		else if (dice < 88)
			op->kind = MODEL_REMOVE;
		else if (dice < 91)
			op->kind = MODEL_ABORT;
		else
			op->kind = MODEL_PAUSE;
		if (op->kind == MODEL_UPDATE || op->kind == MODEL_ABORT)
			model_update(m, op);
		if (op->kind == MODEL_UPDATE || op->kind == MODEL_REMOVE)
			op->version = ++version[op->chunk];
		else
			op->version =
				version[op->chunk] + 1; /* an abort is as if of the next one */
	}
}

/* ---- running ---- */

struct model_lane {
	struct store_update update;
	struct waited waited;
	const struct model_op *op;
	struct buf *payload;
	bool busy;
};

struct model_flush {
	struct store_flush flush;
	struct model *model;
	uint32_t chunk;
	uint64_t version;
	unsigned *count;
	uint64_t all[MODEL_CHUNKS]; /* of a flush of everything */
};

static bool model_stopped(const struct model *m)
{
	return m->stop != NULL && m->stop();
}

static void model_bytes(const struct model_op *op, uint8_t *out)
{
	fill_random(out, op->length, op->bytes_seed);
}

static void model_flushed(struct store_flush *flush, int error)
{
	struct model_flush *s = flush->user;
	volatile uint64_t *flushed = &s->model->progress->flushed[s->chunk];

	if (error == 0 && !model_stopped(s->model) && *flushed < s->version)
		*flushed = s->version;
	(*s->count)--;
	free(s);
}

static void model_flushed_all(void *user, int error)
{
	struct model_flush *s = user;
	volatile uint64_t *flushed = s->model->progress->flushed;

	for (uint32_t c = 0; c < MODEL_CHUNKS; c++)
		if (error == 0 && !model_stopped(s->model) && flushed[c] < s->all[c])
			flushed[c] = s->all[c];
	(*s->count)--;
	free(s);
}

static bool model_overlap(const struct model_op *a, const struct model_op *b)
{
	uint64_t a_end = a->op == STORE_TRUNCATE ? UINT64_MAX : (uint64_t)a->offset + a->length;
	uint64_t b_end = b->op == STORE_TRUNCATE ? UINT64_MAX : (uint64_t)b->offset + b->length;

	return a->chunk == b->chunk && a->offset < b_end && b->offset < a_end;
}

/* Commits what can be, in the order of versions. -errno of the store. */
static int model_commit(struct fixture *f, struct model *m, struct model_lane *lanes)
{
	for (bool more = true; more && !model_stopped(m);) {
		more = false;
		for (unsigned i = 0; i < MODEL_LANES; i++) {
			struct model_lane *lane = &lanes[i];
			uint32_t c = lane->busy ? lane->op->chunk : 0;
			int rc;

			if (!lane->busy || !lane->waited.done)
				continue;
			if (lane->waited.error != 0)
				return lane->waited.error;
			if (lane->op->kind == MODEL_ABORT) {
				store_abort(f->view, &lane->update);
			} else if (lane->op->version != m->progress->kept[c] + 1) {
				continue;
			} else {
				m->progress->committed[c] = lane->op->version;
				rc = store_commit(f->view, &lane->update);
				if (rc != 0)
					return rc;
				m->progress->kept[c] = lane->op->version;
			}
			buf_unref(lane->payload);
			lane->payload = NULL;
			lane->busy = false;
			more = true;
		}
	}
	return 0;
}

static bool model_must_wait(const struct model_op *op, const struct model_lane *lanes)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < MODEL_LANES; i++) {
		if (!lanes[i].busy)
			continue;
		busy++;
		if (op->kind == MODEL_REMOVE ? lanes[i].op->chunk == op->chunk
					     : model_overlap(op, lanes[i].op))
			return true;
	}
	return busy == MODEL_LANES;
}

static int model_drain(struct fixture *f, struct model *m, struct model_lane *lanes,
		       const struct model_op *op)
{
	int rc = model_commit(f, m, lanes);

	while (rc == 0 && !model_stopped(m) && model_must_wait(op, lanes)) {
		uv_run(&f->loop, UV_RUN_ONCE);
		rc = model_commit(f, m, lanes);
	}
	return rc;
}

static void model_start(struct fixture *f, struct model *m, struct model_lane *lanes,
			const struct model_op *op)
{
	struct chunk_key key = test_key(op->chunk);
	struct model_lane *lane = lanes;
	uint8_t *bytes;

	while (lane->busy)
		lane++;
	lane->busy = true;
	lane->op = op;
	update_fill(&lane->update, &lane->waited, op->op, &key, op->offset, op->length,
		    op->version);
	if (op->op == STORE_WRITE) {
		bytes = malloc(op->length);
		model_bytes(op, bytes);
		lane->update.payload = lane->payload = payload_of(f, bytes, op->offset, op->length);
		free(bytes);
	}
	if (m->progress->started[op->chunk] < op->version)
		m->progress->started[op->chunk] = op->version;
	store_prepare(f->view, &lane->update);
}

static int model_other(struct fixture *f, struct model *m, const struct model_op *op,
		       unsigned *flushes)
{
	struct chunk_key key = test_key(op->chunk);
	struct model_flush *s;
	struct waited w = {0};

	if (op->kind == MODEL_SYNC) {
		s = calloc(1, sizeof(*s));
		s->model = m;
		s->chunk = op->chunk;
		s->version = m->progress->kept[op->chunk];
		s->count = flushes;
		s->flush = (struct store_flush){.key = key, .done = model_flushed, .user = s};
		(*flushes)++;
		for (uint32_t c = 0; c < MODEL_CHUNKS; c++)
			s->all[c] = m->progress->kept[c];
		if (op->version % 3 == 0)
			store_flush_partition(f->view, test_pool, 7, model_flushed_all, s);
		else
			store_flush(f->view, &s->flush);
		return 0;
	}
	if (op->kind == MODEL_PAUSE) {
		run_for(f, 1 + op->offset % 30);
		return 0;
	}
	m->progress->started[op->chunk] = op->version;
	m->progress->committed[op->chunk] = op->version;
	store_remove(f->view, &key, 1, remove_done, &w);
	run_until(f, &w.done);
	if (w.error != 0)
		return w.error;
	if (!model_stopped(m)) {
		m->progress->kept[op->chunk] = op->version;
		m->progress->flushed[op->chunk] = op->version;
	}
	return 0;
}

int model_run(struct fixture *f, struct model *m)
{
	static const struct model_op none = {.kind = MODEL_REMOVE, .chunk = UINT32_MAX};
	struct model_lane lanes[MODEL_LANES] = {0};
	struct model_op all = none;
	unsigned flushes = 0;
	int rc = 0;

	f->store->flush_after_ns = 20 * NS_PER_MSEC;
	f->store->rest_after_ns = 10 * NS_PER_MSEC;
	f->store->migrate_idle_ns = 5 * NS_PER_MSEC;
	f->store->migrate_min = 4;
	for (unsigned i = 0; i < MODEL_OPS && rc == 0 && !model_stopped(m); i++) {
		rc = model_drain(f, m, lanes, &m->ops[i]);
		if (rc != 0 || model_stopped(m))
			break;
		if (m->ops[i].kind == MODEL_UPDATE || m->ops[i].kind == MODEL_ABORT)
			model_start(f, m, lanes, &m->ops[i]);
		else
			rc = model_other(f, m, &m->ops[i], &flushes);
	}
	for (uint32_t c = 0; rc == 0 && c < MODEL_CHUNKS; c++) {
		all.chunk = c;
		rc = model_drain(f, m, lanes, &all);
	}
	for (unsigned i = 0; i < MODEL_LANES; i++) {
		if (lanes[i].busy) {
			run_until(f, &lanes[i].waited.done);
			if (lanes[i].waited.error == 0)
				store_abort(f->view, &lanes[i].update);
		}
		buf_unref(lanes[i].payload);
	}
	while (flushes > 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	return model_stopped(m) ? 0 : rc;
}

/* ---- judging ---- */

static void model_apply(const struct model_op *op, uint8_t *bytes, bool *present, uint32_t *length)
{
	uint64_t end = (uint64_t)op->offset + op->length;

	if (op->op == STORE_WRITE) {
		model_bytes(op, bytes + op->offset);
		for (uint64_t b = op->offset / BLOCK_SIZE; b * BLOCK_SIZE < end; b++)
			present[b] = true;
		if (end > *length)
			*length = (uint32_t)end;
		return;
	}
	if (op->op == STORE_TRUNCATE || end >= *length)
		end = MODEL_LENGTH;
	if (op->offset >= *length)
		return;
	memset(bytes + op->offset, 0, end - op->offset);
	for (uint64_t b = blocks_of(op->offset);
	     (b + 1) * BLOCK_SIZE <= end || (end == MODEL_LENGTH && b < MODEL_LENGTH / BLOCK_SIZE);
	     b++)
		present[b] = false;
	if (end < MODEL_LENGTH)
		return;
	*length = op->offset;
	while (*length > 0 && !present[(*length - 1) / BLOCK_SIZE])
		*length = (*length - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

static void model_contents(struct model *m, uint32_t chunk)
{
	bool present[MODEL_LENGTH / BLOCK_SIZE + 1] = {0};
	uint8_t *bytes = calloc(1, MODEL_LENGTH + BLOCK_SIZE);
	uint64_t v = 0;
	uint32_t length = 0;

	for (unsigned i = 0; i <= MODEL_OPS; i++) {
		free(m->versions[i]);
		m->versions[i] = NULL;
	}
	m->versions[0] = calloc(1, MODEL_LENGTH);
	m->exists[0] = false;
	m->lengths[0] = 0;
	for (unsigned i = 0; i < MODEL_OPS; i++) {
		const struct model_op *op = &m->ops[i];

		if (op->chunk != chunk || (op->kind != MODEL_UPDATE && op->kind != MODEL_REMOVE))
			continue;
		if (op->kind == MODEL_REMOVE) {
			memset(bytes, 0, MODEL_LENGTH);
			memset(present, 0, sizeof(present));
			length = 0;
		} else {
			model_apply(op, bytes, present, &length);
		}
		v++;
		m->exists[v] = op->kind == MODEL_UPDATE;
		m->lengths[v] = length;
		m->versions[v] = malloc(MODEL_LENGTH);
		memcpy(m->versions[v], bytes, MODEL_LENGTH);
	}
	free(bytes);
}

static void model_cross_off(uint8_t *left, const uint8_t *found, const uint8_t *bytes,
			    uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (found[i] == bytes[i])
			left[i] = 0;
}

/* Every byte is of one of the versions, or of an update that was begun and given up. (Not: all
 * bytes of the sector of the same one. Updates of a few bytes may come on top of any.) */
static bool model_sector_ok(const struct model *m, uint32_t chunk, uint64_t from, uint64_t to,
			    uint32_t at, const uint8_t *found)
{
	static const uint8_t none[SECTOR];
	uint8_t left[SECTOR];

	memset(left, 1, sizeof(left));
	for (uint64_t v = from; v <= to && v <= MODEL_OPS && m->versions[v] != NULL; v++)
		model_cross_off(left, found, m->versions[v] + at, SECTOR);
	for (unsigned i = 0; i < MODEL_OPS && memcmp(left, none, SECTOR) != 0; i++) {
		const struct model_op *op = &m->ops[i];
		uint32_t start = op->offset > at ? op->offset : at;
		uint32_t end = op->offset + op->length < at + SECTOR ? op->offset + op->length
								     : at + SECTOR;
		uint8_t *bytes;

		if (op->kind != MODEL_ABORT || op->chunk != chunk || op->op != STORE_WRITE ||
		    start >= end)
			continue;
		bytes = malloc(op->length);
		model_bytes(op, bytes);
		model_cross_off(left + (start - at), found + (start - at),
				bytes + (start - op->offset), end - start);
		free(bytes);
	}
	return memcmp(left, none, SECTOR) == 0;
}

static int model_fail(struct model *m, uint32_t chunk, const char *what, uint64_t a, uint64_t b)
{
	snprintf(m->why, sizeof(m->why),
		 "seed %llu chunk %u: %s (%llu, %llu) started %llu committed %llu kept %llu "
		 "flushed %llu",
		 (unsigned long long)m->seed, chunk, what, (unsigned long long)a,
		 (unsigned long long)b, (unsigned long long)m->progress->started[chunk],
		 (unsigned long long)m->progress->committed[chunk],
		 (unsigned long long)m->progress->kept[chunk],
		 (unsigned long long)m->progress->flushed[chunk]);
	return -1;
}

/* For the message: the versions that a sector could be of. */
static void model_explain(struct model *m, uint32_t at, const uint8_t *found)
{
	size_t used = strlen(m->why);
	bool zero = found[0] == 0 && memcmp(found, found + 1, SECTOR - 1) == 0;

	used += (size_t)snprintf(m->why + used, sizeof(m->why) - used, zero ? "; zeros" : "; of");
	for (unsigned v = 0; v <= MODEL_OPS && m->versions[v] != NULL && used < sizeof(m->why); v++)
		if (memcmp(m->versions[v] + at, found, SECTOR) == 0)
			used += (size_t)snprintf(m->why + used, sizeof(m->why) - used, " %u", v);
}

/* Is any version that may be there now one that does not exist? */
static bool model_may_be_absent(const struct model *m, uint64_t from, uint64_t to)
{
	for (uint64_t v = from; v <= to; v++)
		if (!m->exists[v])
			return true;
	return false;
}

int model_judge_chunk(struct fixture *f, struct model *m, uint32_t chunk, uint64_t from,
		      bool damaged)
{
	struct chunk_key key = test_key(chunk);
	uint64_t to = m->progress->committed[chunk];
	static uint8_t found[256 * 1024];
	struct chunk_info info;
	int rc = store_info(f->view, &key, &info);

	if (rc == -EBADMSG && damaged)
		return 0;
	if (rc != 0)
		return model_fail(m, chunk, "info", (uint64_t)-rc, 0);
	model_contents(m, chunk);
	if (!info.exists)
		return model_may_be_absent(m, from, to)
			       ? 0
			       : model_fail(m, chunk, "does not exist", from, to);
	if (info.version < from || info.version > to || !m->exists[info.version])
		return model_fail(m, chunk, "version", info.version, from);
	if (!info.unsure && info.length != m->lengths[info.version])
		return model_fail(m, chunk, "length", info.length, m->lengths[info.version]);
	for (uint32_t at = 0; at < MODEL_LENGTH; at += sizeof(found)) {
		uint32_t got;

		rc = do_read(f, &key, at, sizeof(found), true, found, &got);
		for (uint32_t b = 0; rc == -EBADMSG && damaged && b < sizeof(found); b += 4096) {
			/* Block by block: the good ones must still be right. */
			if (do_read(f, &key, at + b, 4096, true, found + b, &got) != 0)
				memcpy(found + b, m->versions[info.version] + at + b, 4096);
		}
		if (rc != 0 && !(rc == -EBADMSG && damaged))
			return model_fail(m, chunk, "read", (uint64_t)-rc, at);
		if (!info.unsure &&
		    memcmp(found, m->versions[info.version] + at, sizeof(found)) != 0)
			return model_fail(m, chunk, "bytes of a sure chunk", info.version, at);
		for (uint32_t s = 0; info.unsure && !damaged && s < sizeof(found); s += SECTOR)
			if (!model_sector_ok(m, chunk, from, m->progress->started[chunk], at + s,
					     found + s)) {
				model_fail(m, chunk, "sector of an unsure chunk", info.version,
					   at + s);
				model_explain(m, at + s, found + s);
				return -1;
			}
	}
	return 0;
}

void model_end(struct model *m)
{
	for (unsigned i = 0; i <= MODEL_OPS; i++)
		free(m->versions[i]);
}
