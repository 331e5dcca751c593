/* kv.c - batches, and the way into the forms of the store. */
#include "common/kv/kv.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/kv/kv_internal.h"

/* Little-endian, as kv_batch_bytes() has it: kind << 24 | family, the key's size, the value's. */
struct kv_record_head {
	uint32_t kind_family, key_size, value_size;
};

#define FAMILY_MAX     ((1u << 24) - 1)
#define BATCH_KEEP_MAX (1u << 20) /* a cleared batch gives back what is beyond this */

struct kv_batch *kv_batch_new(void)
{
	struct kv_batch *batch = calloc(1, sizeof(*batch));

	if (batch == NULL)
		return NULL;
	batch->native = calloc(1, sizeof(*batch->native));
	if (batch->native == NULL) {
		free(batch);
		return NULL;
	}
	return batch;
}

void kv_batch_free(struct kv_batch *batch)
{
	if (batch == NULL)
		return;
	if (*batch->native != NULL)
		batch->native_free(*batch->native);
	free(batch->native);
	free(batch->data);
	free(batch);
}

void kv_batch_clear(struct kv_batch *batch)
{
	batch->size = 0;
	batch->count = 0;
	batch->broken = false;
	if (batch->capacity > BATCH_KEEP_MAX) {
		free(batch->data);
		batch->data = NULL;
		batch->capacity = 0;
	}
}

size_t kv_batch_count(const struct kv_batch *batch)
{
	return batch->count;
}

static uint8_t *batch_room(struct kv_batch *batch, size_t size)
{
	uint8_t *at;

	if (size > batch->capacity - batch->size) {
		size_t capacity = batch->capacity == 0 ? 1024 : batch->capacity * 2;

		if (capacity < batch->size + size)
			capacity = batch->size + size;
		at = realloc(batch->data, capacity);
		if (at == NULL)
			return NULL;
		batch->data = at;
		batch->capacity = capacity;
	}
	at = batch->data + batch->size;
	batch->size += size;
	return at;
}

static void batch_add(struct kv_batch *batch, enum kv_record_kind kind, unsigned family,
		      const void *key, size_t key_size, const void *value, size_t value_size)
{
	struct kv_record_head head;
	uint8_t *at;

	if (batch->broken)
		return;
	if (family > FAMILY_MAX || key_size > UINT32_MAX || value_size > UINT32_MAX) {
		batch->broken = true;
		return;
	}
	at = batch_room(batch, sizeof(head) + key_size + value_size);
	if (at == NULL) {
		batch->broken = true;
		return;
	}
	head.kind_family = htole32((uint32_t)kind << 24 | family);
	head.key_size = htole32((uint32_t)key_size);
	head.value_size = htole32((uint32_t)value_size);
	memcpy(at, &head, sizeof(head));
	if (key_size > 0)
		memcpy(at + sizeof(head), key, key_size);
	if (value_size > 0)
		memcpy(at + sizeof(head) + key_size, value, value_size);
	batch->count++;
}

void kv_batch_put(struct kv_batch *batch, unsigned family, const void *key, size_t key_size,
		  const void *value, size_t value_size)
{
	batch_add(batch, KV_RECORD_PUT, family, key, key_size, value, value_size);
}

void kv_batch_delete(struct kv_batch *batch, unsigned family, const void *key, size_t key_size)
{
	batch_add(batch, KV_RECORD_DELETE, family, key, key_size, NULL, 0);
}

void kv_batch_delete_range(struct kv_batch *batch, unsigned family, const void *start,
			   size_t start_size, const void *end, size_t end_size)
{
	batch_add(batch, KV_RECORD_DELETE_RANGE, family, start, start_size, end, end_size);
}

bool kv_batch_next(const struct kv_batch *batch, size_t *position, struct kv_record *record)
{
	struct kv_record_head head;
	const uint8_t *at = batch->data + *position;

	if (*position >= batch->size)
		return false;
	memcpy(&head, at, sizeof(head));
	head.kind_family = le32toh(head.kind_family);
	record->kind = (enum kv_record_kind)(head.kind_family >> 24);
	record->family = head.kind_family & FAMILY_MAX;
	record->key = at + sizeof(head);
	record->key_size = le32toh(head.key_size);
	record->value = record->key + record->key_size;
	record->value_size = le32toh(head.value_size);
	*position += sizeof(head) + record->key_size + record->value_size;
	return true;
}

const uint8_t *kv_batch_bytes(const struct kv_batch *batch, size_t *size)
{
	*size = batch->size;
	return batch->data;
}

void kv_close(struct kv *kv)
{
	if (kv != NULL)
		kv->ops->close(kv);
}

int kv_recover(struct kv *kv)
{
	return kv->ops->recover(kv);
}

bool kv_is_down(const struct kv *kv)
{
	return kv->ops->is_down(kv);
}

bool kv_space_low(struct kv *kv)
{
	return kv->ops->space_low(kv);
}

int kv_compact(struct kv *kv, unsigned family)
{
	return family >= kv->family_count ? -EINVAL : kv->ops->compact(kv, family);
}

void kv_compact_stop(struct kv *kv)
{
	kv->ops->compact_stop(kv);
}

int kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
	   size_t *value_size)
{
	if (family >= kv->family_count)
		return -EINVAL;
	return kv->ops->get(kv, family, key, key_size, value, value_size);
}

static int batch_check(const struct kv *kv, const struct kv_batch *batch)
{
	struct kv_record record;
	size_t position = 0;

	if (batch->broken)
		return -ENOMEM;
	while (kv_batch_next(batch, &position, &record))
		if (record.family >= kv->family_count)
			return -EINVAL;
	return 0;
}

int kv_write(struct kv *kv, const struct kv_batch *batch, bool durable)
{
	int rc = batch_check(kv, batch);

	return rc == 0 ? kv->ops->write(kv, batch, durable) : rc;
}

int kv_flush(struct kv *kv)
{
	return kv->ops->flush(kv);
}

int kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
		 const void *end, size_t end_size, struct kv_iter **out)
{
	if (family >= kv->family_count)
		return -EINVAL;
	return kv->ops->iter_open(kv, family, start, start_size, end, end_size, out);
}

int kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size, const uint8_t **value,
		 size_t *value_size)
{
	return iter->ops->next(iter, key, key_size, value, value_size);
}

void kv_iter_free(struct kv_iter *iter)
{
	if (iter != NULL)
		iter->ops->free(iter);
}

int kv_checkpoint(struct kv *kv, const char *path)
{
	return kv->ops->checkpoint(kv, path);
}
