/* ops.c - the table of handlers, and what is agreed with the kernel. */
#define LOG_MODULE "fs"
#include "fs/ops/ops.h"
#include <linux/fuse.h>
#include "common/os/buf.h"
#include "common/os/log.h"
#include "fs/kernel/fuse_loop.h"
#include "fs/kernel/task.h"

#define BACKGROUND_MAX 128u

static void init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_EXPORT_SUPPORT |
				FUSE_CAP_IOCTL_DIR | FUSE_CAP_CACHE_SYMLINKS |
				FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
				FUSE_CAP_PARALLEL_DIROPS;

	/* Everything else is left out on purpose. The kernel's own write-back cache would keep
	 * sizes from us, and splice cannot encrypt. With ATOMIC_O_TRUNC the kernel truncates
	 * without its lock, and places appends by a size that has gone. With AUTO_INVAL_DATA it
	 * drops pages when a time has changed, so after each write of its own. With
	 * EXPLICIT_INVAL_DATA it keeps the last page, and zeros behind the old end, when a new size
	 * comes; without, it drops the pages together with the new size. */
	conn->want = conn->capable & wanted;
	/* libfuse 3.14 does not tell the first, although it says so, and does not know the other
	 * (see privileges.h). */
	fuse_loop_want(FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2);
	conn->max_write = FRAME_PAYLOAD_MAX;
	/* More than the kernel offers: it takes the lesser of this and of what the mount is set to,
	 * which mount_begin() raises, maybe before the kernel has this answer. */
	conn->max_readahead = OPS_READ_AHEAD_KIB << 10;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
	conn->time_gran = 1;
	log_debug("kernel agreed protocol=%u.%u capable=%#x", conn->proto_major, conn->proto_minor,
		  conn->capable);
}

/* What is not here is answered with ENOSYS once, and then done by the kernel: locks are the
 * mount's own, copy_file_range copies by reading and writing, access goes by the mode. */
const struct fuse_lowlevel_ops ops_table = {
	.init = init,
	.lookup = ops_lookup,
	.forget = ops_forget,
	.forget_multi = ops_forget_multi,
	.getattr = ops_getattr,
	.setattr = ops_setattr,
	.readlink = ops_readlink,
	.mknod = ops_mknod,
	.mkdir = ops_mkdir,
	.symlink = ops_symlink,
	.create = ops_create,
	.link = ops_link,
	.unlink = ops_unlink,
	.rmdir = ops_rmdir,
	.rename = ops_rename,
	.open = ops_open,
	.read = ops_read,
	.write = ops_write,
	.flush = ops_flush,
	.release = ops_release,
	.fsync = ops_fsync,
	.fallocate = ops_fallocate,
	.lseek = ops_lseek,
	.ioctl = ops_ioctl,
	.opendir = ops_opendir,
	.readdir = ops_readdir,
	.readdirplus = ops_readdirplus,
	.releasedir = ops_releasedir,
	.fsyncdir = ops_fsyncdir,
	.setxattr = ops_setxattr,
	.getxattr = ops_getxattr,
	.listxattr = ops_listxattr,
	.removexattr = ops_removexattr,
	.statfs = ops_statfs,
};
