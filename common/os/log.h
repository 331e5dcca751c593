/* log.h - one-line logs: "2026-01-02T03:04:05.678Z LEVEL module message key=value ...".
 *
 * Threading: every function may be called from any thread; a line is written by one write(2).
 * The sink is stderr, or the file given to log_open(); log_reopen() is for logrotate (SIGHUP). */
#ifndef CATENA_COMMON_OS_LOG_H
#define CATENA_COMMON_OS_LOG_H
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Sends later lines to @path (copied; NULL: stderr), and those of broken expectations (expects.h)
 * too. 0, or -errno with the old sink kept. */
int log_open(const char *path);
int log_reopen(void);
void log_set_level(enum log_level level);
/* "debug", "info", "warn", "error". -EINVAL: not a level; *level is untouched. */
int log_level_parse(const char *name, enum log_level *level);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *module, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* True at most @per_second times in each second for one @state (zero-initialised, static): put it
 * before any log line that a peer or a disk can cause in a loop. Exact with many threads too. */
struct log_rate {
	_Atomic uint64_t window; /* private: the second, and how many were allowed in it */
};
bool log_rate_ok(struct log_rate *state, uint32_t per_second);

/* Each .c file defines LOG_MODULE before use. */
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
			log_write(LOG_LEVEL_DEBUG, LOG_MODULE, __VA_ARGS__);                       \
	} while (0)
#define log_info(...)  log_write(LOG_LEVEL_INFO, LOG_MODULE, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, LOG_MODULE, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, LOG_MODULE, __VA_ARGS__)
#endif
