/* kept_change - makes the commands of a kept log other ones, for tests: in the middle of a segment it
 * changes a letter of the first name that a create has, and the checksum with it.
 *
 * Usage: kept_change FILE. Exit status: 0; 1 there is none; 64 usage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "master/kept/segment.h"

#define FILE_MAX ((size_t)64 << 20)

/* Changes the first name of the entry; false: it is no create. */
static bool change_name(const struct kept_item *item)
{
	struct entry *entry;
	bool found = false;

	if (entry_decode(item->entry, item->entry_size, &entry) != 0)
		return false;
	if (entry->command.kind == COMMAND_REQUEST && item->trace.result == 0 &&
	    entry->command.request.message->op_case == CATENA__REQUEST__OP_CREATE) {
		const ProtobufCBinaryData *name = &entry->command.request.message->create->name;
		uint8_t *at = memmem(item->entry, item->entry_size, name->data, name->len);

		found = at != NULL && name->len > 0;
		if (found)
			at[name->len - 1] = at[name->len - 1] == 'x' ? 'y' : 'x';
	}
	entry_free(entry);
	return found;
}

int main(int argc, char **argv)
{
	struct kept_segment segment;
	uint8_t *data = malloc(FILE_MAX);
	FILE *file = argc == 2 ? fopen(argv[1], "r+b") : NULL;
	size_t size, at;

	if (file == NULL || data == NULL)
		return 64;
	size = fread(data, 1, FILE_MAX, file);
	if (kept_segment_parse(data, size, &segment, &at) != 0)
		return 1;
	for (size_t i = segment.count / 2; i < segment.count; i++) {
		const struct kept_item *item = &segment.items[i];
		size_t record = (size_t)(item->entry - data) - KEPT_ENTRY_FRAME;

		if (!item->ended || !change_name(item))
			continue;
		kept_write_entry(item->index, item->entry, item->entry_size, data + record);
		rewind(file);
		printf("entry %llu\n", (unsigned long long)item->index);
		return fwrite(data, 1, size, file) == size && fclose(file) == 0 ? 0 : 1;
	}
	return 1;
}
