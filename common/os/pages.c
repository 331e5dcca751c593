#include "common/os/pages.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "common/base/bitmap.h"
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/os/lock.h"

#define PAGE         4096u
#define HUGE         (2u << 20)
#define REGION_BYTES (32u << 20)
#define REGION_PAGES (REGION_BYTES / PAGE)
/* Smaller ones would leave holes that nothing else fits into. */
#define SIZE_MIN (64u << 10)

/* Under AddressSanitizer each buffer comes from malloc(), which watches its ends. */
#if defined(__SANITIZE_ADDRESS__)
#define SIZE_MAX_HERE 0u
#else
#define SIZE_MAX_HERE REGION_BYTES
#endif

struct region {
	struct region *next;
	uint8_t *base;
	size_t taken_pages;
	uint8_t taken[BITMAP_BYTES(REGION_PAGES)];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *regions; /* the oldest first */

static bool is_small_or_huge(size_t size)
{
	return size < SIZE_MIN || size > SIZE_MAX_HERE;
}

static size_t pages_of(size_t size)
{
	return (size + PAGE - 1) / PAGE;
}

/* ---- pages of a region ---- */

static void mark(struct region *region, size_t first, size_t count, bool taken)
{
	lock_held(&lock);
	expects(first + count <= REGION_PAGES);
	expects(taken || region->taken_pages >= count);
	for (size_t page = first; page < first + count; page++) {
		if (taken)
			bitmap_set(region->taken, page);
		else
			bitmap_clear(region->taken, page);
	}
	region->taken_pages += taken ? count : -count;
}

/* The first of the lowest @count free pages in a row; REGION_PAGES: there are none. */
static size_t find_free(const struct region *region, size_t count)
{
	size_t row = 0;

	if (count > REGION_PAGES - region->taken_pages)
		return REGION_PAGES;
	for (size_t page = 0; page < REGION_PAGES; page++) {
		row = bitmap_test(region->taken, page) ? 0 : row + 1;
		if (row == count)
			return page + 1 - count;
	}
	return REGION_PAGES;
}

/* ---- regions ---- */

static uint8_t *map_aligned(void)
{
	uint8_t *memory = mmap(NULL, REGION_BYTES + HUGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (memory == MAP_FAILED)
		return NULL;
	before = (HUGE - (uintptr_t)memory % HUGE) % HUGE;
	if (before > 0)
		munmap(memory, before);
	munmap(memory + before + REGION_BYTES, HUGE - before);
	/* Refused where the system has no huge pages: then these are small. */
	(void)madvise(memory + before, REGION_BYTES, MADV_HUGEPAGE);
	return memory + before;
}

static struct region *region_new(void)
{
	struct region *region = calloc(1, sizeof(*region));

	if (region == NULL)
		return NULL;
	region->base = map_aligned();
	if (region->base == NULL) {
		free(region);
		return NULL;
	}
	return region;
}

static void region_free(struct region *region)
{
	lock_held(&lock);
	LL_DELETE(regions, region);
	munmap(region->base, REGION_BYTES);
	free(region);
}

void *pages_get(size_t size)
{
	const size_t count = pages_of(size);
	struct region **link = &regions;
	size_t first = REGION_PAGES;
	uint8_t *memory = NULL;

	if (is_small_or_huge(size))
		return aligned_alloc(PAGE, count * PAGE);
	pthread_mutex_lock(&lock);
	for (; *link != NULL; link = &(*link)->next) {
		first = find_free(*link, count);
		if (first < REGION_PAGES)
			break;
	}
	if (*link == NULL) {
		*link = region_new();
		first = 0;
	}
	if (*link != NULL) {
		mark(*link, first, count, true);
		memory = (*link)->base + first * PAGE;
	}
	pthread_mutex_unlock(&lock);
	return memory;
}

void pages_put(void *memory, size_t size)
{
	const size_t count = pages_of(size);
	struct region *region;
	size_t at = 0;

	if (memory == NULL)
		return;
	if (is_small_or_huge(size)) {
		free(memory);
		return;
	}
	/* While it is still ours: its next owner may write to it as soon as it is free. */
	(void)madvise(memory, count * PAGE, MADV_DONTNEED);
	pthread_mutex_lock(&lock);
	for (region = regions; region != NULL; region = region->next) {
		at = (size_t)((uintptr_t)memory - (uintptr_t)region->base);
		if (at < REGION_BYTES)
			break;
	}
	expects(region != NULL);
	mark(region, at / PAGE, count, false);
	if (region->taken_pages == 0)
		region_free(region);
	pthread_mutex_unlock(&lock);
}

size_t pages_mapped(void)
{
	size_t bytes = 0;

	pthread_mutex_lock(&lock);
	for (const struct region *region = regions; region != NULL; region = region->next)
		bytes += REGION_BYTES;
	pthread_mutex_unlock(&lock);
	return bytes;
}
