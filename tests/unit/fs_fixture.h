/* fs_fixture.h - the filesystem's operations without kernel, network and disks.
 *
 * The master is its real state machine on the memory twin of the store; the chunkservers are bytes
 * in memory; the kernel is the test. Answers of the master and of the data layer can be held back
 * and given in any order. One file only includes this: it defines meta_*(), data_*() and the
 * replies of libfuse. */
#ifndef CATENA_TESTS_UNIT_FS_FIXTURE_H
#define CATENA_TESTS_UNIT_FS_FIXTURE_H
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/buf.h"
#include "common/clock.h"
#include "common/kv.h"
#include "common/log.h"
#include "fs/flush.h"
#include "fs/keeper.h"
#include "fs/ops.h"
#include "fs/recall.h"
#include "master/state.h"

#define SESSION 7u
#define EVENTS  4096u

/* ---- what happened, in order, as words ---- */

static struct {
	pthread_mutex_t lock;
	char words[EVENTS][24];
	unsigned count;
} events = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(const char *word)
{
	pthread_mutex_lock(&events.lock);
	if (events.count < EVENTS)
		snprintf(events.words[events.count++], 24, "%s", word);
	pthread_mutex_unlock(&events.lock);
}

static inline void forget_events(void)
{
	pthread_mutex_lock(&events.lock);
	events.count = 0;
	pthread_mutex_unlock(&events.lock);
}

static inline unsigned count_events(const char *word)
{
	unsigned n = 0;

	pthread_mutex_lock(&events.lock);
	for (unsigned i = 0; i < events.count; i++)
		n += strcmp(events.words[i], word) == 0;
	pthread_mutex_unlock(&events.lock);
	return n;
}

/* All of them, joined by spaces. */
static inline const char *history(void)
{
	static char text[EVENTS * 4];
	size_t used = 0;

	text[0] = '\0';
	pthread_mutex_lock(&events.lock);
	for (unsigned i = 0; i < events.count && used + 32 < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
					 events.words[i]);
	pthread_mutex_unlock(&events.lock);
	return text;
}

static struct fs *fs;

/* ---- the master ---- */

struct held_reply {
	struct held_reply *next;
	meta_done_fn *done;
	void *user;
	uint8_t *bytes;
	size_t size;
};

static struct {
	pthread_mutex_t lock;
	struct kv *kv;
	struct state *state;
	uint64_t index, id, session;
	bool sole, hold, unreachable;
	uint64_t grant, last_generation; /* of the lease, in the last request */
	bool lose;                       /* nothing is executed: the answers are for nobody */
	uint64_t lease_left_ns;
	_Atomic uint64_t generation;
	unsigned returns;
	int fail; /* the next request ends with this errno, not executed */
	struct held_reply *held;
	unsigned syncs;
} master = {.lock = PTHREAD_MUTEX_INITIALIZER};

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
					    [CATENA__REQUEST__OP_SYNC_ALL] = "sync",
					    [CATENA__REQUEST__OP_DELEGATE] = "delegate"};

	if (request->op_case == CATENA__REQUEST__OP_APPEND)
		return request->append->release ? "release" : "append";
	if (request->op_case != CATENA__REQUEST__OP_SETATTR)
		return words[request->op_case];
	switch (request->setattr->mask &
		~(uint32_t)(CATENA__SET_MASK__SET_ATIME | CATENA__SET_MASK__SET_MTIME |
			    CATENA__SET_MASK__SET_CTIME | CATENA__SET_MASK__SET_OWN_TIMES)) {
	case 0:
		return request->sync ? "times+sync" : "times";
	case CATENA__SET_MASK__SET_SIZE:
		return "size";
	case CATENA__SET_MASK__SET_GROW:
		return request->sync ? "grow+sync" : "grow";
	case CATENA__SET_MASK__SET_TRIM_DONE:
		return "trimmed";
	case CATENA__SET_MASK__SET_TRIM_TAKE:
		return "take";
	case CATENA__SET_MASK__SET_KILL_PRIV:
		return "clear";
	case CATENA__SET_MASK__SET_SIZE | CATENA__SET_MASK__SET_KILL_PRIV:
		return "size+clear";
	default:
		return "setattr";
	}
}

