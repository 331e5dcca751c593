/* Goal: whatever chunkservers and network do, a read gives the newest bytes written, a flush says
 * so only when it is so, and nothing hangs.
 * Method: data.h over fake_chain.h: one thread, virtual time, everything seeded. Random operations
 * on two files against plain byte arrays, while connections break, members answer oddly, blocks go
 * bad, chains change and servers die and freeze. Run with: data_random_test [SEED [COUNT]] */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/os/log.h"
#include "tests/lib/random.h"
#include "tests/sim/data/world.h"

#define FILES      2u
#define CHUNKS     4u
#define FILE_BYTES (CHUNKS * FAKE_CHUNK)

/* Each takes part of a second. */
static uint64_t first_seed = 1, seed_count = 8;

enum op_kind { OP_WRITE, OP_READ, OP_FLUSH, OP_PUNCH };

struct model_file {
	struct data_file *file;
	uint64_t id;
	uint8_t *truth;
	uint32_t *stamp;     /* when each byte was last changed */
	uint32_t *unsure;    /* changes of each byte that are not complete */
	unsigned unaccepted; /* writes, and punches */
};

struct op {
	struct run *run;
	struct model_file *f;
	enum op_kind kind;
	bool busy, durable;
	bool excused; /* the session has ended meanwhile */
	uint64_t offset;
	uint32_t length, stamp;
	uint64_t start_ns;
	uint8_t *expect; /* reads: the truth at their beginning */
	struct op *next;
};

struct run {
	struct world w;
	struct model_file files[FILES];
	uint64_t rng;
	uint32_t stamp;
	struct op ops[24];
	unsigned done_ops;
	uint64_t next_id, session;
	const char *trouble;
	char detail[160];
};

static uint64_t rnd(struct run *r)
{
	return random_u64(&r->rng);
}

static uint32_t below(struct run *r, uint32_t bound)
{
	return (uint32_t)(rnd(r) % bound);
}

static void fail_run(struct run *r, const char *what)
{
	if (r->trouble == NULL)
		r->trouble = what;
}

static void op_over(struct op *op)
{
	struct model_file *f = op->f;

	op->busy = false;
	op->run->done_ops++;
	if (op->kind == OP_WRITE || op->kind == OP_PUNCH) {
		f->unaccepted--;
		/* Only what begins from now on has to know of it. */
		op->run->stamp++;
		for (uint32_t i = 0; i < op->length; i++) {
			f->unsure[op->offset + i]--;
			f->stamp[op->offset + i] = op->run->stamp;
		}
	}
	free(op->expect);
	op->expect = NULL;
}

/* What the chain holds, or what of it a power cut would leave, is what was written before. */
static void check_flushed(struct op *op)
{
	struct model_file *f = op->f;
	struct fake *fake = op->run->w.fake;

	for (uint32_t c = 0; c < CHUNKS; c++) {
		struct chunk_key key = chunk_key_of(FAKE_POOL, FAKE_PARTITIONS, f->id, c);
		struct fake_chunk *chunk = fake_chunk_get(fake, &key);
		const uint8_t *bytes = op->durable ? chunk->durable : chunk->data;

		for (uint32_t i = 0; i < FAKE_CHUNK; i++) {
			uint32_t at = c * FAKE_CHUNK + i;

			/* Mostly whole blocks are as they should be. */
			if (i % BLOCK_SIZE == 0 &&
			    memcmp(bytes + i, f->truth + at, BLOCK_SIZE) == 0) {
				i += BLOCK_SIZE - 1;
				continue;
			}
			if (f->stamp[at] <= op->stamp && f->unsure[at] == 0 &&
			    bytes[i] != f->truth[at]) {
				snprintf(op->run->detail, sizeof(op->run->detail),
					 "file %llu byte %u durable %d", (unsigned long long)f->id,
					 at, op->durable);
				fail_run(op->run, "flushed, but not there");
				return;
			}
		}
	}
}

static void op_done(void *user, int error)
{
	struct op *op = user;

	if (error != 0 && !(op->excused && error == -EIO))
		fail_run(op->run, "an operation failed");
	if (op->kind == OP_FLUSH && error == 0)
		check_flushed(op);
	op_over(op);
}

