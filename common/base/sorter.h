/* sorter.h - sorts records of one size, as many as there are. Pure.
 *
 * A sorter takes records, is told that there are no more, and gives them back in the order of their
 * bytes, equal ones as often as they came. So numbers in records are big-endian. Whoever needs
 * sorters is given a supply of them: in memory, or on a disk for more than memory should hold
 * (common/os/sorter_disk.h), and knows this header only.
 *
 * Errors: those of a disk, and -ENOMEM. An error stays: each later call but sorter_free() gives it
 * again, and nothing that was read from the sorter counts. Thread: any, one at a time. */
#ifndef CATENA_COMMON_BASE_SORTER_H
#define CATENA_COMMON_BASE_SORTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SORTER_RECORD_MAX 64u

struct sorter;

/* Where sorters come from. The form that it has is in the functions. */
struct sorter_supply {
	int (*make)(struct sorter_supply *supply, size_t record_size, struct sorter **out);
};

/* Makes a sorter for records of @record_size bytes, 1 to SORTER_RECORD_MAX. It is freed before its
 * supply ends. */
int sorter_make(struct sorter_supply *supply, size_t record_size, struct sorter **out);
/* Takes a copy of one record. Not after sorter_sort(). */
int sorter_add(struct sorter *sorter, const void *record);
/* Says that there are no more; the next record is the first one. Once. */
int sorter_sort(struct sorter *sorter);
/* Returns 1 with the next record, borrowed until the next call; 0 at the end. */
int sorter_next(struct sorter *sorter, const uint8_t **record);
/* Goes back to the first record. */
int sorter_rewind(struct sorter *sorter);
/* Returns how many were added. */
uint64_t sorter_count(const struct sorter *sorter);
void sorter_free(struct sorter *sorter); /* NULL is allowed */

/* ---- in memory ---- */

/* A supply of sorters in memory. Its owner sets @most, and frees all sorters before it goes. */
struct sorter_memory {
	struct sorter_supply supply;
	uint64_t most; /* bytes that all its sorters may have together, then -ENOMEM; 0: any */
	uint64_t used;
};

void sorter_memory_init(struct sorter_memory *memory, uint64_t most);

/* ---- for those who make other forms ---- */

/* The head of a form's struct. */
struct sorter {
	const struct sorter_form *form;
	size_t record_size;
	uint64_t count;
	int error; /* 0, or that of the first call which failed */
	bool sorted;
};

struct sorter_form {
	int (*add)(struct sorter *sorter, const void *record);
	int (*sort)(struct sorter *sorter);
	int (*next)(struct sorter *sorter, const uint8_t **record);
	int (*rewind)(struct sorter *sorter);
	void (*free)(struct sorter *sorter);
};

/* Sorts @count records in place, without other memory. */
void sorter_sort_bytes(uint8_t *records, size_t count, size_t record_size);
#endif
