/* aead_internal.h - shared by aead.c and aead_ipsec_mb.c only. */
#ifndef CATENA_COMMON_AEAD_INTERNAL_H
#define CATENA_COMMON_AEAD_INTERNAL_H
#include "common/aead.h"

struct gcm_key_data;

/* False: not built in, or the CPU lacks what makes it fast. */
bool aead_mb_usable(void);
/* NULL: out of memory. Not for AEAD_CHACHA20_POLY1305. */
struct gcm_key_data *aead_mb_key(enum aead_kind kind, const uint8_t *key);
void aead_mb_key_free(struct gcm_key_data *key);
/* @tag is made in both directions: the opener compares it. */
void aead_mb_run(enum aead_kind kind, const struct gcm_key_data *key, bool seal,
		 const uint8_t nonce[AEAD_NONCE_BYTES], const void *aad, size_t aad_size,
		 const struct aead_part *parts, size_t count, uint8_t tag[AEAD_TAG_BYTES]);
#endif
