/* mount.c - see mount.h.
 *
 * A mount begins like this: the filesystem's parts are made (filesystem.c), a session with the
 * master is opened, the kernel's session is made and its threads are started; then the kernel
 * mounts, and requests are served. Whatever fails, mount_end() takes down what there is.
 *
 * A mount ends like this:
 * 1. The kernel's dirty pages are written, and the mount is taken out of the tree. A thread of its
 *    own does that, since the kernel may have to ask us: it is waited for during DETACH_NS.
 * 2. Everything written goes to all copies, their disks and the master, during LEAVE_TIMEOUT_NS
 *    at most (lease/leave.h).
 * 3. The threads that read requests stop, and the connection with the kernel is cut: programs that
 *    still wait get their errors.
 * 4. The threads behind the operations stop; the session is closed, "clean" when nothing was left.
 * 5. Memory is freed if no request is under way any more.
 *
 * A failure:
 * - Files are open in the mount: it is taken from the names only, and their programs get errors.
 * - Servers are away: step 2 ends with -ETIMEDOUT, which is logged with the number of files, and
 *   the exit status says it. When only the master's word is missing, nothing is lost.
 * - Requests are still waiting for dead machines: their memory is left to the exit. */
#define LOG_MODULE "mount"
#include "fs/mount/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/rpc/rpc.h"
#include "fs/flush/flush.h"
#include "fs/kernel/fuse_loop.h"
#include "fs/flush/housekeeper.h"
#include "fs/mount/mountpoint.h"
#include "fs/kernel/page_drops.h"
#include "fs/kernel/task.h"
#include "fs/lease/lease_return.h"
#include "fs/lease/leave.h"
#include "fs/mount/filesystem.h"
#include "fs/ops/ops.h"

#define DETACH_NS (5 * NS_PER_SEC) /* for the kernel to write its pages and to let go */
#define QUIET_NS  (2 * NS_PER_SEC) /* for what is under way when all else is done */

struct mount {
	struct mount_options options; /* borrowed */
	char *path;
	struct fs *fs;
	struct meta *meta;
	struct fuse_session *session;
	struct fuse_loop *loop;
	bool mounted;
};

/* ---- made ---- */

static struct tls_files files_of(const struct mount_options *o)
{
	return (struct tls_files){.ca = o->ca, .cert = o->cert, .key = o->key};
}

static const char *text_or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

static int open_fs(struct mount *mount, char *error, size_t error_size)
{
	const struct mount_options *o = &mount->options;
	struct filesystem_settings settings = {
		.data = {.tls = files_of(o),
			 .memory_limit = o->cache_bytes,
			 .soft_timeout_ns = o->soft ? o->timeout_ns : 0,
			 .host = text_or_null(o->host),
			 .rack = text_or_null(o->rack),
			 .zone = text_or_null(o->zone)},
		.atime = o->atime,
		.atime_directories = o->atime_directories,
	};

	return filesystem_create(&settings, &mount->fs, error, error_size);
}

static int open_meta(struct mount *mount, char *error, size_t error_size)
{
	const struct mount_options *o = &mount->options;
	uint64_t patience_ns =
		o->timeout_ns > MOUNT_PATIENCE_NS ? o->timeout_ns : MOUNT_PATIENCE_NS;
	char host[128] = "", name[512];
	struct meta_options options = {
		.masters = o->master,
		.tls = files_of(o),
		.mount_name = name,
		.soft_timeout_ns = o->soft ? o->timeout_ns : 0,
		.callbacks = filesystem_meta_callbacks,
		.user = mount->fs,
	};
	int rc;

	gethostname(host, sizeof(host) - 1);
	snprintf(name, sizeof(name), "%s:%s", host, mount->path);
	rc = meta_open(&options, patience_ns, &mount->meta, error, error_size);
	if (rc == 0) {
		mount->fs->meta = mount->meta;
		mount->fs->handle_generation = (uint32_t)meta_instance(mount->meta);
	}
	return rc;
}

/* libfuse takes options as text; a comma or backslash in a name is escaped. */
static void escape(const char *in, char *out, size_t size)
{
	size_t n = 0;

	for (; *in != '\0' && n + 2 < size; in++) {
		if (*in == ',' || *in == '\\')
			out[n++] = '\\';
		out[n++] = *in;
	}
	out[n] = '\0';
}

