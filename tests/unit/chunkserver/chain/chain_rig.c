#include "tests/unit/chunkserver/chain/chain_rig.h"

#define AFTER 13u

static int rig_info(void *ctx, const struct chunk_key *key, struct chunk_info *info)
{
	struct rig *rig = ctx;

	return rig->info_error != 0 ? rig->info_error : model_info(&rig->store, key, info);
}

static int rig_digest(void *ctx, const struct chunk_key *key, uint32_t *digest)
{
	return model_get_digest(&((struct rig *)ctx)->store, key, digest);
}

static int rig_presence(void *ctx, const struct chunk_key *key, uint8_t *bitmap, uint32_t *bytes)
{
	return model_presence(&((struct rig *)ctx)->store, key, bitmap, bytes);
}

static int rig_checksums(void *ctx, const struct chunk_key *key, uint32_t count, uint32_t *crcs,
			 uint8_t *bitmap)
{
	return model_checksums(&((struct rig *)ctx)->store, key, count, crcs, bitmap);
}

static int rig_scan(void *ctx, uint32_t pool, uint32_t partition, const struct chunk_key *after,
		    struct chunk_key *out, int max)
{
	return model_scan(&((struct rig *)ctx)->store, pool, partition, after, out, max);
}

static int rig_complete(void *ctx, const struct chunk_key *key, const struct chunk_info *info)
{
	return model_complete(&((struct rig *)ctx)->store, key, info);
}

static uint64_t rig_free(void *ctx)
{
	return ((struct rig *)ctx)->free_bytes;
}

static uint64_t rig_in_flight(void *ctx, int64_t delta)
{
	return ((struct rig *)ctx)->in_flight += (uint64_t)delta;
}

static uint64_t rig_epoch(void *ctx, uint32_t pool, uint32_t partition)
{
	const struct model_store *store = &((struct rig *)ctx)->store;

	(void)pool;
	return store->notes.epochs[partition];
}

static void rig_set_epoch(void *ctx, uint32_t pool, uint32_t partition, uint64_t epoch)
{
	struct model_store *store = &((struct rig *)ctx)->store;

	(void)pool;
	store->notes.epochs[partition] = epoch;
}

static const struct chain_ops rig_ops = {
	.store = {.info = rig_info,
		  .digest = rig_digest,
		  .presence = rig_presence,
		  .checksums = rig_checksums,
		  .scan = rig_scan,
		  .complete = rig_complete,
		  .buffer = model_buffer},
	.free_bytes = rig_free,
	.in_flight = rig_in_flight,
	.epoch = rig_epoch,
	.set_epoch = rig_set_epoch,
};

static void keep(struct chain_action *list, size_t *count, const struct chain_action *action)
{
	assert_true(*count < RIG_MAX);
	list[*count] = *action;
	if (action->payload != NULL)
		buf_ref(action->payload);
	(*count)++;
}

void rig_run(struct rig *rig)
{
	const struct chain_action *action;

	while ((action = chain_next(rig->env)) != NULL) {
		switch (action->kind) {
		case CHAIN_COMMIT:
			chain_committed(action->request, model_commit(&rig->store, action->request),
					false);
			break;
		case CHAIN_SEND:
			keep(rig->sent, &rig->sent_count, action);
			break;
		case CHAIN_ANSWER:
			keep(rig->answers, &rig->answer_count, action);
			break;
		case CHAIN_ABORT:
			rig->aborts++;
			break;
		case CHAIN_TROUBLE:
			rig->troubles++;
			break;
		case CHAIN_REPORT:
			rig->report = *action;
			rig->reports++;
			break;
		default:
			keep(rig->operations, &rig->operation_count, action);
			break;
		}
	}
}

struct chain_action take(struct chain_action *list, size_t *count, size_t at)
{
	struct chain_action action = list[at];

	assert_true(at < *count);
	(*count)--;
	memmove(list + at, list + at + 1, (*count - at) * sizeof(action));
	return action;
}

static struct chain_action rig_take(struct rig *rig, enum chain_action_kind kind)
{
	size_t at = 0;

	while (at < rig->operation_count && rig->operations[at].kind != kind)
		at++;
	assert_true(at < rig->operation_count);
	return take(rig->operations, &rig->operation_count, at);
}

void rig_breaks_off(struct rig *rig)
{
	struct chain_work *request = rig_take(rig, CHAIN_PREPARE).request;

	(void)model_abort(&rig->store, request, MODEL_BLOCKS);
	chain_prepared(request, -ENOSPC, true);
	rig_run(rig);
}

