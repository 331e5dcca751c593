/* clock.h - the three clocks. Thin shells read them; pure cores get times as arguments. */
#ifndef CATENA_COMMON_OS_CLOCK_H
#define CATENA_COMMON_OS_CLOCK_H
#include <stdint.h>
#include "common/base/duration.h"

/* Reads CLOCK_MONOTONIC, which stands still while the machine sleeps. It is for deadlines,
 * durations and timed waits (cond.h). */
uint64_t clock_monotonic_ns(void);
/* Reads CLOCK_BOOTTIME, which goes on while the machine sleeps. It is for leases, which end for the
 * other machines meanwhile. A thread may sleep by the monotonic clock; this one decides whether a
 * lease holds. */
uint64_t clock_boottime_ns(void);
/* Reads CLOCK_REALTIME. It is for the times of files only. */
int64_t clock_realtime_ns(void);
#endif
