/* gcm_provider_test - AES-128-GCM by ipsec-mb is the same cipher as OpenSSL's own.
 *
 * Goal: what one encrypts the other decrypts, bit by bit; what was tampered with is refused; wrong
 * use fails. Method: a vector of NIST (test case 4 of the GCM specification), then seeded random
 * messages of all sizes in pieces, through both. Skipped on CPUs for which there is none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/net/gcm_provider.h"
#include "tests/lib/random.h"

#define SIZE_MAX_TESTED 40000u

static EVP_CIPHER *ours, *theirs;

struct message {
	uint8_t key[16], iv[12], aad[64], tag[16];
	uint8_t plain[SIZE_MAX_TESTED], cipher[SIZE_MAX_TESTED];
	size_t aad_size, size;
};

/* Encrypts or decrypts @in to @out in pieces that @seed decides; the tag to or from m->tag. */
static bool run(const EVP_CIPHER *cipher, struct message *m, bool encrypts, const uint8_t *in,
		uint8_t *out, uint64_t seed)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	size_t at = 0;
	int n = 0, end = 0;
	bool ok;

	ok = EVP_CipherInit_ex(ctx, cipher, NULL, NULL, NULL, encrypts) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL) == 1 &&
	     EVP_CipherInit_ex(ctx, NULL, NULL, m->key, NULL, -1) == 1 &&
	     EVP_CipherInit_ex(ctx, NULL, NULL, NULL, m->iv, encrypts) == 1;
	if (ok && !encrypts)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, m->tag) == 1;
	if (ok && m->aad_size > 0)
		ok = EVP_CipherUpdate(ctx, NULL, &n, m->aad, (int)m->aad_size) == 1;
	while (ok && at < m->size) {
		size_t piece = 1 + random_below(&seed, m->size - at);

		ok = EVP_CipherUpdate(ctx, out + at, &n, in + at, (int)piece) == 1 &&
		     (size_t)n == piece;
		at += piece;
	}
	ok = ok && EVP_CipherFinal_ex(ctx, out + at, &end) == 1 && end == 0;
	if (ok && encrypts)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, m->tag) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

static void fill(uint8_t *bytes, size_t size, uint64_t *seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)random_u64(seed);
}

static void random_message(struct message *m, uint64_t *seed)
{
	m->size = random_below(seed, random_below(seed, 4) == 0 ? SIZE_MAX_TESTED : 600);
	m->aad_size = random_below(seed, sizeof(m->aad) + 1);
	fill(m->key, sizeof(m->key), seed);
	fill(m->iv, sizeof(m->iv), seed);
	fill(m->aad, m->aad_size, seed);
	fill(m->plain, m->size, seed);
}

static void test_a_known_message_has_the_known_cipher_text(void **state)
{
	static const uint8_t key[16] = {0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c,
					0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08};
	static const uint8_t iv[12] = {0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce,
				       0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88};
	static const uint8_t aad[20] = {0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed,
					0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad, 0xda, 0xd2};
	static const uint8_t plain[60] = {
		0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5,
		0xaf, 0xf5, 0x26, 0x9a, 0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda,
		0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95,
		0x95, 0x68, 0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25,
		0xb1, 0x6a, 0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39};
	static const uint8_t tag[16] = {0x5b, 0xc9, 0x4f, 0xbc, 0x32, 0x21, 0xa5, 0xdb,
					0x94, 0xfa, 0xe9, 0x5a, 0xe7, 0x12, 0x1a, 0x47};
	static struct message m;
	(void)state;

	memcpy(m.key, key, sizeof(key));
	memcpy(m.iv, iv, sizeof(iv));
	memcpy(m.aad, aad, sizeof(aad));
	memcpy(m.plain, plain, sizeof(plain));
	m.aad_size = sizeof(aad);
	m.size = sizeof(plain);
	assert_true(run(ours, &m, true, m.plain, m.cipher, 1));
	assert_memory_equal(m.tag, tag, sizeof(tag));
	assert_int_equal(m.cipher[0], 0x42);
	assert_int_equal(m.cipher[59], 0x91);
}

