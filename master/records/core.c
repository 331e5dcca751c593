/* core.c - whether memory is what the store is. */
#include "master/records/core.h"
#include <errno.h>

int core_ready(struct state *state)
{
	int rc;

	if (!state->stale)
		return 0;
	rc = state->reload(state);
	return rc == -ENOENT || rc == -EUCLEAN ? -EIO : rc;
}
