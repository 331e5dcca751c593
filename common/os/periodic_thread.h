/* periodic_thread.h - a thread that does one piece of work again and again: when it is time, or
 * when it is kicked.
 *
 * A kick is never lost: one that comes during a round begins another round at once. Several kicks
 * before a round are one. */
#ifndef CATENA_COMMON_OS_PERIODIC_THREAD_H
#define CATENA_COMMON_OS_PERIODIC_THREAD_H
#include <stdint.h>

struct periodic_thread;

/* One round of the work. Returns when the next one is due, by clock_monotonic_ns(); UINT64_MAX:
 * only after a kick. Thread: the periodic thread's own. */
typedef uint64_t periodic_thread_fn(void *user);

/* Starts the thread; the first round is due at @first_ns (0: at once). @user is borrowed until
 * periodic_thread_stop(). Errors: -ENOMEM, -EAGAIN. */
int periodic_thread_start(periodic_thread_fn *round, void *user, uint64_t first_ns,
			  struct periodic_thread **out);

/* Makes a round due now. Thread: any; also from inside a round. */
void periodic_thread_kick(struct periodic_thread *thread);

/* Ends the thread and frees it. Waits for the round under way; no round begins after it. NULL is
 * allowed. */
void periodic_thread_stop(struct periodic_thread *thread);
#endif
