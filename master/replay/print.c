/* print.c - see print.h. Messages are printed by their descriptions, so new commands need nothing
 * here. */
#include "master/replay/print.h"
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include "common/base/bytes.h"
#include "log.pb-c.h"
#include "master/records/keys.h"

#define SHOWN_MAX 256u /* bytes of one value */

/* ---- messages ---- */

static void print_bytes(FILE *out, const uint8_t *bytes, size_t size)
{
	fputc('"', out);
	for (size_t i = 0; i < size && i < SHOWN_MAX; i++) {
		if (bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\')
			fputc(bytes[i], out);
		else
			fprintf(out, "\\x%02x", bytes[i]);
	}
	fputs(size > SHOWN_MAX ? "\"..." : "\"", out);
}

static void print_message(FILE *out, const ProtobufCMessage *message);

static void print_value(FILE *out, ProtobufCType type, const void *at)
{
	const ProtobufCBinaryData *data = at;
	const char *text;

	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_ENUM:
		fprintf(out, "%" PRId32, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		fprintf(out, "%" PRIu32, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		fprintf(out, "%" PRId64, *(const int64_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		fprintf(out, "%" PRIu64, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		fputs(*(const protobuf_c_boolean *)at ? "yes" : "no", out);
		break;
	case PROTOBUF_C_TYPE_STRING:
		text = *(const char *const *)at;
		print_bytes(out, (const uint8_t *)text, strlen(text));
		break;
	case PROTOBUF_C_TYPE_BYTES:
		print_bytes(out, data->data, data->len);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		print_message(out, *(const ProtobufCMessage *const *)at);
		break;
	default:
		fputc('?', out);
		break;
	}
}

static size_t size_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

/* False: it has its default, 0 or empty. */
static bool is_there(const ProtobufCFieldDescriptor *field, const void *at, const void *quantifier)
{
	static const uint8_t zeros[sizeof(ProtobufCBinaryData)];

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)quantifier > 0;
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
		return *(const uint32_t *)quantifier == field->id;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return (*(const char *const *)at)[0] != '\0';
	if (field->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)at)->len > 0;
	return memcmp(at, zeros, size_of(field->type)) != 0;
}

static void print_field(FILE *out, const ProtobufCFieldDescriptor *field, const char *at,
			size_t count)
{
	fputs(field->name, out);
	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			fputc('=', out);
		print_value(out, field->type, at);
		return;
	}
	at = *(const char *const *)at;
	fputs("=[", out);
	for (size_t i = 0; i < count; i++) {
		fputs(i == 0 ? "" : " ", out);
		print_value(out, field->type, at + i * size_of(field->type));
	}
	fputc(']', out);
}

static void print_fields(FILE *out, const ProtobufCMessage *message, unsigned from)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;
	bool first = true;

	for (unsigned i = from; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
		const char *at = (const char *)message + field->offset;
		const char *quantifier = (const char *)message + field->quantifier_offset;

		if (!is_there(field, at, quantifier))
			continue;
		fputs(first ? "" : " ", out);
		first = false;
		print_field(out, field, at,
			    field->label == PROTOBUF_C_LABEL_REPEATED ? *(const size_t *)quantifier
								      : 0);
	}
}

static void print_message(FILE *out, const ProtobufCMessage *message)
{
	fputc('{', out);
	print_fields(out, message, 0);
	fputc('}', out);
}

void print_entry(FILE *out, uint64_t index, const uint8_t *entry, size_t size)
{
	Catena__LogEntry *message = catena__log_entry__unpack(NULL, size, entry);

	fprintf(out, "%" PRIu64 " ", index);
	if (message == NULL) {
		fputs("cannot be read", out);
		return;
	}
	print_fields(out, &message->base, 2); /* behind format and index */
	catena__log_entry__free_unpacked(message, NULL);
}

/* ---- changes ---- */

/* True when at least half of it can be read. */
static bool is_text(const uint8_t *bytes, size_t size)
{
	size_t readable = 0;

	for (size_t i = 0; i < size; i++)
		readable += bytes[i] >= 0x20 && bytes[i] < 0x7f;
	return size > 0 && 2 * readable >= size;
}

static void print_hex(FILE *out, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size && i < SHOWN_MAX; i++)
		fprintf(out, "%02x", bytes[i]);
	if (size > SHOWN_MAX)
		fputs("...", out);
	if (is_text(bytes, size)) {
		fputc(' ', out);
		print_bytes(out, bytes, size);
	}
}

void print_changes(FILE *out, const uint8_t *changes, size_t size)
{
	static const char *const kinds[] = {"?", "put", "delete", "delete range"};
	struct reader r = reader_on(changes, size);

	while (r.left > 0 && reader_ok(&r)) {
		uint32_t head = reader_le32(&r), family = head & 0xffffff, kind = head >> 24;
		uint32_t key_size = reader_le32(&r), value_size = reader_le32(&r);
		const uint8_t *key = reader_bytes(&r, key_size);
		const uint8_t *value = reader_bytes(&r, value_size);

		if (!reader_ok(&r))
			break;
		fprintf(out, "  %s %s ", kinds[kind < 4 ? kind : 0],
			family < records_family_count ? records_families[family].name : "?");
		print_hex(out, key, key_size);
		if (kind != 2) {
			fputs(kind == 3 ? " .. " : " = ", out);
			print_hex(out, value, value_size);
		}
		fputc('\n', out);
	}
}
