/* Values of options: from text, and what is allowed in words. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/conf_internal.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Ascending, so that the last one that divides a number is the best to print it with. */
static const struct unit size_units[] = {
	{"", 1},           {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30},
	{"T", 1ull << 40}, {"P", 1ull << 50}, {NULL, 0},
};
static const struct unit duration_units[] = {
	{"ns", 1},
	{"us", 1000},
	{"ms", NS_PER_MSEC},
	{"s", NS_PER_SEC},
	{"m", 60 * NS_PER_SEC},
	{"h", 3600 * NS_PER_SEC},
	{"d", 86400 * NS_PER_SEC},
	{NULL, 0},
};

/* Digits; *end is behind them. No sign, no space, no other base: what strtoull() would let in. */
static int digits_get(const char *text, const char **end, uint64_t *out)
{
	uint64_t value = 0;
	int rc = 0;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			rc = -ERANGE;
	}
	*end = text;
	*out = value;
	return rc;
}

static int units_get(const char *text, const struct unit *units, uint64_t *out)
{
	const char *suffix;
	uint64_t value;
	int rc = digits_get(text, &suffix, &value);

	if (rc == -EINVAL)
		return rc;
	for (; units->name != NULL; units++) {
		if (strcasecmp(suffix, units->name) != 0)
			continue;
		if (rc < 0 || __builtin_mul_overflow(value, units->factor, &value))
			return -ERANGE;
		*out = value;
		return 0;
	}
	return -EINVAL;
}

int conf_parse_size(const char *text, uint64_t *out)
{
	return units_get(text, size_units, out);
}

int conf_parse_duration(const char *text, uint64_t *out)
{
	/* Zero is the same in every unit; any other bare number would be a guess. */
	if (strcmp(text, "0") == 0) {
		*out = 0;
		return 0;
	}
	return units_get(text, duration_units, out);
}

static int uint_get(const char *text, uint64_t *out)
{
	const char *end;
	uint64_t value;
	int rc = digits_get(text, &end, &value);

	if (rc == -EINVAL || *end != '\0')
		return -EINVAL;
	if (rc == 0)
		*out = value;
	return rc;
}

static int bool_get(const char *text, bool *out)
{
	static const char *const words[][2] = {
		{"no", "yes"},
		{"false", "true"},
		{"off", "on"},
		{"0", "1"},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int value = 0; value < 2; value++) {
			if (strcasecmp(text, words[i][value]) == 0) {
				*out = value != 0;
				return 0;
			}
		}
	}
	return -EINVAL;
}

static int string_set(char **field, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int list_add(struct conf_list *list, const char *text)
{
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));
	char *copy;

	if (items == NULL)
		return -ENOMEM;
	list->items = items;
	copy = strdup(text);
	if (copy == NULL)
		return -ENOMEM;
	items[list->count++] = copy;
	return 0;
}

static int number_get(const struct conf_option *option, const char *text, uint64_t *out)
{
	uint64_t value = 0;
	int rc;

	if (option->type == CONF_SIZE)
		rc = conf_parse_size(text, &value);
	else if (option->type == CONF_DURATION)
		rc = conf_parse_duration(text, &value);
	else
		rc = uint_get(text, &value);
	if (rc < 0)
		return rc;
	if (value < option->min || (option->max != 0 && value > option->max))
		return -ERANGE;
	*out = value;
	return 0;
}

static void *field_of(const struct conf_option *option, void *target)
{
	return (char *)target + option->offset;
}

int conf_value_set(const struct conf_option *option, void *target, const char *text)
{
	void *field = field_of(option, target);

	switch (option->type) {
	case CONF_STRING:
		return string_set(field, text);
	case CONF_STRING_LIST:
		return list_add(field, text);
	case CONF_BOOL:
		return bool_get(text, field);
	case CONF_UINT:
	case CONF_SIZE:
	case CONF_DURATION:
		return number_get(option, text, field);
	}
	return -EINVAL;
}

void conf_value_clear(const struct conf_option *option, void *target, bool release)
{
	struct conf_list *list = field_of(option, target);
	char **string = field_of(option, target);

	switch (option->type) {
	case CONF_STRING:
		if (release)
			free(*string);
		*string = NULL;
		break;
	case CONF_STRING_LIST:
		for (size_t i = 0; release && i < list->count; i++)
			free(list->items[i]);
		if (release)
			free(list->items);
		*list = (struct conf_list){0};
		break;
	case CONF_BOOL:
		*(bool *)field_of(option, target) = false;
		break;
	case CONF_UINT:
	case CONF_SIZE:
	case CONF_DURATION:
		*(uint64_t *)field_of(option, target) = 0;
		break;
	}
}

static void number_text(const struct conf_option *option, uint64_t value, char *out, size_t size)
{
	const struct unit *unit = option->type == CONF_SIZE ? size_units : duration_units;
	const struct unit *best = unit;

	if (option->type == CONF_UINT || value == 0) {
		snprintf(out, size, "%" PRIu64, value);
		return;
	}
	for (; unit->name != NULL; unit++) {
		if (value % unit->factor == 0)
			best = unit;
	}
	snprintf(out, size, "%" PRIu64 "%s", value / best->factor, best->name);
}

void conf_value_allowed(const struct conf_option *option, char *out, size_t size)
{
	static const char *const kinds[] = {
		[CONF_STRING] = "text",
		[CONF_STRING_LIST] = "text",
		[CONF_UINT] = "a number",
		[CONF_SIZE] = "a size like 4096, 64K, 16M or 1G",
		[CONF_DURATION] = "a duration like 500ms, 2s, 10m, 1h or 7d",
		[CONF_BOOL] = "yes or no",
	};
	bool number = option->type == CONF_UINT || option->type == CONF_SIZE ||
		      option->type == CONF_DURATION;
	char min[32], max[32];

	number_text(option, option->min, min, sizeof(min));
	number_text(option, option->max, max, sizeof(max));
	if (!number || (option->min == 0 && option->max == 0))
		snprintf(out, size, "%s", kinds[option->type]);
	else if (option->max == 0)
		snprintf(out, size, "%s, at least %s", kinds[option->type], min);
	else
		snprintf(out, size, "%s, from %s to %s", kinds[option->type], min, max);
}
