/* housekeeper.h - the mount's housekeeping thread: background flushes, interrupted tasks, things to
 * be done a little later. It never blocks but on its condition. */
#ifndef CATENA_FS_FLUSH_HOUSEKEEPER_H
#define CATENA_FS_FLUSH_HOUSEKEEPER_H
#include <stdbool.h>
#include <stdint.h>

struct fs;
struct housekeeper;

/* Embedded by its owner; @go is called once on the housekeeper's thread. */
struct housekeeper_later {
	struct housekeeper_later *next;
	uint64_t due_ns;
	void (*go)(struct housekeeper_later *later);
};

int housekeeper_create(struct fs *fs, struct housekeeper **out);
int housekeeper_start(struct housekeeper *housekeeper);
/* Stops the thread; what was to be done later is done now, by the caller. */
void housekeeper_stop(struct housekeeper *housekeeper);
void housekeeper_destroy(struct housekeeper *housekeeper);
/* There is something new to look after. Any thread. */
void housekeeper_wake(struct housekeeper *housekeeper);
void housekeeper_later(struct housekeeper *housekeeper, struct housekeeper_later *later,
		       uint64_t delay_ns, void (*go)(struct housekeeper_later *later));
#endif
