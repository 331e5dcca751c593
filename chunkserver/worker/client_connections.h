/* client_connections.h - the connections of clients to a worker: one for each client, the newest.
 *
 * Chunks forget the operation ids that clients say were answered; removed chunks forget all ids. A
 * copy of such an update may still lie, unread, in a connection that its client has given up. Read
 * now, it would be taken for a new update. So a client's older connection ends when the client
 * connects anew, and the client sends again over the new one. A worker gets its connections in the
 * order in which their HELLOs are answered: the older one has ended before the new one is used. A
 * copy that went to another server is refused for its epoch, should that server be the head again.
 *
 * Pure. Thread: one. */
#ifndef CATENA_CHUNKSERVER_WORKER_CLIENT_CONNECTIONS_H
#define CATENA_CHUNKSERVER_WORKER_CLIENT_CONNECTIONS_H
#include <stdint.h>
#include "common/base/table.h"

struct client_name {
	uint64_t id;          /* of its session */
	uint64_t certificate; /* a hash of its name: clients cannot end others' connections */
};
/* Returns the name of a client; @certificate is the name in its certificate, and is not kept. */
struct client_name client_connections_name(uint64_t id, const char *certificate);

/* All zero is one without any. */
struct client_connections {
	struct table table;
};

/* Notes that a client has connected, as @connection (not 0). *@older is its connection that is to
 * end now; 0: none. Errors: -ENOMEM. */
int client_connections_join(struct client_connections *clients, struct client_name name,
			    uint64_t connection, uint64_t *older);
/* Notes that a connection is over. */
void client_connections_leave(struct client_connections *clients, struct client_name name,
			      uint64_t connection);
#endif
