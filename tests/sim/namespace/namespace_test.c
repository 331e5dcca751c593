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
#include "tests/lib/random.h"
#include "tests/sim/namespace/model.h"
#include "tests/sim/namespace/replica.h"
#include "tests/lib/state_fixture.h"

#define RUNS       24
#define OPERATIONS 1500
#define NAMES      9
#define LOG_MAX    400
#define UNTOLD_MAX 300

/* A request whose answer the client has not confirmed: it may be sent again. */
struct sent {
	uint64_t session, index, id;
	uint8_t *request, *reply;
	size_t request_size, reply_size;
};

static struct {
	uint64_t seed, random;
	struct fixture f;
	struct replica *replica;
	struct model model;
	uint64_t sessions[MODEL_SESSIONS], request_ids[MODEL_SESSIONS];
	uint64_t durable_ids[MODEL_SESSIONS], answered[MODEL_SESSIONS];
	uint64_t lanes[MODEL_SESSIONS]; /* the last number of each lane */
	bool by_lane;                   /* the last request: its reply has no attributes */
	struct sent log[LOG_MAX];
	int log_count;
	unsigned untold;       /* commands since the replica was compared, at most */
	unsigned answers[200]; /* by errno: that all of them are met */
} sim;

static uint64_t fixed_seed, fixed_runs;

static uint64_t draw(uint64_t below)
{
	return random_below(&sim.random, below);
}

static const char *draw_name(void)
{
	static const char *names[NAMES] = {
		"a", "b", "c", "d", "e", "file", "directory", "a name of some length", "\xc3\xa4"};

	return names[draw(NAMES)];
}

/* Any inode that ever was, rather a new one; directories and files mixed, to be refused too. */
static int draw_inode(void)
{
	int count = sim.model.inode_count;

	if (draw(4) == 0)
		return 0;
	if (count > 12 && draw(8) != 0)
		return count - 1 - (int)draw(12);
	return (int)draw((uint64_t)count);
}

/* Mostly one of this type that is there. */
static int draw_of_type(uint32_t type)
{
	int slot = 0;

	for (int tries = 0; tries < 6; tries++) {
		slot = draw_inode();
		if (sim.model.inodes[slot].exists && sim.model.inodes[slot].type == type)
			break;
	}
	return slot;
}

static int draw_directory(void)
{
	return draw_of_type(S_IFDIR);
}

/* ---- sending, syncing, crashing ---- */

/* Forgets what the master will not hear again: @session's requests up to @id. */
static void forget_sent(uint64_t session, uint64_t id)
{
	int kept = 0;

	for (int i = 0; i < sim.log_count; i++) {
		struct sent sent = sim.log[i];

		if (sent.session == session && sent.id <= id) {
			free(sent.request);
			free(sent.reply);
		} else {
			sim.log[kept++] = sent;
		}
	}
	sim.log_count = kept;
}

static void catchup_store(void)
{
	assert_int_equal(kv_flush(sim.f.kv), 0);
	memcpy(sim.durable_ids, sim.request_ids, sizeof(sim.durable_ids));
}

/* The client will say with its next command that it has the answers of what is durable. */
static void say_answered(int who)
{
	if (sim.durable_ids[who] == 0)
		return;
	sim.answered[who] = sim.durable_ids[who];
	forget_sent(sim.sessions[who], sim.durable_ids[who]);
}

static uint64_t answered_of(uint64_t session)
{
	for (int who = 0; who < MODEL_SESSIONS; who++)
		if (sim.sessions[who] == session)
			return sim.answered[who];
	return 0;
}

static int apply(uint64_t index, uint64_t session, const Catena__Request *request, uint8_t **reply,
		 size_t *size)
{
	struct state_request command = {
		.session = session, .answered = answered_of(session), .message = request};
	struct state_answer answer;
	int rc;

	if (state_request_is_command(request)) {
		rc = state_apply_request(sim.f.state, index, &command, &answer);
		*reply = answer.reply;
		*size = answer.reply_size;
		return rc;
	}
	return state_query(sim.f.state, session, request, reply, size);
}

static void send_again(const struct sent *sent)
{
	Catena__Request *request = catena__request__unpack(NULL, sent->request_size, sent->request);
	uint8_t *reply;
	size_t size;

	assert_int_equal(apply(sent->index, sent->session, request, &reply, &size), 0);
	assert_int_equal(size, sent->reply_size);
	assert_memory_equal(reply, sent->reply, size);
	free(reply);
	catena__request__free_unpacked(request, NULL);
}

