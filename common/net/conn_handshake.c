/* conn_handshake.c - the TLS handshake, and the check of the peer's identity. Until it is done only
 * the loop's thread knows the SSL. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>
#include "common/net/conn_internal.h"
#include "common/os/log.h"

#define LOG_MODULE "conn"

int conn_handshake_start(struct conn *conn)
{
	int one = 1, rc;
	BIO *bio;

	/* Fails on other kinds of sockets, which do not delay either. */
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	rc = tls_session(conn->tls, -1, conn->server, conn->server_role, &conn->ssl);
	if (rc < 0)
		return rc;
	bio = conn_bio_new(conn);
	if (bio == NULL) {
		ERR_clear_error();
		return -ENOMEM;
	}
	SSL_set_bio(conn->ssl, bio, bio);
	conn->state = CONN_HANDSHAKING;
	return 0;
}

static void handshake_failed(struct conn *conn, const char *reason, int error)
{
	conn_complain(conn, "handshake failed", reason);
	conn_finish(conn, error);
}

/* Checks the peer's identity, beyond what OpenSSL has checked. Returns NULL, or why it is refused.
 */
static const char *check_peer(struct conn *conn)
{
	X509 *cert = SSL_get0_peer_certificate(conn->ssl);
	X509 *own = SSL_get_certificate(conn->ssl);
	struct tls_identity self;

	if (cert == NULL || SSL_get_verify_result(conn->ssl) != X509_V_OK)
		return "the peer has no certificate";
	if (tls_identity_of(cert, &conn->peer) < 0)
		return "the peer's certificate names no cluster and role";
	if (own == NULL || tls_identity_of(own, &self) < 0)
		return "our certificate names no cluster and role";
	if (strcmp(self.cluster, conn->peer.cluster) != 0)
		return "the peer is of another cluster";
	if (!conn->server && conn->peer.role != conn->server_role)
		return "the peer has another role than this server must have";
	return NULL;
}

static void handshake_done(struct conn *conn, struct conn_dispatch *d)
{
	const char *why = check_peer(conn);

	if (why != NULL) {
		handshake_failed(conn, why, -EACCES);
		return;
	}
	uv_timer_stop(conn->timer);
	conn->state = CONN_OPEN;
	pthread_mutex_lock(&conn->tx.lock);
	conn->tx.open = true;
	pthread_mutex_unlock(&conn->tx.lock);
	log_debug("connected peer=%s role=%s name=%s", conn->peer_name,
		  tls_role_name(conn->peer.role), conn->peer.name);
	conn->callbacks.ready(conn, conn->user, &conn->peer);
	if (!d->gone)
		conn_send_run(conn, d);
}

void conn_handshake_step(struct conn *conn, struct conn_dispatch *d)
{
	char reason[256];
	int rc, error;

	ERR_clear_error();
	errno = 0;
	rc = SSL_do_handshake(conn->ssl);
	if (rc == 1) {
		handshake_done(conn, d);
		return;
	}
	error = errno;
	switch (SSL_get_error(conn->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return;
	case SSL_ERROR_SSL:
		if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
			rc = tls_handshake_error(conn->ssl, reason, sizeof(reason));
			handshake_failed(conn, reason, rc);
			return;
		}
		error = 0;
		break;
	default:
		break;
	}
	ERR_clear_error();
	/* A probe, like the master's: it only looks whether anything listens here. */
	if (conn->server && error == 0 && SSL_get_state(conn->ssl) == TLS_ST_BEFORE) {
		log_debug("closed without a word peer=%s", conn->peer_name);
		conn_finish(conn, -ECONNRESET);
		return;
	}
	handshake_failed(conn, error == 0 ? "the peer closed the connection" : strerror(error),
			 error == 0 ? -ECONNRESET : -error);
}
