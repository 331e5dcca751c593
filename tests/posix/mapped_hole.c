/* mapped_hole - bytes stored in a mapped page of a sparse file, not written back yet, are data.
 *   mapped_hole FILE COPY COMMAND...    runs COMMAND FILE COPY while they are only in the page
 * FILE is a hole of MAPPED_BYTES that somebody holds open. Exit 0: the copy has the bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAPPED_BYTES (1 << 20)
#define AT           65536

static int fail(const char *what)
{
	fprintf(stderr, "mapped_hole: %s (%s)\n", what, strerror(errno));
	return 1;
}

static int run(char **argv)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	char *command[16] = {0}, bytes[4] = {0};
	struct stat st;
	char *page;
	int fd, copy;

	if (argc < 4 || argc > 16)
		return fail("usage: mapped_hole FILE COPY COMMAND...");
	for (int i = 3; i < argc; i++)
		command[i - 3] = argv[i];
	command[argc - 3] = argv[1];
	command[argc - 2] = argv[2];
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		return fail("open");
	page = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return fail("mmap");
	memcpy(page + AT, "abcd", 4);
	if (fstat(fd, &st) != 0 || st.st_blocks == 0)
		return fail("st_blocks says that there is nothing");
	if (lseek(fd, 0, SEEK_DATA) != AT)
		return fail("SEEK_DATA does not find it");
	memcpy(page + AT, "efgh", 4);
	if (run(command) != 0)
		return fail("the command failed");
	copy = open(argv[2], O_RDONLY);
	if (copy < 0 || pread(copy, bytes, 4, AT) != 4 || memcmp(bytes, "efgh", 4) != 0)
		return fail("the copy lacks what was stored");
	return 0;
}
