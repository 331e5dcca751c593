/* list.c - LIST: which chunks of a file a partition holds, so that holes cost nothing to
 * whoever shrinks, punches, seeks in or measures a sparse file. */
#include "chunkserver/chain/read.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/chain/actions.h"
#include "common/base/bytes.h"

/* Readers have not been shown by the tail what is under way here. At the tail itself the answer is
 * what the store has: an update under way has not been answered to anybody, so it may be missing.
 */
static bool file_is_changing(const struct chain *chain, uint64_t file_id)
{
	const struct chain_chunk *chunk;

	if (chain->role.tail)
		return false;
	DL_FOREACH(chain->chunks, chunk)
	if (chunk->key.file_id == file_id && (chunk->queue != NULL || chunk->pending != NULL))
		return true;
	return false;
}

static int count_blocks(const struct chain *chain, const struct chunk_key *key, uint32_t *blocks)
{
	uint8_t bitmap[CHUNK_BLOCKS_MAX / 8];
	uint32_t bytes = sizeof(bitmap);
	int rc = chain->env->ops->store.presence(chain->env->ctx, key, bitmap, &bytes);

	*blocks = 0;
	for (uint32_t i = 0; rc == 0 && i < bytes; i++)
		*blocks += (uint32_t)__builtin_popcount(bitmap[i]);
	return rc;
}

/* Chunks of the file from @from on, one more than fit into an answer. Returns how many, or -errno.
 */
static int find_chunks(const struct chain *chain, const struct chunk_key *from,
		       struct chunk_key out[FRAME_LIST_MAX + 1])
{
	struct chunk_key before = *from;
	int count, ours = 0;

	if (from->index > 0) {
		before.index--;
	} else {
		before.file_id--;
		before.index = UINT32_MAX;
	}
	count = chain->env->ops->store.scan(chain->env->ctx, from->pool, from->partition, &before,
					    out, (int)FRAME_LIST_MAX + 1);
	while (ours < count && out[ours].file_id == from->file_id)
		ours++;
	return count < 0 ? count : ours;
}

/* *next: the index to go on from; 0: that was all. */
static int list_chunks(const struct chain *chain, const struct chunk_key *from, struct buf **out,
		       uint32_t *next)
{
	struct chunk_key keys[FRAME_LIST_MAX + 1];
	int count = find_chunks(chain, from, keys), rc = 0;
	struct buf *list;

	*next = 0;
	if (count <= 0)
		return count;
	if (count > (int)FRAME_LIST_MAX) {
		count = (int)FRAME_LIST_MAX;
		*next = keys[FRAME_LIST_MAX].index;
	}
	list = chain->env->ops->store.buffer(chain->env->ctx,
					     (uint32_t)count * FRAME_LIST_ENTRY_BYTES);
	if (list == NULL)
		return -ENOMEM;
	list->start = 0;
	list->length = (uint32_t)count * FRAME_LIST_ENTRY_BYTES;
	for (int i = 0; i < count && rc == 0; i++) {
		uint8_t *entry = list->data + (uint32_t)i * FRAME_LIST_ENTRY_BYTES;
		uint32_t blocks;

		rc = count_blocks(chain, &keys[i], &blocks);
		/* It is there, which is what whoever punches or shrinks must know. */
		if (rc == -EBADMSG) {
			blocks = FRAME_LIST_DAMAGED;
			rc = 0;
		}
		put_le32(entry, keys[i].index);
		put_le32(entry + 4, blocks);
	}
	if (rc != 0) {
		buf_unref(list);
		return rc;
	}
	block_checksums(list->data, 0, list->length, list->crcs);
	*out = list;
	return 0;
}

void chain_list_arrived(struct chain *chain, const struct chain_source *source,
			const struct frame_header *header)
{
	uint32_t status = chain_read_refused(chain, header), next = 0;
	struct frame_header reply = *header;
	struct buf *list = NULL;
	int rc = 0;

	if (status == 0 && header->key.file_id == 0)
		status = EINVAL;
	if (status == 0 && file_is_changing(chain, header->key.file_id))
		status = FRAME_STATUS_ASK_TAIL;
	if (status == 0) {
		rc = list_chunks(chain, &header->key, &list, &next);
		status = chain_read_status(rc);
	}
	if (rc == -EIO)
		chain_trouble(chain);
	reply.arg = next;
	chain_answer_source(chain, source, &reply, status, 0, list);
	buf_unref(list);
}
