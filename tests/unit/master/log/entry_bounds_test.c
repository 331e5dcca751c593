/* entry_bounds_test - what an entry of the master's log may hold.
 *
 * Goal: each count, length and number may be as large as its bound, and no larger; encoding refuses
 * what decoding would. Method: commands at their bounds and one beyond, encoded, and decoded from a
 * message that no bounds have held up; messages in which one thing was changed. */
#include "common/cluster/cluster_map.h"
#include "master/log/entry_bounds.h"
#include "master/records/sessions.h"
#include "tests/unit/master/log/entry_fixture.h"

static void an_index_is_not_0(void **state)
{
	struct log_command command = {.kind = COMMAND_SESSION_CLOSE, .session = 1};
	struct entry_bytes bytes = {0};

	assert_int_equal(entry_encode(&command, 0, &bytes.data, &bytes.size), -EINVAL);
	assert_int_equal(entry_encode(&command, UINT64_MAX, &bytes.data, &bytes.size), 0);
	assert_int_equal(entry_fixture_decode(bytes.data, bytes.size), 0);
	free(bytes.data);
}

static void a_kind_that_there_is_not_is_refused(void **state)
{
	struct log_command command = {.kind = (enum command_kind)ENTRY_GEN_KINDS};
	struct entry_bytes bytes = {0};

	assert_int_equal(entry_encode(&command, 1, &bytes.data, &bytes.size), -EINVAL);
}

static void texts_of_sessions_are_bounded(void **state)
{
	char most[SESSION_TEXT_MAX + 2];
	struct log_command command = {.kind = COMMAND_SESSION_OPEN};

	memset(most, 'm', sizeof(most));
	most[SESSION_TEXT_MAX + 1] = '\0';
	command.session_open.mount = most + 1;
	command.session_open.name = most + 1;
	entry_fixture_bound(&command, true);
	command.session_open.mount = most;
	entry_fixture_bound(&command, false);
	command.session_open.mount = "m";
	command.session_open.name = most;
	entry_fixture_bound(&command, false);
}

static void what_the_end_of_a_session_leaves_is_said_once_and_in_order(void **state)
{
	uint64_t left[] = {5, 6, 7};
	struct log_command command = {.kind = COMMAND_SESSION_CLOSE,
				      .session = 1,
				      .session_close = {.left = left, .left_count = 3}};

	entry_fixture_bound(&command, true);
	left[1] = 7;
	entry_fixture_bound(&command, false);
	left[1] = 5;
	entry_fixture_bound(&command, false);
}

static void set_text(char **text, size_t size)
{
	if (*text != protobuf_c_empty_string)
		free(*text);
	*text = malloc(size + 1);
	assert_non_null(*text);
	memset(*text, 'x', size);
	(*text)[size] = '\0';
}

/* Sets a text to the most that fits, and to one more. */
static void assert_text_bound(Catena__LogEntry *message, char **text, size_t most,
			      bool may_be_empty)
{
	set_text(text, most);
	assert_int_equal(entry_fixture_decode_message(message), 0);
	set_text(text, most + 1);
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	set_text(text, 0);
	assert_int_equal(entry_fixture_decode_message(message), may_be_empty ? 0 : -EBADMSG);
	set_text(text, 1);
	assert_int_equal(entry_fixture_decode_message(message), 0);
}

static void assert_server_bounds(Catena__LogEntry *message, Catena__Server *server)
{
	uint32_t workers = server->workers;

	assert_text_bound(message, &server->name, MAP_NAME_MAX - 1, false);
	assert_text_bound(message, &server->address, MAP_NAME_MAX - 1, true);
	assert_text_bound(message, &server->host, MAP_NAME_MAX - 1, true);
	assert_text_bound(message, &server->rack, MAP_NAME_MAX - 1, true);
	assert_text_bound(message, &server->zone, MAP_NAME_MAX - 1, true);
	server->workers = 0;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	server->workers = ENTRY_WORKERS_MAX + 1;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	server->workers = ENTRY_WORKERS_MAX;
	assert_int_equal(entry_fixture_decode_message(message), 0);
	server->workers = workers;
}

