#include "common/os/log.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/lock.h"

#define LINE_MAX_BYTES 4096

static const char *const level_names[] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_ERROR] = "error",
};
static const char *const level_words[] = {
	[LOG_LEVEL_DEBUG] = "DEBUG",
	[LOG_LEVEL_INFO] = "INFO ",
	[LOG_LEVEL_WARN] = "WARN ",
	[LOG_LEVEL_ERROR] = "ERROR",
};

/* The file's descriptor number, once there is one, is never closed: a new file is put into it by
 * dup3(), so that a thread in write(2) on it can never hit a descriptor of something else. */
static atomic_int sink = STDERR_FILENO;
static atomic_int threshold = LOG_LEVEL_INFO;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static int file_fd = -1;
static char *file_path;

/* Opens @path, and lets the sink's descriptor mean it. Locks: open_lock. */
static int sink_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
	int rc = 0;

	lock_held(&open_lock);
	if (fd < 0)
		return -errno;
	if (file_fd < 0) {
		file_fd = fd;
		return 0;
	}
	if (dup3(fd, file_fd, O_CLOEXEC) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static void broken_expectation(const char *file, int line, const char *condition)
{
	log_write(LOG_LEVEL_ERROR, "expects",
		  "%s:%d: expected %s; this is a fault of the program, which ends here so that "
		  "nothing is built on it",
		  file, line, condition);
}

int log_open(const char *path)
{
	char *copy = NULL;
	int rc = 0;

	expects_report_to(broken_expectation);
	if (path != NULL) {
		copy = strdup(path);
		if (copy == NULL)
			return -ENOMEM;
	}
	pthread_mutex_lock(&open_lock);
	if (copy != NULL) {
		rc = sink_file(copy);
		if (rc == 0)
			atomic_store(&sink, file_fd);
	} else {
		atomic_store(&sink, STDERR_FILENO);
		/* Let go of the file, but not of its number. */
		if (file_fd >= 0)
			(void)dup3(STDERR_FILENO, file_fd, O_CLOEXEC);
	}
	if (rc == 0) {
		free(file_path);
		file_path = copy;
		copy = NULL;
	}
	pthread_mutex_unlock(&open_lock);
	free(copy);
	return rc;
}

int log_reopen(void)
{
	int rc;

	pthread_mutex_lock(&open_lock);
	rc = file_path == NULL ? 0 : sink_file(file_path);
	pthread_mutex_unlock(&open_lock);
	return rc;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

static size_t line_prefix(char *out, size_t size, enum log_level level, const char *module)
{
	int64_t now = clock_realtime_ns();
	time_t seconds = (time_t)(now / (int64_t)NS_PER_SEC);
	struct tm tm;
	int n;

	gmtime_r(&seconds, &tm);
	n = snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %.32s ", tm.tm_year + 1900,
		     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		     (int)(now % (int64_t)NS_PER_SEC / (int64_t)NS_PER_MSEC), level_words[level],
		     module);
	return n < 0 ? 0 : (size_t)n;
}

/* A line is one line whatever a peer put into a name: no control characters reach the file. */
static void make_printable(char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			text[i] = '?';
	}
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		/* There is no place to tell it: the log's own disk is full or gone. */
		if (n <= 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

void log_write(enum log_level level, const char *module, const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	int saved = errno;
	size_t used, room;
	va_list args;
	int n;

	if (!log_enabled(level))
		return;
	used = line_prefix(line, sizeof(line), level, module);
	room = sizeof(line) - used - 1; /* one for the newline */
	va_start(args, format);
	errno = saved; /* for %m */
	n = vsnprintf(line + used, room, format, args);
	va_end(args);
	if (n < 0)
		n = 0;
	if ((size_t)n >= room) {
		n = (int)room - 1;
		memcpy(line + used + n - 3, "...", 3);
	}
	make_printable(line + used, (size_t)n);
	used += (size_t)n;
	line[used++] = '\n';
	write_all(atomic_load(&sink), line, used);
	errno = saved;
}

bool log_rate_ok(struct log_rate *state, uint32_t per_second)
{
	/* One word, so that second and count can never disagree. */
	const uint64_t count_bits = 32, count_mask = (1ull << count_bits) - 1;
	uint64_t second = clock_monotonic_ns() / NS_PER_SEC + 1;
	uint64_t old = atomic_load_explicit(&state->window, memory_order_relaxed);
	uint64_t next;

	do {
		/* A thread that read the clock just before the second changed counts in the new. */
		if (old >> count_bits < second)
			next = second << count_bits;
		else
			next = old;
		if ((next & count_mask) >= per_second)
			return false;
		next++;
	} while (!atomic_compare_exchange_weak_explicit(
		&state->window, &old, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}
