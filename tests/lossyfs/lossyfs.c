/* lossyfs - a filesystem whose power can be cut: what was not synced may be gone then (lossy.h).
 *
 *   lossyfs mount DIR BACKING [--sync-ms N] [--lie]
 *       mounts it, empty, at DIR, with its data in unlinked files of BACKING; returns when it can
 * be used. A sync takes up to N ms (2). With --lie syncs do nothing: whoever says then that nothing
 * is lost does not look. It ends when it is unmounted. lossyfs cut DIR SEED cuts its power. End the
 * processes that use it first: handles of lost files stay usable, but are of files without a name.
 *
 * Nothing is kept in the kernel: every read, write and lookup comes here, with or without O_DIRECT.
 * The kernel locks a file while it is synced, so no write comes during a sync. */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "tests/lossyfs/lossy.h"
#include "tests/lib/random.h"

#define CUT_XATTR "user.lossyfs.cut"

static struct lossy fs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned sync_ms = 2;

struct listing {
	char *data;
	size_t size;
};

static struct lossy_node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? fs.root : (struct lossy_node *)(uintptr_t)ino;
}

static fuse_ino_t id_of(const struct lossy_node *node)
{
	return node == fs.root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* With the lock: the reply of whatever names a node, which the kernel then refers to. */
static struct fuse_entry_param entry_of(struct lossy_node *node)
{
	node->refs++;
	return (struct fuse_entry_param){.ino = id_of(node), .attr = lossy_stat(node)};
}

static void reply_entry(fuse_req_t req, int rc, const struct fuse_entry_param *entry)
{
	if (rc == 0)
		fuse_reply_entry(req, entry);
	else
		fuse_reply_err(req, -rc);
}

/* ---- names ---- */

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {0};
	struct lossy_node *node;

	pthread_mutex_lock(&lock);
	node = lossy_find(node_of(parent), name);
	if (node != NULL)
		entry = entry_of(node);
	pthread_mutex_unlock(&lock);
	reply_entry(req, node != NULL ? 0 : -ENOENT, &entry);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	pthread_mutex_lock(&lock);
	if (ino != FUSE_ROOT_ID)
		lossy_unref(&fs, node_of(ino), count);
	pthread_mutex_unlock(&lock);
	fuse_reply_none(req);
}

static int make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, const char *text,
		struct fuse_entry_param *entry)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct lossy_node *node;
	int rc;

	pthread_mutex_lock(&lock);
	rc = lossy_make(&fs, node_of(parent), name, mode, text, &node);
	if (rc == 0) {
		node->attr.st_uid = ctx->uid;
		node->attr.st_gid = ctx->gid;
		*entry = entry_of(node);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param entry;

	reply_entry(req, make(req, parent, name, S_IFDIR | (mode & 07777), NULL, &entry), &entry);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	struct fuse_entry_param entry;

	reply_entry(req, make(req, parent, name, mode, NULL, &entry), &entry);
}

static void op_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;

	reply_entry(req, make(req, parent, name, S_IFLNK | 0777, text, &entry), &entry);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	int rc = make(req, parent, name, S_IFREG | (mode & 07777), NULL, &entry);

	fi->direct_io = 1;
	if (rc == 0)
		fuse_reply_create(req, &entry, fi);
	else
		fuse_reply_err(req, -rc);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {0};
	int rc;

	pthread_mutex_lock(&lock);
	rc = lossy_link(&fs, node_of(ino), node_of(parent), name);
	if (rc == 0)
		entry = entry_of(node_of(ino));
	pthread_mutex_unlock(&lock);
	reply_entry(req, rc, &entry);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, bool directory)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = lossy_remove(&fs, node_of(parent), name, directory);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, -rc);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, false);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, true);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned flags)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = lossy_rename(&fs, node_of(parent), name, node_of(new_parent), new_name, flags);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, -rc);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_readlink(req, node_of(ino)->text);
}

