/* leases_fixture.h - the times by which sessions and the lease are tested. */
#ifndef CATENA_TESTS_UNIT_MASTER_LEASES_LEASES_FIXTURE_H
#define CATENA_TESTS_UNIT_MASTER_LEASES_LEASES_FIXTURE_H
#include "common/base/duration.h"
#include "master/leases/leases.h"

#define MS NS_PER_MSEC
#define S  (1000 * MS)

static const struct leases_options options = {
	.lease_ns = 4 * S,
	.margin_ns = 400 * MS,
	.session_timeout_ns = 30 * S,
	.recall_timeout_ns = 10 * S,
	.sessions_max = 8,
};
#endif
