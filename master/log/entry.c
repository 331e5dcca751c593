/* entry.c - entries to and from bytes; see entry.h. */
#include "master/log/entry.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/unpack.h"
#include "master/log/entry_bounds.h"
#include "master/log/entry_pack.h"
#include "master/log/entry_unpack.h"

/* Field 1, a varint: the format comes first in every format. */
#define FORMAT_TAG 0x08u

/* Memory for the message: the dearest part, a life of four bytes, takes up to 112. The whole is
 * bounded, too: the bounds of all counts together let no message need as much. */
#define UNPACK_FACTOR 32u
#define UNPACK_SPARE  (64u << 10)
#define UNPACK_MOST   ((size_t)128 << 20)

struct decoded {
	struct entry entry; /* the first, as entry_free() has only this */
	struct entry_memory memory;
	struct unpack unpack;
	Catena__LogEntry *message;
};

int entry_encode(const struct log_command *command, uint64_t index, uint8_t **out, size_t *size)
{
	struct entry_memory memory = {0};
	Catena__LogEntry message;
	uint8_t *bytes;
	size_t length;
	int rc = index == 0 ? -EINVAL : entry_bounds_check(command);

	if (rc == 0)
		rc = entry_pack(command, &memory, &message);
	if (rc != 0)
		goto out;
	message.format = ENTRY_FORMAT;
	message.index = index;
	length = catena__log_entry__get_packed_size(&message);
	if (length > ENTRY_BYTES_MAX) {
		rc = -EMSGSIZE;
		goto out;
	}
	bytes = malloc(length);
	if (bytes == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	*size = catena__log_entry__pack(&message, bytes);
	*out = bytes;
out:
	entry_memory_free(&memory);
	return rc;
}

/* ---- what is not known ---- */

/* Reads the format before all else: the rest may be of another shape. */
static int check_format(const uint8_t *data, size_t size)
{
	uint64_t format = 0;

	if (size == 0 || data[0] != FORMAT_TAG)
		return -EBADMSG;
	for (size_t i = 1; i < size && i <= 5; i++) {
		format |= (uint64_t)(data[i] & 0x7f) << (7 * (i - 1));
		if ((data[i] & 0x80) != 0)
			continue;
		if (format == 0 || format > UINT32_MAX)
			return -EBADMSG;
		return format == ENTRY_FORMAT ? 0 : -EPROTONOSUPPORT;
	}
	return -EBADMSG;
}

static bool has_unknown(const ProtobufCMessage *message);

/* The same of what a field holds. */
static bool field_has_unknown(const ProtobufCMessage *message,
			      const ProtobufCFieldDescriptor *field)
{
	const char *at = (const char *)message + field->offset;
	const char *quantifier = (const char *)message + field->quantifier_offset;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		ProtobufCMessage *const *items = *(ProtobufCMessage *const *const *)at;
		size_t count = *(const size_t *)quantifier;

		for (size_t i = 0; i < count; i++)
			if (has_unknown(items[i]))
				return true;
		return false;
	}
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
	    *(const uint32_t *)quantifier != field->id)
		return false;
	message = *(ProtobufCMessage *const *)at;
	return message != NULL && has_unknown(message);
}

/* True when the message, or one in it, has fields that are not in its description. It goes as deep
 * as the descriptions do. */
static bool has_unknown(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	if (message->n_unknown_fields != 0)
		return true;
	for (unsigned i = 0; i < descriptor->n_fields; i++)
		if (field_has_unknown(message, &descriptor->fields[i]))
			return true;
	return false;
}

/* ---- one encoding only ---- */

struct comparison {
	ProtobufCBuffer base;
	const uint8_t *at;
	size_t left;
	bool equal;
};

static void compare(ProtobufCBuffer *buffer, size_t size, const uint8_t *data)
{
	struct comparison *comparison = (struct comparison *)buffer;

	if (!comparison->equal || size > comparison->left ||
	    memcmp(comparison->at, data, size) != 0) {
		comparison->equal = false;
		return;
	}
	comparison->at += size;
	comparison->left -= size;
}

/* True when the bytes are those that the message is packed to. */
static bool is_canonical(const Catena__LogEntry *message, const uint8_t *data, size_t size)
{
	struct comparison comparison = {
		.base = {.append = compare}, .at = data, .left = size, .equal = true};

	catena__log_entry__pack_to_buffer(message, &comparison.base);
	return comparison.equal && comparison.left == 0;
}

/* ---- decoding ---- */

static size_t unpack_bound(size_t size)
{
	size_t bound = size * UNPACK_FACTOR + UNPACK_SPARE;

	return bound < UNPACK_MOST ? bound : UNPACK_MOST;
}

static int decode(struct decoded *d, const uint8_t *data, size_t size)
{
	int rc;

	d->message = catena__log_entry__unpack(unpack_begin_within(&d->unpack, unpack_bound(size)),
					       size, data);
	if (d->message == NULL)
		return d->unpack.no_memory ? -ENOMEM : -EBADMSG;
	if (has_unknown(&d->message->base))
		return -EPROTONOSUPPORT;
	if (d->message->index == 0 || !is_canonical(d->message, data, size))
		return -EBADMSG;
	rc = entry_unpack(d->message, &d->memory, &d->entry.command);
	if (rc != 0)
		return rc;
	d->entry.index = d->message->index;
	/* What comes behind it may have a meaning that is not known here. */
	if (d->entry.command.kind == COMMAND_LEVEL && d->entry.command.level > STATE_LEVEL)
		return -EPROTONOSUPPORT;
	rc = entry_bounds_check(&d->entry.command);
	return rc == -EINVAL ? -EBADMSG : rc;
}

int entry_decode(const uint8_t *data, size_t size, struct entry **out)
{
	struct decoded *d;
	int rc = check_format(data, size);

	if (rc != 0)
		return rc;
	if (size > ENTRY_BYTES_MAX)
		return -EBADMSG;
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	rc = decode(d, data, size);
	if (rc == 0)
		*out = &d->entry;
	else
		entry_free(&d->entry);
	return rc;
}

void entry_free(struct entry *entry)
{
	struct decoded *d = (struct decoded *)entry;

	if (d == NULL)
		return;
	if (d->message != NULL)
		catena__log_entry__free_unpacked(d->message, &d->unpack.allocator);
	entry_memory_free(&d->memory);
	free(d);
}