/* The replica has all that the first state machine has, and in the same form. */
static void compare_replica(void)
{
	replica_catch_up(sim.replica, &sim.f, &sim.random);
}

/* What a power cut takes back, and what comes in its place, is not for the replica: with several
 * masters no entry is applied before others have it, too. */
static void begin_replica_again(void)
{
	replica_free(sim.replica);
	sim.replica = replica_new(&sim.f);
}

static void power_cut(void)
{
	compare_replica();
	kv_memory_crash(sim.f.kv);
	assert_int_equal(fixture_reopen(&sim.f), 0);
	assert_true(state_is_sound(&sim.f));
	for (int i = 0; i < sim.log_count; i++)
		send_again(&sim.log[i]);
	sim.f.index = state_applied_index(sim.f.state);
	begin_replica_again();
}

static void keep_command(const Catena__Request *request, uint64_t session, uint64_t index)
{
	struct sent *sent;

	if (sim.log_count == LOG_MAX) {
		/* Not of the request at hand: it is not in the log yet. */
		catchup_store();
		for (int who = 0; who < MODEL_SESSIONS; who++)
			if (sim.sessions[who] != session)
				say_answered(who);
	}
	assert_true(sim.log_count < LOG_MAX);
	sent = &sim.log[sim.log_count++];
	sent->session = session;
	sent->index = index;
	sent->id = request->id;
	sent->request_size = catena__request__get_packed_size(request);
	sent->request = malloc(sent->request_size + 1);
	catena__request__pack(request, sent->request);
	sent->reply_size = sim.f.size;
	sent->reply = malloc(sent->reply_size + 1);
	if (sent->reply_size != 0)
		memcpy(sent->reply, sim.f.bytes, sent->reply_size);
}

/* One that was answered comes once more, before or behind what came after it. */
static void repeat_one(void)
{
	if (sim.log_count > 0)
		send_again(&sim.log[draw((uint64_t)sim.log_count)]);
}

/* Sends what a fixture's do_...() made, now and then through a failing store; 0 or -errno. */
static int answer_of(int who, int (*send)(struct fixture *f, const void *arg), const void *arg)
{
	struct fixture *f = &sim.f;
	uint64_t id;
	int rc;

	f->session = sim.sessions[who];
	f->answered = sim.answered[who];
	f->request_id = id = sim.request_ids[who];
	f->time++;
	if (draw(40) == 0)
		kv_memory_fail_write(f->kv, 1, draw(2) ? EIO : ENOSPC);
	rc = send(f, arg);
	if (rc == -EREMOTEIO) {
		assert_int_equal(kv_recover(f->kv), 0);
		f->request_id = id;
		rc = send(f, arg);
		assert_int_not_equal(rc, -EREMOTEIO);
	}
	kv_memory_fail_write(f->kv, 0, 0);
	sim.request_ids[who] = f->request_id;
	return rc;
}

/* Of the command that was applied last. */
static void tell_replica(const struct log_command *command, int status,
			 const struct command_result *result)
{
	replica_take(sim.replica, sim.f.index, command, status, result);
	if (draw(40) == 0 || ++sim.untold == UNTOLD_MAX) {
		sim.untold = 0;
		compare_replica();
	}
}

/* A command that the master proposes by itself; returns what came of it. */
static int command(const struct log_command *command, struct command_result *result)
{
	struct fixture *f = &sim.f;
	int rc;

	*result = (struct command_result){0};
	rc = command_apply(f->state, f->index + 1, command, result);
	assert_false(command_has_failed(rc));
	f->index = state_applied_index(f->state);
	tell_replica(command, rc, result);
	return rc;
}

struct request_arg {
	Catena__Request *request;
};

static int send_request(struct fixture *f, const void *arg)
{
	const struct request_arg *a = arg;

	a->request->id = 0;
	return fixture_send(f, a->request);
}

/* What is new to the test comes with the reply, so that it cannot be of the lane. */
static bool may_be_of_lane(const Catena__Request *request, int expected)
{
	return state_request_is_command(request) &&
	       (expected != 0 || request->op_case != CATENA__REQUEST__OP_CREATE);
}

