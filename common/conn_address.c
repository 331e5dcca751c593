#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/conn_internal.h"

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