static void deliver(struct held_reply *held)
{
	Catena__Reply *reply = catena__reply__unpack(NULL, held->size, held->bytes);

	if (held->done != NULL)
		held->done(held->user, -reply->error, reply);
	catena__reply__free_unpacked(reply, NULL);
	free(held->bytes);
	free(held);
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
		rc = state_apply_request(master.state, ++master.index, session, request,
					 &held->bytes, &held->size);
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
	master.syncs += request->sync ? 1 : 0;
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
	meta_call(meta, request, done, user);
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

void meta_release(struct meta *meta, struct meta_hold *hold)
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

/* Gives the held answers, the last first if @backwards. */
static inline void release_replies(bool backwards)
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

/* Somebody else's request. */
static inline int other_session(uint64_t session, Catena__Request *request)
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

static inline void set_sole(bool sole)
{
	pthread_mutex_lock(&master.lock);
	master.sole = sole;
	pthread_mutex_unlock(&master.lock);
	master.generation++;
}

static inline struct state_counts counts(void)
{
	struct state_counts c;

	pthread_mutex_lock(&master.lock);
	state_counts(master.state, &c);
	pthread_mutex_unlock(&master.lock);
	return c;
}

/* ---- the data layer ---- */

#define FILE_BYTES (1u << 20)

struct data_file {
	uint64_t ino, id;
	unsigned refs;
	bool dirty;
	int error;
	struct data_file *next;
	uint8_t *bytes;
};

struct held_done {
	struct held_done *next;
	data_done_fn *done;
	void *user;
	int error;
};

static struct {
	struct buf_pool *pool;
	struct data_file *files; /* those of old ids too: what was written stays */
	bool hold_flushes, hold_writes;
	int list_error;
	int write_error; /* of those to come */
	struct held_done *held;
	uint64_t space, session;
	struct data_options options; /* as they were opened with */
} chunks = {.space = UINT64_MAX};

static struct data_file *file_of(uint64_t id)
{
	struct data_file *file = chunks.files;

	while (file != NULL && file->id != id)
		file = file->next;
	if (file != NULL)
		return file;
	file = calloc(1, sizeof(*file));
	file->id = id;
	file->bytes = calloc(1, FILE_BYTES);
	file->next = chunks.files;
	chunks.files = file;
	return file;
}

int data_open(const struct data_options *options, struct data **out, char *error, size_t error_size)
{
	*out = (struct data *)&chunks;
	chunks.options = *options;
	return buf_pool_create(0, &chunks.pool);
}
void data_close(struct data *data, uint64_t timeout_ns)
{
	while (chunks.files != NULL) {
		struct data_file *next = chunks.files->next;

		if (chunks.files->refs != 0)
			fprintf(stderr, "file %llu is still held\n",
				(unsigned long long)chunks.files->id);
		free(chunks.files->bytes);
		free(chunks.files);
		chunks.files = next;
	}
	buf_pool_destroy(chunks.pool);
}
void data_set_map(struct data *data, struct cluster_map *map)
{
}
static uint64_t lose(struct data_file *file)
{
	bool dirty = file->dirty;

	file->dirty = false;
	return dirty ? 1 : 0;
}
void data_set_session(struct data *data, uint64_t session_id)
{
	chunks.session = session_id;
}
uint64_t data_lose(struct data_file *file)
{
	return lose(file);
}
uint64_t data_lose_all(struct data *data)
{
	uint64_t lost = 0;

	for (struct data_file *file = chunks.files; file != NULL; file = file->next)
		lost += lose(file);
	return lost;
}
bool data_any_dirty(struct data *data)
{
	return false;
}
struct buf_pool *data_pool(struct data *data)
{
	return chunks.pool;
}
size_t data_unreachable(struct data *data, uint64_t *servers, size_t max)
{
	return 0;
}

uint64_t data_space_left(const struct data *data)
{
	return chunks.space;
}
int data_file_get(struct data *data, uint32_t pool, uint64_t file_id, struct data_file **out)
{
	*out = file_of(file_id);
	(*out)->refs++;
	return 0;
}
void data_file_set_ino(struct data_file *file, uint64_t ino)
{
	file->ino = ino;
}
struct data_file *data_file_ref(struct data_file *file)
{
	file->refs++;
	return file;
}
void data_file_put(struct data_file *file)
{
	file->refs--;
}
/* The object goes on with the new id; the old bytes stay behind under a copy of it. */
void data_file_replace(struct data_file *file, uint64_t file_id)
{
	struct data_file *old = calloc(1, sizeof(*old));

	note("replace");
	old->id = file->id;
	old->bytes = file->bytes;
	old->next = chunks.files;
	chunks.files = old;
	file->id = file_id;
	file->bytes = calloc(1, FILE_BYTES);
	file->dirty = false;
}
void data_file_discard(struct data_file *file)
{
	note("discard");
	file->dirty = false;
}

static void finish_data(bool hold, data_done_fn *done, void *user, int error)
{
	struct held_done *held, **link;

	if (!hold) {
		done(user, error);
		return;
	}
	held = malloc(sizeof(*held));
	*held = (struct held_done){.done = done, .user = user, .error = error};
	for (link = &chunks.held; *link != NULL; link = &(*link)->next)
		;
	*link = held;
}

static inline void release_data(void)
{
	struct held_done *list = chunks.held;

	chunks.held = NULL;
	chunks.hold_flushes = chunks.hold_writes = false;
	chunks.list_error = 0;
	while (list != NULL) {
		struct held_done *next = list->next;

		list->done(list->user, list->error);
		free(list);
		list = next;
	}
}

void data_write_within(struct data_file *file, uint64_t session, uint64_t offset,
		       struct buf *payload, bool through, data_done_fn *done, void *user)
{
	if (session != 0 && session != chunks.session) {
		buf_unref(payload);
		done(user, -EIO);
		return;
	}
	note(through ? "write+through" : "write");
	memcpy(file->bytes + offset, buf_payload(payload), payload->length);
	file->dirty = true;
	buf_unref(payload);
	finish_data(chunks.hold_writes, done, user, chunks.write_error);
}
void data_write(struct data_file *file, uint64_t offset, struct buf *payload, bool through,
		data_done_fn *done, void *user)
{
	data_write_within(file, 0, offset, payload, through, done, user);
}
void data_read(struct data_file *file, uint64_t offset, uint32_t length, uint64_t readahead_end,
	       data_read_fn *done, void *user)
{
	struct iovec iov = {.iov_base = file->bytes + offset, .iov_len = length};

	note("read");
	done(user, 0, &iov, 1);
}
void data_flush(struct data_file *file, bool durable, data_done_fn *done, void *user)
{
	int error = file->error;

	note(durable ? "flush+sync" : "flush");
	file->error = 0;
	file->dirty = false;
	finish_data(chunks.hold_flushes, done, user, error);
}
bool data_dirty(const struct data_file *file)
{
	return file->dirty;
}
void data_flush_all(struct data *data, bool durable, data_done_fn *done, void *user)
{
	done(user, 0);
}
void data_invalidate(struct data_file *file)
{
	note("invalidate");
}
void data_punch_within(struct data_file *file, uint64_t session, uint64_t from, uint64_t to,
		       data_done_fn *done, void *user)
{
	note("punch");
	if (to > FILE_BYTES)
		to = FILE_BYTES;
	memset(file->bytes + from, 0, to - from);
	done(user, 0);
}
void data_seek(struct data_file *file, uint64_t offset, uint64_t size, bool hole,
	       data_seek_fn *done, void *user)
{
	note("seek");
	done(user, 0, size);
}
uint64_t data_chunks(const struct data_file *file, uint64_t size)
{
	return size > 0;
}
size_t data_memory(struct data_file *file)
{
	return file->dirty ? 1 : 0;
}
/* One chunk; its blocks are those that are not zeros. */
void data_list(struct data_file *file, uint32_t from, uint32_t to, uint64_t patience_ns,
	       data_list_fn *done, void *user)
{
	static const uint8_t zeros[BLOCK_SIZE];
	struct data_listed chunk = {0};

	note("list");
	for (size_t at = 0; at < FILE_BYTES; at += BLOCK_SIZE)
		chunk.blocks += memcmp(file->bytes + at, zeros, BLOCK_SIZE) != 0;
	done(user, chunks.list_error, &chunk, chunks.list_error == 0);
}

/* ---- the kernel ---- */

struct fuse_req {
	unsigned answers;
	int error;
	struct fuse_entry_param entry;
	struct stat attr;
	double timeout;
	struct fuse_file_info fi;
	size_t size;
	char bytes[8192];
	fuse_interrupt_func_t interrupt;
	void *interrupt_data;
};

static struct fuse_ctx context;

static void answered(fuse_req_t req, int error)
{
	req->answers++;
	req->error = error;
}
void *fuse_req_userdata(fuse_req_t req)
{
	return fs;
}
const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &context;
}
void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	req->interrupt = func;
	req->interrupt_data = data;
}
int fuse_reply_err(fuse_req_t req, int error)
{
	answered(req, error);
	return 0;
}
void fuse_reply_none(fuse_req_t req)
{
	answered(req, 0);
}
int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
	req->entry = *entry;
	answered(req, 0);
	return 0;
}
int fuse_reply_create(fuse_req_t req, const struct fuse_entry_param *entry,
		      const struct fuse_file_info *fi)
{
	req->entry = *entry;
	req->fi = *fi;
	answered(req, 0);
	return 0;
}
int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	req->attr = *attr;
	req->timeout = timeout;
	answered(req, 0);
	return 0;
}
int fuse_reply_readlink(fuse_req_t req, const char *target)
{
	snprintf(req->bytes, sizeof(req->bytes), "%s", target);
	answered(req, 0);
	return 0;
}
int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	req->fi = *fi;
	answered(req, 0);
	return 0;
}
int fuse_reply_write(fuse_req_t req, size_t count)
{
	req->size = count;
	answered(req, 0);
	return 0;
}
int fuse_reply_buf(fuse_req_t req, const char *data, size_t size)
{
	req->size = size;
	if (size > 0 && size <= sizeof(req->bytes))
		memcpy(req->bytes, data, size);
	answered(req, 0);
	return 0;
}
int fuse_reply_iov(fuse_req_t req, const struct iovec *iov, int count)
{
	req->size = 0;
	for (int i = 0; i < count; i++) {
		if (req->size + iov[i].iov_len <= sizeof(req->bytes))
			memcpy(req->bytes + req->size, iov[i].iov_base, iov[i].iov_len);
		req->size += iov[i].iov_len;
	}
	answered(req, 0);
	return 0;
}
int fuse_reply_statfs(fuse_req_t req, const struct statvfs *st)
{
	answered(req, 0);
	return 0;
}
int fuse_reply_xattr(fuse_req_t req, size_t count)
{
	req->size = count;
	answered(req, 0);
	return 0;
}
int fuse_reply_ioctl(fuse_req_t req, int result, const void *data, size_t size)
{
	answered(req, result);
	return 0;
}
int fuse_reply_lseek(fuse_req_t req, off_t offset)
{
	req->size = (size_t)offset;
	answered(req, 0);
	return 0;
}
/* What the kernel does before it drops pages. */
static void (*on_pages)(void);

