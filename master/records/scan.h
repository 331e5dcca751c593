/* scan.h - reading the records of one kind at start.
 *
 * Errors: -EUCLEAN for a key of another size; those of the store; those of @each. */
#ifndef CATENA_MASTER_RECORDS_SCAN_H
#define CATENA_MASTER_RECORDS_SCAN_H
#include <stddef.h>
#include <stdint.h>
#include "common/kv/kv.h"
#include "master/records/keys.h"

/* Gets one record; the size of @key is that of the scan. Anything but 0 ends the scan. */
typedef int scan_record_fn(void *user, const uint8_t *key, const uint8_t *value, size_t size);

/* Calls @each for all records of one tag, in the order of their ids: keys of META_KEY_MAX bytes. */
int scan_tag(struct kv *kv, enum meta_tag tag, scan_record_fn *each, void *user);
/* Calls @each for all records of a family whose keys are two numbers (16 bytes), in their order. */
int scan_pairs(struct kv *kv, enum family family, scan_record_fn *each, void *user);
#endif
