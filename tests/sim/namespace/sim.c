/* sim.c - see sim.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster/request_kind.h"
#include "tests/lib/random.h"
#include "tests/sim/namespace/sim.h"

#define NAMES      9
#define UNTOLD_MAX 300

struct sim sim;

uint64_t sim_draw(uint64_t below)
{
	return random_below(&sim.random, below);
}

const char *sim_draw_name(void)
{
	static const char *names[NAMES] = {
		"a", "b", "c", "d", "e", "file", "directory", "a name of some length", "\xc3\xa4"};

	return names[sim_draw(NAMES)];
}

/* Any inode that ever was, rather a new one; directories and files mixed, to be refused too. */
int sim_draw_inode(void)
{
	int count = sim.model.inode_count;

	if (sim_draw(4) == 0)
		return 0;
	if (count > 12 && sim_draw(8) != 0)
		return count - 1 - (int)sim_draw(12);
	return (int)sim_draw((uint64_t)count);
}

/* Mostly one of this type that is there. */
int sim_draw_of_type(uint32_t type)
{
	int slot = 0;

	for (int tries = 0; tries < 6; tries++) {
		slot = sim_draw_inode();
		if (sim.model.inodes[slot].exists && sim.model.inodes[slot].type == type)
			break;
	}
	return slot;
}

int sim_draw_directory(void)
{
	return sim_draw_of_type(S_IFDIR);
}

/* ---- sending, syncing, crashing ---- */

/* Forgets what the master will not hear again: @session's requests up to @id. */
void sim_forget_sent(uint64_t session, uint64_t id)
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

void sim_catchup_store(void)
{
	assert_int_equal(kv_flush(sim.f.kv), 0);
	memcpy(sim.durable_ids, sim.request_ids, sizeof(sim.durable_ids));
}

/* The client will say with its next command that it has the answers of what is durable. */
void sim_say_answered(int who)
{
	if (sim.durable_ids[who] == 0)
		return;
	sim.answered[who] = sim.durable_ids[who];
	sim_forget_sent(sim.sessions[who], sim.durable_ids[who]);
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

	assert_int_equal(
		apply(state_applied_index(sim.f.state) + 1, sent->session, request, &reply, &size),
		0);
	assert_int_equal(size, sent->reply_size);
	assert_memory_equal(reply, sent->reply, size);
	free(reply);
	catena__request__free_unpacked(request, NULL);
}

void sim_compare_replica(void)
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

static void begin_life(void)
{
	struct state_start life = {.instance = 1, .chance = 1 + sim_draw(UINT64_C(1) << 60)};

	assert_int_equal(state_apply_start(sim.f.state, state_applied_index(sim.f.state) + 1, &life,
					   STATE_ID_GAP),
			 0);
}

void sim_power_cut(void)
{
	sim_compare_replica();
	kv_memory_crash(sim.f.kv);
	assert_int_equal(fixture_reopen(&sim.f), 0);
	assert_true(state_is_sound(&sim.f));
	if (sim_draw(3) != 0)
		begin_life();
	for (int i = 0; i < sim.log_count; i++)
		send_again(&sim.log[i]);
	sim.f.index = state_applied_index(sim.f.state);
	begin_replica_again();
}

static void keep_command(const Catena__Request *request, uint64_t session)
{
	struct sent *sent;

	if (sim.log_count == SIM_LOG_MAX) {
		/* Not of the request at hand: it is not in the log yet. */
		sim_catchup_store();
		for (int who = 0; who < MODEL_SESSIONS; who++)
			if (sim.sessions[who] != session)
				sim_say_answered(who);
	}
	assert_true(sim.log_count < SIM_LOG_MAX);
	sent = &sim.log[sim.log_count++];
	sent->session = session;
	sent->id = request->id;
	sent->request_size = catena__request__get_packed_size(request);
	sent->request = malloc(sent->request_size + 1);
	catena__request__pack(request, sent->request);
	sent->reply_size = sim.f.size;
	sent->reply = malloc(sent->reply_size + 1);
	if (sent->reply_size != 0)
		memcpy(sent->reply, sim.f.bytes, sent->reply_size);
}

void sim_repeat_one(void)
{
	if (sim.log_count > 0)
		send_again(&sim.log[sim_draw((uint64_t)sim.log_count)]);
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
	if (sim_draw(40) == 0)
		kv_memory_fail_write(f->kv, 1, sim_draw(2) ? EIO : ENOSPC);
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
	if (sim_draw(40) == 0 || ++sim.untold == UNTOLD_MAX) {
		sim.untold = 0;
		sim_compare_replica();
	}
}

int sim_command(const struct log_command *command, struct command_result *result)
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
	if (request->op_case == CATENA__REQUEST__OP_CREATE)
		return expected != 0 || request->create->ino != 0;
	return state_request_is_command(request) &&
	       request->op_case != CATENA__REQUEST__OP_DELEGATE;
}

void sim_ask(int who, Catena__Request *request, int expected)
{
	struct request_arg arg = {.request = request};
	int rc;

	sim.by_lane = may_be_of_lane(request, expected) && sim_draw(2) == 0;
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
	keep_command(request, sim.sessions[who]);
	/* A repetition would get other numbers, so the client is not answered before. */
	if (rc == 0 && request_kind_takes_numbers(request))
		sim_catchup_store();
}

void sim_take_number(int who, uint64_t *ino, uint64_t *file_id)
{
	struct numbers *numbers = &sim.numbers[who];

	if (numbers->left == 0) {
		FIXTURE_REQUEST(DelegateReq, DELEGATE_REQ, DELEGATE);
		request.delegate = &req;
		req.count = 1 + (uint32_t)sim_draw(20);
		sim_ask(who, &request, 0);
		numbers->ino = sim.f.reply->delegation->first_ino;
		numbers->file_id = sim.f.reply->delegation->first_file_id;
		numbers->left = req.count;
	}
	numbers->left--;
	*ino = numbers->ino++;
	*file_id = numbers->file_id++;
}

/* ---- comparing ---- */

void sim_assert_attr(const Catena__Attr *attr, const struct model_inode *inode)
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
					    1 + (uint32_t)sim_draw(4), sim_draw(2)),
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
				sim_assert_attr(entry->attr, &sim.model.inodes[expected->child]);
			assert_true(entry->cookie > cookie);
			cookie = entry->cookie;
			listed++;
		}
		eof = f->reply->eof;
	} while (!eof);
	assert_int_equal(listed, model_entry_count(&sim.model, dir));
}

void sim_compare_everything(void)
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
			sim_assert_attr(sim.f.reply->attr, inode);
		if (inode->exists && inode->type == S_IFDIR && inode->nlink == 0)
			assert_int_equal(do_readdir(&sim.f, inode->ino, 0, 0, false), -ENOENT);
		else if (inode->exists && inode->type == S_IFDIR)
			compare_directory(i);
	}
	assert_int_equal(sim.f.state->counters.inodes, exist);
}