static void op_read(void *user, int error, const struct iovec *iov, int count)
{
	struct op *op = user;
	struct model_file *f = op->f;
	uint32_t at = 0;

	if (error != 0)
		fail_run(op->run, "a read failed");
	for (int v = 0; v < count; v++) {
		const uint8_t *bytes = iov[v].iov_base;
		size_t length = iov[v].iov_len;

		/* Mostly the bytes are as they were when the read began. */
		if (length <= op->length - at && memcmp(bytes, op->expect + at, length) == 0) {
			at += (uint32_t)length;
			continue;
		}
		for (size_t i = 0; i < length && at < op->length; i++, at++) {
			uint64_t b = op->offset + at;

			if (f->stamp[b] <= op->stamp && f->unsure[b] == 0 &&
			    bytes[i] != op->expect[at]) {
				snprintf(op->run->detail, sizeof(op->run->detail),
					 "file %llu byte %llu got %u expected %u",
					 (unsigned long long)f->id, (unsigned long long)b, bytes[i],
					 op->expect[at]);
				fail_run(op->run, "a read gave old bytes");
			}
		}
	}
	if (error == 0 && at != op->length)
		fail_run(op->run, "a read gave too little or too much");
	op_over(op);
}

static struct op *op_start(struct run *r, enum op_kind kind, uint32_t max_length)
{
	struct op *op = NULL;

	for (size_t i = 0; op == NULL && i < 24; i++)
		if (!r->ops[i].busy)
			op = &r->ops[i];
	if (op == NULL)
		return NULL;
	*op = (struct op){
		.run = r,
		.f = &r->files[below(r, FILES)],
		.kind = kind,
		.busy = true,
		.start_ns = r->w.fake->now,
	};
	op->length = 1 + below(r, max_length);
	if (below(r, 3) == 0)
		op->length = (op->length + 4095) / 4096 * 4096;
	if (below(r, 3) == 0)
		op->length = 1 + below(r, 5000);
	op->offset = below(r, FILE_BYTES - op->length + 1);
	if (below(r, 2) == 0)
		op->offset = op->offset / 4096 * 4096;
	op->stamp = r->stamp;
	return op;
}

static void change(struct op *op)
{
	struct model_file *f = op->f;
	uint32_t stamp = ++op->run->stamp, length = op->length;
	uint32_t *restrict stamps = f->stamp + op->offset;
	uint32_t *restrict unsure = f->unsure + op->offset;
	uint8_t *restrict truth = f->truth + op->offset;
	uint8_t seed = (uint8_t)(stamp * 37), step = op->kind == OP_PUNCH ? 0 : 11;

	op->stamp = stamp;
	f->unaccepted++;
	if (op->kind == OP_PUNCH)
		seed = 0;
	for (uint32_t i = 0; i < length; i++) {
		stamps[i] = stamp;
		unsure[i]++;
		truth[i] = (uint8_t)(seed + i * step);
	}
}

static void do_write(struct run *r)
{
	struct op *op = op_start(r, OP_WRITE, MIB);
	struct buf *payload;

	if (op == NULL)
		return;
	/* Punches and writes that are not accepted yet have no order. */
	if (op->f->unaccepted > 0) {
		op->busy = false;
		return;
	}
	change(op);
	payload = buf_get(r->w.fake->pool, op->length);
	payload->start = below(r, 4096);
	payload->length = op->length;
	memcpy(buf_payload(payload), op->f->truth + op->offset, op->length);
	data_write(op->f->file, op->offset, payload, below(r, 6) == 0, op_done, op);
}

static void do_read(struct run *r)
{
	struct op *op = op_start(r, OP_READ, MIB);

	if (op == NULL)
		return;
	op->expect = malloc(op->length);
	memcpy(op->expect, op->f->truth + op->offset, op->length);
	data_read(op->f->file, op->offset, op->length, below(r, 2) == 0 ? FILE_BYTES : 0, op_read,
		  op);
}

/* Reads in a row, so that something is read ahead. */
static void do_stream(struct run *r)
{
	struct model_file *f = &r->files[below(r, FILES)];
	uint64_t at = below(r, FILE_BYTES / 2) / 131072 * 131072;

	for (int i = 0; i < 6; i++, at += 131072) {
		struct op *op = op_start(r, OP_READ, 131072);

		if (op == NULL)
			return;
		op->f = f;
		op->offset = at;
		op->length = 131072;
		op->expect = malloc(op->length);
		memcpy(op->expect, f->truth + at, op->length);
		data_read(f->file, at, op->length, FILE_BYTES, op_read, op);
	}
}

static void do_flush(struct run *r)
{
	struct op *op = op_start(r, OP_FLUSH, 1);

	if (op == NULL)
		return;
	op->durable = below(r, 2) == 0;
	data_flush(op->f->file, op->durable, op_done, op);
}

