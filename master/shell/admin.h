/* admin.h - the Admin call: what administrators set. Thread: the RPC thread. */
#ifndef CATENA_MASTER_SHELL_ADMIN_H
#define CATENA_MASTER_SHELL_ADMIN_H
#include "common/net/tls.h"
#include "common/rpc/rpc.h"

/* Answers one call; @server_user: the master. */
void admin_serve(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		 const uint8_t *data, size_t size);
#endif
