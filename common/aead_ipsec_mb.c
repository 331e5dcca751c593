#include "common/aead_internal.h"
#include <stdlib.h>

#if defined(HAVE_IPSEC_MB)
#define NO_COMPAT_IMB_API_053 /* its names of old clash with OpenSSL's */
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>

/* Only the function pointers in it are used after the set-up, by any thread. */
static IMB_MGR *manager;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void setup(void)
{
	const uint64_t need = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
	IMB_MGR *mgr = alloc_mb_mgr(0);

	if (mgr == NULL)
		return;
	if ((mgr->features & need) == need) {
		init_mb_mgr_auto(mgr, NULL);
		if (imb_get_errno(mgr) == 0) {
			manager = mgr;
			return;
		}
	}
	free_mb_mgr(mgr);
}

bool aead_mb_usable(void)
{
	pthread_once(&once, setup);
	return manager != NULL;
}

struct gcm_key_data *aead_mb_key(enum aead_kind kind, const uint8_t *key)
{
	struct gcm_key_data *data = aligned_alloc(64, (sizeof(*data) + 63) / 64 * 64);

	if (data == NULL)
		return NULL;
	memset(data, 0, sizeof(*data));
	if (kind == AEAD_AES_128_GCM)
		IMB_AES128_GCM_PRE(manager, key, data);
	else
		IMB_AES256_GCM_PRE(manager, key, data);
	return data;
}

void aead_mb_key_free(struct gcm_key_data *key)
{
	if (key != NULL)
		OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

void aead_mb_run(enum aead_kind kind, const struct gcm_key_data *key, bool seal,
		 const uint8_t nonce[AEAD_NONCE_BYTES], const void *aad, size_t aad_size,
		 const struct aead_part *parts, size_t count, uint8_t tag[AEAD_TAG_BYTES])
{
	const bool aes128 = kind == AEAD_AES_128_GCM;
	aes_gcm_enc_dec_update_t update;
	struct gcm_context_data ctx;

	if (aes128) {
		update = seal ? manager->gcm128_enc_update : manager->gcm128_dec_update;
		IMB_AES128_GCM_INIT(manager, key, &ctx, nonce, aad, aad_size);
	} else {
		update = seal ? manager->gcm256_enc_update : manager->gcm256_dec_update;
		IMB_AES256_GCM_INIT(manager, key, &ctx, nonce, aad, aad_size);
	}
	for (size_t i = 0; i < count; i++)
		if (parts[i].size > 0)
			update(key, &ctx, parts[i].out, parts[i].in, parts[i].size);
	/* To finish is the same both ways. */
	if (aes128)
		IMB_AES128_GCM_ENC_FINALIZE(manager, key, &ctx, tag, AEAD_TAG_BYTES);
	else
		IMB_AES256_GCM_ENC_FINALIZE(manager, key, &ctx, tag, AEAD_TAG_BYTES);
}

#else

bool aead_mb_usable(void)
{
	return false;
}

struct gcm_key_data *aead_mb_key(enum aead_kind kind, const uint8_t *key)
{
	return NULL;
}

void aead_mb_key_free(struct gcm_key_data *key)
{
}

void aead_mb_run(enum aead_kind kind, const struct gcm_key_data *key, bool seal,
		 const uint8_t nonce[AEAD_NONCE_BYTES], const void *aad, size_t aad_size,
		 const struct aead_part *parts, size_t count, uint8_t tag[AEAD_TAG_BYTES])
{
	abort(); /* never called: there are no keys */
}
#endif
