/* client_connections.h - which connection of a worker is which client's: one each, the newest.
 *
 * Chunks forget the operation ids that their clients say were answered, and removed chunks forget
 * all of theirs. A copy of such an update may still lie, unread, in a connection that its client
 * has given up, and would be taken for a new one. So when a client connects anew, its older
 * connection ends first: whatever was in it is sent again over the new one. That happens before the
 * new one is used, because a worker gets its connections in the order in which their HELLOs are
 * answered. A copy that was sent to another server is refused for its epoch, when that is the head
 * again.
 *
 * Pure. Threading: one thread. */
#ifndef CATENA_CHUNKSERVER_WORKER_CLIENT_CONNECTIONS_H
#define CATENA_CHUNKSERVER_WORKER_CLIENT_CONNECTIONS_H
#include <stdint.h>
#include "common/base/table.h"

struct client_name {
	uint64_t id;          /* of its session */
	uint64_t certificate; /* a hash of its name: clients cannot end others' connections */
};
/* @certificate: the name that it has (copied). */
struct client_name client_connections_name(uint64_t id, const char *certificate);

/* All zero is one without any. */
struct client_connections {
	struct table table;
};

/* A client has connected, as @connection (not 0). *older: its connection that is to end now; 0:
 * none. 0 or -ENOMEM. */
int client_connections_join(struct client_connections *clients, struct client_name name,
			    uint64_t connection, uint64_t *older);
/* This connection is over. */
void client_connections_leave(struct client_connections *clients, struct client_name name,
			      uint64_t connection);
#endif