static void add_name(fuse_req_t req, struct listing *list, const char *name,
		     const struct lossy_node *node)
{
	struct stat attr = {.st_ino = node->attr.st_ino, .st_mode = node->attr.st_mode};
	size_t room = fuse_add_direntry(req, NULL, 0, name, NULL, 0);

	list->data = realloc(list->data, list->size + room);
	if (list->data == NULL)
		abort();
	fuse_add_direntry(req, list->data + list->size, room, name, &attr,
			  (off_t)(list->size + room));
	list->size += room;
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *list = calloc(1, sizeof(*list));
	struct lossy_node *dir = node_of(ino);
	struct lossy_entry *entry, *next;

	if (list == NULL)
		abort();
	pthread_mutex_lock(&lock);
	add_name(req, list, ".", dir);
	add_name(req, list, "..", dir->parent != NULL ? dir->parent : dir);
	HASH_ITER(hh, dir->now, entry, next)
	{
		add_name(req, list, entry->name, entry->node);
	}
	pthread_mutex_unlock(&lock);
	fi->fh = (uint64_t)(uintptr_t)list;
	fuse_reply_open(req, fi);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	const struct listing *list = (const struct listing *)(uintptr_t)fi->fh;
	size_t at = (size_t)offset, end = at;

	/* Whole records: the header of one says how long its name is. */
	while (end < list->size) {
		uint32_t length;
		size_t record;

		memcpy(&length, list->data + end + 16, sizeof(length));
		record = (24 + length + 7) / 8 * 8;
		if (end + record - at > size)
			break;
		end += record;
	}
	fuse_reply_buf(req, list->data + at, end - at);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *list = (struct listing *)(uintptr_t)fi->fh;

	free(list->data);
	free(list);
	fuse_reply_err(req, 0);
}

/* ---- attributes ---- */

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;

	pthread_mutex_lock(&lock);
	attr = lossy_stat(node_of(ino));
	pthread_mutex_unlock(&lock);
	fuse_reply_attr(req, &attr, 0);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int set,
		       struct fuse_file_info *fi)
{
	struct lossy_node *node = node_of(ino);
	struct stat attr;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if ((set & FUSE_SET_ATTR_SIZE) != 0)
		rc = lossy_truncate(node, to->st_size);
	if ((set & FUSE_SET_ATTR_MODE) != 0)
		node->attr.st_mode = (node->attr.st_mode & S_IFMT) | (to->st_mode & 07777);
	if ((set & FUSE_SET_ATTR_UID) != 0)
		node->attr.st_uid = to->st_uid;
	if ((set & FUSE_SET_ATTR_GID) != 0)
		node->attr.st_gid = to->st_gid;
	if ((set & FUSE_SET_ATTR_MTIME) != 0)
		node->attr.st_mtim = to->st_mtim;
	if ((set & FUSE_SET_ATTR_ATIME) != 0)
		node->attr.st_atim = to->st_atim;
	attr = lossy_stat(node);
	pthread_mutex_unlock(&lock);
	if (rc == 0)
		fuse_reply_attr(req, &attr, 0);
	else
		fuse_reply_err(req, -rc);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs stat;

	if (fstatvfs(fs.backing, &stat) != 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &stat);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	char text[32] = "";

	if (ino != FUSE_ROOT_ID || strcmp(name, CUT_XATTR) != 0 || size >= sizeof(text)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	memcpy(text, value, size);
	pthread_mutex_lock(&lock);
	lossy_cut(&fs, strtoull(text, NULL, 10));
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, 0);
}

