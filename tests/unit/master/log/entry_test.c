/* entry_test - commands of the master's log as bytes.
 *
 * Goal: every command comes back as it was, with all its fields; there is one encoding of it; what
 * a later version says is not passed over; bytes that are cut or changed are refused, and cost no
 * more memory than their bound. Method: a command of each kind in which no field has its default;
 * their messages changed in one thing, packed, and decoded. Bounds: entry_bounds_test. */
#include "common/cluster/request_kind.h"
#include "common/cluster/unpack.h"
#include "master/log/entry_bounds.h"
#include "tests/lib/state_fixture.h"
#include "tests/unit/master/log/entry_fixture.h"

/* ---- there and back ---- */

static void assert_comes_back(const struct log_command *command)
{
	struct entry_bytes bytes = entry_fixture_encode(command);
	struct entry *entry = NULL;
	uint8_t *again = NULL;
	size_t again_size = 0;

	assert_int_equal(entry_decode(bytes.data, bytes.size, &entry), 0);
	assert_int_equal(entry->index, ENTRY_FIXTURE_INDEX);
	assert_true(entry_gen_equal(command, &entry->command));
	assert_int_equal(entry_encode(&entry->command, entry->index, &again, &again_size), 0);
	assert_int_equal(again_size, bytes.size);
	assert_memory_equal(again, bytes.data, bytes.size);
	free(again);
	free(bytes.data);
	entry_free(entry);
}

static void every_kind_comes_back_with_all_its_fields(void **state)
{
	for (int kind = 0; kind < ENTRY_GEN_KINDS; kind++) {
		struct log_command command = entry_fixture_sample((enum command_kind)kind);

		assert_comes_back(&command);
	}
}

static void commands_without_anything_come_back(void **state)
{
	static const struct log_command empty[] = {
		{.kind = COMMAND_SESSION_OPEN, .session_open = {.mount = "", .name = ""}},
		{.kind = COMMAND_SESSION_CLOSE},
		{.kind = COMMAND_SESSION_FENCE},
		{.kind = COMMAND_LEASE_GRANT},
		{.kind = COMMAND_LEASE_END},
		{.kind = COMMAND_FENCES_OWED},
		{.kind = COMMAND_CHAINS},
		{.kind = COMMAND_REMOVED},
		{.kind = COMMAND_DRAIN},
		{.kind = COMMAND_RECOVERY},
	};

	for (size_t i = 0; i < sizeof(empty) / sizeof(*empty); i++)
		assert_comes_back(&empty[i]);
}

static void every_request_that_is_a_command_comes_back_and_no_other(void **state)
{
	unsigned commands = 0, queries = 0;

	for (uint32_t op = 0; op < 64; op++) {
		struct log_command command = {.kind = COMMAND_REQUEST, .session = 3};
		struct entry_bytes bytes = {0};

		memset(&entry_fixture_gen, 0, sizeof(entry_fixture_gen));
		if (!entry_gen_request(&entry_fixture_gen, op))
			continue;
		command.request.message = &entry_fixture_gen.request;
		if (request_kind_is_command(&entry_fixture_gen.request)) {
			assert_comes_back(&command);
			commands++;
			continue;
		}
		assert_int_equal(entry_encode(&command, 1, &bytes.data, &bytes.size), -EINVAL);
		queries++;
	}
	assert_int_equal(commands, 10);
	assert_int_equal(queries, 6);
}

/* Of a client of a later version. */
static void what_is_unknown_in_a_request_is_left_out(void **state)
{
	struct log_command command = entry_fixture_sample(COMMAND_REQUEST);
	uint8_t byte = 1;
	ProtobufCMessageUnknownField field = {
		.tag = 999, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = &byte};
	struct entry_bytes plain = entry_fixture_encode(&command), with;

	entry_fixture_gen.request.base.n_unknown_fields = 1;
	entry_fixture_gen.request.base.unknown_fields = &field;
	entry_fixture_gen.request.lookup->base.n_unknown_fields = 1;
	entry_fixture_gen.request.lookup->base.unknown_fields = &field;
	with = entry_fixture_encode(&command);
	assert_int_equal(entry_fixture_gen.request.base.n_unknown_fields, 1);
	assert_int_equal(entry_fixture_gen.request.lookup->base.n_unknown_fields, 1);
	assert_int_equal(with.size, plain.size);
	assert_memory_equal(with.data, plain.data, plain.size);
	free(plain.data);
	free(with.data);
}

