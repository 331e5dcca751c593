/* clock.h - the two clocks. Thin shells read them; pure cores get times as arguments. */
#ifndef CATENA_COMMON_CLOCK_H
#define CATENA_COMMON_CLOCK_H
#include <stdint.h>

#define NS_PER_SEC  1000000000ull
#define NS_PER_MSEC 1000000ull

uint64_t clock_monotonic_ns(void); /* for leases, deadlines and durations; CLOCK_MONOTONIC */
int64_t clock_realtime_ns(void);   /* for file times only */
#endif
