/* server.h - the chunkserver as a whole: targets, workers, the data port and the master's session,
 * put together on the front loop.
 *
 * Thread: the front loop's. Workers and the RPC thread reach it by queues. */
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
 * opened is left out, with a line in the log, if there is another one. A target in use by another
 * process is an error. Errors: -errno, one line in @error, and nothing is left open. rpc_init() has
 * been called. */
int server_open(uv_loop_t *loop, const struct config *config, const struct tls_identity *self,
		struct server **out, char *error, size_t error_size);
/* Returns the "host:port" where clients and chunkservers reach the server. */
const char *server_address(const struct server *server);
unsigned server_targets(const struct server *server); /* how many are served */
/* Asks the master to let other servers take over, and goes on serving meanwhile. @left is called on
 * the loop when no chain with another in-sync member needs this server any more. It is called, too,
 * when there is no connection to the master, and after SERVER_LEAVE_NS. server_stop() is due then.
 * Called once. */
#define SERVER_LEAVE_NS (2 * NS_PER_SEC)
void server_leave(struct server *server, void (*left)(void *user), void *user);
/* Answers what is under way, flushes and closes, in at most about 10 s. The port is closed after
 * the workers have stopped: where connections are refused, nothing is served any more. The loop
 * must be run once more to let its handles go; then server_free(). */
void server_stop(struct server *server);
void server_free(struct server *server);
#endif
