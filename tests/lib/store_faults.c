#include "tests/lib/store_faults.h"

struct faults faults = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static bool fault_path(int fd, char path[300])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, 299);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return strstr(path, "/chunks/") != NULL;
}

/* True: the machine is off. */
static bool fault_step(void)
{
	if (faults.stopped)
		return true;
	if (++faults.steps != faults.stop_at)
		return false;
	if (faults.kill)
		kill(getpid(), SIGKILL);
	faults.stopped = true;
	return true;
}

static void fault_keep(int fd, const char *path, uint64_t from, uint64_t to)
{
	for (uint64_t block = from / FAULT_BLOCK; block * FAULT_BLOCK < to; block++) {
		struct old_block *old = faults.old;
		int other;

		while (old != NULL && (old->block != block || strcmp(old->path, path) != 0))
			old = old->next;
		if (old != NULL)
			continue;
		old = calloc(1, sizeof(*old));
		snprintf(old->path, sizeof(old->path), "%s", path);
		old->block = block;
		other = open(path, O_RDONLY); /* without O_DIRECT */
		if (other >= 0) {
			if (syscall(SYS_pread64, other, old->bytes, FAULT_BLOCK,
				    block * FAULT_BLOCK) < 0)
				abort();
			close(other);
		}
		old->next = faults.old;
		faults.old = old;
	}
}

void fault_forget(const char *path)
{
	for (struct old_block **at = &faults.old; *at != NULL;) {
		struct old_block *old = *at;

		if (path != NULL && strcmp(old->path, path) != 0) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		free(old);
	}
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	char path[300];
	bool chunk = fault_path(fd, path), off;
	ssize_t n;

	pthread_mutex_lock(&faults.mutex);
	off = fault_step();
	if (chunk && off && !faults.keep) {
		pthread_mutex_unlock(&faults.mutex);
		errno = EIO;
		return -1;
	}
	if (chunk && faults.keep)
		fault_keep(fd, path, (uint64_t)offset, (uint64_t)offset + size);
	/* The write at which the power goes is done in part. */
	if (chunk && off)
		size = size / FAULT_BLOCK / 2 * FAULT_BLOCK;
	n = syscall(SYS_pwrite64, fd, data, size, offset);
	pthread_mutex_unlock(&faults.mutex);
	if (chunk && off) {
		errno = EIO;
		return -1;
	}
	return n;
}

int fdatasync(int fd)
{
	char path[300];
	bool chunk = fault_path(fd, path);
	int rc = -1;

	pthread_mutex_lock(&faults.mutex);
	if (fault_step() && chunk) {
		errno = EIO;
	} else if (chunk && faults.keep) {
		fault_forget(path);
		rc = 0;
	} else {
		rc = (int)syscall(SYS_fdatasync, fd);
	}
	pthread_mutex_unlock(&faults.mutex);
	return rc;
}

static bool fault_name_known(const char *path)
{
	for (unsigned i = 0; i < faults.name_count; i++)
		if (strcmp(faults.names[i], path) == 0)
			return true;
	return false;
}

static void fault_names(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	char path[700];

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (entry->d_name[0] != '.' && strlen(path) < 300 && !fault_name_known(path) &&
		    faults.name_count < FAULT_NAMES)
			memcpy(faults.names[faults.name_count++], path, strlen(path) + 1);
	}
	if (dir != NULL)
		closedir(dir);
}

int fsync(int fd)
{
	char path[300];
	bool chunk = fault_path(fd, path);
	int rc = -1;

	pthread_mutex_lock(&faults.mutex);
	if (fault_step() && chunk) {
		errno = EIO;
	} else if (chunk && faults.keep) {
		fault_names(path);
		rc = 0;
	} else {
		rc = (int)syscall(SYS_fsync, fd);
	}
	pthread_mutex_unlock(&faults.mutex);
	return rc;
}

/* Of the target's own directory. */
int syncfs(int fd)
{
	char path[300], directory[400];
	int rc = -1;

	fault_path(fd, path);
	pthread_mutex_lock(&faults.mutex);
	if (fault_step()) {
		errno = EIO;
	} else if (faults.keep) {
		fault_forget(NULL);
		for (unsigned i = 0; i < 256; i++) {
			snprintf(directory, sizeof(directory), "%s/chunks/%02x", path, i);
			fault_names(directory);
		}
		rc = 0;
	} else {
		rc = (int)syscall(SYS_syncfs, fd);
	}
	pthread_mutex_unlock(&faults.mutex);
	return rc;
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	char path[300];
	bool chunk = fault_path(fd, path);
	int rc = -1;

	pthread_mutex_lock(&faults.mutex);
	if (fault_step() && chunk) {
		errno = EIO;
	} else {
		if (chunk && faults.keep)
			fault_keep(fd, path, (uint64_t)offset, (uint64_t)(offset + size));
		rc = (int)syscall(SYS_fallocate, fd, mode, offset, size);
	}
	pthread_mutex_unlock(&faults.mutex);
	return rc;
}

int unlinkat(int dir, const char *name, int flags)
{
	char path[300], *slash;

	pthread_mutex_lock(&faults.mutex);
	if (faults.keep && fault_path(dir, path) == false && strlen(path) + strlen(name) < 290) {
		slash = path + strlen(path);
		snprintf(slash, sizeof(path) - strlen(path), "/%s", name);
		fault_forget(path);
		for (unsigned i = 0; i < faults.name_count; i++)
			if (strcmp(faults.names[i], path) == 0)
				faults.names[i][0] = '\0';
	}
	pthread_mutex_unlock(&faults.mutex);
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

void fault_each_file(const char *target, void (*each)(const char *path))
{
	for (unsigned i = 0; i < 256; i++) {
		char directory[400], path[700];
		struct dirent *entry;
		DIR *dir;

		snprintf(directory, sizeof(directory), "%s/chunks/%02x", target, i);
		dir = opendir(directory);
		while (dir != NULL && (entry = readdir(dir)) != NULL) {
			snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
			if (entry->d_name[0] != '.')
				each(path);
		}
		if (dir != NULL)
			closedir(dir);
	}
}

void fault_remove(const char *path)
{
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static void fault_lose_name(const char *path)
{
	if (!fault_name_known(path) && faults.random() % 2 == 0)
		fault_remove(path);
}

void fault_power_cut(uint64_t (*random)(void), const char *target)
{
	for (struct old_block *old = faults.old; old != NULL; old = old->next) {
		uint64_t dice = random() % 4;
		size_t size = dice == 0 ? 0 : dice == 1 ? FAULT_BLOCK / 2 : FAULT_BLOCK;
		int fd = size == 0 ? -1 : open(old->path, O_WRONLY);

		if (fd < 0)
			continue;
		if (syscall(SYS_pwrite64, fd, old->bytes, size, old->block * FAULT_BLOCK) < 0)
			abort();
		close(fd);
	}
	fault_forget(NULL);
	faults.random = random;
	fault_each_file(target, fault_lose_name);
	faults.name_count = 0;
}
