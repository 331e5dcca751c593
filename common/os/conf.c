#include "common/os/conf.h"
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/conf_internal.h"

#define ALLOWED_MAX 128
#define LIST_MAX    256
#define NAMES_MAX   128 /* options of one program that a suggestion is looked for among */

/* One load or one set under way. */
struct parse {
	const struct conf_option *options;
	void *target;
	char *error;
	size_t error_size;
	int rc; /* first failure */
	/* Files only. */
	const char *path; /* NULL: command line */
	FILE *file;
	unsigned line;
	unsigned *seen; /* line each option was on, 0: not yet */
};

__attribute__((format(printf, 3, 4))) static int fail(struct parse *p, int rc, const char *format,
						      ...)
{
	va_list args;
	int used = 0;

	if (p->rc < 0)
		return p->rc;
	p->rc = rc;
	if (p->error_size == 0)
		return rc;
	if (p->path != NULL && p->line > 0)
		used = snprintf(p->error, p->error_size, "%s:%u: ", p->path, p->line);
	else if (p->path != NULL)
		used = snprintf(p->error, p->error_size, "%s: ", p->path);
	if (used < 0 || (size_t)used >= p->error_size)
		return rc;
	va_start(args, format);
	vsnprintf(p->error + used, p->error_size - (size_t)used, format, args);
	va_end(args);
	return rc;
}

/* --- names --------------------------------------------------------------------------------------
 */

static void names_join(const char *const *names, size_t count, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++) {
		int n = snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ", ", names[i]);

		used += n < 0 ? 0 : (size_t)n;
	}
}

static int fail_section(struct parse *p, const char *section, const char *name)
{
	const char *known[NAMES_MAX] = {NULL}, *nearest;
	size_t count = 0;

	for (const struct conf_option *o = p->options; o->section != NULL && count < NAMES_MAX; o++)
		known[count++] = o->section;
	nearest = conf_nearest(section, known, count);
	if (section[0] == '\0')
		return fail(p, -EINVAL, "%s stands before any [section]", name);
	if (nearest != NULL)
		return fail(p, -EINVAL, "[%s] %s: unknown section; did you mean [%s]?", section,
			    name, nearest);
	return fail(p, -EINVAL, "[%s] %s: unknown section", section, name);
}

static int fail_name(struct parse *p, const char *section, const char *name, const char *value)
{
	const char *known[NAMES_MAX] = {NULL}, *nearest;
	char list[LIST_MAX];
	size_t count = 0;

	for (const struct conf_option *o = p->options; o->section != NULL; o++) {
		if (strcmp(o->name, name) == 0)
			return fail(p, -EINVAL, "[%s] %s = %s: this option belongs in [%s]",
				    section, name, value, o->section);
		if (strcmp(o->section, section) == 0 && count < NAMES_MAX)
			known[count++] = o->name;
	}
	nearest = conf_nearest(name, known, count);
	if (nearest != NULL)
		return fail(p, -EINVAL, "[%s] %s = %s: unknown option; did you mean %s?", section,
			    name, value, nearest);
	names_join(known, count, list, sizeof(list));
	return fail(p, -EINVAL, "[%s] %s = %s: unknown option; there are %s", section, name, value,
		    list);
}

static const struct conf_option *find(struct parse *p, const char *section, const char *name,
				      const char *value)
{
	bool section_known = false;

	for (const struct conf_option *o = p->options; o->section != NULL; o++) {
		if (strcmp(o->section, section) != 0)
			continue;
		if (strcmp(o->name, name) == 0)
			return o;
		section_known = true;
	}
	if (section_known)
		fail_name(p, section, name, value);
	else
		fail_section(p, section, name);
	return NULL;
}

/* --- one option ---------------------------------------------------------------------------------
 */

static int set(struct parse *p, const struct conf_option *option, const char *value)
{
	char allowed[ALLOWED_MAX];
	int rc = conf_value_set(option, p->target, value);

	if (rc == 0)
		return 0;
	if (rc == -ENOMEM)
		return fail(p, rc, "out of memory");
	conf_value_allowed(option, allowed, sizeof(allowed));
	return fail(p, -EINVAL, "[%s] %s = %s: must be %s", option->section, option->name, value,
		    allowed);
}

static int set_default(struct parse *p, const struct conf_option *option)
{
	/* An empty list is the default text "", not one empty item. */
	if (option->default_text == NULL ||
	    (option->type == CONF_STRING_LIST && option->default_text[0] == '\0'))
		return 0;
	return set(p, option, option->default_text);
}

