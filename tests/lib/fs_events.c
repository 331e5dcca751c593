#include "tests/lib/fs_events.h"

#define EVENTS 4096u

struct fs *fs;

static struct {
	pthread_mutex_t lock;
	char words[EVENTS][24];
	unsigned count;
} events = {.lock = PTHREAD_MUTEX_INITIALIZER};

void note(const char *word)
{
	pthread_mutex_lock(&events.lock);
	if (events.count < EVENTS)
		snprintf(events.words[events.count++], 24, "%s", word);
	pthread_mutex_unlock(&events.lock);
}

void forget_events(void)
{
	pthread_mutex_lock(&events.lock);
	events.count = 0;
	pthread_mutex_unlock(&events.lock);
}

unsigned count_events(const char *word)
{
	unsigned n = 0;

	pthread_mutex_lock(&events.lock);
	for (unsigned i = 0; i < events.count; i++)
		n += strcmp(events.words[i], word) == 0;
	pthread_mutex_unlock(&events.lock);
	return n;
}

const char *history(void)
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
