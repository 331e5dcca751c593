#include "tests/unit/fs/session/meta_fixture.h"
#include "tests/lib/rpc_end.h"

/* ---- the master ---- */

struct master master;

_Atomic uint64_t slept_ns;

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, out);
	uint64_t ns;

	if (rc != 0 || clock != CLOCK_BOOTTIME)
		return rc;
	ns = (uint64_t)out->tv_sec * NS_PER_SEC + (uint64_t)out->tv_nsec + slept_ns;
	out->tv_sec = (time_t)(ns / NS_PER_SEC);
	out->tv_nsec = (long)(ns % NS_PER_SEC);
	return 0;
}

static char dir[CA_PATH_MAX];
struct ca_files master_files, client_files, admin_files;

void push(struct rpc_stream *stream, const Catena__ClientPush *message)
{
	size_t size = catena__client_push__get_packed_size(message);
	uint8_t *data = malloc(size + 1);

	catena__client_push__pack(message, data);
	rpc_stream_send(stream, data, size);
	free(data);
}

static void answer_open(struct rpc_stream *stream, const Catena__SessionOpen *open)
{
	Catena__SessionOpened opened = CATENA__SESSION_OPENED__INIT, *list[1] = {&opened};
	Catena__ClusterMap map = CATENA__CLUSTER_MAP__INIT, *map_list[1] = {&map};
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;

	map.version = 1;
	message.n_maps = 1;
	message.maps = map_list;
	message.n_opened = 1;
	message.opened = list;
	opened.lease_ns = LEASE_NS;
	opened.default_pool = 3;
	opened.instance = master.instance;
	opened.life = master.life;
	opened.lanes = master.lanes;
	if (master.refuse_sessions) {
		opened.error = EUSERS;
		opened.message = (char *)"too many clients";
	} else if (open->session_id != 0 &&
		   (master.forget_sessions || open->session_id != master.session ||
		    open->session_secret != master.secret)) {
		opened.error = ESTALE;
		master.forget_sessions = false;
	} else if (open->session_id != 0) {
		master.resumes++;
		master.commands_told = open->answered;
		opened.forgotten = master.forget_commands;
	} else {
		master.opens++;
		master.session++;
		master.secret += 17;
	}
	opened.session_id = master.session;
	opened.session_secret = master.secret;
	push(stream, &message);
}

static void answer_requests(struct rpc_stream *stream, const Catena__ClientBatch *batch)
{
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;
	Catena__Reply *replies = calloc(batch->n_requests + 1, sizeof(*replies));
	Catena__Reply **list = calloc(batch->n_requests + 1, sizeof(*list));
	uint64_t lane_done = 0, index = master.requests + batch->n_requests;
	size_t room = batch->n_requests, count = 0;

	for (size_t i = 0; i < batch->n_requests; i++) {
		const Catena__Request *request = batch->requests[i];

		if (master.requests < IDS_MAX) {
			master.ids[master.requests] = request->id;
			master.numbers[master.requests] = request->lane;
			master.asked_durable[master.requests] = request->durable;
			master.ops[master.requests++] = request->op_case;
		}
		if (request->lane != 0)
			lane_done = request->lane;
		if (request->lane != 0 && master.lanes && request->lane != master.refused_lane)
			continue;
		catena__reply__init(&replies[i]);
		replies[i].id = request->id;
		replies[i].error = request->op_case == CATENA__REQUEST__OP_LOOKUP ? ENOENT
				   : request->lane != 0 && master.lanes           ? EEXIST
										  : master.error;
		/* The last first: order is not promised. */
		list[room - ++count] = &replies[i];
	}
	message.n_replies = count;
	message.replies = list + room - count;
	if (master.lanes) {
		message.n_lane_done = lane_done != 0 ? 1 : 0;
		message.lane_done = &lane_done;
		message.n_index = message.n_durable = 1;
		message.index = &index;
		message.durable = &master.durable;
	}
	if (batch->n_requests > 0 && !master.hold_replies)
		push(stream, &message);
	free(replies);
	free(list);
}

static void answer_renews(struct rpc_stream *stream, const Catena__ClientBatch *batch)
{
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;

	master.renews += (unsigned)batch->n_renews;
	if (batch->n_renews > 0) {
		master.unreachable_count = batch->n_unreachable;
		for (size_t i = 0; i < batch->n_unreachable && i <= META_UNREACHABLE_MAX; i++)
			master.unreachable[i] = batch->unreachable[i];
	}
	if (master.hold_renews || batch->n_renews == 0)
		return;
	message.n_renewed = batch->n_renews;
	message.renewed = batch->renews;
	push(stream, &message);
}

