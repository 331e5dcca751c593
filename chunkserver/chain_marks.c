#include "chunkserver/chain_marks.h"
#include <assert.h>
#include <stdlib.h>
#include "chunkserver/chain_internal.h"

/* FNV-1a. */
static uint64_t name_hash(const char *name)
{
	uint64_t hash = 14695981039346656037u;

	for (const char *c = name; *c != '\0'; c++)
		hash = (hash ^ (uint8_t)*c) * 1099511628211u;
	return hash;
}

static struct chain_mark *mark_of(struct table_node *node)
{
	return (struct chain_mark *)(void *)((char *)node - offsetof(struct chain_mark, node));
}

struct chain_mark *chain_marks_join(struct chain_marks *marks, uint64_t client_id,
				    const char *certificate)
{
	uint64_t name = name_hash(certificate), hash = table_hash(client_id ^ name);
	struct table_node *node = table_first(&marks->table, hash);
	struct chain_mark *mark;

	for (; node != NULL; node = table_more(node)) {
		mark = mark_of(node);
		if (mark->client_id == client_id && mark->certificate == name) {
			mark->connections++;
			return mark;
		}
	}
	mark = calloc(1, sizeof(*mark));
	if (mark == NULL)
		return NULL;
	*mark = (struct chain_mark){.client_id = client_id, .certificate = name, .connections = 1};
	if (table_add(&marks->table, &mark->node, hash) < 0) {
		free(mark);
		return NULL;
	}
	return mark;
}

void chain_marks_leave(struct chain_marks *marks, struct chain_mark *mark)
{
	if (mark == NULL)
		return;
	if (--mark->connections > 0)
		return;
	table_remove(&marks->table, &mark->node);
	free(mark);
}

bool chain_mark_late(struct chain_mark *mark, const struct frame_header *header)
{
	if (FAULTY(NO_LATE_CHECK))
		return false;
	if (header->op_id <= mark->answered)
		return true;
	if (header->answered > mark->answered)
		mark->answered = header->answered;
	return false;
}

void chain_marks_free(struct chain_marks *marks)
{
	assert(marks->table.count == 0);
	table_free(&marks->table);
}