static void servers_and_their_targets_are_bounded(void **state)
{
	static struct state_registered_target targets[STATE_REGISTERED_MAX + 1];
	Catena__LogEntry *message = entry_fixture_message(COMMAND_REGISTER);
	struct log_command command = entry_fixture_sample(COMMAND_REGISTER);
	Catena__Server *server = message->registration->server;

	assert_server_bounds(message, server);
	assert_text_bound(message, &message->registration->targets[2]->uuid, 36, false);
	assert_text_bound(message, &message->registration->known_address, MAP_NAME_MAX - 1, true);
	message->registration->server = NULL;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	message->registration->server = server;
	catena__log_entry__free_unpacked(message, NULL);

	for (size_t i = 0; i <= STATE_REGISTERED_MAX; i++)
		snprintf(targets[i].uuid, sizeof(targets[i].uuid), "t%zu", i);
	entry_fixture_gen.registration.targets = targets;
	entry_fixture_gen.registration.target_count = STATE_REGISTERED_MAX;
	entry_fixture_bound(&command, true);
	entry_fixture_gen.registration.target_count++;
	entry_fixture_bound(&command, false);
}

static void refusals_are_bounded(void **state)
{
	struct log_command command = entry_fixture_sample(COMMAND_REFUSED), none = command;

	command.refused.error = STATE_REFUSAL_MAX;
	entry_fixture_bound(&command, true);
	command.refused.error++;
	entry_fixture_bound(&command, false);
	command.refused.error = 0;
	entry_fixture_bound(&command, false);
	none.refused = (struct state_refusal){.error = EIO};
	entry_fixture_bound(&none, true);
	none.refused.session = 1;
	entry_fixture_bound(&none, false);
	none.refused = (struct state_refusal){.error = EIO, .lane = 1};
	entry_fixture_bound(&none, false);
	none.refused = (struct state_refusal){.error = EIO, .answered = 1};
	entry_fixture_bound(&none, false);
}

/* Only encoding can meet texts without an end. */
static void texts_without_an_end_are_not_encoded(void **state)
{
	struct log_command command = entry_fixture_sample(COMMAND_REGISTER);
	struct entry_bytes bytes = {0};

	memset(entry_fixture_gen.server.zone, 'z', sizeof(entry_fixture_gen.server.zone));
	assert_int_equal(entry_encode(&command, 1, &bytes.data, &bytes.size), -EINVAL);
	command = entry_fixture_sample(COMMAND_REGISTER);
	memset(entry_fixture_gen.targets[1].uuid, 'u', sizeof(entry_fixture_gen.targets[1].uuid));
	assert_int_equal(entry_encode(&command, 1, &bytes.data, &bytes.size), -EINVAL);
}

static void add_member(Catena__Chain *chain, uint32_t target_id)
{
	size_t count = chain->n_members;
	Catena__ChainMember *member = malloc(sizeof(*member));
	Catena__ChainMember **members =
		realloc(chain->members, (count + 1) * sizeof(Catena__ChainMember *));

	assert_non_null(member);
	assert_non_null(members);
	catena__chain_member__init(member);
	member->target_id = target_id;
	member->state = MEMBER_OFFLINE;
	members[count] = member;
	chain->members = members;
	chain->n_members++;
}

/* Of a sample's chain: 5 members, of which 2 are in-sync, and the third is syncing. */
static void assert_chain_bounds(Catena__LogEntry *message, Catena__ChainChange *change)
{
	Catena__Chain *chain = change->chain;
	Catena__ChainMember *last = chain->members[4];
	uint32_t id = last->target_id;

	last->state = MEMBER_OFFLINE + 1;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	last->state = 0;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	last->state = MEMBER_IN_SYNC;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	last->state = MEMBER_OFFLINE;
	last->target_id = chain->members[0]->target_id;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	last->target_id = id;
	chain->n_members = 0;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	chain->n_members = 5;
	change->chain = NULL;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	change->chain = chain;
	while (chain->n_members < CHAIN_MEMBERS_MAX)
		add_member(chain, 900000 + (uint32_t)chain->n_members);
	assert_int_equal(entry_fixture_decode_message(message), 0);
	add_member(chain, 900000 + CHAIN_MEMBERS_MAX);
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
}

static void chains_are_bounded(void **state)
{
	Catena__LogEntry *message = entry_fixture_message(COMMAND_CHAINS);

	assert_chain_bounds(message, message->chains->changes[2]);
	catena__log_entry__free_unpacked(message, NULL);
	message = entry_fixture_message(COMMAND_ACCEPT);
	assert_chain_bounds(message, message->accept->chains[0]);
	catena__log_entry__free_unpacked(message, NULL);
}

