/* store_faults.h - power cuts and kills at any step, for programs that link the store.
 *
 * This program's own pwrite(), fdatasync(), fsync(), syncfs() and fallocate() come before the C
 * library's.
 * They count steps, and keep for the files of chunks what a disk may forget: of each block written
 * since the file's last flush its old bytes, and which names have been made durable. */
#ifndef CATENA_TESTS_LIB_STORE_FAULTS_H
#define CATENA_TESTS_LIB_STORE_FAULTS_H
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAULT_BLOCK 4096u
#define FAULT_NAMES 256u

struct old_block {
	struct old_block *next;
	char path[300];
	uint64_t block;
	uint8_t bytes[FAULT_BLOCK];
};

struct faults {
	pthread_mutex_t mutex;
	bool keep;    /* old bytes, for a power cut */
	long steps;   /* made so far */
	long stop_at; /* 0: never */
	bool kill;    /* at that step the process ends; else all I/O on chunks fails */
	_Atomic bool stopped;
	struct old_block *old;
	uint64_t (*random)(void);
	unsigned name_count;
	char names[FAULT_NAMES][300]; /* whose directory was flushed */
};
extern struct faults faults;

void fault_forget(const char *path);
void fault_each_file(const char *target, void (*each)(const char *path));
void fault_remove(const char *path);

/* What the disk has lost: of every block not flushed the old bytes may be back, or half of them; a
 * file whose name was not flushed may be gone. */
void fault_power_cut(uint64_t (*random)(void), const char *target);
#endif
