/* edge.c - the blocks at the edges of an update. */
#include "chunkserver/store/edge.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/chunk/inner.h"
#include "common/base/block.h"
#include "common/base/crc32c.h"

int edge_base(struct plan *plan, struct edge *edge)
{
	struct chunk *chunk = plan->chunk;
	uint32_t i = edge->block % PIECE_BLOCKS;
	struct bits set = {{1}};
	struct piece *piece;
	int rc = chunk_piece(chunk, edge->block >> PIECE_SHIFT, &piece);

	if (rc != 0)
		return rc;
	edge->stale = false;
	edge->in_file = false;
	if (piece == NULL || !bits_test(&piece->present, i)) {
		memset(edge->bytes, 0, BLOCK_SIZE);
		return 0;
	}
	edge->base_crc = piece->crcs[i];
	if (!bits_test(&piece->inner, i)) {
		edge->in_file = true;
		return 1;
	}
	rc = inner_read(&plan->view->store->disk, &chunk->key, edge->block, &set, &edge->base_crc,
			edge->bytes);
	if (rc == 0 && crc32c(edge->bytes, BLOCK_SIZE) != edge->base_crc)
		rc = -EBADMSG;
	return rc;
}

int edge_merge(struct plan *plan, struct edge *edge)
{
	uint32_t size = edge->to - edge->from;

	if (plan->update->op == STORE_WRITE) {
		const uint8_t *from = plan_payload_at(plan, edge->block, edge->from);

		memcpy(edge->bytes + edge->from, from, size);
		/* The writer's checksum holds up to here; from here on it is the whole block's. */
		if (crc32c(edge->bytes + edge->from, size) !=
		    plan->payload->crcs[edge->block - plan->first])
			return -EBADMSG;
	} else {
		memset(edge->bytes + edge->from, 0, size);
	}
	edge->crc = crc32c(edge->bytes, BLOCK_SIZE);
	return 0;
}

static int edge_add(struct plan *plan, uint32_t block, uint32_t from, uint32_t to)
{
	struct edge *edge = &plan->edges[plan->edge_count];
	uint8_t *bytes = aligned_alloc(BLOCK_SIZE, BLOCK_SIZE);

	if (bytes == NULL)
		return -ENOMEM;
	*edge = (struct edge){.block = block, .from = from, .to = to, .bytes = bytes};
	plan->edge_count++;
	return 0;
}

/* Making a hole in part of a block that is one already takes nothing. */
static int edge_needed(struct plan *plan, uint32_t block)
{
	struct piece *piece;
	int rc = chunk_piece(plan->chunk, block >> PIECE_SHIFT, &piece);

	if (rc != 0 || plan->update->op == STORE_WRITE)
		return rc != 0 ? rc : 1;
	return piece != NULL && bits_test(&piece->present, block % PIECE_BLOCKS) ? 1 : 0;
}

int edge_make_all(struct plan *plan, uint64_t offset, uint64_t end)
{
	uint32_t head = (uint32_t)offset % BLOCK_SIZE, tail = (uint32_t)end % BLOCK_SIZE;
	uint32_t first = (uint32_t)(offset >> BLOCK_SHIFT), last = (uint32_t)(end >> BLOCK_SHIFT);
	int rc;

	if (head != 0 && first < CHUNK_BLOCKS_MAX) {
		rc = edge_needed(plan, first);
		if (rc > 0)
			rc = edge_add(plan, first, head, first == last ? tail : BLOCK_SIZE);
		if (rc != 0)
			return rc;
	}
	if (tail != 0 && (head == 0 || first != last)) {
		rc = edge_needed(plan, last);
		if (rc > 0)
			rc = edge_add(plan, last, 0, tail);
		if (rc != 0)
			return rc;
	}
	return 0;
}
