/* catena-chunks - lists the chunks of a target that is not in use, one line each:
 *
 *   pool partition file_id index epoch version length crc32c-of-content
 *
 * Everything is read and checked against its checksums on the way. Exit status: 0, 1 when a chunk
 * is bad or the target cannot be read, 64 usage. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "chunkserver/store/store.h"

static int print_chunk(void *user, const struct chunk_key *key, const struct chunk_info *info,
		       uint32_t content_crc, int error)
{
	int *status = user;

	printf("%" PRIu32 " %" PRIu32 " %016" PRIx64 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu32
	       " %08" PRIx32,
	       key->pool, key->partition, key->file_id, key->index, info->epoch, info->version,
	       info->length, content_crc);
	if (error != 0) {
		printf(" BAD: %s", strerror(-error));
		*status = 1;
	}
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	char error[512] = "";
	int status = 0;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: catena-chunks TARGET-DIRECTORY\n");
		return 64;
	}
	if (store_list(argv[1], print_chunk, &status, error, sizeof(error)) < 0) {
		fprintf(stderr, "catena-chunks: %s\n", error);
		return 1;
	}
	return status;
}
