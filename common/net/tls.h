/* tls.h - mutual TLS 1.3, and the identity of the peer.
 *
 * A cluster has a CA of its own. Every certificate it gives out has the subject
 *   O=<cluster id>, OU=<role>, CN=<name>   and the DNS name <role>.catena
 * so that a peer proves its cluster (the CA), its role and its name. TLS 1.3 only, client
 * certificate required, TLS_AES_128_GCM_SHA256 preferred, no tickets, no renegotiation. */
#ifndef CATENA_COMMON_NET_TLS_H
#define CATENA_COMMON_NET_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include <openssl/ssl.h>

enum tls_role {
	TLS_ROLE_NONE,
	TLS_ROLE_MASTER,
	TLS_ROLE_CHUNKSERVER,
	TLS_ROLE_CLIENT,
	TLS_ROLE_ADMIN
};
#define TLS_NAME_MAX 128

struct tls_identity {
	enum tls_role role;
	char cluster[64];
	char name[TLS_NAME_MAX];
};

/* Paths of PEM files. */
struct tls_files {
	const char *ca, *cert, *key;
};

const char *tls_role_name(enum tls_role role); /* "master", ... */
enum tls_role tls_role_parse(const char *name);

/* Checks the files before anything starts. They must be readable, and the key closed to group and
 * others. The key must fit the certificate; the certificate must be signed by the CA, not expired,
 * and of the wanted role. @self may be NULL. Errors: -errno, and @error names the file and the
 * remedy in one line. */
int tls_files_check(const struct tls_files *files, enum tls_role want, struct tls_identity *self,
		    char *error, size_t error_size);

/* Makes a context, which serves connections both ways. SSL_CTX_free() ends it. */
int tls_context(const struct tls_files *files, SSL_CTX **out, char *error, size_t error_size);
/* Makes a session on @fd, as client or server; its handshake is not begun. @fd stays the caller's;
 * -1: the caller sets BIOs. A client insists that the server's certificate has the DNS name
 * "<role>.catena". */
int tls_session(SSL_CTX *ctx, int fd, bool server, enum tls_role server_role, SSL **out);

/* Says why SSL_do_handshake() failed, in one line for the log, and empties the error queue. Returns
 * -EACCES when one side does not accept the other's certificate, or -EPROTO when the peer does not
 * speak TLS 1.3. Thread: the one of the handshake, at once. */
int tls_handshake_error(const SSL *ssl, char *out, size_t size);

/* Reads the identity in a verified certificate. Errors: -EPROTO when it is not one of ours. */
int tls_identity_of(X509 *cert, struct tls_identity *out);
int tls_identity_of_pem(const char *pem, size_t size, struct tls_identity *out);
/* Empties OpenSSL's error queue into one line. */
void tls_error(char *out, size_t size);
#endif
