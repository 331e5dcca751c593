/* resume.h - whether a kept log goes on where it ends. */
#ifndef CATENA_MASTER_KEPT_RESUME_H
#define CATENA_MASTER_KEPT_RESUME_H
#include <stdbool.h>
#include <stdint.h>
#include "master/log/log_hash.h"
#include "master/state/state.h"

struct kept_resume {
	uint32_t number; /* of the last part; 0: there is none */
	uint32_t run;    /* of the part with which its run begins */
	/* The next part goes on with the run, behind the state's last entry, whose hash this is. */
	bool continues;
	uint8_t hash[LOG_HASH_BYTES];
};

/* Looks at what is kept, cuts off the torn tail of the last segment, and marks its entries that the
 * state does not have as undone. A log that is damaged, or has a gap before the state's last entry,
 * does not continue. Errors: -ENOMEM, those of reading and writing. */
int kept_resume(int dir_fd, const struct state *state, struct kept_resume *out);
#endif
