/* server.h - the chunkserver as a whole: targets, workers, the data port and the master's session,
 * put together on the front loop.
 *
 * Threading: the front loop's thread; workers and the RPC thread reach it by their own queues. */
#ifndef CATENA_CHUNKSERVER_SERVER_H
#define CATENA_CHUNKSERVER_SERVER_H
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "chunkserver/config.h"
#include "common/tls.h"

struct server;

/* Opens everything and starts serving; @config and @self are borrowed. On failure -errno, one line
 * in @error, and nothing is left open. rpc_init() has been called. */
int server_open(uv_loop_t *loop, const struct config *config, const struct tls_identity *self,
		struct server **out, char *error, size_t error_size);
/* "host:port" that others reach us at. */
const char *server_address(const struct server *server);
/* Answers what is under way, syncs, closes; at most about 10 s. The loop must be run once more
 * afterwards to let its handles go; then server_free(). */
void server_stop(struct server *server);
void server_free(struct server *server);
#endif
