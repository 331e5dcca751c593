/* client_leases.h - carrying out what leases.h decides.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_LEASES_H
#define CATENA_MASTER_SESSIONS_CLIENT_LEASES_H
#include "master/leases/leases.h"
#include "master/shared/master.h"

/* Does what the leases decide; after anything that may have changed them. */
void client_leases_act(struct master *master, uint64_t now_ns);
/* Makes memory agree with the store, which was opened again. */
void client_leases_reconcile(struct master *master);
/* Tries again to close the sessions that could not be closed. */
void client_leases_retry(struct master *master);
#endif
