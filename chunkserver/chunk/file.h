/* file.h - the plain files of larger chunks. */
#ifndef CATENA_CHUNKSERVER_CHUNK_FILE_H
#define CATENA_CHUNKSERVER_CHUNK_FILE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/list.h"
#include "chunkserver/disk/disk.h"
#include "common/cluster/chunk.h"

struct chunk;

struct chunk_file {
	atomic_uint refs;
	atomic_int direct, buffered; /* fds or -1 */
	atomic_bool created;         /* its directory has not been flushed since */
	struct disk *disk;
	struct chunk *owner;                    /* of the loop's thread; NULL: let go */
	struct list link;                       /* of the view: recently used ones last */
	char name[3 + 2 * CHUNK_KEY_BYTES + 1]; /* "xx/hex of the key" below chunks/ */
};

void file_name(const struct chunk_key *key, char out[3 + 2 * CHUNK_KEY_BYTES + 1]);
/* False: not the name of a chunk's file. @name is without the directory. */
bool file_name_parse(const char *name, struct chunk_key *key);
struct chunk_file *file_new(struct disk *disk, const struct chunk_key *key);
struct chunk_file *file_ref(struct chunk_file *file);
void file_unref(struct chunk_file *file);
/* Thread of all below: any, mostly the pool's. */
/* @data at least BLOCK_SIZE aligned, or it is copied; -errno. */
int file_write(struct chunk_file *file, const uint8_t *data, uint32_t bytes, uint64_t offset);
/* Reads @bytes, past the page cache when @direct and aligned. *got: less only at the file's end.
 * -EBADMSG: the disk cannot read them. */
int file_read(struct chunk_file *file, uint8_t *data, uint32_t bytes, uint64_t offset, bool direct,
	      uint32_t *got);
/* From the page cache only: 0 when all of it was there, else -EAGAIN. Any thread. */
int file_read_cached(struct chunk_file *file, uint8_t *data, uint32_t bytes, uint64_t offset);
/* Data, and the directory of a new file. Poisons the store on failure. */
int file_flush(struct chunk_file *file);
/* Gives the space of whole blocks back; best effort. */
void file_punch(struct chunk_file *file, uint64_t offset, uint64_t bytes);
int file_unlink(struct disk *disk, const struct chunk_key *key);
#endif