/* ---- later versions ---- */

/* Each message in @message, itself included, gets a field that nobody knows, in turn. */
static unsigned add_unknown(Catena__LogEntry *entry, ProtobufCMessage *message)
{
	uint8_t byte = 1;
	ProtobufCMessageUnknownField field = {
		.tag = 999, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = &byte};
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;
	unsigned count = 1;

	message->n_unknown_fields = 1;
	message->unknown_fields = &field;
	assert_int_equal(entry_fixture_decode_message(entry), -EPROTONOSUPPORT);
	message->n_unknown_fields = 0;
	message->unknown_fields = NULL;
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &descriptor->fields[i];
		char *at = (char *)message + f->offset,
		     *of = (char *)message + f->quantifier_offset;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			for (size_t j = 0; j < *(size_t *)of; j++)
				count += add_unknown(entry, (*(ProtobufCMessage ***)at)[j]);
		else if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 || *(uint32_t *)of == f->id)
			count += add_unknown(entry, *(ProtobufCMessage **)at);
	}
	return count;
}

static void a_field_that_is_not_known_stops_the_reader_at_any_depth(void **state)
{
	unsigned messages[ENTRY_GEN_KINDS];

	for (int kind = 0; kind < ENTRY_GEN_KINDS; kind++) {
		Catena__LogEntry *message = entry_fixture_message((enum command_kind)kind);

		messages[kind] = add_unknown(message, &message->base);
		assert_int_equal(entry_fixture_decode_message(message), 0);
		catena__log_entry__free_unpacked(message, NULL);
	}
	assert_int_equal(messages[COMMAND_LEASE_END], 2);
	assert_int_equal(messages[COMMAND_REQUEST], 4);
	/* Entry, command, server, 3 targets. */
	assert_int_equal(messages[COMMAND_REGISTER], 6);
	/* Entry, command, 3 changes with a chain of 5 members each, 3 lives. */
	assert_int_equal(messages[COMMAND_CHAINS], 2 + 3 * 7 + 3);
	/* These, and 3 targets with a server each, 3 that have seen. */
	assert_int_equal(messages[COMMAND_ACCEPT], 2 + 3 * 7 + 3 + 3 * 2 + 3);
}

static void a_kind_that_is_not_known_stops_the_reader(void **state)
{
	/* format 1, index 7, field 63: an empty message */
	static const uint8_t later[] = {0x08, 1, 0x10, 7, 0xfa, 3, 0}, none[] = {0x08, 1, 0x10, 7};

	assert_int_equal(entry_fixture_decode(later, sizeof(later)), -EPROTONOSUPPORT);
	assert_int_equal(entry_fixture_decode(none, sizeof(none)), -EBADMSG);
}

static void a_later_level_stops_the_reader(void **state)
{
	Catena__LogEntry *message = entry_fixture_message(COMMAND_LEVEL);

	message->level->level = STATE_LEVEL;
	assert_int_equal(entry_fixture_decode_message(message), 0);
	message->level->level = STATE_LEVEL + 1;
	assert_int_equal(entry_fixture_decode_message(message), -EPROTONOSUPPORT);
	message->level->level = 0;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	catena__log_entry__free_unpacked(message, NULL);
}

