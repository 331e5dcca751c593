#include "tests/posix/checks.h"

int failures;
const char *current;

int make(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (fd >= 0 && text != NULL && write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		close(fd);
		return -1;
	}
	return fd;
}

int run_checks(const char *program, const struct check *checks, size_t count, char **names)
{
	int ran = 0;

	umask(022);
	for (size_t i = 0; i < count; i++) {
		bool chosen = names[0] == NULL;
		int before = failures;
		char work[64];

		for (char **name = names; *name != NULL; name++)
			chosen |= strcmp(*name, checks[i].name) == 0;
		if (!chosen)
			continue;
		snprintf(work, sizeof(work), "check-%zu", i);
		if (mkdir(work, 0755) != 0 || chdir(work) != 0) {
			perror(work);
			return 1;
		}
		current = checks[i].name;
		checks[i].run();
		if (chdir("..") != 0)
			return 1;
		if (failures == before && rmdir(work) != 0) {
			printf("FAILED %s: left something behind (%s)\n", current, strerror(errno));
			failures++;
		}
		ran++;
	}
	printf("%s: %d checks, %d failed\n", program, ran, failures);
	return failures != 0 || ran == 0;
}
