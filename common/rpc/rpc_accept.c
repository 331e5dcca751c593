/* rpc_accept.c - the accept4() that gRPC's server calls: its port outlives a shortage of
 * descriptors.
 *
 * gRPC 1.51 never looks at its listener again once accept4() has failed with EMFILE, and it offers
 * no hook. So a machine that opens enough silent connections would close the port for good. A
 * program's own function goes before the C library's, for shared libraries too: this one. It
 * refuses connections while some descriptors are left, and never fails with EMFILE. The handshake's
 * deadline (rpc_server.c) ends silent connections; then new ones are accepted again.
 *
 * - Descriptors are given lowest first, so a number from descriptors_for_peers() on says that so
 *   many are in use: such a connection is closed at once.
 * - From half of that on, one address gets at most a quarter of them in a window of the handshake's
 *   length, so that one silent machine does not keep the others out.
 * - A spare descriptor is given up to take a connection off the queue when none is left at all. */
#define LOG_MODULE "rpc"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/descriptors.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"

#define WINDOW_NS (RPC_HANDSHAKE_TIMEOUT_MS * NS_PER_MSEC)
#define ADDRESSES 256

/* Addresses that share a slot are counted together. */
struct address_count {
	uint64_t since_ns;
	int count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct address_count counts[ADDRESSES];
static int spare_fd = -1;

void rpc_accept_init(void)
{
	pthread_mutex_lock(&lock);
	if (spare_fd < 0)
		spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pthread_mutex_unlock(&lock);
}

static int accept_raw(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	return (int)syscall(SYS_accept4, fd, address, size, flags);
}

/* IPv6: the network, since a host has as many addresses as it likes there. */
static unsigned slot_of(int fd)
{
	struct sockaddr_storage peer = {0};
	socklen_t size = sizeof(peer);
	const uint8_t *bytes = NULL;
	unsigned hash = 2166136261u;
	size_t length = 0;

	if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0)
		return 0;
	if (peer.ss_family == AF_INET) {
		bytes = (const uint8_t *)&((const struct sockaddr_in *)(void *)&peer)->sin_addr;
		length = 4;
	} else if (peer.ss_family == AF_INET6) {
		const struct in6_addr *in6 =
			&((const struct sockaddr_in6 *)(void *)&peer)->sin6_addr;
		bool mapped = IN6_IS_ADDR_V4MAPPED(in6);

		bytes = in6->s6_addr + (mapped ? 12 : 0);
		length = mapped ? 4 : 8;
	}
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return hash % ADDRESSES;
}

/* Counts the connection; has its address had its share already? */
static bool over_share(int fd, int share)
{
	struct address_count *count = &counts[slot_of(fd)];
	uint64_t now = clock_monotonic_ns();
	bool over;

	pthread_mutex_lock(&lock);
	if (now - count->since_ns > WINDOW_NS)
		*count = (struct address_count){.since_ns = now};
	over = ++count->count > share;
	pthread_mutex_unlock(&lock);
	return over;
}

static bool may_stay(int fd)
{
	int most = descriptors_for_peers();
	bool over = over_share(fd, most / 4);

	return fd < most && (fd < most / 2 || !over);
}

/* Takes one connection off the queue and closes it. False: that could not be done either. */
static bool drop_one(int fd)
{
	int peer;

	pthread_mutex_lock(&lock);
	if (spare_fd >= 0)
		close(spare_fd);
	peer = accept_raw(fd, NULL, NULL, SOCK_CLOEXEC);
	if (peer >= 0)
		close(peer);
	spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pthread_mutex_unlock(&lock);
	return peer >= 0;
}

static void tell(void)
{
	static struct log_rate rate;

	if (log_rate_ok(&rate, 1))
		log_warn("too many connections: dropping new ones limit=%d",
			 descriptors_for_peers());
}

/* Not by its own name: the C library declares that with a type of its own for @address. */
int rpc_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) __asm__("accept4");

int rpc_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	socklen_t room = size != NULL ? *size : 0;
	int peer;

	/* Until the queue is empty: gRPC is told of new connections only. */
	for (;;) {
		if (size != NULL)
			*size = room;
		peer = accept_raw(fd, address, size, flags);
		if (peer >= 0 && may_stay(peer))
			return peer;
		if (peer >= 0) {
			close(peer);
		} else if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS &&
			   errno != ENOMEM) {
			return -1;
		} else if (!drop_one(fd)) {
			tell();
			errno = EAGAIN;
			return -1;
		}
		tell();
	}
}
