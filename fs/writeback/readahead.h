/* readahead.h - which bytes of a file to fetch before they are asked for.
 *
 * Pure: a value per file, to be zero-initialised; the owner serialises the calls. Several
 * sequential streams are told apart (several readers, or several handles), and a stream may be read
 * a little out of order, as the kernel does that has several requests on the way. The second read
 * in a row makes a stream; what is fetched ahead then grows with what has been read, up to the
 * window. A read that belongs to no stream causes nothing. */
#ifndef CATENA_FS_WRITEBACK_READAHEAD_H
#define CATENA_FS_WRITEBACK_READAHEAD_H
#include <stdint.h>

#define READAHEAD_PIECE      (1u << 20)
#define READAHEAD_WINDOW_MAX (16u << 20)
#define READAHEAD_STREAMS    8u
/* Enough for what one access can cause: the window, and a piece cut at either end. */
#define READAHEAD_RANGES_MAX (READAHEAD_WINDOW_MAX / READAHEAD_PIECE + 2)

struct readahead_stream {
	uint64_t start; /* where it began */
	uint64_t next;  /* end of what has been read */
	uint64_t ahead; /* end of what has been fetched ahead; below next: nothing */
	uint64_t used;  /* when, in accesses; 0: free */
	uint32_t reads;
};

struct readahead {
	struct readahead_stream streams[READAHEAD_STREAMS];
	uint64_t accesses;
};

struct readahead_range {
	uint64_t from, to;
};

/* Notes a read of [offset, offset+length). Fills @out with what to fetch now, behind the read
 * itself, in order: multiples of BLOCK_SIZE, none across a multiple of READAHEAD_PIECE, none at or
 * behind @end, together at most @allowed bytes, at most @window (READAHEAD_WINDOW_MAX) ahead.
 * Returns how many. */
unsigned readahead_access(struct readahead *ra, uint64_t offset, uint32_t length, uint64_t end,
			  uint64_t window, uint64_t allowed,
			  struct readahead_range out[READAHEAD_RANGES_MAX]);
/* Notes that what was fetched ahead has been thrown away. */
void readahead_forget(struct readahead *ra);
#endif
