/* housekeeper.h - the mount's housekeeping thread: background flushes, interrupted tasks, things to
 * be done a little later. It never blocks but on its condition. */
#ifndef CATENA_FS_FLUSH_HOUSEKEEPER_H
#define CATENA_FS_FLUSH_HOUSEKEEPER_H
#include <stdbool.h>
#include <stdint.h>

struct fs;
struct keeper;

/* Embedded by its owner; @go is called once on the keeper's thread. */
struct keeper_later {
	struct keeper_later *next;
	uint64_t due_ns;
	void (*go)(struct keeper_later *later);
};

int keeper_create(struct fs *fs, struct keeper **out);
int keeper_start(struct keeper *keeper);
/* Stops the thread; what was to be done later is done now, by the caller. */
void keeper_stop(struct keeper *keeper);
void keeper_destroy(struct keeper *keeper);
/* There is something new to look after. Any thread. */
void keeper_wake(struct keeper *keeper);
void keeper_later(struct keeper *keeper, struct keeper_later *later, uint64_t delay_ns,
		  void (*go)(struct keeper_later *later));
#endif
