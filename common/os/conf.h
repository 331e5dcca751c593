/* conf.h - configuration files in INI form (inih), by one table per program.
 *
 * The table gives section, name, type, bounds and default of each option. An unknown section or
 * name, a value out of bounds and a repeated single option are errors. They name file, line,
 * option, value and what is allowed, and the nearest known name when a name looks mistyped. Lines
 * are at most 198 characters long (inih's limit); longer ones are an error. Comments begin with #
 * or ; at the start of a line, or with a space or tab before either behind a value. */
#ifndef CATENA_COMMON_OS_CONF_H
#define CATENA_COMMON_OS_CONF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_type {
	CONF_STRING,      /* char *; freed by conf_free() */
	CONF_STRING_LIST, /* struct conf_list; the option may be repeated */
	CONF_UINT,        /* uint64_t; plain number */
	CONF_SIZE,        /* uint64_t bytes; 4096, 64K, 16M, 1G, 2T */
	CONF_DURATION,    /* uint64_t nanoseconds; 500ms, 2s, 10m, 1h, 7d */
	CONF_BOOL,        /* bool; yes/no, true/false, on/off, 1/0 */
};

struct conf_list {
	char **items;
	size_t count;
};

struct conf_option {
	const char *section;
	const char *name;
	enum conf_type type;
	size_t offset;            /* of the field in the program's struct */
	uint64_t min, max;        /* numbers; max 0: no upper bound */
	const char *default_text; /* NULL: required */
	const char *help;
};

/* Fills @target by @options (ended by a NULL section). On failure: -errno, @error (of @error_size)
 * has one line for people, and nothing of @target needs freeing. */
int conf_load(const char *path, const struct conf_option *options, void *target, char *error,
	      size_t error_size);
/* All defaults, no file. Required options stay empty. */
int conf_defaults(const struct conf_option *options, void *target, char *error, size_t error_size);
void conf_free(const struct conf_option *options, void *target);

int conf_parse_size(const char *text, uint64_t *out);     /* -EINVAL, -ERANGE */
int conf_parse_duration(const char *text, uint64_t *out); /* -EINVAL, -ERANGE */
#endif
