#include "tests/lib/fs_master_fixture.h"
#include "master/records/sessions.h"

struct master master = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *word_of(const Catena__Request *request)
{
	static const char *const words[] = {[CATENA__REQUEST__OP_LOOKUP] = "lookup",
					    [CATENA__REQUEST__OP_GETATTR] = "getattr",
					    [CATENA__REQUEST__OP_CREATE] = "create",
					    [CATENA__REQUEST__OP_LINK] = "link",
					    [CATENA__REQUEST__OP_UNLINK] = "unlink",
					    [CATENA__REQUEST__OP_RENAME] = "rename",
					    [CATENA__REQUEST__OP_READLINK] = "readlink",
					    [CATENA__REQUEST__OP_READDIR] = "readdir",
					    [CATENA__REQUEST__OP_OPEN] = "open",
					    [CATENA__REQUEST__OP_CLOSE] = "close",
					    [CATENA__REQUEST__OP_XATTR] = "xattr",
					    [CATENA__REQUEST__OP_STATFS] = "statfs",
					    [CATENA__REQUEST__OP_FLUSH_ALL] = "flush-all",
					    [CATENA__REQUEST__OP_DELEGATE] = "delegate"};

	if (request->op_case == CATENA__REQUEST__OP_APPEND)
		return request->append->release ? "release" : "append";
	if (request->op_case != CATENA__REQUEST__OP_SETATTR)
		return words[request->op_case];
	switch (request->setattr->mask &
		~(uint32_t)(CATENA__SET_MASK__SET_ATIME | CATENA__SET_MASK__SET_MTIME |
			    CATENA__SET_MASK__SET_CTIME | CATENA__SET_MASK__SET_OWN_TIMES)) {
	case 0:
		return request->durable ? "times+durable" : "times";
	case CATENA__SET_MASK__SET_SIZE:
		return request->durable ? "size+durable" : "size";
	case CATENA__SET_MASK__SET_GROW:
		return request->durable ? "grow+durable" : "grow";
	case CATENA__SET_MASK__SET_TRIM_DONE:
		return "trimmed";
	case CATENA__SET_MASK__SET_TRIM_TAKE:
		return request->durable ? "take+durable" : "take";
	case CATENA__SET_MASK__SET_KILL_PRIV:
		return "clear";
	case CATENA__SET_MASK__SET_SIZE | CATENA__SET_MASK__SET_KILL_PRIV:
		return "size+clear";
	default:
		return "setattr";
	}
}

void deliver(struct held_reply *held)
{
	Catena__Reply *reply =
		held->bytes == NULL ? NULL : catena__reply__unpack(NULL, held->size, held->bytes);

	if (held->done != NULL)
		held->done(held->user, reply == NULL ? 0 : -reply->error, reply);
	catena__reply__free_unpacked(reply, NULL);
	free(held->bytes);
	free(held);
}

static int execute_command(uint64_t session, Catena__Request *request, struct held_reply *held)
{
	struct state_request command = {.session = session, .message = request};
	struct state_answer answer;
	int rc;

	if (request->lane != 0)
		request->lane = session_find(master.state, session)->lane_done + 1;
	rc = state_apply_request(master.state, ++master.index, &command, &answer);
	held->bytes = answer.reply;
	held->size = answer.reply_size;
	return rc;
}

static void master_execute(uint64_t session, Catena__Request *request, struct held_reply *held)
{
	Catena__Reply failed = CATENA__REPLY__INIT;
	int rc = 0;

	request->id = ++master.id;
	master.last_generation = request->lease_generation;
	request->lease_generation = 0; /* the state has no lease here */
	if (master.lose)
		return;
	if (master.fail != 0) {
		failed.id = request->id;
		failed.error = master.fail;
		master.fail = 0;
		held->size = catena__reply__get_packed_size(&failed);
		held->bytes = malloc(held->size + 1);
		catena__reply__pack(&failed, held->bytes);
	} else if (state_request_is_command(request)) {
		rc = execute_command(session, request, held);
	} else {
		rc = state_query(master.state, session, request, &held->bytes, &held->size);
	}
	if (rc != 0)
		abort();
}

void meta_call_now(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user)
{
	struct held_reply *held = calloc(1, sizeof(*held)), **link;
	bool hold;

	if (request->time == 0)
		request->time = clock_realtime_ns();
	held->done = done;
	held->user = user;
	note(word_of(request));
	pthread_mutex_lock(&master.lock);
	master.durable += request->durable ? 1 : 0;
	master_execute(master.session, request, held);
	hold = master.hold;
	if (hold) {
		for (link = &master.held; *link != NULL; link = &(*link)->next)
			;
		*link = held;
	}
	pthread_mutex_unlock(&master.lock);
	if (!hold)
		deliver(held);
}

/* What is called while the order is held waits, as bytes. */
struct held_call {
	struct held_call *next;
	meta_done_fn *done;
	void *user;
	uint8_t *bytes;
	size_t size;
};

struct meta_hold {
	struct meta_hold *next;
	bool released;
	void (*go)(void *user);
	void *user;
	struct held_call *calls;
};

