#include "tests/lib/kept_gen.h"
#include <string.h>

void kept_gen_head(struct kept_gen *gen, uint64_t index)
{
	struct kept_head head = {.instance = 11,
				 .life = 12,
				 .chance = 13,
				 .index = index,
				 .time = -14,
				 .begins = true,
				 .level = 16,
				 .cluster = "cluster"};

	memset(head.hash, 0x15, sizeof(head.hash));
	kept_write_head(&head, gen->bytes);
	gen->size = KEPT_HEAD_BYTES;
}

void kept_gen_entry(struct kept_gen *gen, uint64_t index, const void *entry, size_t size)
{
	kept_write_entry(index, entry, size, gen->bytes + gen->size);
	memcpy(gen->bytes + gen->size + KEPT_ENTRY_FRAME, entry, size);
	gen->size += KEPT_ENTRY_FRAME + size;
}

struct log_trace kept_gen_trace(uint64_t index)
{
	struct log_trace trace = {.result = -(int32_t)index,
				  .answer_crc = (uint32_t)index + 1,
				  .changes_crc = (uint32_t)index + 2};

	memset(trace.hash, (int)index, sizeof(trace.hash));
	return trace;
}

void kept_gen_result(struct kept_gen *gen, uint64_t index)
{
	struct log_trace trace = kept_gen_trace(index);

	kept_write_result(index, &trace, gen->bytes + gen->size);
	gen->size += KEPT_RESULT_BYTES;
}

void kept_gen_undone(struct kept_gen *gen, uint64_t index)
{
	kept_write_undone(index, gen->bytes + gen->size);
	gen->size += KEPT_MARK_BYTES;
}