static int on_open(void *user, struct rpc_stream *stream, const struct tls_identity *peer,
		   void **stream_user)
{
	*stream_user = NULL;
	return peer->role == TLS_ROLE_CLIENT ? 0 : -EACCES;
}

static void on_message(void *user, struct rpc_stream *stream, const uint8_t *data, size_t size)
{
	Catena__ClientBatch *batch = catena__client_batch__unpack(NULL, size, data);

	pthread_mutex_lock(&master.lock);
	master.stream = stream;
	for (size_t i = 0; i < batch->n_open; i++)
		answer_open(stream, batch->open[i]);
	answer_requests(stream, batch);
	answer_renews(stream, batch);
	for (size_t i = 0; i < batch->n_returns; i++) {
		master.returns++;
		master.returned_sequence = batch->returns[i]->sequence;
	}
	for (size_t i = 0; i < batch->n_answered; i++)
		master.answered = batch->answered[i];
	master.goodbyes += (unsigned)batch->n_goodbye;
	if (batch->n_goodbye > 0)
		master.goodbye = batch->goodbye[0];
	pthread_mutex_unlock(&master.lock);
	catena__client_batch__free_unpacked(batch, NULL);
}

static void on_closed(void *user, struct rpc_stream *stream, int error)
{
	pthread_mutex_lock(&master.lock);
	if (master.stream == stream)
		master.stream = NULL;
	pthread_mutex_unlock(&master.lock);
}

static void master_start(const char *listen)
{
	static const struct rpc_stream_handler handler = {
		.open = on_open, .message = on_message, .closed = on_closed};
	static const struct rpc_method methods[] = {{"/catena.Master/Session", &handler, NULL},
						    {NULL, NULL, NULL}};
	struct rpc_server_options options = {
		.listen = listen, .tls = master_files.files, .methods = methods};
	char error[256];

	if (rpc_server_start(&options, &master.server, error, sizeof(error)) != 0)
		fail_msg("%s", error);
	snprintf(master.address, sizeof(master.address), "127.0.0.1:%u",
		 rpc_server_port(master.server));
}

void tell_durable(uint64_t index)
{
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;

	pthread_mutex_lock(&master.lock);
	master.durable = index;
	message.n_durable = 1;
	message.durable = &index;
	push(master.stream, &message);
	pthread_mutex_unlock(&master.lock);
}

void master_break(void)
{
	pthread_mutex_lock(&master.lock);
	if (master.stream != NULL)
		rpc_stream_close(master.stream);
	pthread_mutex_unlock(&master.lock);
}

void send_lease(bool grant, uint64_t sequence)
{
	Catena__Lease lease = CATENA__LEASE__INIT, *list[1] = {&lease};
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;

	lease.sequence = sequence;
	lease.kind = grant ? CATENA__LEASE_KIND__LEASE_EXCLUSIVE : CATENA__LEASE_KIND__LEASE_NONE;
	if (grant) {
		message.n_grants = 1;
		message.grants = list;
	} else {
		message.n_recalls = 1;
		message.recalls = list;
	}
	pthread_mutex_lock(&master.lock);
	push(master.stream, &message);
	pthread_mutex_unlock(&master.lock);
}

/* ---- the mount's side ---- */

struct meta *meta;
atomic_uint maps, sessions, grants, recalls, losts, done_ok, done_failed, done_absent,
	done_unanswered;

void note_map(void *user, struct cluster_map *map)
{
	usleep(2000); /* whoever does not wait for it is seen */
	atomic_fetch_add(&maps, 1);
}
void note_session(void *user, uint64_t id)
{
	atomic_fetch_add(&sessions, 1);
}
void note_granted(void *user)
{
	atomic_fetch_add(&grants, 1);
}
void note_recalled(void *user)
{
	atomic_fetch_add(&recalls, 1);
}
void note_lost(void *user)
{
	atomic_fetch_add(&losts, 1);
}
atomic_uint forgettings;
atomic_uint restarts;
void note_restarted(void *user, bool lost)
{
	atomic_fetch_add(lost ? &forgettings : &restarts, 1);
}
atomic_uint lost_servers;
size_t note_unreachable(void *user, uint64_t *servers, size_t max)
{
	size_t count = atomic_load(&lost_servers);

	count = count < max ? count : max;
	for (size_t i = 0; i < count; i++)
		servers[i] = UINT64_MAX - i;
	return count;
}