/* The answer must be @expected. */
static void ask(int who, Catena__Request *request, int expected)
{
	struct request_arg arg = {.request = request};
	uint64_t index = sim.f.index + 1;
	int rc;

	sim.by_lane = may_be_of_lane(request, expected) && draw(2) == 0;
	request->lane = sim.by_lane ? ++sim.lanes[who] : 0;
	rc = answer_of(who, send_request, &arg);
	if (state_request_is_command(request))
		assert_int_equal(sim.f.lane, request->lane);
	sim.by_lane = sim.by_lane && rc == 0;
	if (rc != expected)
		print_error("seed %llu: op %d answered %d, the model says %d\n",
			    (unsigned long long)sim.seed, (int)request->op_case, rc, expected);
	assert_int_equal(rc, expected);
	sim.answers[-rc]++;
	if (!state_request_is_command(request))
		return;
	tell_replica(
		&(struct log_command){.kind = COMMAND_REQUEST,
				      .session = sim.sessions[who],
				      .request = {.message = request, .answered = sim.f.answered}},
		0,
		&(struct command_result){.answer = {.reply = sim.f.bytes,
						    .reply_size = sim.f.size,
						    .lane = sim.f.lane}});
	keep_command(request, sim.sessions[who], index);
}

/* ---- comparing ---- */

static void assert_attr(const Catena__Attr *attr, const struct model_inode *inode)
{
	if (sim.by_lane)
		return;
	assert_non_null(attr);
	assert_int_equal(attr->ino, inode->ino);
	assert_int_equal(attr->mode & S_IFMT, inode->type);
	assert_int_equal(attr->nlink, inode->nlink);
	if (inode->type != S_IFREG)
		return;
	assert_int_equal(attr->size, inode->size);
	assert_int_equal(attr->truncations, inode->truncations);
	assert_int_equal(attr->trim_to != 0, inode->trim);
	if (inode->trim)
		assert_int_equal(attr->trim_from, inode->trim_from);
}

static void compare_directory(int dir)
{
	struct fixture *f = &sim.f;
	int listed = 0;
	uint64_t cookie = 0;
	bool eof;

	f->session = sim.sessions[0];
	do {
		assert_int_equal(do_readdir(f, sim.model.inodes[dir].ino, cookie,
					    1 + (uint32_t)draw(4), draw(2)),
				 0);
		for (size_t i = 0; i < f->reply->n_entries; i++) {
			const Catena__DirEntry *entry = f->reply->entries[i];
			struct model_entry *expected;
			char name[MODEL_NAME] = "";

			assert_true(entry->name.len < MODEL_NAME);
			memcpy(name, entry->name.data, entry->name.len);
			expected = model_find(&sim.model, dir, name);
			assert_non_null(expected);
			assert_int_equal(entry->ino, sim.model.inodes[expected->child].ino);
			if (entry->attr != NULL)
				assert_attr(entry->attr, &sim.model.inodes[expected->child]);
			assert_true(entry->cookie > cookie);
			cookie = entry->cookie;
			listed++;
		}
		eof = f->reply->eof;
	} while (!eof);
	assert_int_equal(listed, model_entry_count(&sim.model, dir));
}

static void compare_everything(void)
{
	uint64_t exist = 0;

	assert_true(state_is_sound(&sim.f));
	sim.f.session = sim.sessions[0];
	sim.by_lane = false;
	for (int i = 0; i < sim.model.inode_count; i++) {
		const struct model_inode *inode = &sim.model.inodes[i];
		int rc = do_getattr(&sim.f, inode->ino);

		assert_int_equal(rc, inode->exists ? 0 : -ESTALE);
		exist += inode->exists;
		if (inode->exists)
			assert_attr(sim.f.reply->attr, inode);
		if (inode->exists && inode->type == S_IFDIR && inode->nlink == 0)
			assert_int_equal(do_readdir(&sim.f, inode->ino, 0, 0, false), -ENOENT);
		else if (inode->exists && inode->type == S_IFDIR)
			compare_directory(i);
	}
	assert_int_equal(sim.f.state->counters.inodes, exist);
}

/* ---- operations ---- */

static void play_create(int who)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR,
					 S_IFDIR, S_IFLNK, S_IFIFO};
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CreateReq req = CATENA__CREATE_REQ__INIT;
	int parent = draw_directory(), before = sim.model.inode_count, slot = -1, rc;
	const char *name = draw_name();

	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &req;
	req.parent = sim.model.inodes[parent].ino;
	req.name = bytes_of(name);
	req.mode = types[draw(7)];
	req.open = draw(2) == 0;
	req.exclusive = draw(2) == 0;
	if (req.mode == S_IFLNK)
		req.symlink = bytes_of("somewhere");
	rc = model_create(&sim.model, who, parent, name, req.mode, req.open, req.exclusive, &slot);
	ask(who, &request, rc);
	if (rc != 0)
		return;
	if (slot == before)
		sim.model.inodes[slot].ino = reply_ino(&sim.f);
	assert_attr(sim.f.reply->attr, &sim.model.inodes[slot]);
	assert_attr(sim.f.reply->parent_attr, &sim.model.inodes[parent]);
}

