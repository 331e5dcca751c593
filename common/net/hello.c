#include "common/net/hello.h"
#include <errno.h>
#include <string.h>
#include "common/base/bytes.h"

#define AT_PROTOCOL 0
#define AT_WORKER   4
#define AT_ID       8
#define AT_CLUSTER  16
#define AT_INSTANCE 80

void hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES])
{
	memset(out, 0, HELLO_BYTES);
	put_le32(out + AT_PROTOCOL, hello->protocol);
	put_le32(out + AT_WORKER, hello->worker);
	put_le64(out + AT_ID, hello->id);
	memcpy(out + AT_CLUSTER, hello->cluster,
	       strnlen(hello->cluster, sizeof(hello->cluster) - 1));
	put_le64(out + AT_INSTANCE, hello->instance);
}

/* A name that is safe to log and to compare: printable, then only NULs, at least one. */
static int cluster_check(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	if (length == size)
		return -EINVAL;
	for (size_t i = 0; i < size; i++) {
		if (i < length ? text[i] <= 0x20 || text[i] > 0x7e : text[i] != 0)
			return -EINVAL;
	}
	return 0;
}

int hello_decode(const void *data, size_t size, struct hello *out)
{
	const uint8_t *in = data;
	struct hello hello;

	if (size != HELLO_BYTES)
		return -EINVAL;
	hello.protocol = get_le32(in + AT_PROTOCOL);
	if (hello.protocol != HELLO_PROTOCOL)
		return -EPROTONOSUPPORT;
	hello.worker = get_le32(in + AT_WORKER);
	hello.id = get_le64(in + AT_ID);
	memcpy(hello.cluster, in + AT_CLUSTER, sizeof(hello.cluster));
	hello.instance = get_le64(in + AT_INSTANCE);
	if (cluster_check(hello.cluster, sizeof(hello.cluster)) < 0 || hello.instance == 0)
		return -EINVAL;
	*out = hello;
	return 0;
}
