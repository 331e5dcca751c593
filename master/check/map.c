/* map.c - check_map(): its parts, one after another. */
#include "master/check/map.h"

int check_map(struct kv *kv, const struct check_options *options, check_report_fn *report,
	      void *user, struct check_result *result)
{
	struct check_run run;
	struct check_map map = {.run = &run};
	int rc;

	check_run_init(&run, kv, options, report, user, result);
	rc = check_store_read(&run);
	if (rc == 0)
		rc = check_map_read(&map);
	if (rc == 0)
		rc = check_map_chains(&map);
	if (rc == 0 && run.store.has_counters) {
		check_next_number(&run, "servers", run.store.counters.next_server,
				  run.highest.server);
		check_next_number(&run, "targets", run.store.counters.next_target,
				  run.highest.target);
	}
	check_map_free(&map);
	check_run_end(&run);
	return rc;
}
