#include "common/record.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <string.h>
#include "common/bytes.h"

/* The two-byte numbers of the suites. */
#define SUITE_AES_128_GCM       0x1301
#define SUITE_AES_256_GCM       0x1302
#define SUITE_CHACHA20_POLY1305 0x1303

static int suite_kind(const SSL_CIPHER *suite, enum aead_kind *kind)
{
	switch (SSL_CIPHER_get_protocol_id(suite)) {
	case SUITE_AES_128_GCM:
		*kind = AEAD_AES_128_GCM;
		return 0;
	case SUITE_AES_256_GCM:
		*kind = AEAD_AES_256_GCM;
		return 0;
	case SUITE_CHACHA20_POLY1305:
		*kind = AEAD_CHACHA20_POLY1305;
		return 0;
	default:
		return -EPROTO;
	}
}

/* HKDF-Expand-Label (RFC 8446, 7.1) with an empty context. */
static int expand_label(const struct record_keys *keys, const char *label, uint8_t *out,
			size_t size)
{
	static const char prefix[] = "tls13 ";
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, rc = -EIO;
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						 (char *)EVP_MD_get0_name(keys->hash), 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)keys->secret,
						  keys->secret_size),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)prefix,
						  sizeof(prefix) - 1),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)label,
						  strlen(label)),
		OSSL_PARAM_construct_end(),
	};

	if (ctx != NULL && EVP_KDF_derive(ctx, out, size, params) == 1)
		rc = 0;
	else
		ERR_clear_error();
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return rc;
}

static int keys_derive(struct record_keys *keys, bool portable)
{
	uint8_t key[AEAD_KEY_MAX];
	struct aead *aead;
	int rc;

	rc = expand_label(keys, "key", key, aead_key_bytes(keys->kind));
	if (rc == 0)
		rc = expand_label(keys, "iv", keys->iv, sizeof(keys->iv));
	if (rc == 0)
		rc = aead_create(keys->kind, key, portable, &aead);
	OPENSSL_cleanse(key, sizeof(key));
	if (rc < 0)
		return rc;
	aead_free(keys->aead);
	keys->aead = aead;
	keys->sequence = 0;
	return 0;
}

int record_keys_init(struct record_keys *keys, const SSL_CIPHER *suite, const uint8_t *secret,
		     size_t secret_size, bool portable)
{
	struct record_keys fresh = {.secret_size = secret_size};
	int rc;

	if (suite == NULL || suite_kind(suite, &fresh.kind) < 0)
		return -EPROTO;
	fresh.hash = SSL_CIPHER_get_handshake_digest(suite);
	if (fresh.hash == NULL || secret_size != (size_t)EVP_MD_get_size(fresh.hash) ||
	    secret_size > sizeof(fresh.secret))
		return -EPROTO;
	memcpy(fresh.secret, secret, secret_size);
	rc = keys_derive(&fresh, portable);
	if (rc == 0)
		*keys = fresh;
	OPENSSL_cleanse(&fresh, sizeof(fresh));
	return rc;
}

int record_keys_update(struct record_keys *keys)
{
	uint8_t next[TLS_SECRET_MAX];
	int rc = expand_label(keys, "traffic upd", next, keys->secret_size);

	if (rc == 0) {
		memcpy(keys->secret, next, keys->secret_size);
		rc = keys_derive(keys, false);
	}
	OPENSSL_cleanse(next, sizeof(next));
	return rc;
}

void record_keys_wipe(struct record_keys *keys)
{
	aead_free(keys->aead);
	OPENSSL_cleanse(keys, sizeof(*keys));
}

/* The static IV with the sequence number xored into its last 8 bytes. */
static void next_nonce(struct record_keys *keys, uint8_t nonce[AEAD_NONCE_BYTES])
{
	memcpy(nonce, keys->iv, 4);
	put_be64(nonce + 4, get_be64(keys->iv + 4) ^ keys->sequence++);
}

int record_seal(struct record_keys *keys, enum record_type type, const void *plain, size_t size,
		uint8_t *out, size_t *made)
{
	uint8_t nonce[AEAD_NONCE_BYTES];
	uint8_t *body = out + RECORD_HEADER_BYTES, *last = body + size;
	const size_t body_size = size + 1 + AEAD_TAG_BYTES;
	/* In place, data and type byte are one run of memory. */
	const bool in_place = plain == body;
	const struct aead_part parts[2] = {
		{plain, body, in_place ? size + 1 : size},
		{last, last, in_place ? 0 : 1},
	};

	out[0] = RECORD_DATA;
	out[1] = 3;
	out[2] = 3;
	out[3] = (uint8_t)(body_size >> 8);
	out[4] = (uint8_t)body_size;
	*last = (uint8_t)type;
	next_nonce(keys, nonce);
	*made = RECORD_HEADER_BYTES + body_size;
	return aead_seal(keys->aead, nonce, out, RECORD_HEADER_BYTES, parts, 2, last + 1);
}

int record_size(const uint8_t header[RECORD_HEADER_BYTES], size_t *size)
{
	const size_t body = (size_t)header[3] << 8 | header[4];

	if (header[0] != RECORD_DATA || header[1] != 3 || header[2] != 3 ||
	    body < 1 + AEAD_TAG_BYTES || body > RECORD_WIRE_MAX - RECORD_HEADER_BYTES)
		return -EPROTO;
	*size = RECORD_HEADER_BYTES + body;
	return 0;
}

int record_open(struct record_keys *keys, uint8_t *record, size_t size, uint8_t *direct,
		size_t *direct_size, enum record_type *type, size_t *plain_size)
{
	uint8_t nonce[AEAD_NONCE_BYTES];
	uint8_t *body = record + RECORD_HEADER_BYTES;
	const size_t plain = size - RECORD_OVERHEAD;
	const size_t first = *direct_size < plain ? *direct_size : plain;
	const struct aead_part parts[2] = {
		{body, direct, first},
		{body + first, body + first, plain - first + 1},
	};
	int rc;

	next_nonce(keys, nonce);
	rc = aead_open(keys->aead, nonce, record, RECORD_HEADER_BYTES, parts, 2, body + plain + 1);
	if (rc < 0)
		return rc;
	if (plain > RECORD_PLAIN_MAX)
		return -EPROTO;
	*type = body[plain];
	*plain_size = plain;
	*direct_size = first;
	return 0;
}