int fuse_lowlevel_notify_inval_inode(struct fuse_session *session, fuse_ino_t ino, off_t offset,
				     off_t length)
{
	if (offset >= 0 && on_pages != NULL)
		on_pages();
	note(offset < 0 ? "attributes" : "pages");
	return 0;
}

/* ---- programs ---- */

static struct fuse_req last;

static fuse_req_t fresh(void)
{
	memset(&last, 0, sizeof(last));
	return &last;
}

static inline uint64_t do_mkdir(uint64_t parent, const char *name)
{
	fs_mkdir(fresh(), parent, name, 0755);
	return last.entry.ino;
}

/* A new file, open; its handle in last.fi. */
static inline uint64_t do_create(uint64_t parent, const char *name, struct fuse_file_info *fi)
{
	memset(fi, 0, sizeof(*fi));
	fi->flags = O_RDWR;
	fs_create_file(fresh(), parent, name, 0644, fi);
	*fi = last.fi;
	fi->flags = O_RDWR;
	return last.entry.ino;
}

static inline int do_open(uint64_t ino, int flags, struct fuse_file_info *fi)
{
	memset(fi, 0, sizeof(*fi));
	fi->flags = flags;
	fs_open(fresh(), ino, fi);
	*fi = last.fi;
	fi->flags = flags;
	return last.error;
}

