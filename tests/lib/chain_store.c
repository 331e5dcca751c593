#include "tests/lib/chain_store.h"

#define MODEL_NOTES UINT32_MAX /* as a slot */
/* In the log, before the bytes of the chunk, or of the notes, as they are then. */
struct model_change {
	uint32_t slot, bytes;
};

struct model_chunk *model_new(size_t count)
{
	struct model_chunk *chunks = calloc(count, sizeof(*chunks));

	if (chunks == NULL)
		abort();
	return chunks;
}

static size_t model_bytes(const struct model_chunk *chunk)
{
	return offsetof(struct model_chunk, ops) + chunk->op_count * sizeof(chunk->ops[0]);
}

void model_copy(struct model_chunk *to, const struct model_chunk *from)
{
	memcpy(to, from, model_bytes(from));
}

void model_clear(struct model_chunk *chunk)
{
	const struct chunk_key key = chunk->key;

	memset(chunk, 0, offsetof(struct model_chunk, ops));
	chunk->key = key;
}

unsigned model_slot_new(struct model_store *store, const struct chunk_key *key)
{
	unsigned slot = store->count++;

	if (slot == MODEL_CHUNKS)
		abort();
	store->keys[slot] = *key;
	store->chunks[slot] = model_new(2);
	store->durable[slot] = store->chunks[slot] + 1;
	store->chunks[slot]->key = store->durable[slot]->key = *key;
	return slot;
}

static unsigned slot_of(const struct model_store *store, const struct chunk_key *key)
{
	unsigned i = 0;

	while (i < store->count && !chunk_key_equal(&store->keys[i], key))
		i++;
	return i;
}

unsigned model_slot(struct model_store *store, const struct chunk_key *key)
{
	unsigned slot = slot_of(store, key);

	return slot < store->count ? slot : model_slot_new(store, key);
}

const struct model_chunk *model_find(const struct model_store *store, const struct chunk_key *key)
{
	unsigned slot = slot_of(store, key);

	return slot < store->count && store->chunks[slot]->exists ? store->chunks[slot] : NULL;
}

void model_free(struct model_store *store)
{
	for (unsigned i = 0; i < store->count; i++)
		free(store->chunks[i]);
	free(store->log);
}

struct model_chunk *model_chunk(struct model_store *store, const struct chunk_key *key)
{
	return store->chunks[model_slot(store, key)];
}

static void model_log_grow(struct model_store *store)
{
	store->log_size =
		store->log_size == 0 ? 16 * sizeof(struct model_chunk) : 2 * store->log_size;
	store->log = realloc(store->log, store->log_size);
	if (store->log == NULL)
		abort();
}

void model_log_empty(struct model_store *store)
{
	store->log_first = store->log_end = store->log_count = 0;
}

static void model_log(struct model_store *store, uint32_t slot, const void *state, size_t bytes)
{
	struct model_change change = {slot, (uint32_t)bytes};

	while (store->log_size - store->log_end < sizeof(change) + bytes)
		model_log_grow(store);
	memcpy(store->log + store->log_end, &change, sizeof(change));
	memcpy(store->log + store->log_end + sizeof(change), state, bytes);
	store->log_end += sizeof(change) + bytes;
	store->log_count++;
}

void model_changed(struct model_store *store, const struct model_chunk *chunk)
{
	model_log(store, model_slot(store, &chunk->key), chunk, model_bytes(chunk));
}

void model_noted(struct model_store *store)
{
	if (store->notes_logged)
		model_log(store, MODEL_NOTES, &store->notes, sizeof(store->notes));
}

uint64_t model_now(const struct model_store *store)
{
	return store->log_base + store->log_count;
}

void model_flushed(struct model_store *store, uint64_t upto)
{
	struct model_change change;

	while (store->log_base < upto && store->log_count > 0) {
		memcpy(&change, store->log + store->log_first, sizeof(change));
		memcpy(change.slot == MODEL_NOTES ? (void *)&store->durable_notes
						  : (void *)store->durable[change.slot],
		       store->log + store->log_first + sizeof(change), change.bytes);
		store->log_first += sizeof(change) + change.bytes;
		store->log_base++;
		store->log_count--;
	}
	if (store->log_count == 0)
		model_log_empty(store);
}

static bool model_is_large(const struct model_chunk *chunk)
{
	return chunk->key.file_id % 2 == 1;
}

/* The block has another content than its record says: that of before the change, or after. */
static void model_lose(struct model_chunk *chunk, uint32_t block, uint64_t content)
{
	if (chunk->blocks[block] == content)
		return;
	chunk->blocks[block] = content;
	chunk->unsure = chunk->history.lost = true;
	if (chunk->version > 0)
		chunk->op_count = 0;
}

