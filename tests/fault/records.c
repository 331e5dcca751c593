/* records - programs that append to one file, and one that follows it.
 *
 *   records append FILE NAME SECONDS [BYTES]
 *       appends numbered records of at most BYTES (default 200) bytes, one write() each; prints how
 *       many were acknowledged, and "+" behind it when the next one ended with an error. 0 in both
 *       cases.
 *   records truncate FILE SECONDS open|ftruncate|truncate
 *       truncates it to 0 all 5 ms, and reads it before: no NUL byte may be in it.
 *   records follow FILE SECONDS COPY
 *       like tail -f: one descriptor; whatever lies behind what was read so far goes to COPY.
 *   records check FILE [NAME:COUNT[+]...]
 *       only whole records are there, those of each writer in its order and without a gap; of the
 *       named ones exactly COUNT (with "+": or one more).
 *
 * Exit status: 0, 1 wrong (and what), 2 usage. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "common/base/duration.h"

#define NAME_MAX_BYTES 31u
#define WRITERS_MAX    64u
#define RECORD_MAX     (1u << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / (double)NS_PER_SEC;
}

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

/* "NAME SEQUENCE LENGTH filler\n", LENGTH bytes in all. Returns LENGTH. */
static size_t make_record(char *out, const char *name, unsigned sequence, size_t most)
{
	uint32_t x = sequence * 2654435761u;
	size_t head, length = 48 + NAME_MAX_BYTES + x % 97;

	if (x % 5 == 0)
		length = most - x / 5 % 64;
	if (length > most)
		length = most;
	head = (size_t)snprintf(out, 80, "%s %u %zu ", name, sequence, length);
	for (size_t i = head; i < length - 1; i++)
		out[i] = (char)('a' + (sequence + i) % 26);
	out[length - 1] = '\n';
	return length;
}

static int append(const char *path, const char *name, double seconds, size_t most)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	char *record = malloc(RECORD_MAX);
	double end = now() + seconds;
	unsigned acked = 0;
	ssize_t n = 0;

	if (fd < 0 || record == NULL)
		return fail(path);
	while (now() < end) {
		size_t length = make_record(record, name, acked, most);

		n = write(fd, record, length);
		if (n != (ssize_t)length)
			break;
		acked++;
	}
	if (n < 0)
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
	printf("%u%s\n", acked, now() < end ? "+" : "");
	return 0;
}

static char *read_all(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY);
	size_t room = 1 << 20;
	char *data = malloc(room);
	ssize_t n = 0;

	*size = 0;
	while (fd >= 0 && data != NULL && (n = read(fd, data + *size, room - *size)) > 0) {
		*size += (size_t)n;
		if (*size == room)
			data = realloc(data, room *= 2);
	}
	if (fd >= 0)
		close(fd);
	return fd < 0 || n < 0 ? NULL : data;
}

static int truncate_by(const char *path, const char *how)
{
	int flags = strcmp(how, "open") == 0 ? O_TRUNC : 0, fd, rc = 0;

	if (strcmp(how, "truncate") == 0)
		return truncate(path, 0);
	fd = open(path, O_WRONLY | flags);
	if (fd < 0)
		return -1;
	if (flags == 0)
		rc = ftruncate(fd, 0);
	close(fd);
	return rc;
}

static int truncate_often(const char *path, double seconds, const char *how)
{
	double end = now() + seconds;
	unsigned rounds = 0;

	for (; now() < end; rounds++) {
		size_t size;
		char *data;

		usleep(5000);
		data = read_all(path, &size);
		if (data == NULL)
			return fail(path);
		if (size != 0 && memchr(data, 0, size) != NULL) {
			printf("a NUL byte after %u truncations (%s)\n", rounds, how);
			return 1;
		}
		free(data);
		if (truncate_by(path, how) != 0)
			return fail(how);
	}
	printf("%u truncations\n", rounds);
	return 0;
}

