/* tree.h - directories that a test makes and removes. */
#ifndef CATENA_TESTS_LIB_TREE_H
#define CATENA_TESTS_LIB_TREE_H
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

/* @path and all below it; that there is nothing is fine. */
void tree_remove(const char *path);

/* A new directory below $TMPDIR or /tmp, its name beginning with @name. NULL: it cannot be made. */
char *tree_make(char *out, size_t size, const char *name);
#endif
