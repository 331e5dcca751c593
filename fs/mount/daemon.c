/* daemon.c - see daemon.h. */
#include "fs/mount/daemon.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int parent_fd = -1;

/* The child's word, or its exit status when it ended without one. */
_Noreturn static void wait_for_child(pid_t pid, int fd)
{
	char word;
	ssize_t n;
	int status;

	do
		n = read(fd, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 32);
}

int daemon_fork(void)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(pid, fds[0]);
	}
	close(fds[0]);
	setsid();
	parent_fd = fds[1];
	return 0;
}

void daemon_ready(void)
{
	int null;

	if (parent_fd < 0)
		return;
	if (chdir("/") != 0)
		return; /* cannot fail; then the parent is told nothing and sees our end */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		if (null > 2)
			close(null);
	}
	if (write(parent_fd, "r", 1) != 1)
		_exit(32);
	close(parent_fd);
	parent_fd = -1;
}
