#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "tests/unit/master/replay/segment_edit.h"

struct bytes {
	uint8_t *data;
	size_t size;
};

static struct bytes read_segment(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct bytes bytes = {.data = malloc(1u << 20)};

	assert_non_null(file);
	bytes.size = fread(bytes.data, 1, 1u << 20, file);
	fclose(file);
	return bytes;
}

static void write_segment(const char *path, struct bytes bytes)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
	fclose(file);
	free(bytes.data);
}

/* Where the nth record of this kind begins in the segment. */
static size_t find_record(struct bytes bytes, enum kept_kind kind, unsigned n)
{
	size_t at = KEPT_HEAD_BYTES;

	for (;; at += 8 + get_le32(bytes.data + at)) {
		assert_true(at < bytes.size);
		if (bytes.data[at + 8] == kind && n-- == 0)
			return at;
	}
}

void segment_change(const char *path, enum kept_kind kind, unsigned n, size_t at, bool with_crc)
{
	struct bytes bytes = read_segment(path);
	size_t record = find_record(bytes, kind, n), body;

	body = get_le32(bytes.data + record);
	bytes.data[record + 8 + (at < body ? at : body - 1)] ^= 1;
	if (with_crc)
		put_le32(bytes.data + record + 4, crc32c_extend(crc32c(bytes.data + record, 4),
								bytes.data + record + 8, body));
	write_segment(path, bytes);
}

void segment_change_name(const char *path, unsigned n)
{
	struct bytes bytes = read_segment(path);
	size_t record = find_record(bytes, KEPT_ENTRY, n), body = get_le32(bytes.data + record);
	uint8_t *name = memmem(bytes.data + record, 8 + body, "name-", 5);
	size_t at = (size_t)(name - bytes.data) - record - 8;

	assert_non_null(name);
	free(bytes.data);
	segment_change(path, KEPT_ENTRY, n, at, true);
}

void segment_change_level(const char *path, uint32_t level)
{
	struct bytes bytes = read_segment(path);
	struct kept_head head;

	assert_int_equal(kept_read_head(bytes.data, bytes.size, &head), 0);
	head.level = level;
	kept_write_head(&head, bytes.data);
	write_segment(path, bytes);
}