static int open_session(struct mount *mount, char *error, size_t error_size)
{
	bool root = geteuid() == 0;
	char source[300], options[1024];
	char *argv[] = {(char *)"mount.catena", (char *)"-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);

	escape(mount->options.master, source, sizeof(source));
	/* Permissions are the kernel's to check, by mode, as on a disk. */
	snprintf(options, sizeof(options), "fsname=%s,subtype=catena,default_permissions%s%s%s",
		 source, root ? ",allow_other,dev,suid" : "",
		 mount->options.kernel[0] != '\0' ? "," : "", mount->options.kernel);
	mount->session = fuse_session_new(&args, &ops_table, sizeof(ops_table), mount->fs);
	fuse_opt_free_args(&args);
	if (mount->session == NULL) {
		snprintf(error, error_size, "libfuse does not take the options %s", options);
		return -EINVAL;
	}
	mount->fs->session = mount->session;
	return 0;
}

static int start_threads(struct mount *mount)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned threads = cores > 2 ? 2 * (unsigned)cores : 4;
	/* As many as the memory limit would allow if each held a full write. */
	unsigned stolen = (unsigned)(mount->options.cache_bytes >> 20) + 16;
	int rc = fuse_loop_create(mount->session, threads, stolen, &mount->loop);

	if (rc == 0)
		rc = housekeeper_start(mount->fs->housekeeper);
	if (rc == 0)
		rc = lease_return_start(mount->fs->lease_return);
	if (rc == 0)
		rc = page_drops_start(mount->fs->page_drops);
	return rc;
}

static int mount_it(struct mount *mount, char *error, size_t error_size)
{
	int rc;

	errno = 0;
	if (fuse_session_mount(mount->session, mount->path) != 0) {
		snprintf(error, error_size, "%s: the kernel refuses the mount%s%s", mount->path,
			 errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
		return -EIO;
	}
	mount->mounted = true;
	rc = fuse_loop_attach(mount->loop);
	if (rc == 0)
		rc = fuse_loop_start(mount->loop);
	if (rc != 0)
		snprintf(error, error_size, "cannot serve the mount: %s", strerror(-rc));
	return rc;
}

/* libfuse writes to stderr by itself; ours has one line for each thing that goes wrong. */
static void log_of_libfuse(enum fuse_log_level level, const char *format, va_list args)
{
	char line[512];
	size_t size;

	vsnprintf(line, sizeof(line), format, args);
	size = strlen(line);
	while (size > 0 && line[size - 1] == '\n')
		line[--size] = '\0';
	if (level <= FUSE_LOG_ERR)
		log_error("libfuse says: %s", line);
	else
		log_debug("libfuse says: %s", line);
}

int mount_begin(const struct mount_options *options, const char *mountpoint, struct mount **out,
		char *error, size_t error_size)
{
	struct mount *mount = calloc(1, sizeof(*mount));
	int rc = -ENOMEM;

	snprintf(error, error_size, "out of memory");
	if (mount == NULL)
		return rc;
	mount->options = *options;
	mount->path = strdup(mountpoint);
	if (mount->path == NULL) {
		free(mount);
		return rc;
	}
	rpc_init();
	fuse_set_log_func(log_of_libfuse);
	rc = open_fs(mount, error, error_size);
	if (rc == 0)
		rc = open_meta(mount, error, error_size);
	if (rc == 0)
		rc = open_session(mount, error, error_size);
	if (rc == 0) {
		rc = start_threads(mount);
		if (rc != 0)
			snprintf(error, error_size, "cannot start threads: %s", strerror(-rc));
	}
	if (rc == 0)
		rc = mount_it(mount, error, error_size);
	if (rc != 0) {
		mount_end(mount);
		return rc;
	}
	mountpoint_set_read_ahead(mount->path, OPS_READ_AHEAD_KIB);
	log_info("mounted path=%s master=%s session=%llu", mount->path, options->master,
		 (unsigned long long)meta_session_id(mount->meta));
	*out = mount;
	return 0;
}

int mount_ended_fd(const struct mount *mount)
{
	return fuse_loop_ended_fd(mount->loop);
}

void mount_look_again(struct mount *mount)
{
	bool now = mountpoint_read_only(mount->path);

	if (atomic_exchange(&mount->fs->read_only, now) != now)
		log_info("mounted %s now path=%s", now ? "read-only" : "for writing", mount->path);
}

/* ---- taken down ---- */

/* Taking the mount away asks the kernel for things for which it may have to ask us: dirty pages of
 * shared mappings must be written first, and with dead servers that may never end. So it is done by
 * a thread that can be left behind. */
struct detaching {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
	int refs;
	char *path;
};

/* With the lock held; gives it back. */
static void detaching_unref(struct detaching *d)
{
	bool last = --d->refs == 0;

	pthread_mutex_unlock(&d->lock);
	if (!last)
		return;
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d->path);
	free(d);
}

static void write_pages(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	syncfs(fd);
	close(fd);
}

