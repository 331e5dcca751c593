/* tls_files_check(): says before anything starts what would otherwise fail at the first connection,
 * in words for the administrator. */
#include "common/net/tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct check {
	const struct tls_files *files;
	char *error;
	size_t error_size;
	X509 *cert;
	EVP_PKEY *key;
	X509_STORE *store;
};

static int fail(struct check *check, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct check *check, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(check->error, check->error_size, format, args);
	va_end(args);
	ERR_clear_error();
	return rc;
}

/* *out must be closed by BIO_free(). */
static int open_file(struct check *check, const char *what, const char *path, BIO **out)
{
	FILE *file;

	if (path == NULL || path[0] == '\0')
		return fail(check, -EINVAL, "no %s file is given", what);
	file = fopen(path, "re");
	if (file == NULL) {
		int rc = -errno;

		return fail(check, rc, "%s: the %s file cannot be read: %s", path, what,
			    strerror(-rc));
	}
	*out = BIO_new_fp(file, BIO_CLOSE);
	if (*out == NULL) {
		fclose(file);
		return fail(check, -ENOMEM, "%s: out of memory", path);
	}
	return 0;
}

static int load_ca(struct check *check)
{
	const char *path = check->files->ca;
	BIO *bio;
	X509 *cert;
	int count = 0, rc = open_file(check, "CA", path, &bio);

	if (rc < 0)
		return rc;
	check->store = X509_STORE_new();
	while (check->store != NULL && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		count += X509_STORE_add_cert(check->store, cert);
		X509_free(cert);
	}
	BIO_free(bio);
	if (check->store == NULL)
		return fail(check, -ENOMEM, "%s: out of memory", path);
	if (count == 0)
		return fail(check, -EINVAL, "%s: is no certificate (PEM) of a CA", path);
	ERR_clear_error();
	return 0;
}

static int load_cert(struct check *check)
{
	BIO *bio;
	int rc = open_file(check, "certificate", check->files->cert, &bio);

	if (rc < 0)
		return rc;
	check->cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	if (check->cert == NULL)
		return fail(check, -EINVAL, "%s: is no certificate (PEM)", check->files->cert);
	return 0;
}

static int no_passphrase(char *buf, int size, int writing, void *user)
{
	return -1;
}

static int load_key(struct check *check)
{
	const char *path = check->files->key;
	struct stat st;
	BIO *bio;
	FILE *file = NULL;
	int rc = open_file(check, "key", path, &bio);

	if (rc < 0)
		return rc;
	BIO_get_fp(bio, &file);
	if (fstat(fileno(file), &st) < 0) {
		rc = fail(check, -errno, "%s: %s", path, strerror(errno));
	} else if ((st.st_mode & 077) != 0) {
		rc = fail(check, -EACCES, "%s: others can get at the key (mode %04o): chmod 600 %s",
			  path, (unsigned)st.st_mode & 07777, path);
	} else {
		check->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
		if (check->key == NULL)
			rc = fail(check, -EINVAL, "%s: is no private key (PEM, no passphrase)",
				  path);
	}
	BIO_free(bio);
	return rc;
}

static void print_time(const ASN1_TIME *time, char out[32])
{
	struct tm tm;

	if (ASN1_TIME_to_tm(time, &tm) != 1 || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		snprintf(out, 32, "unknown time");
}

static int explain_verify(struct check *check, X509_STORE_CTX *ctx)
{
	const struct tls_files *files = check->files;
	int error = X509_STORE_CTX_get_error(ctx);
	X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
	const char *path = cert == NULL || cert == check->cert ? files->cert : files->ca;
	char when[32];

	if (cert == NULL)
		cert = check->cert;
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		print_time(X509_get0_notAfter(cert), when);
		return fail(check, -EKEYEXPIRED,
			    "%s: the certificate expired at %s: make a new one with catena-ca",
			    path, when);
	case X509_V_ERR_CERT_NOT_YET_VALID:
		print_time(X509_get0_notBefore(cert), when);
		return fail(check, -EKEYREJECTED,
			    "%s: the certificate is valid only from %s: is the clock right?", path,
			    when);
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return fail(check, -EKEYREJECTED,
			    "%s: the certificate is not signed by the CA in %s", files->cert,
			    files->ca);
	default:
		return fail(check, -EKEYREJECTED, "%s: %s", path,
			    X509_verify_cert_error_string(error));
	}
}

static int verify(struct check *check)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int rc = 0;

	if (ctx == NULL || X509_STORE_CTX_init(ctx, check->store, check->cert, NULL) != 1)
		rc = fail(check, -ENOMEM, "%s: out of memory", check->files->cert);
	else if (X509_verify_cert(ctx) != 1)
		rc = explain_verify(check, ctx);
	X509_STORE_CTX_free(ctx);
	if (rc == 0 && X509_check_private_key(check->cert, check->key) != 1)
		rc = fail(check, -EINVAL, "%s: the key is not that of the certificate %s",
			  check->files->key, check->files->cert);
	return rc;
}

static int check_identity(struct check *check, enum tls_role want, struct tls_identity *id)
{
	const char *path = check->files->cert;

	if (tls_identity_of(check->cert, id) < 0)
		return fail(check, -EPROTO,
			    "%s: names no cluster and role: make certificates with catena-ca",
			    path);
	if (want != TLS_ROLE_NONE && id->role != want)
		return fail(check, -EACCES, "%s: is a certificate for the role %s, not %s", path,
			    tls_role_name(id->role), tls_role_name(want));
	return 0;
}

int tls_files_check(const struct tls_files *files, enum tls_role want, struct tls_identity *self,
		    char *error, size_t error_size)
{
	struct check check = {.files = files, .error = error, .error_size = error_size};
	struct tls_identity id;
	int rc;

	ERR_clear_error();
	rc = load_ca(&check);
	if (rc == 0)
		rc = load_cert(&check);
	if (rc == 0)
		rc = load_key(&check);
	if (rc == 0)
		rc = verify(&check);
	if (rc == 0)
		rc = check_identity(&check, want, &id);
	if (rc == 0 && self != NULL)
		*self = id;
	X509_STORE_free(check.store);
	X509_free(check.cert);
	EVP_PKEY_free(check.key);
	ERR_clear_error();
	return rc;
}
