/* read.h - reads from any member that is ready: READ and STAT in read.c, LIST in list.c. */
#ifndef CATENA_CHUNKSERVER_CHAIN_READ_H
#define CATENA_CHUNKSERVER_CHAIN_READ_H
#include "chunkserver/chain/member.h"

/* Answers a READ or STAT, now or when its blocks are at rest. */
void chain_read_arrived(struct chain *chain, const struct chain_source *source,
			const struct frame_header *header);
/* Answers a LIST. */
void chain_list_arrived(struct chain *chain, const struct chain_source *source,
			const struct frame_header *header);
/* Begins the reads of a chunk that waited for updates, as far as these are done. */
void chain_reads_advance(struct chain_chunk *chunk);
/* Returns 0 when this member may answer reads, else the status that refuses them. */
uint32_t chain_read_refused(const struct chain *chain, const struct frame_header *header);
/* Returns the status that tells of the store's @error (-errno; 0: OK). */
uint32_t chain_read_status(int error);
/* True when the request touches a block of the range. Updates of unclear extent touch all. */
bool chain_read_overlaps(const struct request *r, uint32_t offset, uint32_t length);
#endif
