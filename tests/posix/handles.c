/* handles - file handles (name_to_handle_at(2)), as an NFS server keeps them.
 *
 *   handles take DIR >FILE      makes files, links and directories in DIR and takes their handles
 *   handles open DIR <FILE      opens each by its handle and compares what it is
 *   handles gone DIR <FILE      each must be ESTALE
 *
 * DIR may be another mount of the same filesystem, or the same after mounting again. Exit status:
 * 0 all good, 1 failures, 64 usage. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HANDLE_MAX 128
#define COUNT      200

struct record {
	ino_t ino;
	mode_t mode;
	char text[32]; /* of a regular file */
	_Alignas(struct file_handle) char handle[sizeof(struct file_handle) + HANDLE_MAX];
};

static int failed(const char *what, int i)
{
	fprintf(stderr, "FAILED %s of %d: %s\n", what, i, strerror(errno));
	return 1;
}

static bool take(const char *name, struct record *record)
{
	struct file_handle *handle = (struct file_handle *)record->handle;
	struct stat st;
	int mount_id;

	if (lstat(name, &st) != 0)
		return false;
	record->ino = st.st_ino;
	record->mode = st.st_mode;
	handle->handle_bytes = HANDLE_MAX;
	return name_to_handle_at(AT_FDCWD, name, handle, &mount_id, 0) == 0 &&
	       fwrite(record, sizeof(*record), 1, stdout) == 1;
}

/* A file, a directory in the first one, a symlink, a fifo, in turn; every other file is renamed
 * afterwards. */
static int take_all(void)
{
	char name[64], moved[64];

	for (int i = 0; i < COUNT; i++) {
		struct record record = {0};
		bool made;

		snprintf(name, sizeof(name), i % 4 == 0 ? "name%d" : "d%d", i);
		if (i % 4 == 0) {
			int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);

			snprintf(record.text, sizeof(record.text), "content %d", i);
			made = fd >= 0 &&
			       write(fd, record.text, sizeof(record.text)) == sizeof(record.text);
			close(fd);
		} else if (i % 4 == 1) {
			if (i > 1)
				snprintf(name, sizeof(name), "d1/d%d", i);
			made = mkdir(name, 0755) == 0;
		} else {
			made = i % 4 == 2 ? symlink("x", name) == 0 : mkfifo(name, 0600) == 0;
		}
		if (!made || !take(name, &record))
			return failed("taking", i);
		snprintf(moved, sizeof(moved), "d1/moved%d", i);
		if (i % 8 == 4 && rename(name, moved) != 0)
			return failed("renaming", i);
	}
	return fflush(stdout) != 0;
}

static bool same(int fd, const struct record *record)
{
	char text[sizeof(record->text)];
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_ino != record->ino ||
	    (st.st_mode & S_IFMT) != (record->mode & S_IFMT))
		return false;
	return !S_ISREG(st.st_mode) || (pread(fd, text, sizeof(text), 0) == sizeof(text) &&
					memcmp(text, record->text, sizeof(text)) == 0);
}

static int open_all(bool gone)
{
	struct record record;
	int mount = open(".", O_RDONLY | O_DIRECTORY), bad = 0, count = 0;

	while (fread(&record, sizeof(record), 1, stdin) == 1) {
		int flags = S_ISREG(record.mode) || S_ISDIR(record.mode) ? O_RDONLY : O_PATH;
		int fd = open_by_handle_at(mount, (struct file_handle *)record.handle, flags);

		if (gone && (fd >= 0 || errno != ESTALE))
			bad += failed("what is gone", count);
		else if (!gone && (fd < 0 || !same(fd, &record)))
			bad += failed("opening", count);
		if (fd >= 0)
			close(fd);
		count++;
	}
	fprintf(stderr, "handles: %d, %d failed\n", count, bad);
	return bad != 0 || count != COUNT;
}

int main(int argc, char **argv)
{
	if (argc == 3 && chdir(argv[2]) == 0) {
		if (strcmp(argv[1], "take") == 0)
			return take_all();
		if (strcmp(argv[1], "open") == 0)
			return open_all(false);
		if (strcmp(argv[1], "gone") == 0)
			return open_all(true);
	}
	fprintf(stderr, "usage: handles take|open|gone DIR\n");
	return 64;
}
