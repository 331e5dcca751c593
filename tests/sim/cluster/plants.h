/* plants.h - faults that can be planted in the code under test, and what it logs. */
#ifndef CATENA_TESTS_SIM_CLUSTER_PLANTS_H
#define CATENA_TESTS_SIM_CLUSTER_PLANTS_H
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "chunkserver/base/chain_faults.h"
#include "common/os/log.h"
#include "master/state/chain_faults.h"

struct plant {
	const char *name;
	enum chain_fault chain;
	enum manager_fault manager;
	bool rare;      /* only looked for by name */
	uint64_t first; /* seed to begin with: where it was found; 0: any */
};
extern const struct plant plants[];
extern const size_t plant_count;

/* Nothing is planted by @i = plant_count. */
void plant(size_t i);
size_t plant_by_name(const char *name);

/* ---- the log: without real time, and only when it is asked for ---- */

extern bool log_wanted;
#endif
