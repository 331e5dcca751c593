/* conf_internal.h - between conf.c (files, names) and conf_value.c (values). */
#ifndef CATENA_COMMON_OS_CONF_INTERNAL_H
#define CATENA_COMMON_OS_CONF_INTERNAL_H
#include "common/os/conf.h"

/* Puts @text into the field; a list grows. -EINVAL, -ERANGE, -ENOMEM: the field is as before. */
int conf_value_set(const struct conf_option *option, void *target, const char *text);
/* Empties the field; with @release it frees what the field owns. */
void conf_value_clear(const struct conf_option *option, void *target, bool release);
/* What the option takes, for people: "a number, from 1 to 64". */
void conf_value_allowed(const struct conf_option *option, char *out, size_t size);

/* The known name that @name was probably meant to be; NULL: none is near. @known has @count. */
const char *conf_nearest(const char *name, const char *const *known, size_t count);

#endif
