/* duration.h - units of time. Durations and times are in nanoseconds, and their names end in _NS or
 * _ns. */
#ifndef CATENA_COMMON_BASE_DURATION_H
#define CATENA_COMMON_BASE_DURATION_H

#define NS_PER_SEC  1000000000ull
#define NS_PER_MSEC 1000000ull
#define NS_PER_USEC 1000ull
#endif