/* ---- data ---- */

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	char *data = malloc(size);
	ssize_t n = -ENOMEM;

	if (data != NULL) {
		pthread_mutex_lock(&lock);
		n = lossy_read(node_of(ino), data, size, offset);
		pthread_mutex_unlock(&lock);
	}
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, data, (size_t)n);
	free(data);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	struct lossy_node *node = node_of(ino);
	ssize_t n;

	pthread_mutex_lock(&lock);
	if ((fi->flags & O_APPEND) != 0)
		offset = node->size;
	n = lossy_write(node, data, size, offset);
	if (n > 0 && (fi->flags & O_DSYNC) != 0)
		lossy_sync_range(&fs, node, offset, n);
	pthread_mutex_unlock(&lock);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t size,
			 struct fuse_file_info *fi)
{
	struct lossy_node *node = node_of(ino);
	int rc = 0;

	pthread_mutex_lock(&lock);
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0)
		rc = lossy_zero(node, offset, size);
	else if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0)
		rc = -EOPNOTSUPP;
	if (rc == 0 && (mode & FALLOC_FL_KEEP_SIZE) == 0 && offset + size > node->size)
		rc = lossy_truncate(node, offset + size);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, -rc);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
		     struct fuse_file_info *fi)
{
	off_t at;

	pthread_mutex_lock(&lock);
	at = lseek(node_of(ino)->fd, offset, whence);
	pthread_mutex_unlock(&lock);
	if (at < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_lseek(req, at);
}

static void sync_begin(void)
{
	uint64_t us = 0;

	pthread_mutex_lock(&lock);
	if (sync_ms > 0)
		us = random_u64(&fs.random) % (sync_ms * 1000u);
	pthread_mutex_unlock(&lock);
	usleep((useconds_t)us);
	pthread_mutex_lock(&lock);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	sync_begin();
	lossy_sync_file(&fs, node_of(ino));
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, 0);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	sync_begin();
	lossy_sync_dir(&fs, node_of(ino));
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, 0);
}

static void op_init(void *user, struct fuse_conn_info *conn)
{
	/* Locks are the kernel's; nothing is read ahead or cached. */
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS |
				  FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
};

/* ---- the program ---- */

static int usage(void)
{
	fprintf(stderr, "usage: lossyfs mount DIR BACKING [--sync-ms N] [--lie]\n"
			"       lossyfs cut DIR SEED\n");
	return 64;
}

static int cut(const char *dir, const char *seed)
{
	if (setxattr(dir, CUT_XATTR, seed, strlen(seed), 0) == 0)
		return 0;
	fprintf(stderr, "lossyfs: %s: %s\n", dir, strerror(errno));
	return 1;
}

static int serve(const char *dir)
{
	static char name[] = "lossyfs",
		    option[] = "-ofsname=lossyfs,default_permissions,allow_other";
	char *argv[] = {name, option, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc = 1;

	if (session == NULL || config == NULL || fuse_session_mount(session, dir) != 0)
		return 1;
	fuse_loop_cfg_set_max_threads(config, 8);
	fuse_loop_cfg_set_idle_threads(config, 8);
	if (fuse_daemonize(0) == 0)
		rc = fuse_session_loop_mt(session, config) == 0 ? 0 : 1;
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	fuse_loop_cfg_destroy(config);
	return rc;
}

static int mount_at(const char *dir, const char *backing, char **options)
{
	struct rlimit limit;
	char *path = realpath(dir, NULL);
	int rc;

	for (; *options != NULL; options++) {
		if (strcmp(*options, "--lie") == 0)
			fs.lies = true;
		else if (strcmp(*options, "--sync-ms") == 0 && options[1] != NULL)
			sync_ms = (unsigned)strtoul(*++options, NULL, 10);
		else
			return usage();
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	umask(0);
	rc = path == NULL ? -errno : lossy_open(backing, &fs);
	if (rc != 0) {
		fprintf(stderr, "lossyfs: %s, %s: %s\n", dir, backing, strerror(-rc));
		return 1;
	}
	rc = serve(path);
	free(path);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "cut") == 0)
		return cut(argv[2], argv[3]);
	if (argc >= 4 && strcmp(argv[1], "mount") == 0)
		return mount_at(argv[2], argv[3], argv + 4);
	return usage();
}
