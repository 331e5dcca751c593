/* client_fences.h - carrying out what fences.h decides.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_FENCES_H
#define CATENA_MASTER_SESSIONS_CLIENT_FENCES_H
#include "master/leases/fences.h"
#include "master/sessions/client.h"

int client_fences_start(struct master *master); /* -ENOMEM */
/* Ends the session, so that nothing of it can take effect; then it is closed. */
void client_fences_begin(struct master *master, struct client_session *session);
/* Tells the fences that the map was published. */
void client_fences_shown(struct master *master);
/* Does what the fences decide; after anything that may have changed them. */
void client_fences_act(struct master *master, uint64_t now_ns);
/* Does the same each tick, and ends what chains owed. */
void client_fences_tick(struct master *master, uint64_t now_ns);
#endif
