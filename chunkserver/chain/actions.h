/* actions.h - what a member wants done: a ring of actions, oldest first, taken by chain_next().
 *
 * Decisions add actions here and never act themselves. An action keeps references to its request
 * and payload until the caller has taken the next one. A reference that the chain itself needs for
 * a result is counted apart, in env->operations. */
#ifndef CATENA_CHUNKSERVER_CHAIN_ACTIONS_H
#define CATENA_CHUNKSERVER_CHAIN_ACTIONS_H
#include "chunkserver/chain/member.h"

/* Returns zeroed memory, or ends the process: see chain.h. */
void *chain_alloc(size_t size);
/* Adds @node to @table, or ends the process. */
void chain_table_add(struct table *table, struct table_node *node, uint64_t hash);
/* Adds an action of @kind, zeroed, to be filled in by the caller before it adds another one. */
struct chain_action *chain_action_add(struct chain_env *env, enum chain_action_kind kind);
/* Adds an operation of the store on @r. PREPARE, FLUSH, READ and REMOVE count as under way until
 * their result; COMMIT has its result at once, ABORT has none. */
void chain_operation_add(struct request *r, enum chain_action_kind kind);
/* Releases the actions that nobody has taken, and the ring. */
void chain_actions_free(struct chain_env *env);
/* Asks the caller to look whether the store is down. */
void chain_trouble(struct chain *chain);
/* Answers the frame @header to @source, unless @source has no connection. @payload (may be NULL) is
 * borrowed, and sent with FRAME_OK only. */
void chain_answer_source(struct chain *chain, const struct chain_source *source,
			 const struct frame_header *header, uint32_t status, uint64_t version,
			 struct buf *payload);
/* Reports to the master that the syncing successor has everything and is waited for. */
void chain_report_caught_up(struct chain *chain);
/* Reports, once in an epoch, that this copy has damage or parts of two members. False: no other
 * member is in-sync, so the master can do nothing about it. */
bool chain_report_unfit(struct chain *chain);
/* True when another member of the chain is in-sync. */
bool chain_others_in_sync(const struct chain *chain);
#endif
