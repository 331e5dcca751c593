/* writeback_extent.h - extents, the memory of their bytes, and the dirty ones of a chunk.
 *
 * Pure; the owner of the write-back serialises all calls. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_EXTENT_H
#define CATENA_FS_WRITEBACK_WRITEBACK_EXTENT_H
#include "fs/writeback/writeback_internal.h"

static inline uint64_t writeback_extent_end(const struct writeback_extent *e)
{
	return e->offset + e->length;
}

/* Makes sure that @count calls of writeback_extent_new() succeed. Errors: -ENOMEM. */
int writeback_extent_spare(struct writeback *wb, unsigned count);
struct writeback_extent *writeback_extent_new(struct writeback *wb, struct writeback_chunk *chunk,
					      struct writeback_group *group);
/* Frees the extent, which leaves its memory and its group. It is in no list any more. */
void writeback_extent_free(struct writeback *wb, struct writeback_extent *e);
/* Moves the extent to another group. */
void writeback_extent_join(struct writeback *wb, struct writeback_extent *e,
			   struct writeback_group *group);

/* Takes over the reference to @buf. @charge: bytes that it is counted with. @own: see the struct.
 * NULL: out of memory, and @buf is the caller's still. */
struct writeback_buffer *writeback_buffer_new(struct buf *buf, size_t charge, bool own);
void writeback_buffer_attach(struct writeback *wb, struct writeback_extent *e,
			     struct writeback_buffer *mem);
void writeback_buffer_detach(struct writeback *wb, struct writeback_extent *e);

/* Makes room for @more dirty extents. Errors: -ENOMEM. */
int writeback_dirty_room(struct writeback_chunk *chunk, size_t more);
/* Returns the place of the first dirty extent that ends behind @offset. */
size_t writeback_dirty_find(const struct writeback_chunk *chunk, uint64_t offset);
/* Inserts the extent at that place; there is room. */
void writeback_dirty_insert(struct writeback *wb, struct writeback_chunk *chunk, size_t at,
			    struct writeback_extent *e);
/* Takes @count extents out; they are the caller's then. */
void writeback_dirty_take(struct writeback *wb, struct writeback_chunk *chunk, size_t at,
			  size_t count);
/* Marks the extent as worth sending without being asked. */
void writeback_dirty_ready(struct writeback_extent *e);
/* Cuts [from, to) out of the dirty extents. *group becomes the oldest of itself and of those that
 * lost bytes. Returns where an extent at @from belongs. Needs a spare extent and room for it. */
size_t writeback_dirty_supersede(struct writeback *wb, struct writeback_chunk *chunk, uint64_t from,
				 uint64_t to, struct writeback_group **group);
#endif
