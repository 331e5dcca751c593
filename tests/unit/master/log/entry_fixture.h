/* entry_fixture.h - what the tests of log entries share: samples, and decoding that is told what to
 * expect. */
#ifndef CATENA_TESTS_UNIT_MASTER_LOG_ENTRY_FIXTURE_H
#define CATENA_TESTS_UNIT_MASTER_LOG_ENTRY_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "log.pb-c.h"
#include "master/log/entry.h"
#include "tests/lib/entry_gen.h"

#define ENTRY_FIXTURE_INDEX 1234567u

/* What the last sample points to. */
extern struct entry_gen entry_fixture_gen;

struct entry_bytes {
	uint8_t *data;
	size_t size;
};

/* A command in which no field has its default; it lives until the next one. */
struct log_command entry_fixture_sample(enum command_kind kind);
/* Encodes, which must go well. The bytes are malloc()ed. */
struct entry_bytes entry_fixture_encode(const struct log_command *command);
struct entry_bytes entry_fixture_bytes(enum command_kind kind);
/* The message of a sample, to be changed; what is put into it must be malloc()ed. */
Catena__LogEntry *entry_fixture_message(enum command_kind kind);

/* Each decodes, and returns what entry_decode() does. */
int entry_fixture_decode(const uint8_t *data, size_t size);
int entry_fixture_decode_message(const Catena__LogEntry *message);
/* By a message that no bounds have held up. */
int entry_fixture_decode_unchecked(const struct log_command *command);
/* Encoding and decoding must say the same: that it is within the bounds, or not. */
void entry_fixture_bound(const struct log_command *command, bool fits);

void *entry_fixture_array(size_t count, size_t size);
#endif
