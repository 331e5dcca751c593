#include "common/os/descriptors.h"
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include "common/os/log.h"

#define LOG_MODULE "main"

/* What is kept for ourselves. RocksDB alone may have 1024 files open. */
#define OWN_MAX 2048u
/* A half-open connection costs memory, too: some 50 KB in a TLS handshake of gRPC. */
#define PEERS_MAX 16384u

void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur >= limit.rlim_max || limit.rlim_cur >= DESCRIPTORS_MAX)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_warn("the limit of open files stays low error=\"%s\"", strerror(errno));
}

int descriptors_for_peers(void)
{
	struct rlimit limit = {.rlim_cur = 1024};
	rlim_t own;

	getrlimit(RLIMIT_NOFILE, &limit);
	own = limit.rlim_cur / 2 < OWN_MAX ? limit.rlim_cur / 2 : OWN_MAX;
	return limit.rlim_cur - own < PEERS_MAX ? (int)(limit.rlim_cur - own) : (int)PEERS_MAX;
}
