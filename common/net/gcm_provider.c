/* gcm_provider.c - see gcm_provider.h. The functions that OpenSSL calls are those of
 * provider-cipher(7); they return 1 for success. */
#include "common/net/gcm_provider.h"
#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/log.h"

#define LOG_MODULE "tls"

#define KEY_BYTES 16u
#define IV_BYTES  12u
#define TAG_BYTES 16u
/* TLS authenticates 5 bytes with a record. */
#define AAD_MAX 64u

/* Only its table of functions is used, which keep nothing in it: so it serves all threads. */
static IMB_MGR *functions;
static OSSL_LIB_CTX *library;

struct gcm {
	struct gcm_key_data key;
	struct gcm_context_data state;
	uint8_t iv[IV_BYTES], aad[AAD_MAX], tag[TAG_BYTES];
	size_t aad_bytes;
	bool encrypts, has_key, has_iv, begun, has_tag;
};

/* ---- one cipher ---- */

static void *gcm_new(void *provider)
{
	struct gcm *gcm = aligned_alloc(64, (sizeof(*gcm) + 63) / 64 * 64);

	if (gcm != NULL)
		memset(gcm, 0, sizeof(*gcm));
	return gcm;
}

static void gcm_free(void *context)
{
	if (context != NULL)
		OPENSSL_cleanse(context, sizeof(struct gcm));
	free(context);
}

static int gcm_set_params(void *context, const OSSL_PARAM params[])
{
	struct gcm *gcm = context;
	const OSSL_PARAM *p;
	size_t size;

	if (params == NULL)
		return 1;
	p = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_AEAD_IVLEN);
	if (p != NULL && (!OSSL_PARAM_get_size_t(p, &size) || size != IV_BYTES))
		return 0;
	p = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_KEYLEN);
	if (p != NULL && (!OSSL_PARAM_get_size_t(p, &size) || size != KEY_BYTES))
		return 0;
	p = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_AEAD_TAG);
	if (p == NULL)
		return 1;
	/* Without data only the length of the tag is said. */
	if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != TAG_BYTES || gcm->encrypts)
		return 0;
	if (p->data != NULL) {
		memcpy(gcm->tag, p->data, TAG_BYTES);
		gcm->has_tag = true;
	}
	return 1;
}

static int gcm_init(struct gcm *gcm, const uint8_t *key, size_t key_bytes, const uint8_t *iv,
		    size_t iv_bytes, const OSSL_PARAM params[], bool encrypts)
{
	if ((key != NULL && key_bytes != KEY_BYTES) || (iv != NULL && iv_bytes != IV_BYTES))
		return 0;
	gcm->encrypts = encrypts;
	gcm->begun = gcm->has_tag = false;
	gcm->aad_bytes = 0;
	if (key != NULL) {
		IMB_AES128_GCM_PRE(functions, key, &gcm->key);
		gcm->has_key = true;
	}
	if (iv != NULL) {
		memcpy(gcm->iv, iv, IV_BYTES);
		gcm->has_iv = true;
	}
	return gcm_set_params(gcm, params);
}

static int gcm_encrypt_init(void *context, const unsigned char *key, size_t key_bytes,
			    const unsigned char *iv, size_t iv_bytes, const OSSL_PARAM params[])
{
	return gcm_init(context, key, key_bytes, iv, iv_bytes, params, true);
}

static int gcm_decrypt_init(void *context, const unsigned char *key, size_t key_bytes,
			    const unsigned char *iv, size_t iv_bytes, const OSSL_PARAM params[])
{
	return gcm_init(context, key, key_bytes, iv, iv_bytes, params, false);
}

static bool begin(struct gcm *gcm)
{
	if (!gcm->has_key || !gcm->has_iv)
		return false;
	if (!gcm->begun)
		IMB_AES128_GCM_INIT(functions, &gcm->key, &gcm->state, gcm->iv, gcm->aad,
				    gcm->aad_bytes);
	gcm->begun = true;
	return true;
}

static int gcm_update(void *context, unsigned char *out, size_t *written, size_t room,
		      const unsigned char *in, size_t size)
{
	struct gcm *gcm = context;

	*written = 0;
	if (out == NULL) { /* authenticated only */
		if (gcm->begun || size > AAD_MAX - gcm->aad_bytes)
			return 0;
		memcpy(gcm->aad + gcm->aad_bytes, in, size);
		gcm->aad_bytes += size;
		*written = size;
		return 1;
	}
	if (room < size || !begin(gcm))
		return 0;
	if (gcm->encrypts)
		IMB_AES128_GCM_ENC_UPDATE(functions, &gcm->key, &gcm->state, out, in, size);
	else
		IMB_AES128_GCM_DEC_UPDATE(functions, &gcm->key, &gcm->state, out, in, size);
	*written = size;
	return 1;
}

static int gcm_final(void *context, unsigned char *out, size_t *written, size_t room)
{
	struct gcm *gcm = context;
	uint8_t tag[TAG_BYTES];

	*written = 0;
	if (!begin(gcm) || (!gcm->encrypts && !gcm->has_tag))
		return 0;
	/* An IV is good for one message. */
	gcm->has_iv = gcm->begun = false;
	if (gcm->encrypts) {
		IMB_AES128_GCM_ENC_FINALIZE(functions, &gcm->key, &gcm->state, gcm->tag, TAG_BYTES);
		gcm->has_tag = true;
		return 1;
	}
	IMB_AES128_GCM_DEC_FINALIZE(functions, &gcm->key, &gcm->state, tag, TAG_BYTES);
	gcm->has_tag = false;
	return CRYPTO_memcmp(tag, gcm->tag, TAG_BYTES) == 0;
}

