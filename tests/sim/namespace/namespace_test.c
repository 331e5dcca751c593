/* namespace_test.c - random namespace operations against a simple model, with crashes.
 *
 * Goal: the master's state answers every operation as the model does, whatever came before; a power
 * cut at any moment, or a write that fails, loses nothing that was flushed, and requests sent again
 * are answered byte for byte as the first time. A replica that gets the same commands as entries
 * is equal at any time, whenever it was started.
 * Method: a seeded run draws operations over few names, directories and sessions, so that all the
 * ways of refusing are met often. Requests since the last flush are kept; after a power cut of the
 * store they are sent again, in order and with their ids. The whole store is checked again and
 * again. A failed run is repeated with: namespace_test SEED [COUNT] */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <time.h>
#include "tests/sim/namespace/sim.h"

#define RUNS       24
#define OPERATIONS 1500

static uint64_t fixed_seed, fixed_runs;

/* ---- operations ---- */

static void play_create(int who)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR,
					 S_IFDIR, S_IFLNK, S_IFIFO};
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CreateReq req = CATENA__CREATE_REQ__INIT;
	int parent = sim_draw_directory(), before = sim.model.inode_count, slot = -1, rc;
	const char *name = sim_draw_name();
	uint64_t file_id = 0;

	if (sim_draw(2) == 0)
		sim_take_number(who, &req.ino, &file_id);
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &req;
	req.parent = sim.model.inodes[parent].ino;
	req.name = bytes_of(name);
	req.mode = types[sim_draw(7)];
	req.open = sim_draw(2) == 0;
	req.exclusive = sim_draw(2) == 0;
	if (req.mode == S_IFLNK)
		req.symlink = bytes_of("somewhere");
	rc = model_create(&sim.model, who, parent, name, req.mode, req.open, req.exclusive, &slot);
	sim_ask(who, &request, rc);
	if (rc != 0)
		return;
	if (slot == before)
		sim.model.inodes[slot].ino = req.ino != 0 ? req.ino : reply_ino(&sim.f);
	if (sim.by_lane)
		return;
	sim_assert_attr(sim.f.reply->attr, &sim.model.inodes[slot]);
	sim_assert_attr(sim.f.reply->parent_attr, &sim.model.inodes[parent]);
}

static void play_link(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__LinkReq req = CATENA__LINK_REQ__INIT;
	int target = sim_draw_inode(), parent = sim_draw_directory();
	const char *name = sim_draw_name();

	request.op_case = CATENA__REQUEST__OP_LINK;
	request.link = &req;
	req.ino = sim.model.inodes[target].ino;
	req.parent = sim.model.inodes[parent].ino;
	req.name = bytes_of(name);
	sim_ask(who, &request, model_link(&sim.model, target, parent, name));
}

static void unlink_name(int who, int parent, const char *name, bool directory)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__UnlinkReq req = CATENA__UNLINK_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &req;
	req.parent = sim.model.inodes[parent].ino;
	req.name = bytes_of(name);
	req.directory = directory;
	sim_ask(who, &request, model_unlink(&sim.model, parent, name, directory));
	if (sim.f.reply->error == 0)
		sim_assert_attr(sim.f.reply->parent_attr, &sim.model.inodes[parent]);
}

static void play_unlink(int who)
{
	int parent = sim_draw_directory();
	const char *name = sim_draw_name();

	unlink_name(who, parent, name, sim_draw(2) == 0);
}

static void play_rename(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__RenameReq req = CATENA__RENAME_REQ__INIT;
	int from = sim_draw_directory(), to = sim_draw(2) ? from : sim_draw_directory();
	const char *name = sim_draw_name(), *new_name = sim_draw_name();
	int rc;

	request.op_case = CATENA__REQUEST__OP_RENAME;
	request.rename = &req;
	req.parent = sim.model.inodes[from].ino;
	req.name = bytes_of(name);
	req.new_parent = sim.model.inodes[to].ino;
	req.new_name = bytes_of(new_name);
	req.flags = (uint32_t)sim_draw(8) / 2; /* 0 to 3 */
	rc = model_rename(&sim.model, from, name, to, new_name, req.flags);
	sim_ask(who, &request, rc);
	if (rc != 0)
		return;
	sim_assert_attr(sim.f.reply->parent_attr, &sim.model.inodes[from]);
	if (from != to)
		sim_assert_attr(sim.f.reply->new_parent_attr, &sim.model.inodes[to]);
	sim_assert_attr(sim.f.reply->moved,
			&sim.model.inodes[model_find(&sim.model, to, new_name)->child]);
}

