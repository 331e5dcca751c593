/* pages.h - memory for large buffers, on huge pages where the system gives them.
 *
 * One huge page (2 MiB) is much cheaper than 512 small ones. The kernel looks at each page of a
 * buffer that goes to a disk without copying, or to FUSE, and the CPU translates each address. So
 * buffers lie side by side in regions that are advised so (madvise(2), MADV_HUGEPAGE), each at the
 * lowest free place.
 *
 * Memory that is put back returns to the system at once. Limits, and keeping memory for reuse, are
 * the callers' business. Thread: any. */
#ifndef CATENA_COMMON_OS_PAGES_H
#define CATENA_COMMON_OS_PAGES_H
#include <stddef.h>

/* Returns memory at a page's boundary; its content is undefined. NULL: out of memory. */
void *pages_get(size_t size);
/* Gives memory back. @size is as it was in pages_get(). NULL is allowed. */
void pages_put(void *memory, size_t size);
/* Returns the bytes of all regions, used or not; for tests. */
size_t pages_mapped(void);
#endif
