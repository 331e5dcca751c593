#include "common/aead.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "common/aead_internal.h"
#include "common/log.h"

#define LOG_MODULE "aead"

struct aead {
	enum aead_kind kind;
	struct gcm_key_data *mb; /* or NULL: evp */
	EVP_CIPHER_CTX *evp;
};

size_t aead_key_bytes(enum aead_kind kind)
{
	return kind == AEAD_AES_128_GCM ? 16 : 32;
}

/* ---- OpenSSL ---- */

static const EVP_CIPHER *evp_cipher(enum aead_kind kind)
{
	switch (kind) {
	case AEAD_AES_128_GCM:
		return EVP_aes_128_gcm();
	case AEAD_AES_256_GCM:
		return EVP_aes_256_gcm();
	case AEAD_CHACHA20_POLY1305:
		return EVP_chacha20_poly1305();
	}
	return NULL;
}

static bool evp_parts(EVP_CIPHER_CTX *evp, bool seal, const uint8_t *nonce, const void *aad,
		      size_t aad_size, const struct aead_part *parts, size_t count)
{
	int n;

	if (EVP_CipherInit_ex(evp, NULL, NULL, NULL, nonce, seal) != 1 ||
	    EVP_CipherUpdate(evp, NULL, &n, aad, (int)aad_size) != 1)
		return false;
	for (size_t i = 0; i < count; i++) {
		/* An update of 0 bytes would end the message. */
		if (parts[i].size > 0 &&
		    EVP_CipherUpdate(evp, parts[i].out, &n, parts[i].in, (int)parts[i].size) != 1)
			return false;
	}
	return true;
}

static int evp_seal(EVP_CIPHER_CTX *evp, const uint8_t *nonce, const void *aad, size_t aad_size,
		    const struct aead_part *parts, size_t count, uint8_t *tag)
{
	uint8_t none[AEAD_TAG_BYTES];
	int n;

	if (evp_parts(evp, true, nonce, aad, aad_size, parts, count) &&
	    EVP_CipherFinal_ex(evp, none, &n) == 1 &&
	    EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, tag) == 1)
		return 0;
	ERR_clear_error();
	return -EIO;
}

static int evp_open(EVP_CIPHER_CTX *evp, const uint8_t *nonce, const void *aad, size_t aad_size,
		    const struct aead_part *parts, size_t count, const uint8_t *tag)
{
	uint8_t copy[AEAD_TAG_BYTES], none[AEAD_TAG_BYTES];
	int n;

	memcpy(copy, tag, sizeof(copy));
	if (evp_parts(evp, false, nonce, aad, aad_size, parts, count) &&
	    EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, copy) == 1 &&
	    EVP_CipherFinal_ex(evp, none, &n) == 1)
		return 0;
	ERR_clear_error();
	return -EBADMSG;
}

/* ---- which of the two ---- */

static bool mb_trusted;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define CHECK_BYTES 1500

/* The same message by both, whole and in parts: a library that is wrong on this CPU must not be
 * found out by a connection. */
static bool mb_agrees(enum aead_kind kind, size_t split)
{
	uint8_t key[AEAD_KEY_MAX], nonce[AEAD_NONCE_BYTES], tag[2][AEAD_TAG_BYTES];
	uint8_t in[CHECK_BYTES], out[2][CHECK_BYTES];
	struct gcm_key_data *mb;
	struct aead *evp;
	bool same = false;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + split);
	memset(key, 0x5a, sizeof(key));
	memset(nonce, (int)split, sizeof(nonce));
	if (aead_create(kind, key, true, &evp) < 0)
		return false;
	mb = aead_mb_key(kind, key);
	if (mb != NULL) {
		const struct aead_part whole = {in, out[0], sizeof(in)};
		const struct aead_part parts[2] = {
			{in, out[1], split},
			{in + split, out[1] + split, sizeof(in) - split},
		};

		same = aead_seal(evp, nonce, key, 5, &whole, 1, tag[0]) == 0;
		aead_mb_run(kind, mb, true, nonce, key, 5, parts, 2, tag[1]);
		same = same && memcmp(out[0], out[1], sizeof(in)) == 0 &&
		       memcmp(tag[0], tag[1], sizeof(tag[0])) == 0;
	}
	aead_mb_key_free(mb);
	aead_free(evp);
	return same;
}

static void choose(void)
{
	static const size_t splits[] = {0, 1, 16, 100, 1024, 1499};
	bool good = aead_mb_usable();

	if (!good)
		return;
	for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]) && good; i++)
		good = mb_agrees(AEAD_AES_128_GCM, splits[i]) &&
		       mb_agrees(AEAD_AES_256_GCM, splits[i]);
	mb_trusted = good;
	if (!good)
		log_warn("intel-ipsec-mb gives wrong results on this CPU, OpenSSL is used");
}

static bool use_mb(enum aead_kind kind)
{
	if (kind == AEAD_CHACHA20_POLY1305)
		return false;
	pthread_once(&once, choose);
	return mb_trusted;
}

const char *aead_backend(void)
{
	return use_mb(AEAD_AES_128_GCM) ? "ipsec-mb" : "openssl";
}

/* ---- the module ---- */

int aead_create(enum aead_kind kind, const uint8_t *key, bool portable, struct aead **out)
{
	struct aead *aead = calloc(1, sizeof(*aead));

	if (aead == NULL)
		return -ENOMEM;
	aead->kind = kind;
	if (!portable && use_mb(kind)) {
		aead->mb = aead_mb_key(kind, key);
		if (aead->mb == NULL)
			goto fail;
	} else {
		aead->evp = EVP_CIPHER_CTX_new();
		if (aead->evp == NULL ||
		    EVP_CipherInit_ex(aead->evp, evp_cipher(kind), NULL, key, NULL, 1) != 1)
			goto fail;
	}
	*out = aead;
	return 0;
fail:
	ERR_clear_error();
	aead_free(aead);
	return -ENOMEM;
}

void aead_free(struct aead *aead)
{
	if (aead == NULL)
		return;
	aead_mb_key_free(aead->mb);
	EVP_CIPHER_CTX_free(aead->evp);
	free(aead);
}

int aead_seal(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], const void *aad,
	      size_t aad_size, const struct aead_part *parts, size_t count,
	      uint8_t tag[AEAD_TAG_BYTES])
{
	if (aead->mb == NULL)
		return evp_seal(aead->evp, nonce, aad, aad_size, parts, count, tag);
	aead_mb_run(aead->kind, aead->mb, true, nonce, aad, aad_size, parts, count, tag);
	return 0;
}

int aead_open(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], const void *aad,
	      size_t aad_size, const struct aead_part *parts, size_t count,
	      const uint8_t tag[AEAD_TAG_BYTES])
{
	uint8_t made[AEAD_TAG_BYTES];

	if (aead->mb == NULL)
		return evp_open(aead->evp, nonce, aad, aad_size, parts, count, tag);
	aead_mb_run(aead->kind, aead->mb, false, nonce, aad, aad_size, parts, count, made);
	return CRYPTO_memcmp(made, tag, AEAD_TAG_BYTES) == 0 ? 0 : -EBADMSG;
}
