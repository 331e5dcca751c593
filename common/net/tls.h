/* tls.h - mutual TLS 1.3, and who the peer is.
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

/* Checks before anything starts: files readable, key not open to group or others, key fits the
 * certificate, certificate signed by the CA, not expired, role as wanted. On failure -errno and
 * @error has one line that names the file and what to do. @self may be NULL. */
int tls_files_check(const struct tls_files *files, enum tls_role want, struct tls_identity *self,
		    char *error, size_t error_size);

/* One context serves connections both ways. Ends with SSL_CTX_free(). */
int tls_context(const struct tls_files *files, SSL_CTX **out, char *error, size_t error_size);
/* A session on @fd (which stays the caller's; -1: none, the caller sets BIOs), as client or server,
 * handshake not yet begun. As a client it insists that the server's certificate has the DNS name
 * "<role>.catena". */
int tls_session(SSL_CTX *ctx, int fd, bool server, enum tls_role server_role, SSL **out);

/* One line for the log that says why SSL_do_handshake() failed; empties the error queue. Returns
 * the negative errno that fits: -EACCES: one side does not accept the other's certificate;
 * -EPROTO: the peer does not speak TLS 1.3. Call it at once, in the same thread. */
int tls_handshake_error(const SSL *ssl, char *out, size_t size);

/* From a verified certificate. -EPROTO: not one of ours. */
int tls_identity_of(X509 *cert, struct tls_identity *out);
int tls_identity_of_pem(const char *pem, size_t size, struct tls_identity *out);
/* Empties OpenSSL's error queue into one line. */
void tls_error(char *out, size_t size);
#endif