static void *detach_run(void *user)
{
	struct detaching *d = user;

	write_pages(d->path);
	if (mountpoint_unmount(d->path) == UNMOUNTED_BUSY)
		log_warn("unmounted while files are open: their programs will get errors path=%s",
			 d->path);
	pthread_mutex_lock(&d->lock);
	d->done = true;
	pthread_cond_signal(&d->changed);
	detaching_unref(d);
	return NULL;
}

/* NULL: out of memory or threads. The caller's reference is given up by detach_wait(). */
static struct detaching *detach_begin(const char *path)
{
	struct detaching *d = calloc(1, sizeof(*d));
	pthread_t thread;

	if (d == NULL)
		return NULL;
	d->path = strdup(path);
	d->refs = 2;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	if (d->path == NULL || pthread_create(&thread, NULL, detach_run, d) != 0) {
		d->refs = 1;
		pthread_mutex_lock(&d->lock);
		detaching_unref(d);
		return NULL;
	}
	pthread_detach(thread);
	return d;
}

/* True: done within the time. */
static bool detach_wait(struct detaching *d, uint64_t timeout_ns, bool last)
{
	uint64_t end_ns = clock_monotonic_ns() + timeout_ns;
	bool done;

	pthread_mutex_lock(&d->lock);
	while (!d->done && cond_wait_until(&d->changed, &d->lock, end_ns))
		;
	done = d->done;
	if (last)
		detaching_unref(d);
	else
		pthread_mutex_unlock(&d->lock);
	return done;
}

static struct detaching *unmount(struct mount *mount)
{
	struct detaching *d;

	if (!mount->mounted || fuse_session_exited(mount->session))
		return NULL;
	d = detach_begin(mount->path);
	if (d != NULL && !detach_wait(d, DETACH_NS, false))
		log_warn("the kernel does not let go of the mount yet path=%s", mount->path);
	return d;
}

/* Ends the connection with the kernel, so that nothing waits for us any more. The descriptor stays
 * taken: late answers must not go to another file that gets its number. */
static void sever(struct mount *mount)
{
	int null;

	if (!mount->mounted)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, fuse_session_fd(mount->session)) < 0)
		log_error("cannot close the connection with the kernel");
	if (null >= 0)
		close(null);
}

static int write_back(struct mount *mount)
{
	int rc;

	if (mount->meta == NULL || !mount->mounted)
		return 0;
	rc = leave_write_back(mount->fs, LEAVE_TIMEOUT_NS);
	if (rc == -EHOSTDOWN)
		log_warn("the servers have everything, but the master is away and does not say "
			 "whether it is on its disk path=%s",
			 mount->path);
	else if (rc != 0)
		log_error("not everything that was written could be saved path=%s error=\"%s\" "
			  "files=%u",
			  mount->path, strerror(-rc), flush_list_count(mount->fs->flush_list));
	return rc;
}

/* True: nothing of ours is under way any more, so memory may be freed. */
static bool quiet(struct mount *mount)
{
	uint64_t end_ns = clock_monotonic_ns() + QUIET_NS;

	while (task_count(mount->fs->tasks) > 0) {
		if (clock_monotonic_ns() > end_ns)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 5 * NS_PER_MSEC}, NULL);
	}
	return true;
}

static void free_all(struct mount *mount)
{
	if (mount->session != NULL)
		fuse_session_destroy(mount->session);
	if (mount->fs != NULL) {
		mount->fs->session = NULL;
		filesystem_destroy(mount->fs);
	}
	fuse_loop_destroy(mount->loop);
	rpc_shutdown();
	free(mount->path);
	free(mount);
}

int mount_end(struct mount *mount)
{
	struct detaching *detaching = unmount(mount);
	int rc = write_back(mount), result = rc == -EHOSTDOWN ? 0 : rc;
	bool clean = true;

	if (mount->loop != NULL)
		fuse_loop_stop(mount->loop);
	sever(mount);
	if (detaching != NULL)
		detach_wait(detaching, QUIET_NS, true);
	if (mount->fs != NULL) {
		atomic_store(&mount->fs->leaving, true);
		lease_return_stop(mount->fs->lease_return);
		page_drops_stop(mount->fs->page_drops);
		housekeeper_stop(mount->fs->housekeeper);
		/* Requests of programs that still wait may have something under way too. */
		clean = rc == 0 && task_count(mount->fs->tasks) == 0 &&
			!data_any_dirty(mount->fs->data);
	}
	meta_close(mount->meta, clean);
	if (result == 0 && mount->mounted)
		log_info("unmounted path=%s", mount->path);
	if (mount->fs != NULL && !quiet(mount)) {
		log_warn("requests of programs were still waiting path=%s", mount->path);
		return result; /* their answers would find nothing: leave everything to the exit */
	}
	if (rc == 0)
		free_all(mount);
	return result;
}
