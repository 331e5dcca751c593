/* seen.h - what follows from what a target remembers of masters, maps and chains (struct
 * store_seen). Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_SEEN_H
#define CATENA_CHUNKSERVER_RECORD_SEEN_H
#include <stdbool.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"

/* What a target remembers of masters. It tells the next master, which may have an older store. It
 * is written before the target acts by it, and durable before anything that is flushed later.
 * Thread: one, while others may use views. */
struct store_seen {
	uint64_t life, chance; /* of the master that registered it last; 0: none has */
	uint64_t version;      /* of the newest map */
	uint64_t server_id;    /* its server's, and its own, by that master */
	uint64_t target_id;
	uint64_t index; /* so far that master's log was on stable storage in that life */
};

/* The target has had to do with a later life of a master than this one, or with another that began
 * from the same store. */
static inline bool seen_overtakes(const struct store_seen *seen, uint64_t life, uint64_t chance)
{
	return seen->life > life || (seen->life == life && seen->chance != chance);
}

/* Registered by this master, whose log is on stable storage up to @index. Indices of different
 * lives are not compared: the log of one may have gone on from an older store. */
static inline void seen_registered(struct store_seen *seen, uint64_t life, uint64_t chance,
				   uint64_t index)
{
	bool same = seen->life == life && seen->chance == chance;

	seen->index = same && seen->index > index ? seen->index : index;
	seen->life = life;
	seen->chance = chance;
}

/* The same state of the master, or an older one: nothing that is stored has changed since. */
static inline bool seen_has_map(const struct store_seen *seen, uint64_t version)
{
	return version >> MAP_CHANGE_BITS <= seen->version >> MAP_CHANGE_BITS;
}

/* The target has gone by a newer map. */
static inline bool seen_is_ahead(const struct store_seen *seen, uint64_t version)
{
	return version >> MAP_CHANGE_BITS < seen->version >> MAP_CHANGE_BITS;
}

/* Is the chain to be remembered? @epoch: of the one that is; NULL: none is. Those of which the
 * target was a member once are followed on. */
static inline bool seen_chain_is_news(const struct store_seen *seen, const uint64_t *epoch,
				      const struct map_chain *chain)
{
	if (epoch == NULL)
		return cluster_map_chain_index(chain, (uint32_t)seen->target_id) >= 0;
	return chain->epoch > *epoch;
}
#endif