static void play_lookup(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__LookupReq req = CATENA__LOOKUP_REQ__INIT;
	int parent = sim_draw_directory(), rc = model_directory(&sim.model, parent);
	const char *name = sim_draw_name();
	struct model_entry *entry = model_find(&sim.model, parent, name);

	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &req;
	req.parent = sim.model.inodes[parent].ino;
	req.name = bytes_of(name);
	if (rc == 0 && entry == NULL)
		rc = -ENOENT;
	sim_ask(who, &request, rc);
	if (rc == 0)
		sim_assert_attr(sim.f.reply->attr, &sim.model.inodes[entry->child]);
}

static void open_inode(int who, int slot, bool truncate)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__OpenReq req = CATENA__OPEN_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &req;
	req.ino = sim.model.inodes[slot].ino;
	req.truncate = truncate;
	sim_ask(who, &request, model_open(&sim.model, who, slot, truncate));
}

static void play_open(int who)
{
	int slot = sim_draw_inode();

	open_inode(who, slot, sim_draw(4) == 0);
}

static void set_size(int who, int slot, uint64_t size)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__SetattrReq req = CATENA__SETATTR_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &req;
	req.ino = sim.model.inodes[slot].ino;
	req.mask = CATENA__SET_MASK__SET_SIZE;
	req.size = size;
	sim_ask(who, &request, model_set_size(&sim.model, who, slot, size));
}

/* Files that only this session has open lose their names; it opened the newest first. */
static void leave_orphans(int who)
{
	int left = 4;

	for (int i = MODEL_ENTRIES; i-- > 0 && left > 0;) {
		struct model_entry entry = sim.model.entries[i];

		if (!entry.used || sim.model.inodes[entry.child].type != S_IFREG)
			continue;
		left--;
		open_inode(who, entry.child, false);
		set_size(who, entry.child, 4096);
		unlink_name(who, entry.parent, entry.name, false);
	}
}

static void play_close(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CloseReq req = CATENA__CLOSE_REQ__INIT;
	int slot = sim_draw_inode();

	request.op_case = CATENA__REQUEST__OP_CLOSE;
	request.close = &req;
	req.ino = sim.model.inodes[slot].ino;
	req.count = 1 + (uint32_t)sim_draw(3);
	model_close(&sim.model, who, slot, req.count);
	sim_ask(who, &request, 0);
}

/* The file id is the state's affair: it is asked for first. */
static uint64_t file_id_of(const struct model_inode *inode)
{
	sim.f.session = sim.sessions[0];
	if (do_getattr(&sim.f, inode->ino) != 0)
		return 0;
	return sim.f.reply->attr->file_id;
}

static void play_size(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__SetattrReq req = CATENA__SETATTR_REQ__INIT;
	int slot = sim_draw_of_type(S_IFREG), rc;
	uint64_t ino;
	const struct model_inode *inode = &sim.model.inodes[slot];

	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &req;
	req.ino = inode->ino;
	req.size = sim_draw(5) * 1000;
	req.file_id = file_id_of(inode);
	/* Late words are of before a truncation or two. */
	req.truncations =
		inode->truncations - (sim_draw(3) == 0 ? sim_draw(inode->truncations + 1) : 0);
	switch (sim_draw(4)) {
	case 0:
		req.mask = CATENA__SET_MASK__SET_SIZE;
		if (req.size == 0 && sim_draw(2) == 0)
			sim_take_number(who, &ino, &req.new_file_id);
		rc = model_set_size(&sim.model, who, slot, req.size);
		break;
	case 1:
		req.mask = CATENA__SET_MASK__SET_GROW;
		rc = model_grow(&sim.model, who, slot, req.size, req.truncations);
		break;
	case 2:
		req.mask = CATENA__SET_MASK__SET_TRIM_TAKE;
		rc = model_trim(&sim.model, who, slot, true, 0);
		break;
	default:
		req.mask = CATENA__SET_MASK__SET_TRIM_DONE;
		req.size = inode->trim_from;
		rc = model_trim(&sim.model, who, slot, false, req.truncations);
	}
	sim_ask(who, &request, rc);
	if (rc == 0)
		sim_assert_attr(sim.f.reply->attr, inode);
}