/* As many as there may be: a change of all chains with the lives of all targets. */
static void counts_of_chains_and_lives_are_bounded(void **state)
{
	struct chain_change *changes = entry_fixture_array(ENTRY_CHAINS_MAX + 1, sizeof(*changes));
	struct chain_life *lives = entry_fixture_array(ENTRY_TARGETS_MAX + 1, sizeof(*lives));
	uint64_t *fenced = entry_fixture_array(ENTRY_SERVERS_MAX + 1, sizeof(*fenced));
	struct log_command command = {.kind = COMMAND_CHAINS};

	for (uint32_t i = 0; i <= ENTRY_CHAINS_MAX; i++) {
		changes[i] = (struct chain_change){.pool = UINT32_MAX, .partition = i};
		changes[i].chain.epoch = UINT64_MAX;
		changes[i].chain.count = CHAIN_MEMBERS_MAX;
		for (uint32_t m = 0; m < CHAIN_MEMBERS_MAX; m++)
			changes[i].chain.members[m] =
				(struct chain_member){UINT32_MAX - m, MEMBER_IN_SYNC};
	}
	for (uint32_t i = 0; i <= ENTRY_TARGETS_MAX; i++)
		lives[i] = (struct chain_life){.target = UINT32_MAX, .life = UINT64_MAX};
	for (uint32_t i = 0; i <= ENTRY_SERVERS_MAX; i++)
		fenced[i] = UINT64_MAX;
	command.chains.changes = changes;
	command.chains.lives = lives;
	command.chains.fenced = fenced;
	command.chains.change_count = ENTRY_CHAINS_MAX;
	command.chains.life_count = ENTRY_TARGETS_MAX;
	command.chains.fenced_count = ENTRY_SERVERS_MAX;
	entry_fixture_bound(&command, true);
	command.chains.change_count++;
	entry_fixture_bound(&command, false);
	command.chains.change_count = 1;
	command.chains.life_count++;
	entry_fixture_bound(&command, false);
	command.chains.life_count = 1;
	command.chains.fenced_count++;
	entry_fixture_bound(&command, false);
	command.chains.fenced_count = 2;
	entry_fixture_bound(&command, true);
	fenced[1] = 0;
	entry_fixture_bound(&command, false);
	free(changes);
	free(lives);
	free(fenced);
}

static void counts_of_numbers_are_bounded(void **state)
{
	uint64_t *sequences = entry_fixture_array(ENTRY_REMOVED_MAX + 1, sizeof(*sequences));
	uint32_t *targets = entry_fixture_array(ENTRY_TARGETS_MAX + 1, sizeof(*targets));
	struct log_command command = {.kind = COMMAND_REMOVED};

	command.removed.sequences = sequences;
	command.removed.count = ENTRY_REMOVED_MAX;
	entry_fixture_bound(&command, true);
	command.removed.count++;
	entry_fixture_bound(&command, false);
	command = (struct log_command){.kind = COMMAND_DRAIN};
	command.drain.targets = targets;
	command.drain.count = ENTRY_TARGETS_MAX;
	entry_fixture_bound(&command, true);
	command.drain.count++;
	entry_fixture_bound(&command, false);
	free(sequences);
	free(targets);
}

static void numbers_of_a_start_are_bounded(void **state)
{
	struct log_command command = {.kind = COMMAND_START};

	command.start.life = (struct state_start){.instance = 1, .chance = 1};
	command.start.id_gap = STATE_ID_GAP;
	entry_fixture_bound(&command, true);
	command.start.id_gap = STATE_ID_GAP_MAX;
	entry_fixture_bound(&command, true);
	command.start.id_gap = STATE_ID_GAP_MAX + 1;
	entry_fixture_bound(&command, false);
	command.start.id_gap = 0;
	entry_fixture_bound(&command, false);
	command.start.id_gap = 1;
	command.start.life.instance = 0;
	entry_fixture_bound(&command, false);
	command.start.life = (struct state_start){.instance = 1};
	entry_fixture_bound(&command, false);
}

static void numbers_of_an_acceptance_are_bounded(void **state)
{
	struct log_command command = entry_fixture_sample(COMMAND_ACCEPT);
	struct state_accept *accept = &entry_fixture_gen.accept;
	struct state_accepted_target *target = &entry_fixture_gen.accepted[2];
	const struct state_accepted_target was = *target;

	accept->seen_target = target->id;
	accept->seen_server = target->server.id;
	entry_fixture_bound(&command, true);
	accept->seen_target--;
	entry_fixture_bound(&command, false);
	accept->seen_target++;
	accept->seen_server--;
	entry_fixture_bound(&command, false);
	accept->seen_server++;
	target->id = 0;
	entry_fixture_bound(&command, false);
	target->id = entry_fixture_gen.accepted[0].id;
	entry_fixture_bound(&command, false);
	*target = was;
	target->server.id = 0;
	entry_fixture_bound(&command, false);
	target->server.id = entry_fixture_gen.accepted[0].server.id; /* with another name */
	entry_fixture_bound(&command, false);
	*target = was;
	memcpy(target->server.name, entry_fixture_gen.accepted[0].server.name,
	       MAP_NAME_MAX); /* another id */
	entry_fixture_bound(&command, false);
	*target = was;
	memcpy(target->uuid, entry_fixture_gen.accepted[0].uuid, sizeof(target->uuid));
	entry_fixture_bound(&command, false);
	*target = was;
	entry_fixture_bound(&command, true);
	accept->chance = 0;
	entry_fixture_bound(&command, false);
}

