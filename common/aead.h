/* aead.h - authenticated encryption for the record layer (record.h): the TLS 1.3 ciphers.
 *
 * AES-GCM is done by intel-ipsec-mb where it was built in and the CPU has AES instructions: with
 * wide vectors it needs a third of the CPU of OpenSSL 3.0, and almost nothing per record. The first
 * use compares it with OpenSSL; if they differ, or without it, OpenSSL does the work.
 *
 * Threading: one thread at a time for each struct aead. */
#ifndef CATENA_COMMON_AEAD_H
#define CATENA_COMMON_AEAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AEAD_NONCE_BYTES 12u
#define AEAD_TAG_BYTES   16u
#define AEAD_KEY_MAX     32u

enum aead_kind { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };

struct aead;

/* One message may be scattered; in == out is allowed, other overlaps are not. */
struct aead_part {
	const uint8_t *in;
	uint8_t *out;
	size_t size;
};

size_t aead_key_bytes(enum aead_kind kind);
/* @key (copied) has aead_key_bytes(). @portable: OpenSSL in any case (for tests). -ENOMEM. */
int aead_create(enum aead_kind kind, const uint8_t *key, bool portable, struct aead **out);
void aead_free(struct aead *aead); /* wipes the key; NULL is allowed */

/* A nonce may never be used twice with one key. -EIO: the cipher failed, nothing may be sent. */
int aead_seal(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], const void *aad,
	      size_t aad_size, const struct aead_part *parts, size_t count,
	      uint8_t tag[AEAD_TAG_BYTES]);
/* -EBADMSG: not what was sealed; what is in the parts' out must not be used. */
int aead_open(struct aead *aead, const uint8_t nonce[AEAD_NONCE_BYTES], const void *aad,
	      size_t aad_size, const struct aead_part *parts, size_t count,
	      const uint8_t tag[AEAD_TAG_BYTES]);

/* What does AES-GCM here: "ipsec-mb" or "openssl". */
const char *aead_backend(void);
#endif