static void do_punch(struct run *r)
{
	struct op *op = op_start(r, OP_PUNCH, below(r, 3) == 0 ? FILE_BYTES : 100000);
	bool far;

	if (op == NULL)
		return;
	if (op->f->unaccepted > 0) {
		op->busy = false;
		return;
	}
	/* So far behind the end that it is asked first which chunks exist. */
	far = below(r, 3) == 0;
	if (far)
		op->length = (uint32_t)(FILE_BYTES - op->offset);
	change(op);
	data_punch(op->f->file, op->offset, far ? 50ull * FAKE_CHUNK : op->offset + op->length,
		   op_done, op);
}

static bool file_idle(struct run *r, const struct model_file *f)
{
	for (size_t i = 0; i < 24; i++)
		if (r->ops[i].busy && r->ops[i].f == f)
			return false;
	return true;
}

static void do_file(struct run *r)
{
	struct model_file *f = &r->files[below(r, FILES)];

	if (!file_idle(r, f))
		return;
	switch (below(r, 4)) {
	case 0: /* as if closed and opened */
		data_file_put(f->file);
		f->file = open_file(&r->w, f->id);
		break;
	case 1:
		data_invalidate(f->file);
		break;
	case 2: /* truncated to 0 */
		if (r->next_id > 8)
			break;
		f->id = r->next_id++;
		data_file_replace(f->file, f->id);
		memset(f->truth, 0, FILE_BYTES);
		r->stamp++;
		for (uint32_t i = 0; i < FILE_BYTES; i++)
			f->stamp[i] = r->stamp;
		break;
	default:
		break;
	}
}

static void unstick(struct fake *f)
{
	f->stuck_partition = UINT32_MAX;
	fake_commit_all(f);
}

static void heal(struct run *r);
static bool any_busy(struct run *r);

/* Nothing that was not answered may ever come to the chains after this; what has come is what the
 * file is from here on. */
static void lose_session(struct run *r)
{
	struct fake *f = r->w.fake;
	struct fake faults = *f;
	uint64_t until;

	/* The master has fenced the old one before there is another. What came without an answer is
	 * on the disks by chance. */
	fake_commit_all(f);
	for (unsigned i = 0; i < f->chunk_count; i++)
		memcpy(f->chunks[i].durable, f->chunks[i].data, FAKE_CHUNK);
	f->session = ++r->session;
	/* What waits for its turn is told of the loss at once. */
	for (size_t i = 0; i < 24; i++)
		r->ops[i].excused = r->ops[i].busy;
	data_set_session(r->w.data, r->session);
	data_lose_all(r->w.data);
	r->stamp++;
	for (size_t i = 0; i < FILES; i++)
		for (uint32_t at = 0; at < FILE_BYTES; at++)
			r->files[i].stamp[at] = r->stamp;
	heal(r);
	until = f->now + 60 * SEC;
	while (any_busy(r) && fake_step(f, until))
		;
	for (size_t i = 0; i < FILES && !any_busy(r); i++) {
		struct model_file *file = &r->files[i];

		data_invalidate(file->file);
		flush_now(&r->w, file->file, true); /* may tell what was lost */
		if (flush_now(&r->w, file->file, true) != 0)
			fail_run(r, "a loss is told twice");
		if (read_now(&r->w, file->file, 0, FILE_BYTES, file->truth) != 0)
			fail_run(r, "a read after the session's end failed");
	}
	f->odd_status = faults.odd_status;
	f->lose_connection = faults.lose_connection;
	f->damage = faults.damage;
	f->corrupt_reads = faults.corrupt_reads;
}

static void do_harm(struct run *r)
{
	struct fake *f = r->w.fake;
	unsigned server = below(r, FAKE_SERVERS), up = 0;

	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		up += f->servers[i].up;
	switch (below(r, 8)) {
	case 0:
		fake_change_chain(f, below(r, FAKE_PARTITIONS));
		if (below(r, 3) > 0)
			publish(&r->w);
		break;
	case 1:
		publish(&r->w);
		break;
	case 2:
		if (up == FAKE_SERVERS)
			fake_kill(f, server);
		break;
	case 3:
		f->servers[server].up = true;
		break;
	case 4:
		f->servers[server].frozen = below(r, 4) == 0;
		break;
	case 5:
		/* A new epoch with the same head. */
		f->epochs[below(r, FAKE_PARTITIONS)]++;
		if (below(r, 4) > 0)
			publish(&r->w);
		break;
	case 6:
		unstick(f);
		if (below(r, 4) == 0)
			f->stuck_partition = below(r, FAKE_PARTITIONS);
		break;
	default:
		if (below(r, 4) == 0)
			lose_session(r);
		break;
	}
}

