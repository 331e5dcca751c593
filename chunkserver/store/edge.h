/* edge.h - the blocks at the edges of an update, of which it sets only a part. */
#ifndef CATENA_CHUNKSERVER_STORE_EDGE_H
#define CATENA_CHUNKSERVER_STORE_EDGE_H
#include <stdint.h>
#include "chunkserver/store/plan.h"

/* Makes the plan's edges, for [offset, end). Errors: -ENOMEM, -EIO, -EBADMSG. */
int edge_make_all(struct plan *plan, uint64_t offset, uint64_t end);
/* Gets the rest of the block. 1: it is in the file; 0; -errno. */
int edge_base(struct plan *plan, struct edge *edge);
/* Puts the update's bytes over the rest. Errors: -EBADMSG. */
int edge_merge(struct plan *plan, struct edge *edge);
#endif
