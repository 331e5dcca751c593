/* chain_equal.h - neighbours of a chain between which nothing is under way hold the same.
 *
 * That is what links and resumes rely on, and what digests of copies will compare: while the link
 * of two in-sync members is up, and no update stands in a queue or is not answered yet, both have
 * the same chunks, in version, length and bytes. What may differ: epochs (of an update that was on
 * its way when the chain changed each notes the one in which it got it), ids of updates, and what a
 * member is not sure of. */
#ifndef CATENA_TESTS_LIB_CHAIN_EQUAL_H
#define CATENA_TESTS_LIB_CHAIN_EQUAL_H
#include "tests/lib/chain_store.h"

/* True for chunks that the master removes: each member does it in its own time. */
typedef bool chain_equal_skip_fn(void *world, const struct chunk_key *key);

/* What was found equal last, by the states of both stores. Zeroed: nothing. */
struct chain_equal_seen {
	const struct model_store *after;
	uint64_t before_state, after_state;
};

/* True when @after, the member behind @before, is in-sync as @before is, both may serve, the link
 * is up, and nothing is under way between them. */
bool chain_equal_expected(const struct chain *before, const struct chain *after);

/* NULL, or a chunk of the partition that the two stores do not have in common. Looks only when one
 * of them has changed since @seen, and notes in it what it has seen. */
const struct chunk_key *chain_equal_check(const struct model_store *before,
					  const struct model_store *after, uint32_t partition,
					  struct chain_equal_seen *seen, chain_equal_skip_fn *skip,
					  void *world);
#endif
