/* namespace.c - check_namespace(): its parts, one after another. */
#include <errno.h>
#include <stdlib.h>
#include "master/check/run.h"

int check_namespace_bytes(struct kv *kv, uint64_t *bytes)
{
	const uint64_t each = CHECK_NAME_BYTES + CHECK_FILE_ID_BYTES + CHECK_PARENT_BYTES;
	uint8_t key[META_KEY_MAX], *value;
	struct counters counters;
	size_t size;
	int rc = kv_get(kv, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), &value, &size);

	*bytes = 0;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	if (value_decode_counters(value, size, &counters) && counters.inodes < ID_END)
		*bytes = counters.inodes * each;
	free(value);
	return 0;
}

int check_namespace(struct kv *kv, const struct check_options *options, check_report_fn *report,
		    void *user, struct check_result *result)
{
	int (*const parts[])(struct check_run * run) = {
		check_store_read, check_sessions,       check_entries,  check_inodes,
		check_loops,      check_subdirectories, check_removals, check_file_ids,
	};
	struct check_run run;
	int rc = 0;

	check_run_init(&run, kv, options, report, user, result);
	for (size_t i = 0; rc == 0 && i < sizeof(parts) / sizeof(*parts); i++)
		rc = parts[i](&run);
	if (rc == 0)
		check_counters(&run);
	check_run_end(&run);
	return rc;
}
