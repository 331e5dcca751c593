/* acceptor.h - the data port: handshakes, HELLO, and whose connection it is.
 *
 * Strangers get as far as the TLS handshake; what pending handshakes may cost is bounded in all and
 * for each address. After HELLO the connection is answered, detached from this loop and given to
 * @adopt.
 *
 * Threading: everything on the loop given. */
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
	uint64_t instance; /* of the cluster; 0: not known yet, and nobody is let in */
	void (*adopt)(void *user, struct conn *conn, const struct hello *hello);
	/* Is this client's session over? Its HELLO is answered FENCED then. */
	bool (*is_over)(void *user, uint64_t session);
	void *user;
};

struct acceptor;
/* -EADDRINUSE, -EACCES, -EINVAL, ... */
int acceptor_open(const struct acceptor_options *options, struct acceptor **out);
uint16_t acceptor_port(const struct acceptor *acceptor);
/* Our id in answers to HELLO; 0 before registration. */
void acceptor_set_server_id(struct acceptor *acceptor, uint64_t server_id);
/* Once it is known it does not change. */
void acceptor_set_instance(struct acceptor *acceptor, uint64_t instance);
/* Closes the port and every pending connection. NULL is allowed. */
void acceptor_close(struct acceptor *acceptor);
#endif
