/* log_hash.c - see log_hash.h. */
#include "master/log/log_hash.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/expects.h"

struct log_hash {
	EVP_MD *kind;
	EVP_MD_CTX *digest;
	uint8_t last[LOG_HASH_BYTES];
	uint64_t changes_size;
	uint32_t changes_crc;
	bool in_entry, failed;
};

int log_hash_new(struct log_hash **out)
{
	struct log_hash *hash = calloc(1, sizeof(*hash));

	if (hash == NULL)
		return -ENOMEM;
	hash->kind = EVP_MD_fetch(NULL, "SHA256", NULL);
	hash->digest = EVP_MD_CTX_new();
	if (hash->kind == NULL || hash->digest == NULL) {
		log_hash_free(hash);
		return -ENOMEM;
	}
	*out = hash;
	return 0;
}

void log_hash_free(struct log_hash *hash)
{
	if (hash == NULL)
		return;
	EVP_MD_CTX_free(hash->digest);
	EVP_MD_free(hash->kind);
	free(hash);
}

void log_hash_continue(struct log_hash *hash, const uint8_t last[LOG_HASH_BYTES])
{
	hash->in_entry = false;
	memcpy(hash->last, last, LOG_HASH_BYTES);
}

void log_hash_last(const struct log_hash *hash, uint8_t out[LOG_HASH_BYTES])
{
	memcpy(out, hash->last, LOG_HASH_BYTES);
}

static void add(struct log_hash *hash, const void *data, size_t size)
{
	if (EVP_DigestUpdate(hash->digest, data, size) != 1)
		hash->failed = true;
}

static void add_number(struct log_hash *hash, uint64_t number)
{
	uint8_t bytes[8];

	put_le64(bytes, number);
	add(hash, bytes, sizeof(bytes));
}

static void begin(struct log_hash *hash)
{
	hash->failed = EVP_DigestInit_ex2(hash->digest, hash->kind, NULL) != 1;
}

static int end(struct log_hash *hash, uint8_t out[LOG_HASH_BYTES])
{
	unsigned size = 0;

	if (EVP_DigestFinal_ex(hash->digest, out, &size) != 1 || hash->failed)
		return -ENOMEM;
	expects(size == LOG_HASH_BYTES);
	return 0;
}

/* ---- entries ---- */

void log_hash_begin(struct log_hash *hash, const uint8_t *entry, size_t size)
{
	begin(hash);
	add(hash, hash->last, LOG_HASH_BYTES);
	add_number(hash, size);
	add(hash, entry, size);
	hash->changes_size = 0;
	hash->changes_crc = 0;
	hash->in_entry = true;
}

void log_hash_copied(struct log_hash *hash, const uint8_t *changes, size_t size)
{
	if (!hash->in_entry)
		return;
	add(hash, changes, size);
	hash->changes_size += size;
	hash->changes_crc = crc32c_extend(hash->changes_crc, changes, size);
}

void log_hash_changes(void *user, const struct kv_batch *batch)
{
	size_t size;
	const uint8_t *bytes = kv_batch_bytes(batch, &size);

	log_hash_copied(user, bytes, size);
}

int log_hash_end(struct log_hash *hash, int result, const struct command_result *given,
		 struct log_trace *out)
{
	uint8_t answer[28], last[LOG_HASH_BYTES];
	int rc;

	expects(hash->in_entry);
	hash->in_entry = false;
	put_le32(answer, (uint32_t)result);
	put_le64(answer + 4, given->session);
	put_le64(answer + 12, given->generation);
	put_le64(answer + 20, given->answer.lane);
	add_number(hash, hash->changes_size);
	add(hash, answer, sizeof(answer));
	add(hash, given->answer.reply, given->answer.reply_size);
	rc = end(hash, last);
	if (rc != 0)
		return rc;
	memcpy(hash->last, last, LOG_HASH_BYTES);
	memcpy(out->hash, last, LOG_HASH_BYTES);
	out->result = result;
	out->answer_crc = crc32c_extend(crc32c(answer + 4, sizeof(answer) - 4), given->answer.reply,
					given->answer.reply_size);
	out->changes_crc = hash->changes_crc;
	return 0;
}

/* ---- the whole store ---- */

static int add_family(struct log_hash *hash, struct kv *kv, unsigned family)
{
	const uint8_t *key, *value;
	size_t key_size, value_size;
	struct kv_iter *iter;
	uint8_t head[12];
	int rc = kv_iter_open(kv, family, "", 0, NULL, 0, &iter);

	if (rc != 0)
		return rc;
	put_le32(head, family);
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &value_size)) == 1) {
		put_le32(head + 4, (uint32_t)key_size);
		put_le32(head + 8, (uint32_t)value_size);
		add(hash, head, sizeof(head));
		add(hash, key, key_size);
		add(hash, value, value_size);
	}
	kv_iter_free(iter);
	return rc;
}

int log_hash_store(struct kv *kv, unsigned families, uint8_t out[LOG_HASH_BYTES])
{
	struct log_hash *hash;
	int rc = log_hash_new(&hash), ended;

	if (rc != 0)
		return rc;
	begin(hash);
	for (unsigned family = 0; rc == 0 && family < families; family++)
		rc = add_family(hash, kv, family);
	ended = end(hash, out);
	log_hash_free(hash);
	return rc != 0 ? rc : ended;
}
