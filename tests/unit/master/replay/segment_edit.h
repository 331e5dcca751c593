/* segment_edit.h - changes segments of a kept log. What does not fit fails the test. */
#ifndef CATENA_TESTS_UNIT_MASTER_REPLAY_SEGMENT_EDIT_H
#define CATENA_TESTS_UNIT_MASTER_REPLAY_SEGMENT_EDIT_H
#include <stdbool.h>
#include "master/kept/format.h"

/* Changes a bit of the nth record of this kind, at this byte of its body or the last one; with the
 * checksum, or not. */
void segment_change(const char *path, enum kept_kind kind, unsigned n, size_t at, bool with_crc);
/* Changes the level in the head. */
void segment_change_level(const char *path, uint32_t level);
/* Changes the name that the nth entry gives, which begins with "name-". */
void segment_change_name(const char *path, unsigned n);
#endif