/* @random decides for each block; 0: none is lost. */
static void model_lose_blocks(struct model_store *store, const struct model_chunk *flushed,
			      uint64_t random)
{
	for (unsigned i = 0; i < store->count; i++) {
		struct model_chunk *chunk = store->durable[i];

		if (!chunk->exists || !model_is_large(chunk))
			continue;
		for (uint32_t b = 0; b < MODEL_BLOCKS; b++) {
			uint64_t dice = random_u64(&random) % 8;

			if (dice < 2 && flushed[i].exists)
				model_lose(chunk, b, flushed[i].blocks[b]);
			else if (dice < 2)
				model_lose(chunk, b, 0);
			else if (dice == 2 && chunk->blocks[b] != 0 && store->chunks[i]->exists &&
				 store->chunks[i]->blocks[b] != 0)
				model_lose(chunk, b, store->chunks[i]->blocks[b]);
		}
	}
}

void model_power_cut(struct model_store *store, size_t kept, uint64_t random)
{
	struct model_chunk *flushed = model_new(store->count + 1);
	uint64_t now = model_now(store);

	for (unsigned i = 0; i < store->count; i++)
		model_copy(&flushed[i], store->durable[i]);
	model_flushed(store, store->log_base + kept);
	if (random != 0)
		model_lose_blocks(store, flushed, random);
	free(flushed);
	for (unsigned i = 0; i < store->count; i++)
		model_copy(store->chunks[i], store->durable[i]);
	if (store->notes_logged)
		store->notes = store->durable_notes;
	model_log_empty(store);
	store->log_base = now;
}

uint32_t model_length(const struct model_chunk *chunk)
{
	uint32_t length = 0;

	for (uint32_t i = 0; i < MODEL_BLOCKS; i++)
		if (chunk->blocks[i] != 0)
			length = (i + 1) * BLOCK_SIZE;
	return length;
}

uint32_t model_digest(const struct model_chunk *chunk)
{
	return crc32c(chunk->blocks, sizeof(chunk->blocks));
}

struct buf *model_payload(const uint64_t *numbers, uint32_t blocks)
{
	uint64_t *copy = malloc(blocks * sizeof(*copy));
	struct buf *buf;

	if (copy == NULL)
		abort();
	memcpy(copy, numbers, blocks * sizeof(*copy));
	buf = buf_wrap(NULL, copy, blocks * BLOCK_SIZE, free, copy);
	if (buf == NULL)
		abort();
	return buf;
}

/* False: no room, and nothing has changed. */
static bool model_op(const struct model_store *store, struct model_chunk *chunk,
		     const struct chain_work *request)
{
	uint32_t limit = store->ops_kept != 0 ? store->ops_kept : OP_IDS_KEPT, kept;
	struct op_id ops[OP_IDS_KEPT];

	memcpy(ops, chunk->ops, chunk->op_count * sizeof(*ops));
	kept = op_ids_drop(ops, chunk->op_count, request->client_id, request->answered,
			   request->sessions, limit);
	if (!request->closing && kept >= limit)
		return false;
	if (!request->closing)
		ops[kept++] = (struct op_id){request->client_id, request->op_id, request->version};
	memcpy(chunk->ops, ops, kept * sizeof(*ops));
	chunk->op_count = kept;
	return true;
}

static void model_set(struct model_chunk *chunk, uint32_t block, uint64_t number)
{
	chunk->blocks[block] = number;
	chunk->halves &= (uint8_t) ~(1u << block);
}

int model_commit(struct model_store *store, const struct chain_work *request)
{
	struct model_chunk *chunk = model_chunk(store, &request->key);
	const uint64_t *numbers =
		request->payload == NULL ? NULL : (const void *)buf_payload(request->payload);
	uint64_t first = request->offset / BLOCK_SIZE;
	uint64_t end = request->op == FRAME_TRUNCATE
			       ? UINT64_MAX
			       : first + (request->length + BLOCK_SIZE - 1) / BLOCK_SIZE;

	if (request->closing && !chunk->exists)
		return 0;
	if (request->op != FRAME_CATCHUP_DATA && request->op_id != 0 &&
	    !model_op(store, chunk, request))
		return -EBUSY;
	for (uint64_t i = first; i < end && i < MODEL_BLOCKS; i++)
		model_set(chunk, (uint32_t)i, numbers == NULL ? 0 : numbers[i - first]);
	if (request->op != FRAME_CATCHUP_DATA) {
		chunk->history.lost |= chunk->exists && chunk->version == 0;
		chunk_history_change(&chunk->history, chunk->epoch, chunk->version, request->epoch);
	}
	chunk->exists = true;
	chunk->epoch = request->epoch;
	if (request->op == FRAME_CATCHUP_DATA) {
		chunk->op_count = op_ids_void(chunk->ops, chunk->op_count, chunk->version);
		chunk->version = 0;
	} else {
		chunk->version = request->version;
	}
	model_changed(store, chunk);
	return 0;
}