static void texts_of_an_acceptance_are_bounded(void **state)
{
	Catena__LogEntry *message = entry_fixture_message(COMMAND_ACCEPT);
	Catena__AcceptedTarget *target = message->accept->targets[2];
	Catena__Server *server = target->server;

	assert_text_bound(message, &target->uuid, 36, false);
	assert_text_bound(message, &message->accept->seen[2]->uuid, 36, false);
	assert_server_bounds(message, server);
	target->server = NULL;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	target->server = server;
	catena__log_entry__free_unpacked(message, NULL);
}

static void counts_of_an_acceptance_are_bounded(void **state)
{
	struct state_accepted_target *targets =
		entry_fixture_array(ENTRY_TARGETS_MAX + 1, sizeof(*targets));
	struct state_accept_seen *seen = entry_fixture_array(ENTRY_TARGETS_MAX + 1, sizeof(*seen));
	struct chain_life *lives = entry_fixture_array(ENTRY_TARGETS_MAX + 1, sizeof(*lives));
	struct chain_change *changes = entry_fixture_array(ENTRY_CHAINS_MAX + 1, sizeof(*changes));
	struct state_accept accept = {.chance = 1, .seen_target = UINT32_MAX, .seen_server = 1};
	struct log_command command = {.kind = COMMAND_ACCEPT, .accept = &accept};
	size_t *counts[] = {&accept.target_count, &accept.seen_count, &accept.life_count,
			    &accept.chain_count};

	for (uint32_t i = 0; i <= ENTRY_TARGETS_MAX; i++) {
		targets[i].id = i + 1;
		snprintf(targets[i].uuid, sizeof(targets[i].uuid), "t%u", i);
		memcpy(seen[i].uuid, targets[i].uuid, sizeof(seen[i].uuid));
		targets[i].server = (struct map_server){.id = 1, .workers = 1, .name = "s"};
		lives[i].target = i + 1;
		changes[i].chain = (struct map_chain){.count = 1, .members = {{1, MEMBER_IN_SYNC}}};
	}
	accept.targets = targets;
	accept.seen = seen;
	accept.lives = lives;
	accept.chains = changes;
	for (size_t i = 0; i < 4; i++)
		*counts[i] = ENTRY_TARGETS_MAX;
	entry_fixture_bound(&command, true);
	for (size_t i = 0; i < 4; i++) {
		++*counts[i];
		entry_fixture_bound(&command, false);
		--*counts[i];
	}
	free(targets);
	free(seen);
	free(lives);
	free(changes);
}

static void parts_that_are_missing_are_refused(void **state)
{
	Catena__LogEntry *message = entry_fixture_message(COMMAND_REQUEST);
	Catena__Request *request = message->request->request;

	message->request->request = NULL;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	message->request->request = request;
	assert_int_equal(entry_fixture_decode_message(message), 0);
	request->op_case = CATENA__REQUEST__OP__NOT_SET;
	assert_int_equal(entry_fixture_decode_message(message), -EBADMSG);
	request->op_case = CATENA__REQUEST__OP_SETATTR;
	catena__log_entry__free_unpacked(message, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_index_is_not_0),
		cmocka_unit_test(a_kind_that_there_is_not_is_refused),
		cmocka_unit_test(texts_of_sessions_are_bounded),
		cmocka_unit_test(what_the_end_of_a_session_leaves_is_said_once_and_in_order),
		cmocka_unit_test(servers_and_their_targets_are_bounded),
		cmocka_unit_test(refusals_are_bounded),
		cmocka_unit_test(texts_without_an_end_are_not_encoded),
		cmocka_unit_test(chains_are_bounded),
		cmocka_unit_test(counts_of_chains_and_lives_are_bounded),
		cmocka_unit_test(counts_of_numbers_are_bounded),
		cmocka_unit_test(numbers_of_a_start_are_bounded),
		cmocka_unit_test(numbers_of_an_acceptance_are_bounded),
		cmocka_unit_test(texts_of_an_acceptance_are_bounded),
		cmocka_unit_test(counts_of_an_acceptance_are_bounded),
		cmocka_unit_test(parts_that_are_missing_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