static struct {
	pthread_mutex_t lock;
	struct meta_hold *first, *last;
	bool passing;
} order = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* False: nothing is held. */
static bool hold_call(Catena__Request *request, meta_done_fn *done, void *user)
{
	struct held_call *call, **link;
	bool held;

	pthread_mutex_lock(&order.lock);
	held = order.last != NULL;
	if (held) {
		if (request->time == 0)
			request->time = clock_realtime_ns();
		call = calloc(1, sizeof(*call));
		call->done = done;
		call->user = user;
		call->size = catena__request__get_packed_size(request);
		call->bytes = malloc(call->size + 1);
		catena__request__pack(request, call->bytes);
		for (link = &order.last->calls; *link != NULL; link = &(*link)->next)
			;
		*link = call;
	}
	pthread_mutex_unlock(&order.lock);
	return held;
}

void meta_call(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user)
{
	if (!hold_call(request, done, user))
		meta_call_now(meta, request, done, user);
}

void meta_call_later(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user)
{
	request->lane = 1; /* its number comes with its turn */
	meta_call(meta, request, done, user);
}

bool meta_lane_full(const struct meta *meta)
{
	return false;
}

void meta_call_within(struct meta *meta, uint64_t session, bool now, Catena__Request *request,
		      meta_done_fn *done, void *user)
{
	if (session != 0 && session != fs->session_id) {
		note("lost");
		if (done != NULL)
			done(user, -EIO, NULL);
		return;
	}
	(now ? meta_call_now : meta_call)(meta, request, done, user);
}

struct meta_hold *meta_hold(struct meta *meta, void (*go)(void *user), void *user)
{
	struct meta_hold *hold = calloc(1, sizeof(*hold));

	hold->go = go;
	hold->user = user;
	pthread_mutex_lock(&order.lock);
	if (order.last != NULL)
		order.last->next = hold;
	else
		order.first = hold;
	order.last = hold;
	pthread_mutex_unlock(&order.lock);
	return hold;
}

static void send_held_call(struct held_call *call)
{
	Catena__Request *request = catena__request__unpack(NULL, call->size, call->bytes);

	meta_call_now(NULL, request, call->done, call->user);
	catena__request__free_unpacked(request, NULL);
	free(call->bytes);
	free(call);
}

/* With the lock held, which is free meanwhile. */
static void pass_first_hold(void)
{
	struct meta_hold *first = order.first;

	pthread_mutex_unlock(&order.lock);
	first->go(first->user);
	pthread_mutex_lock(&order.lock);
	while (first->calls != NULL) {
		struct held_call *call = first->calls;

		first->calls = call->next;
		pthread_mutex_unlock(&order.lock);
		send_held_call(call);
		pthread_mutex_lock(&order.lock);
	}
	order.first = first->next;
	if (order.first == NULL)
		order.last = NULL;
	free(first);
}

void meta_hold_release(struct meta *meta, struct meta_hold *hold)
{
	pthread_mutex_lock(&order.lock);
	hold->released = true;
	if (!order.passing) {
		order.passing = true;
		while (order.first != NULL && order.first->released)
			pass_first_hold();
		order.passing = false;
	}
	pthread_mutex_unlock(&order.lock);
}

void release_replies(bool backwards)
{
	struct held_reply *list, *turned = NULL;

	pthread_mutex_lock(&master.lock);
	list = master.held;
	master.held = NULL;
	master.hold = false;
	pthread_mutex_unlock(&master.lock);
	while (backwards && list != NULL) {
		struct held_reply *next = list->next;

		list->next = turned;
		turned = list;
		list = next;
	}
	if (backwards)
		list = turned;
	while (list != NULL) {
		struct held_reply *next = list->next;

		deliver(list);
		list = next;
	}
}

int other_session(uint64_t session, Catena__Request *request)
{
	struct held_reply *held = calloc(1, sizeof(*held));
	Catena__Reply *reply;
	int error;

	request->time = clock_realtime_ns();
	pthread_mutex_lock(&master.lock);
	master_execute(session, request, held);
	pthread_mutex_unlock(&master.lock);
	reply = catena__reply__unpack(NULL, held->size, held->bytes);
	error = reply->error;
	catena__reply__free_unpacked(reply, NULL);
	free(held->bytes);
	free(held);
	return -error;
}

bool meta_sole(const struct meta *meta)
{
	bool sole;

	pthread_mutex_lock(&master.lock);
	sole = master.sole;
	pthread_mutex_unlock(&master.lock);
	return sole;
}
uint64_t meta_grant(const struct meta *meta)
{
	return master.grant;
}
bool meta_reachable(const struct meta *meta)
{
	return !master.unreachable;
}
uint64_t meta_lease_left_ns(const struct meta *meta)
{
	return meta_sole(meta) ? master.lease_left_ns : 0;
}
uint64_t meta_generation(const struct meta *meta)
{
	return master.generation;
}
void meta_lease_return(struct meta *meta)
{
	note("return");
	pthread_mutex_lock(&master.lock);
	master.returns++;
	pthread_mutex_unlock(&master.lock);
}
uint64_t meta_session_id(const struct meta *meta)
{
	return master.session;
}
uint32_t meta_default_pool(const struct meta *meta)
{
	return 1;
}

void set_sole(bool sole)
{
	pthread_mutex_lock(&master.lock);
	master.sole = sole;
	pthread_mutex_unlock(&master.lock);
	master.generation++;
}

struct state_counts counts(void)
{
	struct state_counts c;

	pthread_mutex_lock(&master.lock);
	state_counts(master.state, &c);
	pthread_mutex_unlock(&master.lock);
	return c;
}