bool model_abort(struct model_store *store, const struct chain_work *request, uint32_t upto)
{
	struct model_chunk *chunk = model_chunk(store, &request->key);
	const uint64_t *numbers =
		request->payload == NULL ? NULL : (const void *)buf_payload(request->payload);
	uint32_t first = request->offset / BLOCK_SIZE, blocks = request->length / BLOCK_SIZE;
	bool touched = false;

	if (!chunk->exists || numbers == NULL)
		return false;
	for (uint32_t i = 0; i < blocks && i < upto && first + i < MODEL_BLOCKS; i++) {
		if (chunk->blocks[first + i] == 0)
			continue;
		chunk->blocks[first + i] = numbers[i];
		chunk->halves |= (uint8_t)(1u << (first + i));
		chunk->unsure = touched = true;
	}
	if (touched)
		model_changed(store, chunk);
	return touched;
}

bool model_broken_off(struct model_store *store, const struct chain_work *request, int error,
		      uint64_t now)
{
	uint32_t dice = crc32c(&now, sizeof(now));

	return error != 0 && error != -EBADMSG && dice % 2 == 1 &&
	       model_abort(store, request, 1 + dice / 2 % MODEL_BLOCKS);
}

void model_remove(struct model_store *store, const struct chunk_key *key)
{
	struct model_chunk *chunk = model_chunk(store, key);

	model_clear(chunk);
	model_changed(store, chunk);
	model_flushed(store, model_now(store));
}

/* ---- lookups of the chain; ctx is the model_store ---- */

int model_info(void *ctx, const struct chunk_key *key, struct chunk_info *info)
{
	const struct model_chunk *chunk = model_chunk(ctx, key);

	memset(info, 0, offsetof(struct chunk_info, ops));
	if (!chunk->exists)
		return 0;
	info->exists = true;
	info->unsure = chunk->unsure;
	info->epoch = chunk->epoch;
	info->version = chunk->version;
	info->history = chunk->history;
	info->length = model_length(chunk);
	info->op_count = chunk->op_count;
	memcpy(info->ops, chunk->ops, chunk->op_count * sizeof(*info->ops));
	return 0;
}

int model_get_digest(void *ctx, const struct chunk_key *key, uint32_t *digest)
{
	*digest = model_digest(model_chunk(ctx, key));
	return 0;
}

int model_presence(void *ctx, const struct chunk_key *key, uint8_t *bitmap, uint32_t *bytes)
{
	const struct model_chunk *chunk = model_chunk(ctx, key);

	*bytes = (model_length(chunk) / BLOCK_SIZE + 7) / 8;
	memset(bitmap, 0, *bytes);
	for (uint32_t i = 0; i < MODEL_BLOCKS; i++)
		if (chunk->blocks[i] != 0)
			bitmap_set(bitmap, i);
	return 0;
}

int model_checksums(void *ctx, const struct chunk_key *key, uint32_t count, uint32_t *crcs,
		    uint8_t *bitmap)
{
	const struct model_chunk *chunk = model_chunk(ctx, key);

	memset(bitmap, 0, BITMAP_BYTES(count));
	memset(crcs, 0, count * sizeof(*crcs));
	for (uint32_t i = 0; i < MODEL_BLOCKS && i < count; i++) {
		if (chunk->blocks[i] == 0)
			continue;
		bitmap_set(bitmap, i);
		crcs[i] = crc32c(&chunk->blocks[i], sizeof(chunk->blocks[i]));
	}
	return 0;
}

int model_scan(void *ctx, uint32_t pool, uint32_t partition, const struct chunk_key *after,
	       struct chunk_key *out, int max)
{
	struct chunk_key from = {.pool = pool, .partition = partition};
	const struct model_store *store = ctx;
	bool include = after == NULL;
	int n = 0;

	if (after != NULL)
		from = *after;
	while (n < max) {
		const struct chunk_key *best = NULL;

		for (unsigned i = 0; i < store->count; i++) {
			const struct chunk_key *key = &store->keys[i];
			int order = chunk_key_compare(key, &from);

			if (!store->chunks[i]->exists || key->pool != pool ||
			    key->partition != partition || order < 0 || (order == 0 && !include))
				continue;
			if (best == NULL || chunk_key_compare(key, best) < 0)
				best = key;
		}
		if (best == NULL)
			break;
		from = out[n++] = *best;
		include = false;
	}
	return n;
}

int model_complete(void *ctx, const struct chunk_key *key, const struct chunk_info *info)
{
	struct model_chunk *chunk = model_chunk(ctx, key);

	chunk->exists = true;
	chunk->unsure = info->unsure;
	chunk->epoch = info->epoch;
	chunk->version = info->version;
	chunk->history = info->history;
	chunk->op_count = info->op_count;
	memcpy(chunk->ops, info->ops, info->op_count * sizeof(*info->ops));
	model_changed(ctx, chunk);
	return 0;
}

struct buf *model_buffer(void *ctx, uint32_t size)
{
	uint8_t *memory = calloc(1, size);

	(void)ctx;
	return memory == NULL ? NULL : buf_wrap(NULL, memory, size, free, memory);
}
