/* segment.c - see segment.h. */
#include "master/kept/segment.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kept_item *last_item(struct kept_segment *segment)
{
	return segment->count == 0 ? NULL : &segment->items[segment->count - 1];
}

static int add_item(struct kept_segment *segment, size_t *capacity,
		    const struct kept_record *record)
{
	const struct kept_item *last = last_item(segment);
	uint64_t before = last != NULL ? last->index : segment->head.index;
	struct kept_item *bigger;

	if (record->index != before + 1 || (last != NULL && !last->ended))
		return -EBADMSG;
	if (segment->count == *capacity) {
		*capacity = *capacity == 0 ? 256 : *capacity * 2;
		bigger = realloc(segment->items, *capacity * sizeof(*bigger));
		if (bigger == NULL)
			return -ENOMEM;
		segment->items = bigger;
	}
	segment->items[segment->count++] = (struct kept_item){
		.index = record->index, .entry = record->entry, .entry_size = record->entry_size};
	return 0;
}

static int end_item(struct kept_segment *segment, const struct kept_record *record)
{
	struct kept_item *last = last_item(segment);

	if (last == NULL || last->ended || last->index != record->index)
		return -EBADMSG;
	last->ended = true;
	last->trace = record->trace;
	return 0;
}

static int keep_attempt(struct kept_segment *segment, size_t from)
{
	size_t more = segment->count - from;
	struct kept_item *bigger =
		realloc(segment->attempts, (segment->attempt_count + more) * sizeof(*bigger));

	if (bigger == NULL)
		return -ENOMEM;
	memcpy(bigger + segment->attempt_count, segment->items + from, more * sizeof(*bigger));
	segment->attempts = bigger;
	segment->attempt_count += more;
	return 0;
}

static int undo_items(struct kept_segment *segment, uint64_t index)
{
	size_t left = (size_t)(index - segment->head.index);
	int rc = 0;

	if (index < segment->head.index || index > segment->head.index + segment->count)
		return -EBADMSG;
	if (left < segment->count && !last_item(segment)->ended)
		rc = keep_attempt(segment, left);
	segment->undone += segment->count - left;
	segment->count = left;
	return rc;
}

static int take(struct kept_segment *segment, size_t *capacity, const struct kept_record *record)
{
	switch (record->kind) {
	case KEPT_ENTRY:
		return add_item(segment, capacity, record);
	case KEPT_RESULT:
		return end_item(segment, record);
	case KEPT_UNDONE:
		return undo_items(segment, record->index);
	}
	return -EBADMSG;
}

int kept_segment_parse(uint8_t *data, size_t size, struct kept_segment *out, size_t *at)
{
	struct kept_record record;
	size_t capacity = 0, next;
	int rc;

	*out = (struct kept_segment){.data = data};
	*at = 0;
	rc = kept_read_head(data, size, &out->head);
	if (rc == -ENODATA) {
		out->torn = size;
		return 0;
	}
	if (rc == 0)
		*at = KEPT_HEAD_BYTES;
	for (next = *at; rc == 0;) {
		rc = kept_read_record(data, size, &next, &record);
		if (rc != 1)
			break;
		rc = take(out, &capacity, &record);
		if (rc == 0)
			*at = next;
	}
	if (rc == -ENODATA)
		rc = 0;
	if (rc == 0) {
		out->size = *at;
		out->torn = size - *at;
	}
	return rc;
}

static int read_all(int fd, uint8_t **out, size_t *size)
{
	struct stat st;
	uint8_t *data;
	size_t done = 0;
	ssize_t n = 1;

	if (fstat(fd, &st) != 0)
		return -errno;
	data = malloc((size_t)st.st_size + 1);
	if (data == NULL)
		return -ENOMEM;
	while (done < (size_t)st.st_size && n > 0) {
		n = read(fd, data + done, (size_t)st.st_size - done);
		if (n < 0) {
			int rc = -errno;

			free(data);
			return rc;
		}
		done += (size_t)n;
	}
	*out = data;
	*size = done;
	return 0;
}

int kept_segment_read(int dir_fd, const char *name, struct kept_segment *out, size_t *at)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC), rc;
	uint8_t *data = NULL;
	size_t size = 0;

	*out = (struct kept_segment){0};
	*at = 0;
	if (fd < 0)
		return -errno;
	rc = read_all(fd, &data, &size);
	close(fd);
	return rc != 0 ? rc : kept_segment_parse(data, size, out, at);
}

void kept_segment_free(struct kept_segment *segment)
{
	free(segment->items);
	free(segment->attempts);
	free(segment->data);
	*segment = (struct kept_segment){0};
}

uint64_t kept_segment_last(const struct kept_segment *segment, uint8_t hash[LOG_HASH_BYTES])
{
	size_t count = segment->count;

	if (count > 0 && !segment->items[count - 1].ended)
		count--;
	memcpy(hash, count > 0 ? segment->items[count - 1].trace.hash : segment->head.hash,
	       LOG_HASH_BYTES);
	return segment->head.index + count;
}
