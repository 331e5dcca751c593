/* sessions.c - see sessions.h. */
#include "tests/lib/sessions.h"
#include <errno.h>
#include "master/records/core.h"

int session_open_as(struct state *state, uint64_t index, uint64_t id, uint64_t secret,
		    const char *mount, const char *name)
{
	uint64_t next = state->counters.next_session, given;
	int rc;

	if (session_find(state, id) != NULL)
		return -EEXIST;
	state->counters.next_session = id;
	rc = state_apply_session_open(state, index, secret, mount, name, &given);
	if (rc != 0 || state->counters.next_session < next)
		state->counters.next_session = next;
	return rc;
}