static void play_link(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__LinkReq req = CATENA__LINK_REQ__INIT;
	int target = draw_inode(), parent = draw_directory();
	const char *name = draw_name();

	request.op_case = CATENA__REQUEST__OP_LINK;
	request.link = &req;
	req.ino = sim.model.inodes[target].ino;
	req.parent = sim.model.inodes[parent].ino;
	req.name = bytes_of(name);
	ask(who, &request, model_link(&sim.model, target, parent, name));
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
	ask(who, &request, model_unlink(&sim.model, parent, name, directory));
	if (sim.f.reply->error == 0)
		assert_attr(sim.f.reply->parent_attr, &sim.model.inodes[parent]);
}

static void play_unlink(int who)
{
	int parent = draw_directory();
	const char *name = draw_name();

	unlink_name(who, parent, name, draw(2) == 0);
}

static void play_rename(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__RenameReq req = CATENA__RENAME_REQ__INIT;
	int from = draw_directory(), to = draw(2) ? from : draw_directory();
	const char *name = draw_name(), *new_name = draw_name();
	int rc;

	request.op_case = CATENA__REQUEST__OP_RENAME;
	request.rename = &req;
	req.parent = sim.model.inodes[from].ino;
	req.name = bytes_of(name);
	req.new_parent = sim.model.inodes[to].ino;
	req.new_name = bytes_of(new_name);
	req.flags = (uint32_t)draw(8) / 2; /* 0 to 3 */
	rc = model_rename(&sim.model, from, name, to, new_name, req.flags);
	ask(who, &request, rc);
	if (rc != 0)
		return;
	assert_attr(sim.f.reply->parent_attr, &sim.model.inodes[from]);
	if (from != to)
		assert_attr(sim.f.reply->new_parent_attr, &sim.model.inodes[to]);
	assert_attr(sim.f.reply->moved,
		    &sim.model.inodes[model_find(&sim.model, to, new_name)->child]);
}

static void play_lookup(int who)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__LookupReq req = CATENA__LOOKUP_REQ__INIT;
	int parent = draw_directory(), rc = model_directory(&sim.model, parent);
	const char *name = draw_name();
	struct model_entry *entry = model_find(&sim.model, parent, name);

	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &req;
	req.parent = sim.model.inodes[parent].ino;
	req.name = bytes_of(name);
	if (rc == 0 && entry == NULL)
		rc = -ENOENT;
	ask(who, &request, rc);
	if (rc == 0)
		assert_attr(sim.f.reply->attr, &sim.model.inodes[entry->child]);
}

static void open_inode(int who, int slot, bool truncate)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__OpenReq req = CATENA__OPEN_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &req;
	req.ino = sim.model.inodes[slot].ino;
	req.truncate = truncate;
	ask(who, &request, model_open(&sim.model, who, slot, truncate));
}

