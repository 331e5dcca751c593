/* fs_events.h - what happened in a test of the filesystem, in order, as words; and the filesystem.
 * Thread: any. */
#ifndef CATENA_TESTS_LIB_FS_EVENTS_H
#define CATENA_TESTS_LIB_FS_EVENTS_H
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "fs/inodes/fs.h"

extern struct fs *fs; /* the one under test */

void note(const char *word);
void forget_events(void);
unsigned count_events(const char *word);

/* All of them, joined by spaces. */
const char *history(void);
#endif
