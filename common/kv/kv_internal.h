/* kv_internal.h - what kv.c shares with the forms of the store: RocksDB, the twin, the overlay. */
#ifndef CATENA_COMMON_KV_KV_INTERNAL_H
#define CATENA_COMMON_KV_KV_INTERNAL_H
#include "common/kv/kv.h"

struct kv_iter_ops {
	int (*next)(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
		    const uint8_t **value, size_t *value_size);
	void (*free)(struct kv_iter *iter);
};

/* First member of each form's iterator. */
struct kv_iter {
	const struct kv_iter_ops *ops;
};

struct kv_ops {
	void (*close)(struct kv *kv);
	int (*recover)(struct kv *kv);
	bool (*is_down)(const struct kv *kv);
	bool (*space_low)(struct kv *kv);
	int (*compact)(struct kv *kv, unsigned family);
	void (*compact_stop)(struct kv *kv);
	int (*get)(struct kv *kv, unsigned family, const void *key, size_t key_size,
		   uint8_t **value, size_t *value_size);
	int (*write)(struct kv *kv, const struct kv_batch *batch, bool durable);
	int (*flush)(struct kv *kv);
	int (*iter_open)(struct kv *kv, unsigned family, const void *start, size_t start_size,
			 const void *end, size_t end_size, struct kv_iter **out);
	int (*checkpoint)(struct kv *kv, const char *path);
};

/* First member of each form. */
struct kv {
	const struct kv_ops *ops;
	unsigned family_count;
};

enum kv_record_kind { KV_RECORD_PUT = 1, KV_RECORD_DELETE = 2, KV_RECORD_DELETE_RANGE = 3 };

/* Records in order in one buffer. Each: struct kv_record_head, then the two byte strings. A batch
 * that could not grow is broken, and writing it fails: it must never be written in part. */
struct kv_batch {
	uint8_t *data;
	size_t size, capacity;
	size_t count;
	bool broken;
	/* The form's own batch, kept with this one so that its memory is used again. */
	void **native;
	void (*native_free)(void *native);
};

struct kv_record {
	enum kv_record_kind kind;
	unsigned family;
	const uint8_t *key, *value; /* of DELETE_RANGE: start and end */
	size_t key_size, value_size;
};

/* Walks the records: *position starts at 0. False at the end. */
bool kv_batch_next(const struct kv_batch *batch, size_t *position, struct kv_record *record);
#endif
