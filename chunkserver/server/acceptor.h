/* acceptor.h - the data port: handshakes, HELLO, and which worker gets the connection.
 *
 * Strangers get no further than the TLS handshake. The number of connections before HELLO is
 * bounded, in all and for each address. A connection whose HELLO is accepted is answered, detached
 * from this loop and passed to @adopt.
 *
 * Thread: the loop's. */
#ifndef CATENA_CHUNKSERVER_SERVER_ACCEPTOR_H
#define CATENA_CHUNKSERVER_SERVER_ACCEPTOR_H
#include <uv.h>
#include "common/net/conn.h"
#include "common/net/hello.h"

#define ACCEPTOR_PENDING_MAX         256u
#define ACCEPTOR_PENDING_PER_ADDRESS 64u

struct acceptor_options {
	uv_loop_t *loop;
	const char *listen;
	SSL_CTX *tls; /* borrowed, as all below */
	struct buf_pool *pool;
	const char *cluster;
	uint32_t workers;
	uint64_t instance; /* of the cluster; 0: not known yet, every HELLO is refused */
	void (*adopt)(void *user, struct conn *conn, const struct hello *hello);
	/* True when a client's session is over: its HELLO is answered FENCED. */
	bool (*is_over)(void *user, uint64_t session);
	void *user;
};

struct acceptor;
/* Opens the port; @options is copied. Errors: -EADDRINUSE, -EACCES, -EINVAL, -ENOMEM, ... */
int acceptor_open(const struct acceptor_options *options, struct acceptor **out);
uint16_t acceptor_port(const struct acceptor *acceptor);
/* Sets the server's id for answers to HELLO. It is 0 before registration. */
void acceptor_set_server_id(struct acceptor *acceptor, uint64_t server_id);
/* Sets the cluster's instance. Once it is known it does not change. */
void acceptor_set_instance(struct acceptor *acceptor, uint64_t instance);
/* Closes the port and every pending connection. NULL is allowed. */
void acceptor_close(struct acceptor *acceptor);
#endif
