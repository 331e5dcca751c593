#include "common/net/tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include "common/net/gcm_provider.h"

/* AES first: with its CPU instructions it costs a third of ChaCha20. */
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS       "X25519:P-256"
/* What a stranger can make us keep in memory: one certificate of ours has under 1 KiB. */
#define CERT_LIST_MAX (16 * 1024)

static const char *const role_names[] = {
	[TLS_ROLE_NONE] = "none",
	[TLS_ROLE_MASTER] = "master",
	[TLS_ROLE_CHUNKSERVER] = "chunkserver",
	[TLS_ROLE_CLIENT] = "client",
	[TLS_ROLE_ADMIN] = "admin",
};
#define ROLE_COUNT (sizeof(role_names) / sizeof(role_names[0]))

const char *tls_role_name(enum tls_role role)
{
	return (size_t)role < ROLE_COUNT ? role_names[role] : "none";
}

enum tls_role tls_role_parse(const char *name)
{
	for (size_t i = TLS_ROLE_NONE + 1; i < ROLE_COUNT; i++)
		if (strcmp(name, role_names[i]) == 0)
			return (enum tls_role)i;
	return TLS_ROLE_NONE;
}

void tls_error(char *out, size_t size)
{
	unsigned long code;
	size_t used = 0;

	if (size == 0)
		return;
	out[0] = '\0';
	while ((code = ERR_get_error()) != 0) {
		const char *reason = ERR_reason_error_string(code);
		char number[32];
		int n;

		if (ERR_SYSTEM_ERROR(code))
			reason = strerror((int)ERR_GET_REASON(code));
		if (reason == NULL) {
			snprintf(number, sizeof(number), "error %lx", code);
			reason = number;
		}
		if (used + 1 >= size)
			continue;
		n = snprintf(out + used, size - used, "%s%s", used == 0 ? "" : "; ", reason);
		if (n > 0)
			used += (size_t)n < size - used ? (size_t)n : size - used - 1;
	}
	if (used == 0)
		snprintf(out, size, "unknown TLS error");
}

/* ---- who the peer is ---- */

/* The one entry of that kind in the subject, as printable text without blanks: it goes into logs
 * and is compared. */
static int subject_text(const X509_NAME *subject, int nid, char *out, size_t size)
{
	int at = X509_NAME_get_index_by_NID(subject, nid, -1);
	unsigned char *text = NULL;
	int length, rc = -EPROTO;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, nid, at) >= 0)
		return -EPROTO;
	length = ASN1_STRING_to_UTF8(&text,
				     X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (length < 0) {
		ERR_clear_error();
		return -EPROTO;
	}
	if (length == 0 || (size_t)length >= size)
		goto out;
	for (int i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			goto out;
	memcpy(out, text, (size_t)length);
	out[length] = '\0';
	rc = 0;
out:
	OPENSSL_free(text);
	return rc;
}

int tls_identity_of(X509 *cert, struct tls_identity *out)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	struct tls_identity id = {.role = TLS_ROLE_NONE};
	char role[32];

	if (subject == NULL ||
	    subject_text(subject, NID_organizationName, id.cluster, sizeof(id.cluster)) < 0 ||
	    subject_text(subject, NID_organizationalUnitName, role, sizeof(role)) < 0 ||
	    subject_text(subject, NID_commonName, id.name, sizeof(id.name)) < 0)
		return -EPROTO;
	id.role = tls_role_parse(role);
	if (id.role == TLS_ROLE_NONE)
		return -EPROTO;
	*out = id;
	return 0;
}

int tls_identity_of_pem(const char *pem, size_t size, struct tls_identity *out)
{
	BIO *bio;
	X509 *cert;
	int rc = -EPROTO;

	if (size > CERT_LIST_MAX)
		return -EPROTO;
	bio = BIO_new_mem_buf(pem, (int)size);
	if (bio == NULL)
		return -ENOMEM;
	cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (cert != NULL)
		rc = tls_identity_of(cert, out);
	else
		ERR_clear_error();
	X509_free(cert);
	BIO_free(bio);
	return rc;
}

/* ---- contexts and sessions ---- */

/* A key file with a passphrase is an error, never a question on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *user)
{
	return -1;
}

static int context_limits(SSL_CTX *ctx)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, CIPHERSUITES) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, GROUPS) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1)
		return -EINVAL;
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	return 0;
}

int tls_context(const struct tls_files *files, SSL_CTX **out, char *error, size_t error_size)
{
	SSL_CTX *ctx;
	const char *culprit = "TLS";
	char reason[200];
	int rc = -EINVAL;

	ERR_clear_error();
	ctx = SSL_CTX_new_ex(gcm_provider_library(), GCM_PROPERTIES, TLS_method());
	if (ctx == NULL) {
		rc = -ENOMEM;
		goto fail;
	}
	if (context_limits(ctx) < 0)
		goto fail;
	culprit = files->ca;
	if (SSL_CTX_load_verify_file(ctx, files->ca) != 1)
		goto fail;
	culprit = files->cert;
	if (SSL_CTX_use_certificate_chain_file(ctx, files->cert) != 1)
		goto fail;
	culprit = files->key;
	if (SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		goto fail;
	*out = ctx;
	return 0;
fail:
	tls_error(reason, sizeof(reason));
	snprintf(error, error_size, "%s: %s", culprit, reason);
	SSL_CTX_free(ctx);
	return rc;
}

static int session_expect(SSL *ssl, enum tls_role server_role)
{
	char name[64];

	if (server_role == TLS_ROLE_NONE || (size_t)server_role >= ROLE_COUNT)
		return -EINVAL;
	snprintf(name, sizeof(name), "%s.catena", tls_role_name(server_role));
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1 ? 0 : -ENOMEM;
}

int tls_session(SSL_CTX *ctx, int fd, bool server, enum tls_role server_role, SSL **out)
{
	SSL *ssl = SSL_new(ctx);
	int rc = 0;

	if (ssl == NULL)
		goto no_memory;
	if (!server)
		rc = session_expect(ssl, server_role);
	if (rc < 0)
		goto fail;
	if (fd >= 0 && SSL_set_fd(ssl, fd) != 1)
		goto no_memory;
	if (server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	*out = ssl;
	return 0;
no_memory:
	rc = -ENOMEM;
fail:
	ERR_clear_error();
	SSL_free(ssl);
	return rc;
}

/* ---- why it failed ---- */

/* Alerts by which the peer says that it does not accept our certificate. */
static bool is_certificate_alert(int reason)
{
	switch (reason - SSL_AD_REASON_OFFSET) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case TLS13_AD_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

static bool is_plain_text(int reason)
{
	return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
	       reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
	       reason == SSL_R_RECORD_LENGTH_MISMATCH;
}

int tls_handshake_error(const SSL *ssl, char *out, size_t size)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
	char text[200];

	tls_error(text, sizeof(text));
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		snprintf(out, size, "the peer has no certificate");
		return -EACCES;
	}
	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		snprintf(out, size, "the peer's certificate is not accepted: %s",
			 X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
		return -EACCES;
	}
	if (is_certificate_alert(reason)) {
		snprintf(out, size, "the peer does not accept our certificate: %s", text);
		return -EACCES;
	}
	if (is_plain_text(reason))
		snprintf(out, size, "the peer does not speak TLS (%s)", text);
	else
		snprintf(out, size, "%s", text);
	return -EPROTO;
}
