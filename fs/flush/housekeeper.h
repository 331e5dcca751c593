/* housekeeper.h - the mount's housekeeping thread: it ticks while there is something to look after,
 * and does single things a little later.
 *
 * Thread: its own, which waits for nothing but its condition; calls come from any. Errors: -ENOMEM
 * and what pthread_create() gives, as negative errno. */
#ifndef CATENA_FS_FLUSH_HOUSEKEEPER_H
#define CATENA_FS_FLUSH_HOUSEKEEPER_H
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"

struct housekeeper;

/* While a tick says that there will be more to look after, the next comes after so long. */
#define HOUSEKEEPER_TICK_NS (250 * NS_PER_MSEC)

/* Looks after what is due at @now_ns (monotonic). True: there will be more. Thread: the
 * housekeeper's; it must not wait. Locks: none held. */
typedef bool housekeeper_tick_fn(void *user, uint64_t now_ns);

/* One thing to be done later. Its owner embeds it, and keeps it until @go is called, once: on the
 * housekeeper's thread, or on the one that stops it or comes after that. */
struct housekeeper_later {
	struct housekeeper_later *next;
	uint64_t due_ns;
	void (*go)(struct housekeeper_later *later);
};

/* @tick is called with @user each time the thread wakes. */
int housekeeper_create(housekeeper_tick_fn *tick, void *user, struct housekeeper **out);
int housekeeper_start(struct housekeeper *housekeeper);
/* Ends the thread. What was to be done later is done now, on the caller's thread. */
void housekeeper_stop(struct housekeeper *housekeeper);
void housekeeper_destroy(struct housekeeper *housekeeper);
/* Makes the thread tick now, because there is something new to look after. Thread: any. */
void housekeeper_wake(struct housekeeper *housekeeper);
/* Has @go called after @delay_ns; in this call when the housekeeper has been stopped. Thread:
 * any. */
void housekeeper_later(struct housekeeper *housekeeper, struct housekeeper_later *later,
		       uint64_t delay_ns, void (*go)(struct housekeeper_later *later));
#endif