static int follow(const char *path, double seconds, const char *copy)
{
	static char data[65536];
	int fd = open(path, O_RDONLY), out = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	double end = now() + seconds;
	off_t at = 0;
	bool last;

	if (fd < 0 || out < 0)
		return fail(path);
	do {
		struct stat st;
		ssize_t n;

		last = now() >= end;
		if (fstat(fd, &st) != 0)
			return fail(path);
		while (at < st.st_size) {
			n = pread(fd, data, sizeof(data), at);
			if (n == 0 && !last)
				break; /* fstat() sees a write() that has not returned */
			if (n <= 0 || write(out, data, (size_t)n) != n)
				return fail("pread or write");
			if (memchr(data, 0, (size_t)n) != NULL) {
				printf("a NUL byte was read at %lld or behind\n", (long long)at);
				return 1;
			}
			at += n;
		}
		usleep(1000);
	} while (!last);
	printf("%lld bytes\n", (long long)at);
	return 0;
}

struct writer {
	char name[NAME_MAX_BYTES + 1];
	unsigned count;
} writers[WRITERS_MAX];

static unsigned writer_count;

static struct writer *writer_of(const char *name)
{
	struct writer *w = writers;

	while (w < writers + writer_count && strcmp(w->name, name) != 0)
		w++;
	if (w == writers + writer_count && writer_count < WRITERS_MAX) {
		snprintf(w->name, sizeof(w->name), "%s", name);
		writer_count++;
	}
	return w;
}

/* 0: what begins at @data is no record that may come here. */
static size_t check_record(const char *data, size_t left, char *expected)
{
	char head[80], name[NAME_MAX_BYTES + 1];
	unsigned sequence, length;
	struct writer *w;

	snprintf(head, sizeof(head), "%.*s", (int)(left < 79 ? left : 79), data);
	if (sscanf(head, "%31s %u %u", name, &sequence, &length) != 3 || length > left ||
	    length < 48)
		return 0;
	w = writer_of(name);
	if (w->count != sequence) {
		printf("%s: %u where %u comes\n", name, sequence, w->count);
		return 0;
	}
	/* The length is what the record says: which limit the writer had is not known here. */
	for (size_t most = length; most <= length + 64; most++)
		if (make_record(expected, name, sequence, most) == length &&
		    memcmp(data, expected, length) == 0) {
			w->count++;
			return length;
		}
	return 0;
}

static int check(const char *path, int named, char *const *names)
{
	size_t size, at = 0, length;
	char *data = read_all(path, &size), *expected = malloc(RECORD_MAX + 128);

	if (data == NULL || expected == NULL)
		return fail(path);
	for (; at < size; at += length) {
		length = check_record(data + at, size - at, expected);
		if (length == 0) {
			printf("no whole record, or out of order, at %zu of %zu: \"%.60s\"\n", at,
			       size, data + at);
			return 1;
		}
	}
	for (int i = 0; i < named; i++) {
		char *colon = strchr(names[i], ':'), *plus;
		unsigned long count;
		struct writer *w;

		if (colon == NULL)
			return 2;
		*colon = '\0';
		count = strtoul(colon + 1, &plus, 10);
		w = writer_of(names[i]);
		if (w->count != count && (*plus != '+' || w->count != count + 1)) {
			printf("%s: %u records, %s were acknowledged\n", names[i], w->count,
			       colon + 1);
			return 1;
		}
		printf("%s %u ", names[i], w->count);
	}
	printf("in %zu bytes\n", size);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "append") == 0 && argc >= 5) {
		size_t most = argc > 5 ? strtoul(argv[5], NULL, 10) : 200;

		if (most >= 128 && most <= RECORD_MAX)
			return append(argv[2], argv[3], strtod(argv[4], NULL), most);
	} else if (strcmp(what, "truncate") == 0 && argc == 5) {
		return truncate_often(argv[2], strtod(argv[3], NULL), argv[4]);
	} else if (strcmp(what, "follow") == 0 && argc == 5) {
		return follow(argv[2], strtod(argv[3], NULL), argv[4]);
	} else if (strcmp(what, "check") == 0 && argc >= 3) {
		return check(argv[2], argc - 3, argv + 3);
	}
	fprintf(stderr, "usage: records append|truncate|follow|check FILE ...\n");
	return 2;
}
