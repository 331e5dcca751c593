/* seen_chains.h - the chains that a target remembers, as messages for a master whose store is older
 * than what the target has gone by. */
#ifndef CATENA_CHUNKSERVER_SERVER_SEEN_CHAINS_H
#define CATENA_CHUNKSERVER_SERVER_SEEN_CHAINS_H
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/server/server_batch.h"
#include "chunkserver/store/store.h"

#define SEEN_CHAINS_AT_ONCE 512u

struct seen_chains;

/* Each message goes to @send, packed; the bytes are borrowed, and -errno means that it will not
 * reach the master. NULL: out of memory. */
struct seen_chains *seen_chains_new(int (*send)(void *user, const uint8_t *data, size_t size),
				    void *user);
void seen_chains_free(struct seen_chains *chains); /* NULL is allowed */
/* Begins with a target: its report is borrowed until seen_chains_end(). What was added of another
 * one and not ended is dropped. */
void seen_chains_begin(struct seen_chains *chains, const struct target_report *target);
/* A store_seen_each: adds a chain, and sends those that were added before when there are
 * SEEN_CHAINS_AT_ONCE of them. Errors: -errno when they could not be sent. The target must not be
 * ended then: the master would take what it has got for all that the target remembers. */
int seen_chains_add(void *chains, uint32_t pool, uint32_t partition, const struct map_chain *chain);
/* Sends the rest, and that it was the last of the target. */
void seen_chains_end(struct seen_chains *chains);
#endif