void note_done(void *user, int error, const Catena__Reply *reply)
{
	atomic_uint *calls = user;

	if (calls != NULL)
		atomic_fetch_add(calls, 1);
	if (reply == NULL)
		atomic_fetch_add(&done_unanswered, 1);
	if (error == 0)
		atomic_fetch_add(&done_ok, 1);
	else if (error == -ENOENT)
		atomic_fetch_add(&done_absent, 1);
	else
		atomic_fetch_add(&done_failed, 1);
}

void call_by(void (*how)(struct meta *meta, Catena__Request *request, meta_done_fn *done,
			 void *user),
	     uint32_t op, atomic_uint *calls)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	Catena__StatfsReq statfs = CATENA__STATFS_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	request.op_case = (Catena__Request__OpCase)op;
	if (op == CATENA__REQUEST__OP_GETATTR)
		request.getattr = &getattr;
	else if (op == CATENA__REQUEST__OP_LOOKUP)
		request.lookup = &lookup;
	else if (op == CATENA__REQUEST__OP_STATFS)
		request.statfs = &statfs;
	else if (op == CATENA__REQUEST__OP_CREATE)
		request.create = &create;
	else
		request.unlink = &unlink;
	how(meta, &request, note_done, calls);
}

void call(uint32_t op, atomic_uint *calls)
{
	call_by(meta_call, op, calls);
}

void call_later(uint32_t op, atomic_uint *calls)
{
	call_by(meta_call_later, op, calls);
}

bool wait_for(bool (*holds)(void))
{
	uint64_t end = clock_monotonic_ns() + PATIENCE;

	while (!holds()) {
		if (clock_monotonic_ns() > end)
			return false;
		usleep(1000);
	}
	return true;
}

unsigned seen(const unsigned *counter)
{
	unsigned value;

	pthread_mutex_lock(&master.lock);
	value = *counter;
	pthread_mutex_unlock(&master.lock);
	return value;
}

int open_meta(uint64_t soft_ns, char *error, size_t size)
{
	struct meta_options options = {
		.masters = master.address,
		.tls = client_files.files,
		.mount_name = "test:/mnt",
		.soft_timeout_ns = soft_ns,
		.callbacks = {note_map, note_session, note_granted, note_recalled, note_lost,
			      note_unreachable, note_restarted},
	};

	return meta_open(&options, PATIENCE, &meta, error, size);
}

int setup(void **state)
{
	char error[256] = "";
	(void)state;

	pthread_mutex_lock(&master.lock);
	master.hold_replies = master.hold_renews = master.refuse_sessions = false;
	master.forget_sessions = master.forget_commands = false;
	master.lanes = false;
	master.refused_lane = master.durable = 0;
	master.error = 0;
	master.instance = 7;
	master.life = 1;
	master.opens = master.resumes = master.goodbyes = master.renews = master.returns = 0;
	master.requests = 0;
	master.answered = 0;
	pthread_mutex_unlock(&master.lock);
	maps = sessions = grants = recalls = losts = 0;
	forgettings = restarts = 0;
	done_ok = done_failed = done_absent = done_unanswered = 0;
	if (open_meta(0, error, sizeof(error)) != 0) {
		fprintf(stderr, "%s\n", error);
		return -1;
	}
	return 0;
}

int teardown(void **state)
{
	(void)state;
	meta_close(meta, true);
	meta = NULL;
	return 0;
}

bool one_done(void)
{
	return done_ok + done_absent == 1;
}

int group_setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	ca_temp_dir(dir);
	ca_init(dir, "test");
	ca_issue(dir, "master", "master-1", NULL, &master_files);
	ca_issue(dir, "client", "mount-1", NULL, &client_files);
	ca_issue(dir, "admin", "admin-1", NULL, &admin_files);
	pthread_mutex_init(&master.lock, NULL);
	rpc_init();
	master_start("127.0.0.1:0");
	return 0;
}

int group_teardown(void **state)
{
	(void)state;
	rpc_server_stop(master.server);
	rpc_end();
	tree_remove(dir);
	return 0;
}
