/* namespace.c - check_namespace(): its parts, one after another. */
#include "master/check/run.h"

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