static void test_both_understand_each_other(void **state)
{
	static struct message a, b;
	uint64_t seed = 1;
	(void)state;

	for (unsigned i = 0; i < 400; i++) {
		random_message(&a, &seed);
		b = a;
		assert_true(run(ours, &a, true, a.plain, a.cipher, i));
		assert_true(run(theirs, &b, true, b.plain, b.cipher, i + 7));
		assert_memory_equal(a.cipher, b.cipher, a.size);
		assert_memory_equal(a.tag, b.tag, 16);
		assert_true(run(ours, &b, false, b.cipher, b.plain, i + 13));
		assert_memory_equal(a.plain, b.plain, a.size);
		assert_true(run(ours, &b, false, b.cipher, b.cipher, i + 19)); /* in place */
		assert_memory_equal(a.plain, b.cipher, a.size);
	}
}

static void test_what_was_changed_is_refused(void **state)
{
	static struct message m;
	uint64_t seed = 2;
	(void)state;

	for (unsigned i = 0; i < 200; i++) {
		uint8_t *victim;

		random_message(&m, &seed);
		m.size++;
		m.aad_size = m.aad_size % 60 + 1;
		assert_true(run(ours, &m, true, m.plain, m.cipher, i));
		victim = i % 4 == 0   ? &m.tag[random_below(&seed, 16)]
			 : i % 4 == 1 ? &m.aad[random_below(&seed, m.aad_size)]
			 : i % 4 == 2 ? &m.iv[random_below(&seed, 12)]
				      : &m.cipher[random_below(&seed, m.size)];
		*victim ^= (uint8_t)(1u << random_below(&seed, 8));
		assert_false(run(ours, &m, false, m.cipher, m.plain, i));
	}
}

static void test_wrong_use_fails(void **state)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t bytes[100] = {0}, tag[16];
	int n;
	(void)state;

	/* Without a key, without an IV, with the IV of the message before. */
	assert_int_equal(EVP_CipherInit_ex(ctx, ours, NULL, NULL, NULL, 1), 1);
	assert_int_not_equal(EVP_CipherUpdate(ctx, bytes, &n, bytes, 16), 1);
	assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, bytes, NULL, 1), 1);
	assert_int_not_equal(EVP_CipherUpdate(ctx, bytes, &n, bytes, 16), 1);
	assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, bytes, 1), 1);
	assert_int_equal(EVP_CipherUpdate(ctx, bytes, &n, bytes, 16), 1);
	assert_int_equal(EVP_CipherFinal_ex(ctx, bytes, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
	assert_int_not_equal(EVP_CipherUpdate(ctx, bytes, &n, bytes, 16), 1);
	/* Another length of the IV; a tag before there is one; no tag to decrypt with. */
	assert_int_not_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 8, NULL), 1);
	assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, bytes, 1), 1);
	assert_int_not_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
	assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, bytes, 0), 1);
	assert_int_equal(EVP_CipherUpdate(ctx, bytes, &n, bytes, 16), 1);
	assert_int_not_equal(EVP_CipherFinal_ex(ctx, bytes, &n), 1);
	EVP_CIPHER_CTX_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_known_message_has_the_known_cipher_text),
		cmocka_unit_test(test_both_understand_each_other),
		cmocka_unit_test(test_what_was_changed_is_refused),
		cmocka_unit_test(test_wrong_use_fails),
	};
	int rc;

	if (gcm_provider_library() == NULL) {
		printf("this CPU is served by OpenSSL itself\n");
		return 77;
	}
	ours = EVP_CIPHER_fetch(gcm_provider_library(), "AES-128-GCM", GCM_PROPERTIES);
	theirs = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	if (ours == NULL || theirs == NULL ||
	    strcmp(EVP_CIPHER_get0_description(ours), "ipsec-mb") != 0)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_CIPHER_free(ours);
	EVP_CIPHER_free(theirs);
	return rc;
}
