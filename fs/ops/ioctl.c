/* ioctl.c - what mount.catena asks of the process that serves the mount (mount/remount.h). */
#define LOG_MODULE "fs"
#include "fs/ops/ioctl.h"
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include "common/os/log.h"
#include "fs/lease/leave.h"
#include "fs/ops/ops.h"
#include "fs/kernel/task.h"

/* A thread of its own, because it waits. */
static void *write_back(void *user)
{
	struct task *task = user;
	int rc = leave_write_back(task->fs, LEAVE_TIMEOUT_NS);

	if (rc != 0 && rc != -EHOSTDOWN)
		log_error("not everything that was written could be saved error=\"%s\"",
			  strerror(-rc));
	if (task_claim(task)) {
		if (rc == 0)
			fuse_reply_ioctl(task->req, 0, NULL, 0);
		else
			fuse_reply_err(task->req, task_errno(rc));
	}
	task_end(task);
	return NULL;
}

void ops_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int command, void *arg,
	       struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
	       size_t out_size)
{
	struct fs *fs = fuse_req_userdata(req);
	uid_t uid = fuse_req_ctx(req)->uid;
	struct task *task;
	pthread_t thread;
	int rc;

	if (command != IOCTL_WRITE_BACK) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (uid != 0 && uid != geteuid()) {
		fuse_reply_err(req, EPERM);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	rc = pthread_create(&thread, NULL, write_back, task);
	if (rc != 0)
		task_fail(task, -rc);
	else
		pthread_detach(thread);
}
