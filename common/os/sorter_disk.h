/* sorter_disk.h - sorters (common/base/sorter.h) for more than memory should hold: what does not
 * fit is sorted in runs, which lie in files of a directory and are merged when they are read.
 *
 * The files have no names, so they end with the process, however it ends. What is read from them is
 * checked: a disk that gives other bytes back is an error (-EUCLEAN) and not another order.
 *
 * Errors: -ENOSPC, also before the disk has less than its reserve; -EFBIG: more than
 * SORTER_DISK_RUNS runs, so that more memory is needed; -EUCLEAN; -ENOMEM; those of the files. The
 * supply's error says in one line what was wrong. Thread: any, one at a time. */
#ifndef CATENA_COMMON_OS_SORTER_DISK_H
#define CATENA_COMMON_OS_SORTER_DISK_H
#include "common/base/sorter.h"

#define SORTER_DISK_RUN_BYTES (UINT64_C(256) << 20)
#define SORTER_DISK_MEMORY    (UINT64_C(416) << 20)
/* A sorter may always have this part of run_bytes, or runs would become too many. */
#define SORTER_DISK_SHARE 8u
#define SORTER_DISK_RUNS  4096u
/* What is read of each run at once: all runs of a sorter take RUNS times as much while it is
 * read. */
#define SORTER_DISK_BLOCK (64u << 10)

struct sorter_disk_options {
	const char *place;  /* an existing directory */
	uint64_t run_bytes; /* memory for the records of one sorter; 0: SORTER_DISK_RUN_BYTES */
	/* For those of all sorters, beside the share that each has; 0: SORTER_DISK_MEMORY. */
	uint64_t memory;
	uint64_t reserve; /* bytes of the disk that stay free */
};

/* A supply. Its owner ends it when all its sorters are freed. */
struct sorter_disk {
	struct sorter_supply supply;
	struct sorter_disk_options options;
	int directory;
	uint64_t used;   /* bytes in files now */
	uint64_t memory; /* bytes of records in memory now */
	char error[200];
};

/* -ENOTDIR and the like; disk->error says why. Then it is ended already. */
int sorter_disk_init(struct sorter_disk *disk, const struct sorter_disk_options *options);
/* Looks whether the place has room for @bytes now, which is looked at for each run again. -ENOSPC:
 * disk->error says how much there is. */
int sorter_disk_room(struct sorter_disk *disk, uint64_t bytes);
void sorter_disk_end(struct sorter_disk *disk);
#endif
