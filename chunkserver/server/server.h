/* server.h - the chunkserver as a whole: targets, workers, the data port and the master's session,
 * put together on the front loop.
 *
 * Threading: the front loop's thread; workers and the RPC thread reach it by their own queues. */
#ifndef CATENA_CHUNKSERVER_SERVER_SERVER_H
#define CATENA_CHUNKSERVER_SERVER_SERVER_H
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "chunkserver/server/config.h"
#include "common/base/duration.h"
#include "common/net/tls.h"

struct server;

/* Opens everything and starts serving; @config and @self are borrowed. A target that cannot be
 * opened is left out, with a line in the log, as long as there is another one; but not one that
 * another process has in use. On failure -errno, one line in @error, and nothing is left open.
 * rpc_init() has been called. */
int server_open(uv_loop_t *loop, const struct config *config, const struct tls_identity *self,
		struct server **out, char *error, size_t error_size);
/* "host:port" that others reach us at. */
const char *server_address(const struct server *server);
unsigned server_targets(const struct server *server); /* how many are served */
/* Asks the master to let others take over, and goes on serving meanwhile: @left is called on the
 * loop when no chain needs this server any more that has another member in-sync, when there is no
 * connection to the master, or after SERVER_LEAVE_NS. Then it is time for server_stop(). Once. */
#define SERVER_LEAVE_NS (2 * NS_PER_SEC)
void server_leave(struct server *server, void (*left)(void *user), void *user);
/* The port is closed last: when connections are refused, nothing is served here any more.
 * Answers what is under way, syncs, closes; at most about 10 s. The loop must be run once more
 * afterwards to let its handles go; then server_free(). */
void server_stop(struct server *server);
void server_free(struct server *server);
#endif