static void heal(struct run *r)
{
	struct fake *f = r->w.fake;

	for (unsigned i = 0; i < FAKE_SERVERS; i++) {
		f->servers[i].up = true;
		f->servers[i].frozen = false;
	}
	unstick(f);
	f->odd_status = 0;
	f->lose_connection = 0;
	f->damage = 0;
	f->corrupt_reads = 0;
	publish(&r->w);
}

static bool any_busy(struct run *r)
{
	for (size_t i = 0; i < 24; i++)
		if (r->ops[i].busy)
			return true;
	return false;
}

static void check_files(struct run *r)
{
	uint8_t *bytes = malloc(FILE_BYTES);

	for (size_t i = 0; i < FILES; i++) {
		struct model_file *f = &r->files[i];

		data_invalidate(f->file);
		if (flush_now(&r->w, f->file, true) != 0)
			fail_run(r, "the last flush failed");
		if (read_now(&r->w, f->file, 0, FILE_BYTES, bytes) != 0)
			fail_run(r, "the last read failed");
		else if (memcmp(bytes, f->truth, FILE_BYTES) != 0)
			fail_run(r, "the file is not what was written");
	}
	free(bytes);
}

static void run_open(struct run *r, uint64_t seed)
{
	struct fake *fake;

	world_open(&r->w, seed, 8 * MIB, 0);
	r->rng = seed * 77;
	r->session = 77;
	fake = r->w.fake;
	fake->odd_status = seed % 3 == 0 ? 100 : 10;
	fake->lose_connection = seed % 4 == 1 ? 50 : 5;
	fake->damage = 20;
	fake->corrupt_reads = seed % 5 == 2 ? 100 : 0;
	fake->delay_max = seed % 2 == 0 ? 20 * FAKE_MS : FAKE_MS;
	r->next_id = 1;
	for (size_t i = 0; i < FILES; i++) {
		struct model_file *f = &r->files[i];

		f->id = r->next_id++;
		f->file = open_file(&r->w, f->id);
		f->truth = calloc(1, FILE_BYTES);
		f->stamp = calloc(FILE_BYTES, sizeof(uint32_t));
		f->unsure = calloc(FILE_BYTES, sizeof(uint32_t));
	}
}

static void run_close(struct run *r)
{
	for (size_t i = 0; i < FILES; i++) {
		data_file_put(r->files[i].file);
		free(r->files[i].truth);
		free(r->files[i].stamp);
		free(r->files[i].unsure);
	}
	if (r->w.fake->broken != NULL)
		fail_run(r, r->w.fake->broken);
	if (!world_close(&r->w))
		fail_run(r, "buffers are missing at the end");
}

static void run_steps(struct run *r, int steps)
{
	bool harm = r->w.fake->rng % 2 == 0;

	for (int step = 0; step < steps && r->trouble == NULL && r->w.fake->broken == NULL;
	     step++) {
		switch (below(r, 16)) {
		case 0:
		case 1:
		case 2:
		case 3:
			do_write(r);
			break;
		case 4:
		case 5:
		case 6:
			do_read(r);
			break;
		case 7:
			do_stream(r);
			break;
		case 8:
		case 9:
			do_flush(r);
			break;
		case 10:
			if (below(r, 2) == 0)
				do_punch(r);
			break;
		case 11:
			do_file(r);
			break;
		case 12:
			if (harm || below(r, 4) == 0)
				do_harm(r);
			break;
		default:
			run_for(&r->w, below(r, 30) * FAKE_MS / 3);
			break;
		}
		if (below(r, 400) == 0)
			run_for(&r->w, 12 * SEC);
	}
}

static bool one_run(uint64_t seed, struct run *r)
{
	uint64_t until;

	*r = (struct run){0};
	run_open(r, seed);
	run_steps(r, 400);
	heal(r);
	until = r->w.fake->now + 60 * SEC;
	while (any_busy(r) && fake_step(r->w.fake, until))
		;
	if (any_busy(r)) {
		fail_run(r, "an operation never ended");
		return false;
	}
	if (r->trouble == NULL)
		check_files(r);
	run_close(r);
	return r->trouble == NULL;
}

static void test_random_operations_agree_with_plain_bytes(void **state)
{
	uint64_t end = first_seed + seed_count;
	static struct run r;

	for (uint64_t seed = first_seed; seed < end; seed++)
		if (!one_run(seed, &r))
			fail_msg("seed %llu: %s %s", (unsigned long long)seed, r.trouble, r.detail);
	print_message("seeds %llu to %llu\n", (unsigned long long)first_seed,
		      (unsigned long long)end - 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_operations_agree_with_plain_bytes),
	};

	/* Faults are what this is about; thousands of lines about them help nobody. */
	log_open("/dev/null");
	if (argc > 1) {
		first_seed = strtoull(argv[1], NULL, 10);
		seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
