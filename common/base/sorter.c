/* sorter.c - sorters in memory, and the way into all forms; see sorter.h. */
#include "common/base/sorter.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"

#define FIRST_RECORDS 64u
#define FEW_RECORDS   16u /* as many are sorted by insertion */

/* ---- the way into all forms ---- */

int sorter_make(struct sorter_supply *supply, size_t record_size, struct sorter **out)
{
	expects(record_size >= 1 && record_size <= SORTER_RECORD_MAX);
	return supply->make(supply, record_size, out);
}

/* Keeps the first error. */
static int outcome(struct sorter *sorter, int rc)
{
	if (rc < 0 && sorter->error == 0)
		sorter->error = rc;
	return rc;
}

int sorter_add(struct sorter *sorter, const void *record)
{
	int rc = sorter->error;

	expects(!sorter->sorted);
	if (rc == 0)
		rc = outcome(sorter, sorter->form->add(sorter, record));
	if (rc == 0)
		sorter->count++;
	return rc;
}

int sorter_sort(struct sorter *sorter)
{
	expects(!sorter->sorted);
	if (sorter->error != 0)
		return sorter->error;
	sorter->sorted = true;
	return outcome(sorter, sorter->form->sort(sorter));
}

int sorter_next(struct sorter *sorter, const uint8_t **record)
{
	if (sorter->error != 0)
		return sorter->error;
	expects(sorter->sorted);
	return outcome(sorter, sorter->form->next(sorter, record));
}

int sorter_rewind(struct sorter *sorter)
{
	if (sorter->error != 0)
		return sorter->error;
	expects(sorter->sorted);
	return outcome(sorter, sorter->form->rewind(sorter));
}

uint64_t sorter_count(const struct sorter *sorter)
{
	return sorter->count;
}

void sorter_free(struct sorter *sorter)
{
	if (sorter != NULL)
		sorter->form->free(sorter);
}

/* ---- sorting ---- */

static void swap_records(uint8_t *a, uint8_t *b, size_t size)
{
	uint8_t kept[SORTER_RECORD_MAX];

	memcpy(kept, a, size);
	memcpy(a, b, size);
	memcpy(b, kept, size);
}

/* The first @known bytes of all are equal. */
static void sort_few(uint8_t *records, size_t count, size_t size, size_t known)
{
	uint8_t kept[SORTER_RECORD_MAX];

	for (size_t i = 1; i < count; i++) {
		size_t at = i;

		memcpy(kept, records + i * size, size);
		while (at > 0 &&
		       memcmp(records + (at - 1) * size + known, kept + known, size - known) > 0)
			at--;
		memmove(records + (at + 1) * size, records + at * size, (i - at) * size);
		memcpy(records + at * size, kept, size);
	}
}

/* Puts records in the order of their byte @at; @ends has where those of each value end then. */
static void sort_by_byte(uint8_t *records, size_t count, size_t size, size_t at, size_t ends[256])
{
	size_t next[256], sum = 0;

	memset(ends, 0, 256 * sizeof(*ends));
	for (size_t i = 0; i < count; i++)
		ends[records[i * size + at]]++;
	for (unsigned value = 0; value < 256; value++) {
		next[value] = sum;
		sum += ends[value];
		ends[value] = sum;
	}
	for (unsigned value = 0; value < 256; value++)
		while (next[value] < ends[value]) {
			uint8_t *here = records + next[value] * size;
			uint8_t to = here[at];

			if (to == value)
				next[value]++;
			else
				swap_records(here, records + next[to]++ * size, size);
		}
}

/* The first @known bytes of all are equal. Depth: the bytes of a record. */
static void sort_from(uint8_t *records, size_t count, size_t size, size_t known)
{
	size_t ends[256], start = 0;

	if (known == size || count < 2)
		return;
	if (count <= FEW_RECORDS) {
		sort_few(records, count, size, known);
		return;
	}
	sort_by_byte(records, count, size, known, ends);
	for (unsigned value = 0; value < 256; value++) {
		sort_from(records + start * size, ends[value] - start, size, known + 1);
		start = ends[value];
	}
}

void sorter_sort_bytes(uint8_t *records, size_t count, size_t record_size)
{
	bool in_order = true;

	/* Often they come so. */
	for (size_t i = 1; i < count && in_order; i++)
		in_order = memcmp(records + (i - 1) * record_size, records + i * record_size,
				  record_size) <= 0;
	if (!in_order)
		sort_from(records, count, record_size, 0);
}

/* ---- in memory ---- */

struct memory_sorter {
	struct sorter sorter; /* first */
	struct sorter_memory *memory;
	uint8_t *records;
	size_t room, at; /* in records */
};

static struct memory_sorter *of(struct sorter *sorter)
{
	return (struct memory_sorter *)sorter;
}

static int memory_grow(struct memory_sorter *m)
{
	size_t room = m->room == 0 ? FIRST_RECORDS : m->room * 2, size = m->sorter.record_size;
	uint64_t more = (room - m->room) * size;
	uint8_t *bigger;

	if (room > SIZE_MAX / 2 / size ||
	    (m->memory->most != 0 && more > m->memory->most - m->memory->used))
		return -ENOMEM;
	bigger = realloc(m->records, room * size);
	if (bigger == NULL)
		return -ENOMEM;
	m->records = bigger;
	m->room = room;
	m->memory->used += more;
	return 0;
}

static int memory_add(struct sorter *sorter, const void *record)
{
	struct memory_sorter *m = of(sorter);
	int rc = sorter->count == m->room ? memory_grow(m) : 0;

	if (rc == 0)
		memcpy(m->records + sorter->count * sorter->record_size, record,
		       sorter->record_size);
	return rc;
}

static int memory_sort(struct sorter *sorter)
{
	if (sorter->count > 1)
		sorter_sort_bytes(of(sorter)->records, sorter->count, sorter->record_size);
	return 0;
}

static int memory_next(struct sorter *sorter, const uint8_t **record)
{
	struct memory_sorter *m = of(sorter);

	if (m->at == sorter->count)
		return 0;
	*record = m->records + m->at++ * sorter->record_size;
	return 1;
}

static int memory_rewind(struct sorter *sorter)
{
	of(sorter)->at = 0;
	return 0;
}

static void memory_free(struct sorter *sorter)
{
	struct memory_sorter *m = of(sorter);

	m->memory->used -= (uint64_t)m->room * sorter->record_size;
	free(m->records);
	free(m);
}

static const struct sorter_form memory_form = {.add = memory_add,
					       .sort = memory_sort,
					       .next = memory_next,
					       .rewind = memory_rewind,
					       .free = memory_free};

static int memory_make(struct sorter_supply *supply, size_t record_size, struct sorter **out)
{
	struct memory_sorter *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	m->sorter.form = &memory_form;
	m->sorter.record_size = record_size;
	m->memory = (struct sorter_memory *)supply; /* its first member */
	*out = &m->sorter;
	return 0;
}

void sorter_memory_init(struct sorter_memory *memory, uint64_t most)
{
	*memory = (struct sorter_memory){.supply = {.make = memory_make}, .most = most};
}