/* inih's callback. Its return value could only say that a line is bad, not why; so it is always
 * "go on", and read_line() ends the file after a failure. */
static int handle(void *user, const char *section, const char *name, const char *value)
{
	struct parse *p = user;
	const struct conf_option *option;
	unsigned *seen;

	if (p->rc < 0)
		return 1;
	option = find(p, section, name, value);
	if (option == NULL)
		return 1;
	seen = &p->seen[option - p->options];
	if (*seen != 0 && option->type != CONF_STRING_LIST) {
		fail(p, -EINVAL, "[%s] %s = %s: given already on line %u", section, name, value,
		     *seen);
		return 1;
	}
	*seen = p->line;
	set(p, option, value);
	return 1;
}

/* inih knows only ';' behind a value. A '#' within a word is the word's own. */
static void cut_comment(char *line)
{
	for (char *at = line; *at != '\0'; at++) {
		if (*at == '#' && at > line && (at[-1] == ' ' || at[-1] == '\t')) {
			snprintf(at, 2, "\n");
			return;
		}
	}
}

/* Counts lines, and refuses those that inih would silently cut in two. */
static char *read_line(char *out, int size, void *user)
{
	struct parse *p = user;

	if (p->rc < 0 || fgets(out, size, p->file) == NULL)
		return NULL;
	p->line++;
	if (strchr(out, '\n') == NULL && !feof(p->file)) {
		fail(p, -EINVAL, "line is longer than %d characters, or not text", size - 2);
		return NULL;
	}
	cut_comment(out);
	return out;
}

static size_t option_count(const struct conf_option *options)
{
	size_t count = 0;

	while (options[count].section != NULL)
		count++;
	return count;
}

static void clear(const struct conf_option *options, void *target, bool release)
{
	for (; options->section != NULL; options++)
		conf_value_clear(options, target, release);
}

static int parse_file(struct parse *p)
{
	int bad = ini_parse_stream(read_line, p, handle, p);

	/* @bad is the first line that inih could not make sense of, if there is one. */
	if (bad > 0 && (p->rc == 0 || (unsigned)bad < p->line)) {
		p->line = (unsigned)bad;
		p->rc = 0;
		return fail(p, -EINVAL, "neither a [section] nor name = value");
	}
	if (p->rc < 0)
		return p->rc;
	p->line = 0;
	if (ferror(p->file)) {
		int error = errno > 0 ? errno : EIO;

		return fail(p, -error, "cannot read: %s", strerror(error));
	}
	if (bad < 0)
		return fail(p, -ENOMEM, "out of memory");
	for (const struct conf_option *o = p->options; o->section != NULL; o++) {
		if (p->seen[o - p->options] != 0)
			continue;
		if (o->default_text == NULL)
			return fail(p, -EINVAL, "[%s] %s is required (%s)", o->section, o->name,
				    o->help == NULL ? "no default" : o->help);
		if (set_default(p, o) < 0)
			return p->rc;
	}
	return 0;
}

int conf_load(const char *path, const struct conf_option *options, void *target, char *error,
	      size_t error_size)
{
	struct parse p = {
		.options = options,
		.target = target,
		.error = error,
		.error_size = error_size,
		.path = path,
	};
	int rc;

	clear(options, target, false);
	p.seen = calloc(option_count(options) + 1, sizeof(*p.seen));
	if (p.seen == NULL)
		return fail(&p, -ENOMEM, "out of memory");
	p.file = fopen(path, "re");
	if (p.file == NULL) {
		rc = -errno;
		fail(&p, rc, "cannot open: %s", strerror(-rc));
		goto done;
	}
	errno = 0;
	rc = parse_file(&p);
	fclose(p.file);
	if (rc < 0)
		clear(options, target, true);
done:
	free(p.seen);
	return rc;
}

int conf_defaults(const struct conf_option *options, void *target, char *error, size_t error_size)
{
	struct parse p = {
		.options = options,
		.target = target,
		.error = error,
		.error_size = error_size,
	};

	clear(options, target, false);
	for (; options->section != NULL; options++) {
		if (set_default(&p, options) < 0) {
			clear(p.options, target, true);
			return p.rc;
		}
	}
	return 0;
}

void conf_free(const struct conf_option *options, void *target)
{
	clear(options, target, true);
}
