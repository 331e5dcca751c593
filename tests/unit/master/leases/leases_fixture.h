/* leases_fixture.h - the times by which sessions and the lease are tested. */
#ifndef CATENA_TESTS_UNIT_MASTER_LEASES_LEASES_FIXTURE_H
#define CATENA_TESTS_UNIT_MASTER_LEASES_LEASES_FIXTURE_H
#include "common/base/duration.h"
#include "master/leases/leases.h"

#define MS NS_PER_MSEC
#define S  (1000 * MS)

extern const struct leases_options options;
#endif
