#include "tests/lib/fake_servers.h"

struct fake_chunk *fake_chunk_get(struct fake *f, const struct chunk_key *key)
{
	struct fake_chunk *chunk;

	for (unsigned i = 0; i < f->chunk_count; i++)
		if (chunk_key_equal(&f->chunks[i].key, key))
			return &f->chunks[i];
	if (f->chunk_count == FAKE_CHUNKS_MAX) {
		fprintf(stderr, "fake_chain: more than %u chunks\n", FAKE_CHUNKS_MAX);
		abort();
	}
	chunk = &f->chunks[f->chunk_count++];
	chunk->key = *key;
	chunk->data = calloc(1, FAKE_CHUNK);
	chunk->durable = calloc(1, FAKE_CHUNK);
	chunk->pending_end = &chunk->pending;
	return chunk;
}

static void fake_range(const struct frame_header *h, uint32_t *from, uint32_t *to)
{
	*from = h->offset;
	*to = h->op == FRAME_WRITE   ? h->offset + h->length
	      : h->op == FRAME_PUNCH ? h->offset + h->range
				     : FAKE_CHUNK;
}

static bool fake_pending_overlaps(const struct fake_chunk *chunk, uint32_t from, uint32_t to)
{
	uint32_t a, b;

	for (const struct fake_update *u = chunk->pending; u != NULL; u = u->next) {
		fake_range(&u->header, &a, &b);
		if (a < to && b > from)
			return true;
	}
	return false;
}

static void fake_apply(struct fake_chunk *chunk, const struct fake_update *u)
{
	uint32_t from, to;

	fake_range(&u->header, &from, &to);
	if (u->header.op == FRAME_WRITE) {
		memcpy(chunk->data + from, u->bytes, to - from);
		for (uint32_t b = from / BLOCK_SIZE; b <= (to - 1) / BLOCK_SIZE; b++)
			bitmap_set(chunk->present, b);
		if (to > chunk->length)
			chunk->length = to;
	} else {
		memset(chunk->data + from, 0, to - from);
		for (uint32_t b = (from + BLOCK_SIZE - 1) / BLOCK_SIZE; b < to / BLOCK_SIZE; b++)
			bitmap_clear(chunk->present, b);
		if (u->header.op == FRAME_TRUNCATE && from < chunk->length)
			chunk->length = from;
	}
	chunk->version = u->version;
}

void fake_update_free(struct fake_update *u)
{
	for (unsigned i = 0; i < u->waiter_count; i++)
		fake_conn_unref(u->waiters[i].conn);
	free(u->bytes);
	free(u);
}

void fake_commit(struct fake *f, struct fake_chunk *chunk)
{
	struct fake_update *u = chunk->pending;
	unsigned head = f->rotation[chunk->key.partition];

	if (u == NULL)
		return;
	chunk->pending = u->next;
	if (u->next == NULL)
		chunk->pending_end = &chunk->pending;
	fake_apply(chunk, u);
	if (chunk->op_count == FAKE_OPS_MAX)
		memmove(&chunk->ops[0], &chunk->ops[1], sizeof(chunk->ops[0]) * --chunk->op_count);
	chunk->ops[chunk->op_count].client = u->header.client_id;
	chunk->ops[chunk->op_count].op = u->header.op_id;
	chunk->ops[chunk->op_count++].version = u->version;
	if ((u->header.flags & FRAME_DURABLE) != 0)
		memcpy(chunk->durable, chunk->data, FAKE_CHUNK);
	for (unsigned i = 0; i < u->waiter_count; i++) {
		struct frame_header request = u->header, answer = {
								 .version = u->version,
								 .arg = f->servers[head].space,
							 };

		request.request_id = u->waiters[i].request_id;
		fake_answer(u->waiters[i].conn, &request, FRAME_OK, &answer, NULL);
	}
	fake_update_free(u);
}

static void fake_forget_ops(struct fake_chunk *chunk, const struct frame_header *h)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < chunk->op_count; i++)
		if (chunk->ops[i].client != h->client_id || chunk->ops[i].op > h->answered)
			chunk->ops[kept++] = chunk->ops[i];
	chunk->op_count = kept;
}