static bool put_size(OSSL_PARAM params[], const char *name, size_t value)
{
	OSSL_PARAM *p = OSSL_PARAM_locate(params, name);

	return p == NULL || OSSL_PARAM_set_size_t(p, value);
}

static bool put_int(OSSL_PARAM params[], const char *name, int value)
{
	OSSL_PARAM *p = OSSL_PARAM_locate(params, name);

	return p == NULL || OSSL_PARAM_set_int(p, value);
}

static int gcm_get_params(OSSL_PARAM params[])
{
	OSSL_PARAM *mode = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE);

	return (mode == NULL || OSSL_PARAM_set_uint(mode, EVP_CIPH_GCM_MODE)) &&
	       put_int(params, OSSL_CIPHER_PARAM_AEAD, 1) &&
	       put_int(params, OSSL_CIPHER_PARAM_CUSTOM_IV, 1) &&
	       put_size(params, OSSL_CIPHER_PARAM_KEYLEN, KEY_BYTES) &&
	       put_size(params, OSSL_CIPHER_PARAM_IVLEN, IV_BYTES) &&
	       put_size(params, OSSL_CIPHER_PARAM_BLOCK_SIZE, 1);
}

static int gcm_get_context_params(void *context, OSSL_PARAM params[])
{
	const struct gcm *gcm = context;
	OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_AEAD_TAG);

	if (p != NULL && (!gcm->encrypts || !gcm->has_tag || p->data_size > TAG_BYTES ||
			  !OSSL_PARAM_set_octet_string(p, gcm->tag, p->data_size)))
		return 0;
	return put_size(params, OSSL_CIPHER_PARAM_KEYLEN, KEY_BYTES) &&
	       put_size(params, OSSL_CIPHER_PARAM_IVLEN, IV_BYTES) &&
	       put_size(params, OSSL_CIPHER_PARAM_AEAD_TAGLEN, TAG_BYTES);
}

static const OSSL_PARAM *gcm_gettable(void *provider)
{
	static const OSSL_PARAM table[] = {
		OSSL_PARAM_uint(OSSL_CIPHER_PARAM_MODE, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_AEAD, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_CUSTOM_IV, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_BLOCK_SIZE, NULL),
		OSSL_PARAM_END,
	};

	return table;
}

static const OSSL_PARAM *gcm_gettable_context(void *context, void *provider)
{
	static const OSSL_PARAM table[] = {
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_TAGLEN, NULL),
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
		OSSL_PARAM_END,
	};

	return table;
}

static const OSSL_PARAM *gcm_settable_context(void *context, void *provider)
{
	static const OSSL_PARAM table[] = {
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_IVLEN, NULL),
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
		OSSL_PARAM_END,
	};

	return table;
}

/* ---- the provider ---- */

#define FUNCTION(id, function)                                                                     \
	{                                                                                          \
		id, (void (*)(void))(function)                                                     \
	}

static const OSSL_DISPATCH gcm_functions[] = {
	FUNCTION(OSSL_FUNC_CIPHER_NEWCTX, gcm_new),
	FUNCTION(OSSL_FUNC_CIPHER_FREECTX, gcm_free),
	FUNCTION(OSSL_FUNC_CIPHER_ENCRYPT_INIT, gcm_encrypt_init),
	FUNCTION(OSSL_FUNC_CIPHER_DECRYPT_INIT, gcm_decrypt_init),
	FUNCTION(OSSL_FUNC_CIPHER_UPDATE, gcm_update),
	FUNCTION(OSSL_FUNC_CIPHER_FINAL, gcm_final),
	FUNCTION(OSSL_FUNC_CIPHER_GET_PARAMS, gcm_get_params),
	FUNCTION(OSSL_FUNC_CIPHER_GET_CTX_PARAMS, gcm_get_context_params),
	FUNCTION(OSSL_FUNC_CIPHER_SET_CTX_PARAMS, gcm_set_params),
	FUNCTION(OSSL_FUNC_CIPHER_GETTABLE_PARAMS, gcm_gettable),
	FUNCTION(OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, gcm_gettable_context),
	FUNCTION(OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, gcm_settable_context),
	{0, NULL},
};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM ciphers[] = {
		{"AES-128-GCM:id-aes128-GCM:2.16.840.1.101.3.4.1.6", "provider=catena-gcm",
		 gcm_functions, "ipsec-mb"},
		{NULL, NULL, NULL, NULL},
	};

	*no_cache = 0;
	return operation == OSSL_OP_CIPHER ? ciphers : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
			 const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH table[] = {
		FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
		{0, NULL},
	};

	*out = table;
	*context = (void *)handle;
	return 1;
}

static void find_functions(void)
{
	const uint64_t wanted = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_AVX512_SKX;

	functions = alloc_mb_mgr(0);
	if (functions == NULL)
		return;
	if ((functions->features & wanted) == wanted) {
		init_mb_mgr_auto(functions, NULL);
		if (imb_get_errno(functions) == 0)
			return;
	}
	free_mb_mgr(functions);
	functions = NULL;
}

static void make_library(void)
{
	OSSL_LIB_CTX *made;

	find_functions();
	if (functions == NULL)
		return;
	made = OSSL_LIB_CTX_new();
	if (made != NULL && OSSL_PROVIDER_load(made, "default") != NULL &&
	    OSSL_PROVIDER_add_builtin(made, "catena-gcm", provider_init) == 1 &&
	    OSSL_PROVIDER_load(made, "catena-gcm") != NULL) {
		library = made;
		return;
	}
	log_warn("OpenSSL does not take another AES-128-GCM: its own is used");
	OSSL_LIB_CTX_free(made);
}

OSSL_LIB_CTX *gcm_provider_library(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_library);
	return library;
}
#else
OSSL_LIB_CTX *gcm_provider_library(void)
{
	return NULL;
}
#endif