void rig_end(struct rig *rig, enum chain_action_kind kind, int error)
{
	struct chain_action action = rig_take(rig, kind);

	switch (kind) {
	case CHAIN_PREPARE:
		chain_prepared(action.request, error, false);
		break;
	case CHAIN_FLUSH:
		chain_flushed(action.request, error);
		break;
	case CHAIN_READ:
		chain_read_done(action.request, error, NULL, 0);
		break;
	case CHAIN_FLUSH_ALL:
		chain_all_flushed(rig->env, action.serial, error);
		break;
	case CHAIN_REMOVE:
		for (uint32_t i = 0; error == 0 && i < action.request->key_count; i++)
			model_remove(&rig->store, &action.request->keys[i]);
		chain_remove_done(action.request, error);
		break;
	default:
		fail();
	}
	rig_run(rig);
}

size_t rig_operations(const struct rig *rig, enum chain_action_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < rig->operation_count; i++)
		n += rig->operations[i].kind == kind;
	return n;
}

/* ---- messages ---- */

struct chunk_key rig_key(uint64_t file_id)
{
	return (struct chunk_key){.pool = POOL, .partition = PARTITION, .file_id = file_id};
}

struct frame_header rig_header(struct rig *rig, uint8_t op, uint64_t file_id)
{
	return (struct frame_header){.op = op,
				     .request_id = ++rig->last_request,
				     .key = rig_key(file_id),
				     .epoch = chain_epoch(rig->chain)};
}

uint64_t rig_ask(struct rig *rig, uint64_t conn, const struct frame_header *header,
		 struct buf *payload)
{
	struct chain_source source = {.conn = conn, .request_id = header->request_id};

	if (conn != CLIENT)
		source.server_id = rig->self; /* the place before ours, counted from 1 */
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_frame(rig->chain, &source, header, payload);
	rig_run(rig);
	return header->request_id;
}

struct buf *rig_payload(uint32_t blocks)
{
	const uint64_t numbers[MODEL_BLOCKS] = {1, 1, 1, 1, 1, 1, 1, 1};

	return model_payload(numbers, blocks);
}

uint64_t client_writes(struct rig *rig, uint64_t op_id, uint32_t first, uint32_t blocks,
		       uint16_t flags)
{
	struct frame_header header = rig_header(rig, FRAME_WRITE, 1);

	header.client_id = 5;
	header.op_id = op_id;
	header.offset = first * BLOCK_SIZE;
	header.length = blocks * BLOCK_SIZE;
	header.flags = flags;
	return rig_ask(rig, CLIENT, &header, rig_payload(blocks));
}

uint64_t predecessor_writes(struct rig *rig, uint64_t version, uint32_t first)
{
	struct frame_header header = rig_header(rig, FRAME_WRITE, 1);

	header.client_id = 5;
	header.op_id = version;
	header.version = version;
	header.offset = first * BLOCK_SIZE;
	header.length = BLOCK_SIZE;
	header.flags = FRAME_FORWARD;
	return rig_ask(rig, BEFORE, &header, rig_payload(1));
}

uint64_t client_reads(struct rig *rig, uint32_t first)
{
	struct frame_header header = rig_header(rig, FRAME_READ, 1);

	header.offset = first * BLOCK_SIZE;
	header.range = BLOCK_SIZE;
	return rig_ask(rig, CLIENT, &header, NULL);
}

uint64_t rig_flush(struct rig *rig, uint64_t conn)
{
	struct frame_header header = rig_header(rig, FRAME_FLUSH, 1);

	header.flags = conn == CLIENT ? 0 : FRAME_FORWARD;
	return rig_ask(rig, conn, &header, NULL);
}

uint32_t answer_to(struct rig *rig, uint64_t request_id)
{
	for (size_t i = 0; i < rig->answer_count; i++) {
		if (rig->answers[i].header.request_id == request_id) {
			struct chain_action action = take(rig->answers, &rig->answer_count, i);

			buf_unref(action.payload);
			return action.header.status;
		}
	}
	return NO_ANSWER;
}

void successor_answers(struct rig *rig, uint32_t status)
{
	struct chain_action sent = take(rig->sent, &rig->sent_count, 0);
	struct frame_header header = sent.header;
	struct buf *bitmap = NULL;

	header.flags = FRAME_REPLY;
	header.status = status;
	header.length = 0;
	header.arg = UINT64_MAX;
	if (header.op == FRAME_CATCHUP_COMPARE && status == FRAME_OK) {
		static struct catchup_compare compare;

		if (catchup_compare_decode(buf_payload(sent.payload), sent.payload->length,
					   &compare) == 0 &&
		    compare.count > 0)
			bitmap = model_buffer(NULL, BITMAP_BYTES(compare.count));
	}
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_answer(rig->chain, sent.conn, &header, bitmap);
	buf_unref(bitmap);
	buf_unref(sent.payload);
	rig_run(rig);
}

/* ---- its place ---- */

void rig_configure(struct rig *rig, uint64_t epoch, unsigned self, unsigned count)
{
	struct chain_config config = {
		.epoch = epoch, .chunk_size = MODEL_BYTES, .self = (int)self, .count = count};

	rig->self = self;
	rig->count = count;
	for (unsigned i = 0; i < count; i++) {
		config.members[i].target_id = i + 1;
		config.members[i].server_id = i + 1;
		config.members[i].state = MEMBER_IN_SYNC;
	}
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_configure(rig->chain, &config);
	rig_run(rig);
}

