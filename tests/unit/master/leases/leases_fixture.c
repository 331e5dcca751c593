#include "tests/unit/master/leases/leases_fixture.h"

const struct leases_options options = {
	.lease_ns = 4 * S,
	.margin_ns = 400 * MS,
	.session_timeout_ns = 30 * S,
	.recall_timeout_ns = 10 * S,
	.sessions_max = 8,
};
