/* certs.h - a private CA and its certificates, for tests of what speaks TLS. Header only.
 *
 * Everything is written into a directory that the test made and removes. */
#ifndef CATENA_TESTS_CERTS_H
#define CATENA_TESTS_CERTS_H
#include <dirent.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/tls.h"

struct certs_ca {
	EVP_PKEY *key;
	X509 *cert;
	char cluster[64];
	char dir[200];
	char path[256]; /* of the CA's certificate */
	long serial;
};

struct certs_files {
	char cert[300], key[300];
	struct tls_files files;
};

static inline void certs_fail(const char *what)
{
	fprintf(stderr, "certs: %s failed\n", what);
	exit(99);
}

static inline void certs_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (ext == NULL || X509_add_ext(cert, ext, -1) != 1)
		certs_fail("X509_add_ext");
	X509_EXTENSION_free(ext);
}

static inline X509 *certs_new(EVP_PKEY *key, long serial, const char *cluster, const char *unit,
			      const char *name, long from_s, long to_s)
{
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
	X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
	X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)cluster, -1,
				   -1, 0);
	X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_UTF8, (const unsigned char *)unit, -1,
				   -1, 0);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
				   -1, 0);
	X509_set_pubkey(cert, key);
	return cert;
}

static inline void certs_write(const char *path, X509 *cert, EVP_PKEY *key)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, key != NULL ? 0600 : 0644);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (file == NULL)
		certs_fail(path);
	if (cert != NULL)
		PEM_write_X509(file, cert);
	if (key != NULL)
		PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
}

/* A CA in @dir/@file for the cluster. */
static inline void certs_ca_make(struct certs_ca *ca, const char *dir, const char *file,
				 const char *cluster)
{
	memset(ca, 0, sizeof(*ca));
	snprintf(ca->cluster, sizeof(ca->cluster), "%s", cluster);
	snprintf(ca->dir, sizeof(ca->dir), "%s", dir);
	snprintf(ca->path, sizeof(ca->path), "%s/%s", dir, file);
	ca->key = EVP_EC_gen("P-256");
	ca->cert = certs_new(ca->key, 1, cluster, "ca", "ca", -3600, 86400);
	ca->serial = 1;
	X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert));
	certs_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
	certs_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (X509_sign(ca->cert, ca->key, EVP_sha256()) == 0)
		certs_fail("X509_sign");
	certs_write(ca->path, ca->cert, NULL);
}

/* A certificate @dir/@file.{crt,key}; @dns NULL: the role's name. Valid until now + @to_s. */
static inline void certs_issue(struct certs_ca *ca, const char *role, const char *name,
			       const char *file, const char *dns, long to_s,
			       struct certs_files *out)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = certs_new(key, ++ca->serial, ca->cluster, role, name, -7200, to_s);
	char alt[128];

	snprintf(alt, sizeof(alt), "DNS:%s%s", dns != NULL ? dns : role,
		 dns != NULL ? "" : ".catena");
	X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
	certs_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
	certs_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature");
	certs_extension(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth");
	certs_extension(cert, ca->cert, NID_subject_alt_name, alt);
	if (X509_sign(cert, ca->key, EVP_sha256()) == 0)
		certs_fail("X509_sign");
	snprintf(out->cert, sizeof(out->cert), "%s/%s.crt", ca->dir, file);
	snprintf(out->key, sizeof(out->key), "%s/%s.key", ca->dir, file);
	certs_write(out->cert, cert, NULL);
	certs_write(out->key, NULL, key);
	out->files = (struct tls_files){.ca = ca->path, .cert = out->cert, .key = out->key};
	X509_free(cert);
	EVP_PKEY_free(key);
}

static inline void certs_ca_free(struct certs_ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

/* Removes the directory of a test and the files in it. */
static inline void certs_remove_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}
#endif
