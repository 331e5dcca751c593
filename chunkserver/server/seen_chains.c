#include "chunkserver/server/seen_chains.h"
#include <errno.h>
#include <stdlib.h>
#include "catena.pb-c.h"
#include "common/base/expects.h"

struct seen_chains {
	int (*send)(void *user, const uint8_t *data, size_t size);
	void *user;
	Catena__SeenChains message;
	size_t count;
	Catena__SeenChain seen[SEEN_CHAINS_AT_ONCE], *pointers[SEEN_CHAINS_AT_ONCE];
	Catena__Chain chains[SEEN_CHAINS_AT_ONCE];
	Catena__ChainMember members[SEEN_CHAINS_AT_ONCE][CHAIN_MEMBERS_MAX];
	Catena__ChainMember *member_pointers[SEEN_CHAINS_AT_ONCE][CHAIN_MEMBERS_MAX];
};

struct seen_chains *seen_chains_new(int (*send)(void *user, const uint8_t *data, size_t size),
				    void *user)
{
	struct seen_chains *chains = calloc(1, sizeof(*chains));

	if (chains == NULL)
		return NULL;
	chains->send = send;
	chains->user = user;
	return chains;
}

void seen_chains_free(struct seen_chains *chains)
{
	free(chains);
}

void seen_chains_begin(struct seen_chains *chains, const struct target_report *target)
{
	catena__seen_chains__init(&chains->message);
	chains->message.uuid = (char *)(uintptr_t)target->uuid;
	chains->message.target_id = (uint32_t)target->seen.target_id;
	chains->message.server_id = target->seen.server_id;
	chains->count = 0;
}

static int send_added(struct seen_chains *chains, bool last)
{
	Catena__ServerBatch batch = CATENA__SERVER_BATCH__INIT;
	Catena__SeenChains *messages[1] = {&chains->message};
	int rc = -ENOMEM;
	uint8_t *data;
	size_t size;

	chains->message.n_chains = chains->count;
	chains->message.chains = chains->pointers;
	chains->message.last = last;
	batch.seen = messages;
	batch.n_seen = 1;
	size = catena__server_batch__get_packed_size(&batch);
	data = malloc(size);
	if (data != NULL) {
		catena__server_batch__pack(&batch, data);
		rc = chains->send(chains->user, data, size);
	}
	free(data);
	chains->count = 0;
	return rc;
}

int seen_chains_add(void *user, uint32_t pool, uint32_t partition, const struct map_chain *chain)
{
	struct seen_chains *chains = user;
	Catena__Chain *message;
	size_t at;

	expects(chain->count <= CHAIN_MEMBERS_MAX);
	if (chains->count == SEEN_CHAINS_AT_ONCE) {
		int rc = send_added(chains, false);

		if (rc < 0)
			return rc;
	}
	at = chains->count++;
	message = &chains->chains[at];
	catena__seen_chain__init(&chains->seen[at]);
	catena__chain__init(message);
	chains->pointers[at] = &chains->seen[at];
	chains->seen[at].pool = pool;
	chains->seen[at].partition = partition;
	chains->seen[at].chain = message;
	message->epoch = chain->epoch;
	message->n_members = chain->count;
	message->members = chains->member_pointers[at];
	for (uint32_t i = 0; i < chain->count; i++) {
		Catena__ChainMember *member = &chains->members[at][i];

		catena__chain_member__init(member);
		member->target_id = chain->members[i].target_id;
		member->state = (uint32_t)chain->members[i].state;
		chains->member_pointers[at][i] = member;
	}
	return 0;
}

void seen_chains_end(struct seen_chains *chains)
{
	(void)send_added(chains, true); /* the master asks again for what has no end */
}
