/* segment.h - a segment of a kept log, read as a whole: its entries in order, without those that were
 * undone.
 *
 * Thread: any. */
#ifndef CATENA_MASTER_KEPT_SEGMENT_H
#define CATENA_MASTER_KEPT_SEGMENT_H
#include "master/kept/format.h"

struct kept_item {
	uint64_t index;
	const uint8_t *entry;
	size_t entry_size;
	bool ended; /* its result is known; else the process ended before it was */
	struct log_trace trace;
};

struct kept_segment {
	struct kept_head head;
	struct kept_item *items; /* indices head.index + 1 on, without a gap */
	size_t count;
	size_t undone; /* entries that were undone */
	/* Those of them up to one that has no result: the master may have ended by it. That one is the
	 * last of its attempt. */
	struct kept_item *attempts;
	size_t attempt_count;
	size_t size; /* of the file up to its torn tail */
	size_t torn; /* bytes of the tail */
	uint8_t *data;
};

/* Reads the file @name in the directory @dir_fd. A segment whose head is torn has no entries, and
 * size 0. kept_segment_free() frees what *out holds. -EBADMSG: damaged, at *at of the file;
 * -EPROTONOSUPPORT: of a later format; -ENOMEM; errors of reading. */
int kept_segment_read(int dir_fd, const char *name, struct kept_segment *out, size_t *at);
void kept_segment_free(struct kept_segment *segment);
/* Reads bytes of a segment, which then belong to *out, as above. */
int kept_segment_parse(uint8_t *data, size_t size, struct kept_segment *out, size_t *at);
/* The index of the last entry, and its hash; an entry that has not ended does not count. */
uint64_t kept_segment_last(const struct kept_segment *segment, uint8_t hash[LOG_HASH_BYTES]);
#endif
