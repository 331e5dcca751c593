/* directory.c - see directory.h. */
#include "master/kept/directory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES   ".entries"
#define STORE     ".store"
#define STORE_TMP ".store.tmp" /* as RocksDB names what it has not finished */

void kept_entries_name(uint32_t number, char out[KEPT_NAME_MAX])
{
	snprintf(out, KEPT_NAME_MAX, "%08u" ENTRIES, number);
}

void kept_store_name(uint32_t number, char out[KEPT_NAME_MAX])
{
	snprintf(out, KEPT_NAME_MAX, "%08u" STORE, number);
}

/* The number in a name that ends with @suffix; 0: it is none. */
static uint32_t number_of(const char *name, const char *suffix)
{
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	return name[0] >= '0' && name[0] <= '9' && number <= UINT32_MAX && strcmp(end, suffix) == 0
		       ? (uint32_t)number
		       : 0;
}

/* ---- reading ---- */

/* Opens the directory once more, since reading moves its place. */
static DIR *open_again(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL && fd >= 0)
		close(fd);
	return dir;
}

struct list {
	struct kept_part *parts;
	size_t count, capacity;
};

static struct kept_part *find_or_add(struct list *list, uint32_t number)
{
	struct kept_part *bigger;

	for (size_t i = list->count; i-- > 0;)
		if (list->parts[i].number == number)
			return &list->parts[i];
	if (list->count == list->capacity) {
		list->capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
		bigger = realloc(list->parts, list->capacity * sizeof(*bigger));
		if (bigger == NULL)
			return NULL;
		list->parts = bigger;
	}
	list->parts[list->count] = (struct kept_part){.number = number};
	return &list->parts[list->count++];
}

static int take_name(struct list *list, int dir_fd, const char *name)
{
	uint32_t entries = number_of(name, ENTRIES), store = number_of(name, STORE);
	struct kept_part *part;
	struct stat st = {0};

	if (entries == 0 && store == 0)
		return 0;
	/* A master that goes on removes what is old meanwhile. */
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : -errno;
	part = find_or_add(list, entries != 0 ? entries : store);
	if (part == NULL)
		return -ENOMEM;
	if (store != 0) {
		part->has_store = true;
		return 0;
	}
	part->has_entries = true;
	part->size = (uint64_t)st.st_size;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = ((const struct kept_part *)a)->number,
		 y = ((const struct kept_part *)b)->number;

	return x < y ? -1 : x > y;
}

int kept_list(int dir_fd, struct kept_part **out, size_t *count)
{
	DIR *dir = open_again(dir_fd);
	struct list list = {0};
	struct dirent *entry;
	int rc = 0;

	if (dir == NULL)
		return -errno;
	while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		rc = take_name(&list, dir_fd, entry->d_name);
	if (rc == 0 && errno != 0)
		rc = -errno;
	closedir(dir);
	if (rc != 0) {
		free(list.parts);
		return rc;
	}
	if (list.count > 0)
		qsort(list.parts, list.count, sizeof(*list.parts), by_number);
	*out = list.parts;
	*count = list.count;
	return 0;
}

/* ---- removing ---- */

/* Removes a directory of files. */
static int remove_flat(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL) {
		int rc = errno == ENOENT ? 0 : -errno;

		if (fd >= 0)
			close(fd);
		return rc;
	}
	while ((entry = readdir(dir)) != NULL)
		(void)unlinkat(fd, entry->d_name, 0);
	closedir(dir);
	return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

void kept_sweep(int dir_fd)
{
	DIR *dir = open_again(dir_fd);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (number_of(entry->d_name, STORE_TMP) != 0)
			(void)remove_flat(dir_fd, entry->d_name);
	closedir(dir);
}

int kept_remove_store(int dir_fd, uint32_t number)
{
	char name[KEPT_NAME_MAX];

	kept_store_name(number, name);
	return remove_flat(dir_fd, name);
}

int kept_remove(int dir_fd, uint32_t number)
{
	char name[KEPT_NAME_MAX];

	kept_entries_name(number, name);
	if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT)
		return -errno;
	return kept_remove_store(dir_fd, number);
}

size_t kept_outdated(const struct kept_part *parts, size_t count, uint64_t bytes)
{
	uint64_t sum = 0;

	for (size_t i = count; i-- > 0;) {
		sum += parts[i].size;
		if (parts[i].has_store && sum >= bytes)
			return i;
	}
	return 0;
}
