#include "tests/unit/chunkserver/chain/chain_change_rig.h"

void change(struct rig *rig, uint64_t epoch, uint32_t self, unsigned count,
	    const struct place *places)
{
	struct chain_config config = {
		.epoch = epoch, .chunk_size = MODEL_BYTES, .self = -1, .count = count};

	for (unsigned i = 0; i < count; i++) {
		config.members[i].target_id = places[i].target;
		config.members[i].server_id = places[i].target;
		config.members[i].state = places[i].state;
		if (places[i].target == self)
			config.self = (int)i;
	}
	chain_env_time(rig->env, rig->now, rig->lease_until);
	chain_configure(rig->chain, &config);
	rig_run(rig);
	/* chain_rig.h takes the server before ours from this. */
	rig->self = (unsigned)chain_previous_server(rig->chain);
}

struct rig *alone(uint32_t self)
{
	struct rig *rig = rig_new(0, 1);

	CHANGE(rig, 2, self, {self, IN});
	return rig;
}

struct rig *with_syncing(unsigned chunks)
{
	struct rig *rig = alone(A);

	for (unsigned i = 0; i < chunks; i++) {
		struct chunk_key key = rig_key(10 + i);
		struct model_chunk *chunk = model_chunk(&rig->store, &key);

		chunk->exists = true;
		chunk->version = chunk->epoch = 1;
		chunk->blocks[0] = 7 + i;
	}
	CHANGE(rig, 3, A, {A, IN}, {D, SYN});
	return rig;
}

uint64_t writes_to(struct rig *rig, uint64_t file_id, uint64_t op_id)
{
	struct frame_header header = rig_header(rig, FRAME_WRITE, file_id);
	uint64_t id;

	header.client_id = 5;
	header.op_id = op_id;
	header.length = BLOCK_SIZE;
	id = rig_ask(rig, CLIENT, &header, rig_payload(1));
	return id;
}

uint8_t last_sent(const struct rig *rig)
{
	return rig->sent_count == 0 ? 0 : rig->sent[rig->sent_count - 1].header.op;
}

int sent_kind(const struct rig *rig)
{
	const struct chain_action *sent = &rig->sent[rig->sent_count - 1];

	assert_true(rig->sent_count > 0);
	assert_int_equal(sent->header.op, FRAME_CATCHUP_COMPARE);
	return catchup_compare_kind(buf_payload(sent->payload), sent->payload->length);
}

void forget_sent(struct rig *rig)
{
	for (size_t i = 0; i < rig->sent_count; i++)
		buf_unref(rig->sent[i].payload);
	rig->sent_count = 0;
}

void compared(struct rig *rig, uint8_t bits)
{
	struct chain_action sent = take(rig->sent, &rig->sent_count, 0);
	struct frame_header header = sent.header;
	static struct catchup_compare compare;
	struct buf *bitmap = NULL;

	assert_int_equal(
		catchup_compare_decode(buf_payload(sent.payload), sent.payload->length, &compare),
		0);
	if (compare.count > 0) {
		bitmap = model_buffer(NULL, BITMAP_BYTES(compare.count));
		bitmap->data[0] = bits;
	}
	header.flags = FRAME_REPLY;
	header.length = 0;
	chain_answer(rig->chain, sent.conn, &header, bitmap);
	buf_unref(bitmap);
	buf_unref(sent.payload);
	rig_run(rig);
}
