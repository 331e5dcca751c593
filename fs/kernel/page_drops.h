/* page_drops.h - makes the kernel forget pages of a file that are not what the file has.
 *
 * That can wait for requests of the same file that we serve, and for mapped pages to be written
 * back to us, so it is done by threads of its own, never in a handler or on the RPC thread. A few
 * at a time: one that waits for a chain that does not answer must not keep the others. */
#ifndef CATENA_FS_KERNEL_PAGE_DROPS_H
#define CATENA_FS_KERNEL_PAGE_DROPS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;
struct page_drops;

struct page_drop {
	struct page_drop *next;
	uint64_t ino, from, length; /* length 0: to the end */
	/* NULL, or how many requests of pages of the file are under way: they end first. If they do
	 * not in time, the pages stay. */
	const atomic_uint *requests;
	bool stayed;
	/* Called when the pages are gone; on a thread of the drops, or in the call when there is no
	 * kernel. */
	void (*done)(struct page_drop *drop);
};

int page_drops_create(struct fs *fs, struct page_drops **out);
int page_drops_start(struct page_drops *drops);
/* What waits is told that it is done: there is no kernel any more. */
void page_drops_stop(struct page_drops *drops);
void page_drops_destroy(struct page_drops *drops);

/* @drop is borrowed until its done(). Any thread. */
void page_drops_add(struct page_drops *drops, struct page_drop *drop);
/* The same for who does not wait: everything from @from on. */
void page_drops_ino(struct page_drops *drops, uint64_t ino, uint64_t from);
#endif