static void a_later_format_stops_the_reader_whatever_is_behind(void **state)
{
	static const uint8_t two[] = {0x08, 2}, most[] = {0x08, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xff};
	static const uint8_t beyond[] = {0x08, 0xff, 0xff, 0xff, 0xff, 0x1f};
	static const uint8_t endless[] = {0x08, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
	static const uint8_t zero[] = {0x08, 0}, cut[] = {0x08, 0x82}, missing[] = {0x10, 7};

	assert_int_equal(entry_fixture_decode(two, sizeof(two)), -EPROTONOSUPPORT);
	assert_int_equal(entry_fixture_decode(most, sizeof(most)), -EPROTONOSUPPORT);
	assert_int_equal(entry_fixture_decode(beyond, sizeof(beyond)), -EBADMSG);
	assert_int_equal(entry_fixture_decode(endless, sizeof(endless)), -EBADMSG);
	assert_int_equal(entry_fixture_decode(zero, sizeof(zero)), -EBADMSG);
	assert_int_equal(entry_fixture_decode(cut, sizeof(cut)), -EBADMSG);
	assert_int_equal(entry_fixture_decode(missing, sizeof(missing)), -EBADMSG);
	for (int kind = 0; kind < ENTRY_GEN_KINDS; kind++) {
		struct entry_bytes bytes = entry_fixture_bytes((enum command_kind)kind);

		bytes.data[1] = ENTRY_FORMAT + 1;
		assert_int_equal(entry_fixture_decode(bytes.data, bytes.size), -EPROTONOSUPPORT);
		free(bytes.data);
	}
}

/* ---- one encoding only ---- */

static void an_entry_that_is_cut_anywhere_is_refused(void **state)
{
	for (int kind = 0; kind < ENTRY_GEN_KINDS; kind++) {
		struct entry_bytes bytes = entry_fixture_bytes((enum command_kind)kind);

		for (size_t size = 0; size < bytes.size; size++)
			assert_int_equal(entry_fixture_decode(bytes.data, size), -EBADMSG);
		assert_int_equal(entry_fixture_decode(bytes.data, bytes.size), 0);
		free(bytes.data);
	}
}

static void another_form_of_the_same_is_refused(void **state)
{
	/* LEASE_GRANT of session 5 at index 7, and the same in other words. */
	static const struct {
		const char *what;
		uint8_t size, data[20];
		int rc;
	} forms[] = {
		{"as it is", 8, {8, 1, 16, 7, 114, 2, 8, 5}, 0},
		{"a longer format", 9, {8, 0x81, 0, 16, 7, 114, 2, 8, 5}, -EBADMSG},
		{"a longer index", 9, {8, 1, 16, 0x87, 0, 114, 2, 8, 5}, -EBADMSG},
		{"a longer number", 9, {8, 1, 16, 7, 114, 3, 8, 0x85, 0}, -EBADMSG},
		{"a longer length", 9, {8, 1, 16, 7, 114, 0x82, 0, 8, 5}, -EBADMSG},
		{"a longer tag", 9, {8, 1, 16, 7, 0xf2, 0, 2, 8, 5}, -EBADMSG},
		{"the index last", 8, {8, 1, 114, 2, 8, 5, 16, 7}, -EBADMSG},
		{"the index twice", 10, {8, 1, 16, 6, 16, 7, 114, 2, 8, 5}, -EBADMSG},
		{"the format twice", 10, {8, 1, 8, 1, 16, 7, 114, 2, 8, 5}, -EBADMSG},
		{"the command twice", 12, {8, 1, 16, 7, 114, 2, 8, 5, 114, 2, 8, 5}, -EBADMSG},
		{"two commands", 12, {8, 1, 16, 7, 106, 2, 8, 5, 114, 2, 8, 5}, -EBADMSG},
		{"no index", 6, {8, 1, 114, 2, 8, 5}, -EBADMSG},
		{"index 0", 8, {8, 1, 16, 0, 114, 2, 8, 5}, -EBADMSG},
		{"a default that is said", 8, {8, 1, 16, 7, 114, 2, 8, 0}, -EBADMSG},
		{"a wrong type", 8, {8, 1, 16, 7, 112, 2, 8, 5}, -EBADMSG},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		int rc = entry_fixture_decode(forms[i].data, forms[i].size);

		if (rc != forms[i].rc)
			fail_msg("%s: %d", forms[i].what, rc);
	}
}

static void numbers_that_are_not_packed_and_texts_with_an_end_inside_are_refused(void **state)
{
	/* REMOVED of the sequences 3 and 4; FENCES_OWED. */
	static const uint8_t packed[] = {8, 1, 16, 7, 0x9a, 1, 4, 10, 2, 3, 4};
	static const uint8_t split[] = {8, 1, 16, 7, 0x9a, 1, 6, 10, 1, 3, 10, 1, 4};
	static const uint8_t single[] = {8, 1, 16, 7, 0x9a, 1, 4, 8, 3, 8, 4};
	static const uint8_t owed[] = {8, 1, 16, 7, 0x82, 1, 2, 8, 1};
	static const uint8_t owed_2[] = {8, 1, 16, 7, 0x82, 1, 2, 8, 2};
	struct entry_bytes open = entry_fixture_bytes(COMMAND_SESSION_OPEN);

	assert_int_equal(entry_fixture_decode(packed, sizeof(packed)), 0);
	assert_int_equal(entry_fixture_decode(split, sizeof(split)), -EBADMSG);
	assert_int_equal(entry_fixture_decode(single, sizeof(single)), -EBADMSG);
	assert_int_equal(entry_fixture_decode(owed, sizeof(owed)), 0);
	assert_int_equal(entry_fixture_decode(owed_2, sizeof(owed_2)), -EBADMSG);
	open.data[open.size - 2] = '\0';
	assert_int_equal(entry_fixture_decode(open.data, open.size), -EBADMSG);
	free(open.data);
}

/* ---- size and memory ---- */

static void an_entry_is_at_most_so_large(void **state)
{
	struct log_command command = entry_fixture_sample(COMMAND_REQUEST);
	struct entry_bytes plain, bytes = {0};
	size_t most;

	assert_true(entry_gen_request(&entry_fixture_gen, CATENA__REQUEST__OP_CREATE));
	entry_fixture_gen.request.create->symlink.len = 0;
	plain = entry_fixture_encode(&command);
	/* The bytes before, and that three lengths take four bytes then, not two, two and none. */
	most = ENTRY_BYTES_MAX - plain.size - 64;
	free(plain.data);
	entry_fixture_gen.request.create->symlink.data = entry_fixture_array(ENTRY_BYTES_MAX, 1);
	entry_fixture_gen.request.create->symlink.len = most;
	plain = entry_fixture_encode(&command);
	most += ENTRY_BYTES_MAX - plain.size;
	free(plain.data);
	entry_fixture_gen.request.create->symlink.len = most;
	assert_int_equal(entry_encode(&command, ENTRY_FIXTURE_INDEX, &bytes.data, &bytes.size), 0);
	assert_int_equal(bytes.size, ENTRY_BYTES_MAX);
	assert_int_equal(entry_fixture_decode(bytes.data, bytes.size), 0);
	free(bytes.data);
	entry_fixture_gen.request.create->symlink.len = most + 1;
	assert_int_equal(entry_encode(&command, ENTRY_FIXTURE_INDEX, &bytes.data, &bytes.size),
			 -EMSGSIZE);
	assert_int_equal(entry_fixture_decode_unchecked(&command), -EBADMSG);
	free(entry_fixture_gen.request.create->symlink.data);
}

/* The dearest parts that there are. protobuf-c notes where fields are in slabs, each twice as large
 * as the one before, so the worst numbers are those that just need one more. */
static void the_bound_of_memory_lets_through_all_that_fits(void **state)
{
	struct chain_life *lives = entry_fixture_array(ENTRY_TARGETS_MAX, sizeof(*lives));
	struct log_command command = {.kind = COMMAND_CHAINS};

	for (uint32_t i = 0; i < ENTRY_TARGETS_MAX; i++)
		lives[i].target = 1;
	command.chains.lives = lives;
	for (size_t n = 16; n < ENTRY_TARGETS_MAX; n = 2 * n + 16) {
		command.chains.life_count = n;
		entry_fixture_bound(&command, true);
		command.chains.life_count = n + 1;
		entry_fixture_bound(&command, true);
	}
	free(lives);
}

/* Empty messages, of two bytes each: unpacked, they would take forty times as much. */
static void a_bound_of_memory_ends_the_unpacking(void **state)
{
	enum { SIZE = 60000 };
	uint8_t *data = entry_fixture_array(SIZE, 1);
	Catena__ChainsCommand *chains;
	struct unpack unpack;

	for (size_t i = 0; i < SIZE; i += 2)
		data[i] = 2 << 3 | 2;
	chains = catena__chains_command__unpack(unpack_begin(&unpack), SIZE, data);
	assert_non_null(chains);
	assert_true(UNPACK_BYTES_MAX - unpack.left > 40 * SIZE);
	catena__chains_command__free_unpacked(chains, &unpack.allocator);
	assert_null(catena__chains_command__unpack(unpack_begin_within(&unpack, 32 * SIZE), SIZE,
						   data));
	assert_false(unpack.no_memory);
	free(data);
}

/* ---- what they do ---- */

static int apply(struct fixture *f, const struct log_command *command)
{
	struct entry_bytes bytes = entry_fixture_encode(command);
	struct command_result result = {0};
	struct entry *entry = NULL;
	int rc;

	assert_int_equal(entry_decode(bytes.data, bytes.size, &entry), 0);
	free(bytes.data);
	rc = command_apply(f->state, ++f->index, &entry->command, &result);
	entry_free(entry);
	return rc;
}

static void a_start_leaves_the_gap_that_its_entry_says(void **state)
{
	struct log_command command = {.kind = COMMAND_START};
	struct fixture f;
	uint64_t next;

	assert_int_equal(fixture_init(&f, UINT64_MAX), 0);
	next = state_next_session_id(f.state);
	command.start.life = (struct state_start){.instance = 1, .chance = 77};
	command.start.id_gap = 1000;
	assert_int_equal(apply(&f, &command), 0);
	assert_int_equal(state_next_session_id(f.state), next + 1000);
	assert_int_equal(state_apply_start(f.state, ++f.index, &command.start.life, 0), -EINVAL);
	assert_int_equal(
		state_apply_start(f.state, ++f.index, &command.start.life, STATE_ID_GAP_MAX + 1),
		-EINVAL);
	assert_int_equal(state_apply_start(f.state, ++f.index, &command.start.life, STATE_ID_GAP),
			 0);
	assert_int_equal(state_next_session_id(f.state), next + 1000 + STATE_ID_GAP);
	fixture_end(&f);
}

static void an_acceptance_is_applied(void **state)
{
	const struct state_accepted_target target = {
		.id = 40,
		.uuid = "00000000-0000-4000-8000-000000000040",
		.life = 6,
		.server = {.id = 9, .workers = 2, .name = "nine", .address = "nine:1"}};
	const struct state_accept accept = {.chance = 1,
					    .seen_life = 5,
					    .seen_target = 50,
					    .seen_server = 9,
					    .targets = &target,
					    .target_count = 1};
	struct log_command command = {.kind = COMMAND_ACCEPT, .accept = &accept};
	struct state_life life;
	struct fixture f;

	assert_int_equal(fixture_init(&f, UINT64_MAX), 0);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, f.session, NULL, 0), 0);
	assert_int_equal(apply(&f, &command), 0);
	state_life(f.state, &life);
	assert_int_equal(life.number, 5 + ACCEPT_LIFE_GAP);
	assert_int_equal(state_target_id(f.state, target.uuid), 40);
	assert_int_equal(state_target_life(f.state, target.uuid), 6);
	assert_int_equal(state_server_id(f.state, "nine"), 9);
	/* The target is known by now. */
	assert_int_equal(apply(&f, &command), -EINVAL);
	assert_int_equal(state_applied_index(f.state), f.index);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_comes_back_with_all_its_fields),
		cmocka_unit_test(commands_without_anything_come_back),
		cmocka_unit_test(every_request_that_is_a_command_comes_back_and_no_other),
		cmocka_unit_test(what_is_unknown_in_a_request_is_left_out),
		cmocka_unit_test(a_field_that_is_not_known_stops_the_reader_at_any_depth),
		cmocka_unit_test(a_kind_that_is_not_known_stops_the_reader),
		cmocka_unit_test(a_later_level_stops_the_reader),
		cmocka_unit_test(a_later_format_stops_the_reader_whatever_is_behind),
		cmocka_unit_test(an_entry_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(another_form_of_the_same_is_refused),
		cmocka_unit_test(
			numbers_that_are_not_packed_and_texts_with_an_end_inside_are_refused),
		cmocka_unit_test(an_entry_is_at_most_so_large),
		cmocka_unit_test(the_bound_of_memory_lets_through_all_that_fits),
		cmocka_unit_test(a_bound_of_memory_ends_the_unpacking),
		cmocka_unit_test(a_start_leaves_the_gap_that_its_entry_says),
		cmocka_unit_test(an_acceptance_is_applied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