static void open_session(int who)
{
	struct log_command open = {.kind = COMMAND_SESSION_OPEN,
				   .session_open = {.secret = 1, .mount = "", .name = ""}};
	struct command_result result;

	assert_int_equal(sim_command(&open, &result), 0);
	sim.sessions[who] = result.session;
	sim.request_ids[who] = 0;
	sim.answered[who] = 0;
	sim.lanes[who] = 0;
	sim.numbers[who].left = 0;
}

/* The command before it has not come: nothing is done. */
static void play_gap(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__UnlinkReq req = CATENA__UNLINK_REQ__INIT;
	struct log_command gap = {.kind = COMMAND_REQUEST,
				  .session = sim.sessions[who],
				  .request = {.message = &request, .answered = sim.answered[who]}};
	struct command_result result;

	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &req;
	request.id = sim.request_ids[who] + 2;
	request.lane = sim.lanes[who] + 2 + sim_draw(3);
	req.parent = 1;
	req.name = bytes_of(sim_draw_name());
	assert_int_equal(sim_command(&gap, &result), -EPROTO);
	assert_null(result.answer.reply);
}

/* The end of a session, and a new one in its place; the master flushes both before it answers. */
static void play_session(int who)
{
	struct log_command end = {.kind = COMMAND_SESSION_CLOSE, .session = sim.sessions[who]};
	struct log_command fence = {.kind = COMMAND_SESSION_FENCE, .session = sim.sessions[who]};
	struct command_result result;

	if (sim_draw(2) == 0)
		leave_orphans(who);
	if (sim_draw(2) == 0)
		assert_int_equal(sim_command(&fence, &result), 0);
	assert_int_equal(sim_command(&end, &result), 0);
	model_session_end(&sim.model, who);
	sim_forget_sent(sim.sessions[who], UINT64_MAX);
	open_session(who);
	sim_catchup_store();
}

static void register_server(void)
{
	char name[8], uuid[37];
	struct map_server server;
	struct state_registered_target targets[2] = {0};
	struct state_registration registration = {
		.server = &server, .targets = targets, .target_count = 2};
	struct command_result result;

	snprintf(name, sizeof(name), "s%d", (int)sim_draw(5));
	server = fixture_server(name);
	for (int i = 0; i < 2; i++) {
		snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012d", (int)sim_draw(8));
		memcpy(targets[i].uuid, uuid, sizeof(uuid));
	}
	/* Mostly refused when both are one, or by what is not known of them any more. */
	state_registration_read(sim.f.state, &registration);
	registration.known_id += sim_draw(8) == 0 ? 1 : 0;
	(void)sim_command(
		&(struct log_command){.kind = COMMAND_REGISTER, .registration = &registration},
		&result);
}

/* A command of the client that has met a damaged record on the master whose log this is. */
static void play_refused(int who)
{
	struct log_command refused = {.kind = COMMAND_REFUSED, .refused = {.error = EIO}};
	struct command_result result;
	Catena__Reply *reply;

	if (sim_draw(4) != 0) {
		refused.refused.session = sim.sessions[who];
		refused.refused.request = ++sim.request_ids[who];
	}
	assert_int_equal(sim_command(&refused, &result), 0);
	if (refused.refused.request != 0) {
		reply = catena__reply__unpack(NULL, result.answer.reply_size, result.answer.reply);
		assert_int_equal(reply->error, EIO);
		catena__reply__free_unpacked(reply, NULL);
	}
	free(result.answer.reply);
}

