/* fs_events.h - what happened in a test of the filesystem, in order, as words; and the filesystem.
 * Header only; any thread. */
#ifndef CATENA_TESTS_LIB_FS_EVENTS_H
#define CATENA_TESTS_LIB_FS_EVENTS_H
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "fs/inodes/fs.h"

#define EVENTS 4096u

static struct fs *fs; /* the one under test */

static struct {
	pthread_mutex_t lock;
	char words[EVENTS][24];
	unsigned count;
} events = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(const char *word)
{
	pthread_mutex_lock(&events.lock);
	if (events.count < EVENTS)
		snprintf(events.words[events.count++], 24, "%s", word);
	pthread_mutex_unlock(&events.lock);
}

static inline void forget_events(void)
{
	pthread_mutex_lock(&events.lock);
	events.count = 0;
	pthread_mutex_unlock(&events.lock);
}

static inline unsigned count_events(const char *word)
{
	unsigned n = 0;

	pthread_mutex_lock(&events.lock);
	for (unsigned i = 0; i < events.count; i++)
		n += strcmp(events.words[i], word) == 0;
	pthread_mutex_unlock(&events.lock);
	return n;
}

/* All of them, joined by spaces. */
static inline const char *history(void)
{
	static char text[EVENTS * 4];
	size_t used = 0;

	text[0] = '\0';
	pthread_mutex_lock(&events.lock);
	for (unsigned i = 0; i < events.count && used + 32 < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
					 events.words[i]);
	pthread_mutex_unlock(&events.lock);
	return text;
}
#endif
