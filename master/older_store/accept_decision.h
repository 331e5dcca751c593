/* accept_decision.h - an accepted store as a whole: its chains, targets, numbers and lives. Pure
 * but for reads of the state.
 *
 * accept_plan.h says what is known of each chain; this makes the one command of it that the state
 * applies (state_apply_accept()).
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_OLDER_STORE_ACCEPT_DECISION_H
#define CATENA_MASTER_OLDER_STORE_ACCEPT_DECISION_H
#include "master/older_store/accept_plan.h"
#include "master/state/state.h"

/* A target that has registered, and told what it has seen. */
struct accept_target {
	char uuid[37];
	uint32_t id;   /* by the last master; 0: none has given it one */
	bool heard;    /* all its chains are told */
	uint64_t life; /* as it says */
	bool settled;  /* by a master whose map its process has gone by */
	struct state_seen seen;
	struct map_server server;
};

/* Gives the uuid of another target, of the store or among @targets, that has the number of target
 * @which; NULL: none has it. Masters on this store, or on copies of it, have given out numbers
 * since. The store cannot be accepted with both: the number does not say which of them is in a
 * chain. */
const char *accept_decision_clash(const struct accept_plan *plan,
				  const struct accept_target *targets, size_t count, size_t which);

/* What the store becomes. */
struct accept_decision {
	struct state_accept accept;
	struct chain_change *chains;
	struct state_accepted_target *targets;
	struct chain_life *lives;
	struct state_accept_seen *seen;
	size_t newer, silent; /* chains */
	size_t unknown;       /* chains that begin empty, though others of their pool are known */
	size_t stranded;      /* chains that had to begin empty, and no target goes on to take them:
				 it cannot be accepted */
	bool older;           /* some target has seen more than the store */
};
/* Decides. @targets: all that have registered; the map of @plan is that of @state. The caller frees
 * *out in any case. Errors: -ENOMEM, and errors of the store. */
int accept_decision_make(struct accept_plan *plan, struct state *state,
			 const struct accept_target *targets, size_t count,
			 struct accept_decision *out);
void accept_decision_free(struct accept_decision *decision);
#endif