/* What the master does by itself, sense or not: refusals are results, too. */
static void play_master(void)
{
	uint64_t number = 1 + sim_draw(40);
	uint32_t target = 1 + (uint32_t)sim_draw(10);
	struct chain_change change = {.pool = 1, .partition = (uint32_t)sim_draw(4)};
	struct command_result result;

	change.chain.epoch = 1 + sim_draw(3);
	change.chain.count = 1;
	change.chain.members[0].target_id = target;
	change.chain.members[0].state = MEMBER_IN_SYNC;
	switch (sim_draw(6)) {
	case 0:
		(void)sim_command(&(struct log_command){.kind = COMMAND_DRAIN,
							.drain = {.targets = &target,
								  .count = 1,
								  .draining = sim_draw(2) == 0}},
				  &result);
		break;
	case 1:
		(void)sim_command(&(struct log_command){.kind = COMMAND_RECOVERY,
							.recovery = {.rate = number}},
				  &result);
		break;
	case 2: /* also of files whose chunks are there still: nobody looks here */
		(void)sim_command(
			&(struct log_command){.kind = COMMAND_REMOVED,
					      .removed = {.sequences = &number, .count = 1}},
			&result);
		break;
	case 3:
		(void)sim_command(
			&(struct log_command){.kind = COMMAND_CHAINS,
					      .chains = {.changes = &change, .change_count = 1}},
			&result);
		break;
	case 4:
		(void)sim_command(&(struct log_command){.kind = COMMAND_FENCES_OWED,
							.owed = sim_draw(2) == 0},
				  &result);
		break;
	default:
		register_server();
	}
}

static void operate(void)
{
	int who = (int)sim_draw(MODEL_SESSIONS);

	switch (sim_draw(32)) {
	case 0:
		sim_say_answered(who);
		break;
	case 1:
		if (sim_draw(4) == 0)
			play_session(who);
		else if (sim_draw(4) == 0)
			play_refused(who);
		else if (sim_draw(4) == 0)
			play_gap(who);
		else if (sim_draw(2) == 0)
			sim_repeat_one();
		else
			play_master();
		break;
	case 2:
		sim_catchup_store();
		break;
	case 3:
		if (sim_draw(4) == 0)
			sim_power_cut();
		break;
	case 4:
	case 5:
	case 6:
		play_lookup(who);
		break;
	case 7:
	case 8:
		play_link(who);
		break;
	case 9:
	case 10:
	case 11:
	case 12:
	case 13:
		play_unlink(who);
		break;
	case 14:
	case 15:
	case 16:
	case 17:
	case 18:
		play_rename(who);
		break;
	case 19:
	case 20:
		play_open(who);
		break;
	case 21:
	case 22:
		play_close(who);
		break;
	case 23:
	case 24:
	case 25:
		play_size(who);
		break;
	default:
		play_create(who);
	}
}

static void run(uint64_t seed, uint64_t name_mask)
{
	sim.seed = seed;
	sim.random = seed;
	model_init(&sim.model);
	assert_int_equal(fixture_init(&sim.f, name_mask), 0);
	memset(sim.request_ids, 0, sizeof(sim.request_ids));
	memset(sim.durable_ids, 0, sizeof(sim.durable_ids));
	memset(sim.answered, 0, sizeof(sim.answered));
	sim.replica = replica_new(&sim.f);
	for (int s = 0; s < MODEL_SESSIONS; s++)
		open_session(s);
	sim_catchup_store();
	for (int i = 0; i < OPERATIONS && sim.model.inode_count < MODEL_INODES; i++) {
		operate();
		if (i % 300 == 299)
			sim_compare_everything();
	}
	sim_compare_everything();
	sim_compare_replica();
	sim_power_cut();
	sim_compare_everything();
	for (int s = 0; s < MODEL_SESSIONS; s++)
		sim_forget_sent(sim.sessions[s], UINT64_MAX);
	replica_free(sim.replica);
	fixture_end(&sim.f);
}

static void random_operations_answer_as_the_model_does(void **state)
{
	static const int expected[] = {ENOENT, EEXIST,    ENOTDIR, EISDIR, EINVAL,
				       EPERM,  ENOTEMPTY, ESTALE,  EBUSY};
	uint64_t first = fixed_seed != 0 ? fixed_seed : (uint64_t)time(NULL) * 1000;
	uint64_t runs = fixed_runs != 0 ? fixed_runs : RUNS;

	for (uint64_t i = 0; i < runs; i++) {
		uint64_t seed = first + i;

		/* Every other run with few hashes, so that names share slots. */
		print_message("seed %llu\n", (unsigned long long)seed);
		run(seed, seed % 2 == 0 ? UINT64_MAX : UINT64_C(1) << 20);
	}
	for (size_t i = 0; runs >= RUNS && i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_true(sim.answers[expected[i]] > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_answer_as_the_model_does),
	};

	if (argc > 1) {
		fixed_seed = strtoull(argv[1], NULL, 10);
		fixed_runs = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	}
	return cmocka_run_group_tests_name("namespace against its model", tests, NULL, NULL);
}
