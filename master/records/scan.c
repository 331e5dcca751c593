/* scan.c - reading the records of one kind; see scan.h. */
#include "master/records/scan.h"
#include <errno.h>

static int scan(struct kv *kv, enum family family, const uint8_t *start, const uint8_t *end,
		size_t bound, size_t key_size, scan_record_fn *each, void *user)
{
	const uint8_t *key, *value;
	size_t size, found;
	struct kv_iter *iter;
	int rc = kv_iter_open(kv, family, start, bound, end, bound, &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &key, &found, &value, &size)) == 1) {
		rc = found == key_size ? each(user, key, value, size) : -EUCLEAN;
		if (rc != 0)
			break;
	}
	kv_iter_free(iter);
	return rc;
}

int scan_tag(struct kv *kv, enum meta_tag tag, scan_record_fn *each, void *user)
{
	const uint8_t start = (uint8_t)tag, end = (uint8_t)(tag + 1);

	return scan(kv, FAMILY_META, &start, &end, 1, META_KEY_MAX, each, user);
}

int scan_pairs(struct kv *kv, enum family family, scan_record_fn *each, void *user)
{
	return scan(kv, family, (const uint8_t *)"", NULL, 0, 16, each, user);
}
