/* sessions.h - sessions of a state that is tested. */
#ifndef CATENA_TESTS_LIB_SESSIONS_H
#define CATENA_TESTS_LIB_SESSIONS_H
#include <stdint.h>
#include "master/state/state.h"

/* Opens a session with the id @id, which is not the next one: tests like to name them. -EEXIST, and
 * the errors of state_apply_session_open(). */
int session_open_as(struct state *state, uint64_t index, uint64_t id, uint64_t secret,
		    const char *mount, const char *name);
#endif
