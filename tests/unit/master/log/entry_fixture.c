#include "tests/unit/master/log/entry_fixture.h"
#include "master/log/entry_memory.h"
#include "master/log/entry_pack.h"

struct entry_gen entry_fixture_gen;

/* A decoder that reads behind the end is seen by AddressSanitizer. */
int entry_fixture_decode(const uint8_t *data, size_t size)
{
	uint8_t *exact = fuzz_exact_copy(data, size);
	struct entry *entry = NULL;
	int rc = entry_decode(exact, size, &entry);

	free(exact);
	assert_true((rc == 0) == (entry != NULL));
	entry_free(entry);
	return rc;
}

struct entry_bytes entry_fixture_encode(const struct log_command *command)
{
	struct entry_bytes bytes = {0};

	assert_int_equal(entry_encode(command, ENTRY_FIXTURE_INDEX, &bytes.data, &bytes.size), 0);
	return bytes;
}

struct log_command entry_fixture_sample(enum command_kind kind)
{
	struct log_command command;

	memset(&entry_fixture_gen, 0, sizeof(entry_fixture_gen));
	entry_gen(&entry_fixture_gen, kind, &command);
	return command;
}

struct entry_bytes entry_fixture_bytes(enum command_kind kind)
{
	struct log_command command = entry_fixture_sample(kind);

	return entry_fixture_encode(&command);
}

Catena__LogEntry *entry_fixture_message(enum command_kind kind)
{
	struct entry_bytes bytes = entry_fixture_bytes(kind);
	Catena__LogEntry *message = catena__log_entry__unpack(NULL, bytes.size, bytes.data);

	assert_non_null(message);
	free(bytes.data);
	return message;
}

int entry_fixture_decode_message(const Catena__LogEntry *message)
{
	struct entry_bytes bytes = {.size = catena__log_entry__get_packed_size(message)};
	int rc;

	bytes.data = malloc(bytes.size + 1);
	assert_non_null(bytes.data);
	catena__log_entry__pack(message, bytes.data);
	rc = entry_fixture_decode(bytes.data, bytes.size);
	free(bytes.data);
	return rc;
}

int entry_fixture_decode_unchecked(const struct log_command *command)
{
	struct entry_memory memory = {0};
	Catena__LogEntry message;
	int rc;

	assert_int_equal(entry_pack(command, &memory, &message), 0);
	message.format = ENTRY_FORMAT;
	message.index = ENTRY_FIXTURE_INDEX;
	rc = entry_fixture_decode_message(&message);
	entry_memory_free(&memory);
	return rc;
}

void entry_fixture_bound(const struct log_command *command, bool fits)
{
	struct entry_bytes bytes = {0};

	assert_int_equal(entry_encode(command, ENTRY_FIXTURE_INDEX, &bytes.data, &bytes.size),
			 fits ? 0 : -EINVAL);
	free(bytes.data);
	assert_int_equal(entry_fixture_decode_unchecked(command), fits ? 0 : -EBADMSG);
}

void *entry_fixture_array(size_t count, size_t size)
{
	void *out = calloc(count, size);

	assert_non_null(out);
	return out;
}
