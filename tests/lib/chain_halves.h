/* chain_halves.h - updates that are half in place when a process ends, or its disk fails. The bytes
 * stay: where nobody has lived on that copy may lead, and then they are seen before the client
 * repeats the update, which may be after others have written there (docs/limits.md).
 *
 * A simulation says with its halves_history_fn which history a block has. */
#ifndef CATENA_TESTS_LIB_CHAIN_HALVES_H
#define CATENA_TESTS_LIB_CHAIN_HALVES_H
#include "tests/lib/chain_history.h"
#include "tests/lib/chain_store.h"

/* The history of a block; NULL: it has none. @world is as it was given. */
typedef struct history *halves_history_fn(void *world, const struct chunk_key *key, uint32_t block);

/* The process on @store ends, or the store works again, or it goes on alone. What was being copied
 * to it counts like that. */
void halves_stay(halves_history_fn *history_of, void *world, const struct model_store *store);

/* A member has committed it. */
void halves_end(halves_history_fn *history_of, void *world, const struct chain_work *request,
		uint64_t now);
#endif