static void play_open(int who)
{
	int slot = draw_inode();

	open_inode(who, slot, draw(4) == 0);
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
	ask(who, &request, model_set_size(&sim.model, who, slot, size));
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
	int slot = draw_inode();

	request.op_case = CATENA__REQUEST__OP_CLOSE;
	request.close = &req;
	req.ino = sim.model.inodes[slot].ino;
	req.count = 1 + (uint32_t)draw(3);
	model_close(&sim.model, who, slot, req.count);
	ask(who, &request, 0);
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
	int slot = draw_of_type(S_IFREG), rc;
	const struct model_inode *inode = &sim.model.inodes[slot];

	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &req;
	req.ino = inode->ino;
	req.size = draw(5) * 1000;
	req.file_id = file_id_of(inode);
	/* Late words are of before a truncation or two. */
	req.truncations = inode->truncations - (draw(3) == 0 ? draw(inode->truncations + 1) : 0);
	switch (draw(4)) {
	case 0:
		req.mask = CATENA__SET_MASK__SET_SIZE;
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
	ask(who, &request, rc);
	if (rc == 0)
		assert_attr(sim.f.reply->attr, inode);
}

static void open_session(int who)
{
	struct log_command open = {.kind = COMMAND_SESSION_OPEN,
				   .session_open = {.secret = 1, .mount = "", .name = ""}};
	struct command_result result;

	assert_int_equal(command(&open, &result), 0);
	sim.sessions[who] = result.session;
	sim.request_ids[who] = 0;
	sim.answered[who] = 0;
	sim.lanes[who] = 0;
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
	request.lane = sim.lanes[who] + 2 + draw(3);
	req.parent = 1;
	req.name = bytes_of(draw_name());
	assert_int_equal(command(&gap, &result), -EPROTO);
	assert_null(result.answer.reply);
}

/* The end of a session, and a new one in its place; the master flushes both before it answers. */
static void play_session(int who)
{
	struct log_command end = {.kind = COMMAND_SESSION_CLOSE, .session = sim.sessions[who]};
	struct log_command fence = {.kind = COMMAND_SESSION_FENCE, .session = sim.sessions[who]};
	struct command_result result;

	if (draw(2) == 0)
		leave_orphans(who);
	if (draw(2) == 0)
		assert_int_equal(command(&fence, &result), 0);
	assert_int_equal(command(&end, &result), 0);
	model_session_end(&sim.model, who);
	forget_sent(sim.sessions[who], UINT64_MAX);
	open_session(who);
	catchup_store();
}

static void register_server(void)
{
	char name[8], uuid[37];
	struct map_server server;
	struct map_target targets[2] = {0};
	struct command_result result;

	snprintf(name, sizeof(name), "s%d", (int)draw(5));
	server = fixture_server(name);
	for (int i = 0; i < 2; i++) {
		snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012d", (int)draw(8));
		memcpy(targets[i].uuid, uuid, sizeof(uuid));
	}
	/* Mostly refused when both are one. */
	(void)command(
		&(struct log_command){
			.kind = COMMAND_REGISTER,
			.registration = {.server = &server, .targets = targets, .target_count = 2}},
		&result);
}

/* What the master does by itself, sense or not: refusals are results, too. */
static void play_master(void)
{
	uint64_t number = 1 + draw(40);
	uint32_t target = 1 + (uint32_t)draw(10);
	struct chain_change change = {.pool = 1, .partition = (uint32_t)draw(4)};
	struct command_result result;

	change.chain.epoch = 1 + draw(3);
	change.chain.count = 1;
	change.chain.members[0].target_id = target;
	change.chain.members[0].state = MEMBER_IN_SYNC;
	switch (draw(6)) {
	case 0:
		(void)command(&(struct log_command){.kind = COMMAND_DRAIN,
						    .drain = {.targets = &target,
							      .count = 1,
							      .draining = draw(2) == 0}},
			      &result);
		break;
	case 1:
		(void)command(&(struct log_command){.kind = COMMAND_RECOVERY,
						    .recovery = {.rate = number}},
			      &result);
		break;
	case 2: /* also of files whose chunks are there still: nobody looks here */
		(void)command(&(struct log_command){.kind = COMMAND_REMOVED,
						    .removed = {.sequences = &number, .count = 1}},
			      &result);
		break;
	case 3:
		(void)command(
			&(struct log_command){.kind = COMMAND_CHAINS,
					      .chains = {.changes = &change, .change_count = 1}},
			&result);
		break;
	case 4:
		(void)command(
			&(struct log_command){.kind = COMMAND_FENCES_OWED, .owed = draw(2) == 0},
			&result);
		break;
	default:
		register_server();
	}
}

static void operate(void)
{
	int who = (int)draw(MODEL_SESSIONS);

	switch (draw(32)) {
	case 0:
		say_answered(who);
		break;
	case 1:
		if (draw(4) == 0)
			play_session(who);
		else if (draw(4) == 0)
			play_gap(who);
		else if (draw(2) == 0)
			repeat_one();
		else
			play_master();
		break;
	case 2:
		catchup_store();
		break;
	case 3:
		if (draw(4) == 0)
			power_cut();
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
	catchup_store();
	for (int i = 0; i < OPERATIONS && sim.model.inode_count < MODEL_INODES; i++) {
		operate();
		if (i % 300 == 299)
			compare_everything();
	}
	compare_everything();
	compare_replica();
	power_cut();
	compare_everything();
	for (int s = 0; s < MODEL_SESSIONS; s++)
		forget_sent(sim.sessions[s], UINT64_MAX);
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
