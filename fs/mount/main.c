/* mount.catena - mounts a Catena cluster as a directory; see mount.catena(8). */
#define LOG_MODULE "main"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "common/base/duration.h"
#include "common/os/descriptors.h"
#include "common/os/log.h"
#include "common/os/ready.h"
#include "common/net/tls.h"
#include "fs/mount/daemon.h"
#include "fs/mount/mount.h"
#include "fs/mount/mountpoint.h"
#include "fs/mount/options.h"
#include "fs/mount/remount.h"

/* As mount(8) has them. */
#define EXIT_USAGE  1
#define EXIT_SYSTEM 2
#define EXIT_MOUNT  32

#define DEFAULT_LOG     "/var/log/mount.catena.log"
#define SOFT_DEFAULT_NS (30 * NS_PER_SEC)

static int fail(int status, const char *text)
{
	fprintf(stderr, "mount.catena: %s\n", text);
	return status;
}

/* Signals are read from a descriptor: blocked in every thread, which inherit this. */
static int open_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int open_log(const struct mount_options *options)
{
	const char *path = options->log;

	log_set_level(options->log_level);
	if (path[0] == '\0') {
		if (options->foreground)
			return 0;
		/* In the background stderr leads nowhere; without this file there is no log. */
		log_open(DEFAULT_LOG);
		return 0;
	}
	return log_open(path);
}

static void tell_ready(const struct mount_options *options, const char *mountpoint)
{
	ready_tell(options->ready_fd, mountpoint);
	daemon_ready();
}

/* Until a signal, or until somebody has unmounted. @mounts: changes when mounts do. */
static void wait_for_end(int signals, int mounts, struct mount *mount)
{
	struct pollfd fds[3] = {{.fd = signals, .events = POLLIN},
				{.fd = mount_ended_fd(mount), .events = POLLIN},
				{.fd = mounts, .events = POLLPRI}};
	struct signalfd_siginfo info;

	for (;;) {
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[1].revents != 0)
			return;
		if (fds[2].revents != 0)
			mount_look_again(mount);
		if (fds[0].revents == 0 || read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		if (info.ssi_signo != SIGHUP) {
			log_info("stopping signal=%u", info.ssi_signo);
			return;
		}
		if (log_reopen() != 0)
			log_error("the log cannot be opened again");
	}
}

static int serve(const struct mount_options *options, const char *mountpoint)
{
	char error[1024] = "";
	struct mount *mount;
	int signals = open_signals(), mounts, rc;

	if (signals < 0)
		return fail(EXIT_SYSTEM, strerror(errno));
	descriptors_raise();
	rc = mount_begin(options, mountpoint, &mount, error, sizeof(error));
	if (rc != 0) {
		fflush(stderr);
		return fail(EXIT_MOUNT, error);
	}
	mounts = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
	mount_look_again(mount);
	tell_ready(options, mountpoint);
	wait_for_end(signals, mounts, mount);
	if (mounts >= 0)
		close(mounts);
	rc = mount_end(mount);
	close(signals);
	return rc == 0 ? 0 : EXIT_SYSTEM;
}

/* What can be known before anything is started. */
static int check(const struct mount_options *options, char **mountpoint, char *error,
		 size_t error_size)
{
	const struct tls_files files = {
		.ca = options->ca, .cert = options->cert, .key = options->key};
	int rc = tls_files_check(&files, TLS_ROLE_CLIENT, NULL, error, error_size);

	return rc != 0 ? rc : mountpoint_check(options->mountpoint, mountpoint, error, error_size);
}

int main(int argc, char **argv)
{
	struct mount_options options;
	char error[1024] = "", *mountpoint = NULL;
	int rc = options_parse(argc, argv, &options, error, sizeof(error));

	if (rc != 0) {
		options_free(&options);
		if (rc < 0)
			return fail(EXIT_USAGE, error);
		fputs(options_usage, stdout);
		return 0;
	}
	if (options.remount) {
		rc = remount(&options, error, sizeof(error));
		options_free(&options);
		return rc == 0 ? 0 : fail(EXIT_MOUNT, error);
	}
	if (options.soft && options.timeout_ns == 0)
		options.timeout_ns = SOFT_DEFAULT_NS;
	rc = check(&options, &mountpoint, error, sizeof(error));
	if (rc == 0) {
		rc = open_log(&options);
		if (rc != 0)
			snprintf(error, sizeof(error), "%s: %s", options.log, strerror(-rc));
	}
	if (rc == 0 && !options.foreground) {
		rc = daemon_fork();
		if (rc != 0)
			snprintf(error, sizeof(error), "cannot fork: %s", strerror(-rc));
	}
	if (rc == 0)
		rc = serve(&options, mountpoint);
	else
		rc = fail(EXIT_MOUNT, error);
	free(mountpoint);
	options_free(&options);
	/* Not exit(): threads that wait for dead machines may still be there. */
	fflush(NULL);
	_exit(rc);
}
