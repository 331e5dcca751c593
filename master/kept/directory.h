/* directory.h - the directory of a kept log: its parts by number, each a segment of entries
 * (NUMBER.entries) and often a checkpoint of the store (NUMBER.store), which is of an entry of this
 * segment or of a later one.
 *
 * Thread: any; who removes parts must not be disturbed by another who does. */
#ifndef CATENA_MASTER_KEPT_DIRECTORY_H
#define CATENA_MASTER_KEPT_DIRECTORY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEPT_NAME_MAX 32u

struct kept_part {
	uint32_t number;
	uint64_t size; /* of the segment */
	bool has_entries, has_store;
};

void kept_entries_name(uint32_t number, char out[KEPT_NAME_MAX]);
void kept_store_name(uint32_t number, char out[KEPT_NAME_MAX]);

/* Lists the parts in order. *out is malloc()ed. Errors: -errno of reading, -ENOMEM. */
int kept_list(int dir_fd, struct kept_part **out, size_t *count);
/* Removes what a checkpoint that was not finished left. */
void kept_sweep(int dir_fd);
/* Removes a part. That there is none is fine. Errors: -errno. */
int kept_remove(int dir_fd, uint32_t number);
/* The same of its checkpoint only. */
int kept_remove_store(int dir_fd, uint32_t number);
/* How many of the first parts may go: from the part behind them all can be applied again, beginning
 * with its checkpoint, and that is @bytes of entries or more. Pure. */
size_t kept_outdated(const struct kept_part *parts, size_t count, uint64_t bytes);
#endif