struct rig *rig_new(unsigned self, unsigned count)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->now = NS_PER_MSEC;
	rig->lease_until = UINT64_MAX;
	rig->free_bytes = 1ull << 40;
	rig->env = chain_env_new(&rig_ops, rig, 0, 0);
	rig->chain = chain_new(rig->env, POOL, PARTITION);
	rig_configure(rig, 1, self, count);
	return rig;
}

void rig_forget_sent(struct rig *rig)
{
	for (size_t i = 0; i < rig->sent_count; i++)
		buf_unref(rig->sent[i].payload);
	rig->sent_count = 0;
}

void rig_forget_answers(struct rig *rig)
{
	for (size_t i = 0; i < rig->answer_count; i++)
		buf_unref(rig->answers[i].payload);
	rig->answer_count = 0;
}

void rig_free_all(struct rig *rig)
{
	chain_free(rig->chain);
	rig_run(rig);
	while (rig->operation_count > 0) {
		struct chain_action action = take(rig->operations, &rig->operation_count, 0);

		if (action.kind == CHAIN_PREPARE)
			chain_prepared(action.request, 0, false);
		else if (action.kind == CHAIN_FLUSH)
			chain_flushed(action.request, 0);
		else if (action.kind == CHAIN_READ)
			chain_read_done(action.request, 0, NULL, 0);
		else if (action.kind == CHAIN_REMOVE)
			chain_remove_done(action.request, 0);
		else if (action.kind == CHAIN_FLUSH_ALL)
			chain_all_flushed(rig->env, action.serial, -ECANCELED);
		else
			chain_walk_read_done(rig->env, action.serial, -EIO, NULL, 0);
		rig_run(rig);
	}
	rig_forget_sent(rig);
	rig_forget_answers(rig);
	assert_int_equal(chain_env_operations(rig->env), 0);
	assert_int_equal(chain_env_requests(rig->env), 0);
	assert_int_equal(rig->in_flight, 0);
	chain_env_free(rig->env);
	model_free(&rig->store);
	free(rig);
}

void successor_connects(struct rig *rig)
{
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_connection(rig->chain, AFTER);
	rig_run(rig);
}

void link_comes_up(struct rig *rig)
{
	successor_connects(rig);
	while (chain_count(rig->chain).link == CHAIN_LINK_COMPARING && rig->sent_count > 0)
		successor_answers(rig, FRAME_OK);
	assert_int_equal(chain_count(rig->chain).link, CHAIN_LINK_UP);
}

uint64_t predecessor_compares(struct rig *rig, const struct catchup_compare *compare)
{
	struct frame_header header = rig_header(rig, FRAME_CATCHUP_COMPARE, 0);
	struct buf *buf = model_buffer(NULL, CATCHUP_COMPARE_MAX);

	buf->length = (uint32_t)catchup_compare_encode(compare, buf->data);
	header.flags = FRAME_FORWARD;
	header.length = buf->length;
	return rig_ask(rig, BEFORE, &header, buf);
}

uint64_t predecessor_ends(struct rig *rig)
{
	struct frame_header header = rig_header(rig, FRAME_CATCHUP_END, 0);

	header.flags = FRAME_FORWARD;
	return rig_ask(rig, BEFORE, &header, NULL);
}

struct catchup_compare everything(struct rig *rig)
{
	struct catchup_compare compare = {.first = true, .last = true, .to = CATCHUP_KEY_MAX};

	for (unsigned i = 0; i < rig->store.count; i++) {
		const struct model_chunk *chunk = rig->store.chunks[i];

		if (!chunk->exists)
			continue;
		compare.records[compare.count++] =
			(struct catchup_record){.key = {chunk->key.file_id, chunk->key.index},
						.epoch = chunk->epoch,
						.version = chunk->version,
						.base = chunk->version,
						.length = model_length(chunk),
						.digest = model_digest(chunk)};
	}
	return compare;
}

void inbound_comes_up(struct rig *rig)
{
	struct catchup_compare compare = everything(rig);

	assert_int_equal(answer_to(rig, predecessor_compares(rig, &compare)), FRAME_OK);
	(void)predecessor_ends(rig);
}

struct rig *rig_up(unsigned self)
{
	struct rig *rig = rig_new(self, 3);

	if (self > 0)
		inbound_comes_up(rig);
	if (self < 2)
		link_comes_up(rig);
	rig->answer_count = 0;
	return rig;
}
uint32_t refusal(struct rig *rig, uint64_t conn, struct frame_header header)
{
	struct buf *payload =
		header.op == FRAME_WRITE ? rig_payload(header.length / BLOCK_SIZE) : NULL;

	return answer_to(rig, rig_ask(rig, conn, &header, payload));
}
