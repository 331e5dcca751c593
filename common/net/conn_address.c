/* conn_address.c - addresses: their texts, and the socket's options for the way to one. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/net/conn_internal.h"

int conn_address_split(const char *address, char host[256], char port[8])
{
	const char *colon = strrchr(address, ':');
	const char *from = address;
	size_t length;
	char *end;

	if (colon == NULL || strlen(colon + 1) > 5 || colon[1] < '0' || colon[1] > '9' ||
	    strtoul(colon + 1, &end, 10) > UINT16_MAX || *end != '\0')
		return -EINVAL;
	length = (size_t)(colon - address);
	if (length >= 2 && from[0] == '[' && from[length - 1] == ']') {
		from++;
		length -= 2;
	} else if (memchr(from, ':', length) != NULL) {
		return -EINVAL; /* IPv6 without brackets: which colon is the port's? */
	}
	if (length >= 256)
		return -EINVAL;
	memcpy(host, from, length);
	host[length] = '\0';
	snprintf(port, 8, "%s", colon + 1);
	return 0;
}

void conn_address_name(const struct sockaddr *address, char *out, size_t size)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

		inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
		snprintf(out, size, "%s:%u", ip, ntohs(in->sin_port));
	} else if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)address;

		inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof(ip));
		snprintf(out, size, "[%s]:%u", ip, ntohs(in->sin6_port));
	} else {
		snprintf(out, size, "local");
	}
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return a->ss_family == AF_INET6 &&
	       memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

/* Whether @peer is on this machine. Asks the routing table, by a socket that sends nothing. */
static bool within_machine(const struct sockaddr *peer, socklen_t size)
{
	struct sockaddr_storage to = {0}, own = {0};
	socklen_t own_size = sizeof(own);
	bool within;
	int fd;

	if (size > sizeof(to))
		return false;
	memcpy(&to, peer, size);
	fd = socket(peer->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	within = connect(fd, peer, size) == 0 &&
		 getsockname(fd, (struct sockaddr *)&own, &own_size) == 0 &&
		 same_address(&own, &to);
	close(fd);
	return within;
}

void conn_address_tune(int fd, const struct sockaddr *peer, socklen_t size)
{
	static const char plain[] = "reno";

	/* Within a machine nothing is lost and no queue is shared. An algorithm that paces (BBR)
	 * would set a timer for every packet and send smaller ones; this one is always there. */
	if (within_machine(peer, size))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, plain, sizeof(plain) - 1);
}
