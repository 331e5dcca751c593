/* status.h - the Status call: what there is and how it is. Thread: the RPC thread. */
#ifndef CATENA_MASTER_SHELL_STATUS_H
#define CATENA_MASTER_SHELL_STATUS_H
#include "common/net/tls.h"
#include "common/rpc/rpc.h"

/* Answers one call; @server_user: the master. */
void status_serve(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		  const uint8_t *data, size_t size);
#endif
