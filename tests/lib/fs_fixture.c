#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

/* ---- the kernel ---- */

struct fuse_ctx context;

void answered(fuse_req_t req, int error)
{
	req->answers++;
	req->error = error;
}
void *fuse_req_userdata(fuse_req_t req)
{
	return fs;
}
const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &context;
}
void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	req->interrupt = func;
	req->interrupt_data = data;
}
int fuse_reply_err(fuse_req_t req, int error)
{
	answered(req, error);
	return 0;
}
void fuse_reply_none(fuse_req_t req)
{
	answered(req, 0);
}
int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
	req->entry = *entry;
	answered(req, 0);
	return 0;
}
int fuse_reply_create(fuse_req_t req, const struct fuse_entry_param *entry,
		      const struct fuse_file_info *fi)
{
	req->entry = *entry;
	req->fi = *fi;
	answered(req, 0);
	return 0;
}
int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	req->attr = *attr;
	req->timeout = timeout;
	answered(req, 0);
	return 0;
}
int fuse_reply_readlink(fuse_req_t req, const char *target)
{
	snprintf(req->bytes, sizeof(req->bytes), "%s", target);
	answered(req, 0);
	return 0;
}
int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	req->fi = *fi;
	answered(req, 0);
	return 0;
}
int fuse_reply_write(fuse_req_t req, size_t count)
{
	req->size = count;
	answered(req, 0);
	return 0;
}
int fuse_reply_buf(fuse_req_t req, const char *data, size_t size)
{
	req->size = size;
	if (size > 0 && size <= sizeof(req->bytes))
		memcpy(req->bytes, data, size);
	answered(req, 0);
	return 0;
}
int fuse_reply_iov(fuse_req_t req, const struct iovec *iov, int count)
{
	req->size = 0;
	for (int i = 0; i < count; i++) {
		if (req->size + iov[i].iov_len <= sizeof(req->bytes))
			memcpy(req->bytes + req->size, iov[i].iov_base, iov[i].iov_len);
		req->size += iov[i].iov_len;
	}
	answered(req, 0);
	return 0;
}
int fuse_reply_statfs(fuse_req_t req, const struct statvfs *st)
{
	answered(req, 0);
	return 0;
}
int fuse_reply_xattr(fuse_req_t req, size_t count)
{
	req->size = count;
	answered(req, 0);
	return 0;
}
int fuse_reply_ioctl(fuse_req_t req, int result, const void *data, size_t size)
{
	answered(req, result);
	return 0;
}
int fuse_reply_lseek(fuse_req_t req, off_t offset)
{
	req->size = (size_t)offset;
	answered(req, 0);
	return 0;
}
void (*on_pages)(void);

int fuse_lowlevel_notify_inval_inode(struct fuse_session *session, fuse_ino_t ino, off_t offset,
				     off_t length)
{
	if (offset >= 0 && on_pages != NULL)
		on_pages();
	note(offset < 0 ? "attributes" : "pages");
	return 0;
}

/* ---- programs ---- */

struct fuse_req last;

fuse_req_t fresh(void)
{
	memset(&last, 0, sizeof(last));
	return &last;
}

uint64_t do_mkdir(uint64_t parent, const char *name)
{
	ops_mkdir(fresh(), parent, name, 0755);
	return last.entry.ino;
}

uint64_t do_create(uint64_t parent, const char *name, struct fuse_file_info *fi)
{
	memset(fi, 0, sizeof(*fi));
	fi->flags = O_RDWR;
	ops_create(fresh(), parent, name, 0644, fi);
	*fi = last.fi;
	fi->flags = O_RDWR;
	return last.entry.ino;
}

int do_open(uint64_t ino, int flags, struct fuse_file_info *fi)
{
	memset(fi, 0, sizeof(*fi));
	fi->flags = flags;
	ops_open(fresh(), ino, fi);
	*fi = last.fi;
	fi->flags = flags;
	return last.error;
}

int do_write(uint64_t ino, struct fuse_file_info *fi, const char *text, off_t offset)
{
	ops_write(fresh(), ino, text, strlen(text), offset, fi);
	return last.error;
}

int do_close(uint64_t ino, struct fuse_file_info *fi)
{
	int error;

	ops_flush(fresh(), ino, fi);
	error = last.error;
	ops_release(fresh(), ino, fi);
	return error;
}

int do_truncate(uint64_t ino, off_t size)
{
	struct stat st = {.st_size = size};

	ops_setattr(fresh(), ino, &st, FUSE_SET_ATTR_SIZE, NULL);
	return last.error;
}

off_t do_size(uint64_t ino)
{
	ops_getattr(fresh(), ino, NULL);
	return last.error == 0 ? last.attr.st_size : -last.error;
}

uint64_t fs_inode_file_id(uint64_t ino)
{
	struct inode *inode = inode_table_get(fs->inodes, ino);
	uint64_t id = inode->attr.file_id;

	inode_put(fs->inodes, inode);
	return id;
}

void later(uint64_t seconds)
{
	flush_list_tick(fs, clock_monotonic_ns() + seconds * NS_PER_SEC);
}

int fixture_setup(void **state)
{
	const struct state_options options = {
		.copies = 3, .partitions = 16, .chunk_size = 16u << 20};
	struct filesystem_settings settings = {.atime = ATIME_NEVER};
	char error[256];
	(void)state;

	forget_events();
	master.id = master.durable = master.returns = 0;
	master.session = SESSION;
	master.lease_left_ns = 3 * NS_PER_SEC;
	master.hold = false;
	master.fail = 0;
	master.lose = master.unreachable = false;
	master.grant = 0;
	chunks.hold_flushes = chunks.hold_writes = false;
	chunks.write_error = 0;
	chunks.space = UINT64_MAX;
	if (kv_open_memory(records_families, records_family_count, &master.kv) != 0 ||
	    state_init(master.kv, "cluster", &options) != 0 ||
	    state_open(master.kv, &master.state, error, sizeof(error)) != 0)
		return -1;
	master.index = state_applied_index(master.state);
	session_open_as(master.state, ++master.index, SESSION, 1, "host:/mnt", "c1");
	if (filesystem_create(&settings, &fs, error, sizeof(error)) != 0)
		return -1;
	filesystem_meta_callbacks.session(fs, SESSION);
	fs->meta = (struct meta *)&master; /* only its address matters */
	set_sole(true);
	return 0;
}

int fixture_teardown(void **state)
{
	(void)state;
	lease_return_stop(fs->lease_return);
	release_replies(false);
	release_data();
	flush_everything(fs, true, clock_monotonic_ns() + NS_PER_SEC);
	later(1000);
	filesystem_destroy(fs);
	fs = NULL;
	state_close(master.state);
	kv_close(master.kv);
	return 0;
}
