/* pages.h - memory for large buffers, on huge pages where the system gives them.
 *
 * The kernel looks at each page of a buffer that goes to a disk without copying, or to FUSE, and
 * the CPU translates each address: both are much cheaper for one huge page (2 MiB) than for 512
 * small ones. So buffers lie side by side in regions that are advised so (madvise(2),
 * MADV_HUGEPAGE), each at the lowest place that is free.
 *
 * What is put back is given back to the system at once: limits are the callers' business, who keep
 * what they are going to need again. Any thread. */
#ifndef CATENA_COMMON_OS_PAGES_H
#define CATENA_COMMON_OS_PAGES_H
#include <stddef.h>

/* At a page's boundary; what is in it is undefined. NULL: out of memory. */
void *pages_get(size_t size);
/* @size as it was got with. NULL is allowed. */
void pages_put(void *memory, size_t size);
/* Bytes of all regions, used or not; for tests. */
size_t pages_mapped(void);
#endif
