/* clock.h - the three clocks. Thin shells read them; pure cores get times as arguments. */
#ifndef CATENA_COMMON_OS_CLOCK_H
#define CATENA_COMMON_OS_CLOCK_H
#include <stdint.h>
#include "common/base/duration.h"

/* Stands still while the machine sleeps. For deadlines, durations and every timed wait: a condition
 * variable knows no other. CLOCK_MONOTONIC. */
uint64_t clock_monotonic_ns(void);
/* Goes on while the machine sleeps: for leases, which end for others meanwhile. A thread may sleep
 * by the monotonic clock, but whether a lease holds is decided by this one. CLOCK_BOOTTIME. */
uint64_t clock_boottime_ns(void);
int64_t clock_realtime_ns(void); /* for file times only */
#endif