static void fake_update_arrives(struct fake_conn *conn, const struct frame_header *h,
				struct buf *payload)
{
	struct fake *f = conn->fake;
	struct fake_chunk *chunk = fake_chunk_get(f, &h->key);
	struct frame_header answer = {.arg = f->servers[conn->server].space};
	struct fake_update *u;
	uint32_t from, to;

	/* Of a session that is over; sessions' ids grow here. */
	if (h->client_id < f->session)
		return;
	f->session = h->client_id;
	if (h->client_id != chunk->watermark_client) {
		chunk->watermark_client = h->client_id;
		chunk->watermark = 0;
	}
	if ((h->flags & FRAME_CLOSING) != 0) {
		f->closed++;
		f->closed_answered = h->answered;
	}
	if (h->answered >= h->op_id)
		f->broken = "an update that was answered already";
	for (u = chunk->pending; u != NULL; u = u->next) {
		if (u->header.client_id != h->client_id || u->header.op_id != h->op_id)
			continue;
		/* The first was sent on a connection that is over, or this would not be so many. */
		if (u->waiter_count == FAKE_WAITERS) {
			fake_conn_unref(u->waiters[0].conn);
			memmove(u->waiters, u->waiters + 1,
				(FAKE_WAITERS - 1) * sizeof(u->waiters[0]));
			u->waiter_count--;
		}
		u->waiters[u->waiter_count].conn = conn;
		u->waiters[u->waiter_count++].request_id = h->request_id;
		conn->refs++;
		return;
	}
	for (unsigned i = 0; i < chunk->op_count; i++) {
		if (chunk->ops[i].client != h->client_id || chunk->ops[i].op != h->op_id)
			continue;
		answer.version = chunk->ops[i].version;
		if ((h->flags & FRAME_DURABLE) != 0)
			memcpy(chunk->durable, chunk->data, FAKE_CHUNK);
		fake_answer(conn, h, FRAME_OK, &answer, NULL);
		return;
	}
	/* Comes late, from a connection long given up. */
	if (h->op_id <= chunk->watermark)
		return;
	if (h->answered > chunk->watermark)
		chunk->watermark = h->answered;
	fake_forget_ops(chunk, h);
	if (f->fail_updates != 0) {
		fake_answer(conn, h, f->fail_updates, &answer, NULL);
		return;
	}
	fake_range(h, &from, &to);
	/* Those of a session that is over may still be there. */
	for (u = chunk->pending; u != NULL; u = u->next) {
		uint32_t a, b;

		fake_range(&u->header, &a, &b);
		if (!conn->cut && u->header.client_id == h->client_id && a < to && b > from)
			f->broken = "overlapping updates under way together";
	}
	u = calloc(1, sizeof(*u));
	u->header = *h;
	if (payload != NULL) {
		u->bytes = malloc(payload->length);
		memcpy(u->bytes, buf_payload(payload), payload->length);
	}
	if (chunk->next_version <= chunk->version && chunk->pending == NULL)
		chunk->next_version = chunk->version + 1;
	u->version = chunk->next_version++;
	u->waiters[u->waiter_count].conn = conn;
	u->waiters[u->waiter_count++].request_id = h->request_id;
	conn->refs++;
	*chunk->pending_end = u;
	chunk->pending_end = &u->next;
	if (!f->hold_commits && h->key.partition != f->stuck_partition)
		fake_post(f, FAKE_COMMIT, f->now + fake_delay(f), NULL)->chunk = chunk;
}

