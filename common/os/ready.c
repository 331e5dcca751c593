#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/log.h"
#include "common/os/ready.h"

#define LOG_MODULE "ready"

int ready_fd_parse(const char *text)
{
	char *end;
	long fd;

	errno = 0;
	fd = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || fd < 0 || fd > INT_MAX)
		return -EINVAL;
	return (int)fd;
}

void ready_tell(int fd, const char *text)
{
	if (fd < 0)
		return;
	if (dprintf(fd, "%s\n", text) < 0)
		log_warn("nobody listens fd=%d error=\"%s\"", fd, strerror(errno));
	close(fd);
}