static inline int do_write(uint64_t ino, struct fuse_file_info *fi, const char *text, off_t offset)
{
	fs_write(fresh(), ino, text, strlen(text), offset, fi);
	return last.error;
}

static inline int do_close(uint64_t ino, struct fuse_file_info *fi)
{
	int error;

	fs_flush(fresh(), ino, fi);
	error = last.error;
	fs_release(fresh(), ino, fi);
	return error;
}

static inline int do_truncate(uint64_t ino, off_t size)
{
	struct stat st = {.st_size = size};

	fs_setattr(fresh(), ino, &st, FUSE_SET_ATTR_SIZE, NULL);
	return last.error;
}

static inline off_t do_size(uint64_t ino)
{
	fs_getattr(fresh(), ino, NULL);
	return last.error == 0 ? last.attr.st_size : -last.error;
}

static inline uint64_t fs_inode_file_id(uint64_t ino)
{
	struct inode *inode = inode_table_get(fs->inodes, ino);
	uint64_t id = inode->attr.file_id;

	inode_put(fs->inodes, inode);
	return id;
}

/* The housekeeping thread's work, at a time to come. */
static inline void later(uint64_t seconds)
{
	flusher_tick(fs, clock_monotonic_ns() + seconds * NS_PER_SEC);
}

static int fixture_setup(void **state)
{
	const struct state_options options = {
		.copies = 3, .partitions = 16, .chunk_size = 16u << 20};
	struct fs_settings settings = {.atime = ATIME_NEVER};
	char error[256];
	(void)state;

	forget_events();
	master.id = master.syncs = master.returns = 0;
	master.session = SESSION;
	master.lease_left_ns = 3 * NS_PER_SEC;
	master.hold = false;
	master.fail = 0;
	master.lose = master.unreachable = false;
	master.grant = 0;
	chunks.hold_flushes = chunks.hold_writes = false;
	chunks.write_error = 0;
	chunks.space = UINT64_MAX;
	if (kv_open_memory(state_families, state_family_count, &master.kv) != 0 ||
	    state_init(master.kv, "cluster", &options) != 0 ||
	    state_open(master.kv, &master.state, error, sizeof(error)) != 0)
		return -1;
	master.index = state_applied_index(master.state);
	state_apply_session_open(master.state, ++master.index, SESSION, 1, "host:/mnt", "c1");
	if (fs_create(&settings, &fs, error, sizeof(error)) != 0)
		return -1;
	fs_meta_callbacks.session(fs, SESSION);
	fs->meta = (struct meta *)&master; /* only its address matters */
	set_sole(true);
	return 0;
}

static int fixture_teardown(void **state)
{
	(void)state;
	recaller_stop(fs->recaller);
	release_replies(false);
	release_data();
	flush_everything(fs, true, clock_monotonic_ns() + NS_PER_SEC);
	later(1000);
	fs_destroy(fs);
	fs = NULL;
	state_close(master.state);
	kv_close(master.kv);
	return 0;
}
#endif