static void fake_read_arrives(struct fake_conn *conn, const struct frame_header *h)
{
	struct fake *f = conn->fake;
	struct fake_chunk *chunk = fake_chunk_get(f, &h->key);
	unsigned tail = (f->rotation[h->key.partition] + FAKE_SERVERS - 1) % FAKE_SERVERS;
	struct frame_header answer = {.version = chunk->version};
	struct buf *payload;
	uint32_t length;

	f->asked[conn->server]++;
	f->bytes_asked += h->range;
	if (h->offset % BLOCK_SIZE != 0 || h->range % BLOCK_SIZE != 0 ||
	    h->offset + h->range > FAKE_CHUNK || h->range > FRAME_PAYLOAD_MAX)
		f->broken = "read not of whole blocks of one chunk";
	if (conn->server != tail && fake_pending_overlaps(chunk, h->offset, h->offset + h->range)) {
		fake_answer(conn, h, FRAME_STATUS_ASK_TAIL, NULL, NULL);
		return;
	}
	length = h->offset >= chunk->length ? 0 : chunk->length - h->offset;
	length = (length + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
	if (length > h->range)
		length = h->range;
	if (length == 0) {
		fake_answer(conn, h, FRAME_OK, &answer, NULL);
		return;
	}
	if ((h->flags & FRAME_VERIFY) != 0) {
		chunk->verified[conn->server]++;
		if (chunk->bad[conn->server]) {
			fake_answer(conn, h, EIO, &answer, NULL);
			return;
		}
	}
	payload = buf_get(f->pool, length);
	payload->start = 0;
	payload->length = length;
	memcpy(payload->data, chunk->data + h->offset, length);
	block_checksums(payload->data, h->offset, length, payload->crcs);
	/* Never all copies at once by chance. */
	if (chunk->bad[conn->server] || (conn->server != 0 && fake_chance(f, f->corrupt_reads)))
		payload->data[fake_random(f) % length] ^= 0x55;
	fake_answer(conn, h, FRAME_OK, &answer, payload);
}

static void fake_stat_arrives(struct fake_conn *conn, const struct frame_header *h)
{
	struct fake *f = conn->fake;
	struct fake_chunk *chunk = fake_chunk_get(f, &h->key);
	struct frame_header answer = {.version = chunk->version, .arg = chunk->length};
	struct buf *payload = NULL;

	if (chunk->length > 0) {
		payload = buf_get(f->pool, sizeof(chunk->present));
		payload->length = (chunk->length + BLOCK_SIZE * 8 - 1) / (BLOCK_SIZE * 8);
		memcpy(payload->data, chunk->present, payload->length);
		block_checksums(payload->data, 0, payload->length, payload->crcs);
	}
	fake_answer(conn, h, FRAME_OK, &answer, payload);
}

static void fake_list_arrives(struct fake_conn *conn, const struct frame_header *h)
{
	struct fake *f = conn->fake;
	unsigned tail = (f->rotation[h->key.partition] + FAKE_SERVERS - 1) % FAKE_SERVERS;
	struct buf *payload = buf_get(f->pool, FAKE_LIST_MAX * FRAME_LIST_ENTRY_BYTES);
	struct frame_header answer = {0};
	uint64_t from = h->key.index;

	payload->length = 0;
	while (from <= UINT32_MAX && answer.arg == 0) {
		struct fake_chunk *next = NULL;
		uint32_t blocks = 0;

		for (unsigned i = 0; i < f->chunk_count; i++) {
			struct fake_chunk *chunk = &f->chunks[i];

			if (chunk->key.file_id != h->key.file_id ||
			    chunk->key.partition != h->key.partition)
				continue;
			if (conn->server != tail && chunk->pending != NULL) {
				buf_unref(payload);
				fake_answer(conn, h, FRAME_STATUS_ASK_TAIL, NULL, NULL);
				return;
			}
			if (chunk->version > 0 && chunk->key.index >= from &&
			    (next == NULL || chunk->key.index < next->key.index))
				next = chunk;
		}
		if (next == NULL)
			break;
		if (payload->length == FAKE_LIST_MAX * FRAME_LIST_ENTRY_BYTES) {
			answer.arg = next->key.index;
			break;
		}
		for (unsigned i = 0; i < sizeof(next->present); i++)
			blocks += (uint32_t)__builtin_popcount(next->present[i]);
		put_le32(payload->data + payload->length, next->key.index);
		put_le32(payload->data + payload->length + 4, blocks);
		payload->length += FRAME_LIST_ENTRY_BYTES;
		from = (uint64_t)next->key.index + 1;
	}
	if (payload->length == 0) {
		buf_unref(payload);
		payload = NULL;
	} else {
		block_checksums(payload->data, 0, payload->length, payload->crcs);
	}
	fake_answer(conn, h, FRAME_OK, &answer, payload);
}

static void fake_hello_arrives(struct fake_conn *conn, const struct frame_header *h,
			       struct buf *payload)
{
	struct hello hello;
	struct buf *out;

	if (payload == NULL || hello_decode(buf_payload(payload), payload->length, &hello) < 0 ||
	    strcmp(hello.cluster, FAKE_CLUSTER) != 0 || hello.instance != FAKE_INSTANCE ||
	    hello.worker >= FAKE_WORKERS) {
		conn->fake->broken = "bad hello";
		return;
	}
	conn->greeted = true;
	conn->worker = hello.worker;
	conn->session = hello.id;
	hello.id = conn->server + 1;
	hello.worker = FAKE_WORKERS;
	hello.instance += conn->fake->made_anew;
	out = buf_get(conn->fake->pool, HELLO_BYTES);
	out->length = HELLO_BYTES;
	hello_encode(&hello, buf_payload(out));
	block_checksums(buf_payload(out), 0, HELLO_BYTES, out->crcs);
	fake_answer(conn, h, FRAME_OK, NULL, out);
}

static uint32_t fake_odd_status(struct fake *f)
{
	static const uint32_t all[] = {FRAME_STATUS_EPOCH,     FRAME_STATUS_NOT_HEAD,
				       FRAME_STATUS_NOT_READY, FRAME_STATUS_NO_LEASE,
				       FRAME_STATUS_CHECKSUM,  FRAME_STATUS_NOT_MINE,
				       FRAME_STATUS_GAP};

	return all[fake_random(f) % 7];
}

void fake_frame_arrives(struct fake_conn *conn, const struct frame_header *h, struct buf *payload)
{
	struct fake *f = conn->fake;
	bool to_head = frame_is_update(h->op) || h->op == FRAME_FLUSH;
	struct frame_header answer = {0};
	struct fake_chunk *chunk;

	if (h->op == FRAME_HELLO) {
		fake_hello_arrives(conn, h, payload);
		return;
	}
	if (!conn->greeted) {
		f->broken = "no hello first";
		return;
	}
	if (h->op == FRAME_PING) {
		fake_answer(conn, h, FRAME_OK, NULL, NULL);
		return;
	}
	f->seen[h->op]++;
	if ((h->flags & FRAME_DURABLE) != 0)
		f->seen_durable++;
	if (h->key.partition % FAKE_WORKERS != conn->worker ||
	    (h->op != FRAME_LIST &&
	     h->key.partition != chunk_partition(h->key.file_id, h->key.index, FAKE_PARTITIONS))) {
		f->broken = "not this worker's partition";
		return;
	}
	if (fake_chance(f, f->lose_connection)) {
		/* Before it took effect, or after. */
		if (fake_random(f) % 2 == 0) {
			fake_cut(conn, -ECONNRESET);
			return;
		}
		fake_post(f, FAKE_CLOSED, f->now + fake_delay(f), conn)->error = -ECONNRESET;
	}
	if (fake_chance(f, f->odd_status)) {
		fake_answer(conn, h, fake_odd_status(f), NULL, NULL);
		return;
	}
	if (h->epoch != f->epochs[h->key.partition]) {
		fake_answer(conn, h, FRAME_STATUS_EPOCH, NULL, NULL);
		return;
	}
	if (to_head && conn->server != f->rotation[h->key.partition]) {
		fake_answer(conn, h, FRAME_STATUS_NOT_HEAD, NULL, NULL);
		return;
	}
	if (payload != NULL && block_checksums_verify(buf_payload(payload), h->offset,
						      payload->length, payload->crcs) >= 0)
		f->broken = "an update with wrong checksums";
	if (fake_chance(f, f->damage) && payload != NULL) {
		fake_answer(conn, h, FRAME_STATUS_CHECKSUM, NULL, NULL);
		return;
	}
	switch (h->op) {
	case FRAME_READ:
		fake_read_arrives(conn, h);
		break;
	case FRAME_STAT:
		fake_stat_arrives(conn, h);
		break;
	case FRAME_LIST:
		fake_list_arrives(conn, h);
		break;
	case FRAME_FLUSH:
		chunk = fake_chunk_get(f, &h->key);
		answer.version = chunk->version;
		memcpy(chunk->durable, chunk->data, FAKE_CHUNK);
		fake_answer(conn, h, FRAME_OK, &answer, NULL);
		break;
	default:
		fake_update_arrives(conn, h, payload);
		break;
	}
}
