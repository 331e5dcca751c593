/* record.h - TLS 1.3 record protection (RFC 8446, chapter 5): what SSL_write() and SSL_read() do
 * after the handshake, without their copies. What is on the wire is plain TLS 1.3.
 *
 * Why not libssl: it copies every byte twice, takes one lock for both directions, and does a system
 * call for each 16 KiB. Here a payload is encrypted straight from its buffer into a block that
 * goes to the kernel whole, and decrypted straight into the buffer where it stays. The handshake,
 * and with it everything about keys and certificates, is OpenSSL's; tls_session_keep_secrets()
 * brings its result here.
 *
 * Records with padding are refused: we are the only peer, and do not pad.
 *
 * Threading: one thread at a time for each struct record_keys. One for each direction. */
#ifndef CATENA_COMMON_RECORD_H
#define CATENA_COMMON_RECORD_H
#include <openssl/ssl.h>
#include "common/aead.h"
#include "common/tls.h"

#define RECORD_HEADER_BYTES 5u
#define RECORD_OVERHEAD     (RECORD_HEADER_BYTES + 1 + AEAD_TAG_BYTES)
#define RECORD_PLAIN_MAX    16384u
#define RECORD_MAX          (RECORD_PLAIN_MAX + RECORD_OVERHEAD)           /* of what we make */
#define RECORD_WIRE_MAX     (RECORD_HEADER_BYTES + RECORD_PLAIN_MAX + 256) /* of what a peer may */
/* A key protects at most this many records before it is replaced (RFC 8446, 5.5: 2^24.5). */
#define RECORD_KEY_LIMIT (UINT64_C(1) << 23)

enum record_type { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

struct record_keys {
	struct aead *aead;
	enum aead_kind kind;
	const EVP_MD *hash;
	uint64_t sequence; /* of the next record */
	uint8_t iv[AEAD_NONCE_BYTES];
	uint8_t secret[TLS_SECRET_MAX];
	size_t secret_size;
};

/* From the suite and one side's traffic secret. @portable as in aead_create(). -EPROTO: a suite
 * that is not of TLS 1.3; -ENOMEM, -EIO. */
int record_keys_init(struct record_keys *keys, const SSL_CIPHER *suite, const uint8_t *secret,
		     size_t secret_size, bool portable);
/* The next generation, after a KeyUpdate. On failure the keys are unusable. */
int record_keys_update(struct record_keys *keys);
void record_keys_wipe(struct record_keys *keys); /* of zeros is allowed */

/* Makes one record of @size (up to RECORD_PLAIN_MAX) bytes at @out, which has room for
 * size + RECORD_OVERHEAD; @plain may be out + RECORD_HEADER_BYTES, where it is encrypted in place.
 * *made: bytes of the record. -EIO. */
int record_seal(struct record_keys *keys, enum record_type type, const void *plain, size_t size,
		uint8_t *out, size_t *made);

/* Bytes of the record that begins with @header, all told; -EPROTO: no such record. */
int record_size(const uint8_t header[RECORD_HEADER_BYTES], size_t *size);
/* Decrypts the whole @record of record_size() bytes. The first *direct_size plain bytes (at most
 * that; the number is updated) go to @direct, the rest to record + RECORD_HEADER_BYTES +
 * *direct_size; *plain_size is both together. -EBADMSG: forged or damaged; -EPROTO. */
int record_open(struct record_keys *keys, uint8_t *record, size_t size, uint8_t *direct,
		size_t *direct_size, enum record_type *type, size_t *plain_size);
#endif
