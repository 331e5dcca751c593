/* answered.h - what was answered last of a chunk and is not known to be durable: what a
 * client tells the head, so that this says so if it is not there any more. */
#ifndef CATENA_FS_CHAINS_ANSWERED_H
#define CATENA_FS_CHAINS_ANSWERED_H
#include <stdatomic.h>
#include <stdint.h>

/* Changed by its owner alone, read by any thread: version first. A version is then never read with
 * an older epoch than its own, and a younger one is as true. */
struct chains_answered {
	atomic_uint_fast64_t version; /* 0: nothing */
	atomic_uint_fast64_t epoch; /* of the chain, in which it was answered; 0: not to be said */
};

static inline void chains_answered_set(struct chains_answered *answered, uint64_t version,
				       uint64_t epoch)
{
	atomic_store(&answered->epoch, epoch);
	atomic_store(&answered->version, version);
}
#endif
