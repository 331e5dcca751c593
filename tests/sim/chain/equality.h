/* equality.h - that members at rest hold the same, at any time and not only in the end. */
#ifndef CATENA_TESTS_SIM_CHAIN_EQUALITY_H
#define CATENA_TESTS_SIM_CHAIN_EQUALITY_H
#include "tests/sim/chain/world.h"

/* After an event at server @number: each of its chains with the member behind it. */
void equality_check(struct world *w, unsigned number);
#endif
