/* page_drops.h - makes the kernel forget pages that are not what the file has.
 *
 * The kernel then waits for requests of the same file, and for mapped pages to be written back;
 * both are served here. So pages are dropped by threads of their own, never in a handler or on the
 * RPC thread. There are several: one may wait for a chain that does not answer.
 *
 * Thread: any, unless a function says otherwise. Locks: none held by the caller. */
#ifndef CATENA_FS_KERNEL_PAGE_DROPS_H
#define CATENA_FS_KERNEL_PAGE_DROPS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;
struct page_drops;

/* A range of pages to be dropped. Its owner embeds it, and fills all but next and stayed. */
struct page_drop {
	struct page_drop *next;
	uint64_t ino, from, length; /* bytes; length 0: to the end */
	/* The count of requests of the file's pages that are under way, which are to end first.
	 * NULL: none need to. */
	const atomic_uint *requests;
	bool stayed; /* they did not end in time, and the pages were not dropped */
	/* Called once it is done: on a thread of the drops, or in the call when there is no
	 * kernel. */
	void (*done)(struct page_drop *drop);
};

/* Errors: -ENOMEM. */
int page_drops_create(struct fs *fs, struct page_drops **out);
/* Starts the threads. Errors: negative errno when not one could be started. */
int page_drops_start(struct page_drops *drops);
/* Ends the threads, when there is no kernel any more. Drops that wait are done then. */
void page_drops_stop(struct page_drops *drops);
void page_drops_destroy(struct page_drops *drops); /* NULL is allowed */

/* Queues the drop, which is borrowed until its done(). */
void page_drops_add(struct page_drops *drops, struct page_drop *drop);
/* Drops everything from @from on, and tells nobody. */
void page_drops_ino(struct page_drops *drops, uint64_t ino, uint64_t from);
#endif
