/* hello.h - payload of the first frame on each data connection (FRAME_HELLO), and of its answer.
 *
 * The accepting server checks it against the certificate, answers, and hands the connection to the
 * worker asked for; partition p of a pool is served by worker p % workers. Fixed 88 bytes,
 * little-endian: protocol u32 | worker u32 | client or server id u64 | cluster id 64 bytes, NUL
 * padded | instance of the cluster u64 (not zero). The answer repeats it with the server's own id
 * and, as worker, its number of workers. */
#ifndef CATENA_COMMON_NET_HELLO_H
#define CATENA_COMMON_NET_HELLO_H
#include <stddef.h>
#include <stdint.h>

#define HELLO_PROTOCOL 2u
#define HELLO_BYTES    88u

struct hello {
	uint32_t protocol;
	uint32_t worker;
	uint64_t id; /* client: its session id; chunkserver: its server id */
	char cluster[64];
	uint64_t instance; /* of the cluster: two with one name are told apart by it */
};

void hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES]);
/* Errors: -EINVAL, -EPROTONOSUPPORT. */
int hello_decode(const void *data, size_t size, struct hello *out);
#endif
