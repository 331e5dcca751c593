#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/common/kv/kv_fixture.h"

static const struct kv_family families[] = {
	{.name = "default"},
	{.name = "small"},
	{.name = "large", .large_values = true},
};

static char work_dir[256];

/* ---- helpers ---- */

int make_work_dir(void **state)
{
	return tree_make(work_dir, sizeof(work_dir), "kv_test") == NULL ? -1 : 0;
}

int remove_work_dir(void **state)
{
	tree_remove(work_dir);
	return 0;
}

const char *place(const char *name)
{
	static char path[320];

	snprintf(path, sizeof(path), "%s/%s", work_dir, name);
	return path;
}

static int open_as(const char *path, bool create, bool read_only, struct kv **out)
{
	struct kv_options options = {
		.path = path,
		.families = families,
		.family_count = FAMILIES,
		.cache_bytes = 8u << 20,
		.memtable_bytes = 2u << 20,
		.create = create,
		.read_only = read_only,
	};
	char error[256];
	int rc = kv_open(&options, out, error, sizeof(error));

	if (rc != 0 && error[0] == '\0')
		return -EPROTO; /* no word for the operator */
	return rc;
}

int open_at(const char *path, bool create, struct kv **out)
{
	return open_as(path, create, false, out);
}

int open_to_read(const char *path, struct kv **out)
{
	return open_as(path, false, true, out);
}

struct kv *open_rocks(const char *name)
{
	struct kv *kv = NULL;

	assert_int_equal(open_at(place(name), true, &kv), 0);
	return kv;
}

struct kv *open_memory(void)
{
	struct kv *kv = NULL;

	assert_int_equal(kv_open_memory(families, FAMILIES, &kv), 0);
	return kv;
}

int put(struct kv *kv, unsigned family, const char *key, const char *value, bool durable)
{
	struct kv_batch *batch = kv_batch_new();
	int rc;

	kv_batch_put(batch, family, key, strlen(key), value, strlen(value));
	rc = kv_write(kv, batch, durable);
	kv_batch_free(batch);
	return rc;
}

int get_is(struct kv *kv, unsigned family, const char *key, const char *expected)
{
	uint8_t *value;
	size_t size;
	int rc = kv_get(kv, family, key, strlen(key), &value, &size);

	if (rc != 0)
		return rc;
	rc = size == strlen(expected) && memcmp(value, expected, size) == 0 ? 0 : -EBADMSG;
	free(value);
	return rc;
}
