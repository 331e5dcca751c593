/* kv_fixture.h - what the tests of the store share: a directory of their own, short writes and
 * reads. */
#ifndef CATENA_TESTS_UNIT_COMMON_KV_KV_FIXTURE_H
#define CATENA_TESTS_UNIT_COMMON_KV_KV_FIXTURE_H
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/kv/kv.h"
#include "tests/lib/tree.h"

#define FAMILIES 3u

/* ---- helpers ---- */

int make_work_dir(void **state);
int remove_work_dir(void **state);
const char *place(const char *name);
int open_at(const char *path, bool create, struct kv **out);
int open_to_read(const char *path, struct kv **out);
struct kv *open_rocks(const char *name);
struct kv *open_memory(void);
int put(struct kv *kv, unsigned family, const char *key, const char *value, bool durable);
int get_is(struct kv *kv, unsigned family, const char *key, const char *expected);
#endif
