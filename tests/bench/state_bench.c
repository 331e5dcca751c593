/* state_bench.c - what the master's state machine costs on RocksDB, without network and log.
 *
 * Prints "name value unit" lines. usage: state_bench [DIRECTORY [COUNT [BATCH [lane]]]]; the store
 * is made in a fresh directory under DIRECTORY (default $TMPDIR or /tmp) and removed at the end. BATCH
 * (1): so many operations are one batch, as those of a turn are. With "lane" commands are those of a
 * mount that has answered its programs; COUNT is then DELEGATION_MAX at most. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "master/state/state.h"
#include "tests/lib/tree.h"
#include "tests/lib/sessions.h"

#define SESSION     1u
#define DIRECTORIES 10u

static struct kv *kv;
static struct state *state;
static uint64_t apply_index, request_id;
static uint64_t directories[DIRECTORIES];
static uint64_t *inodes;
static unsigned batch = 1;
static bool by_lane;
static uint64_t lane, next_ino; /* numbers that were given out */

static int apply(const Catena__Request *request, uint8_t **data, size_t *size)
{
	/* The replies before it are forgotten, as clients have them. */
	struct state_request command = {
		.session = SESSION, .answered = request_id - 1, .message = request};
	struct state_answer answer;
	int rc = state_apply_request(state, ++apply_index, &command, &answer);

	*data = answer.reply;
	*size = answer.reply_size;
	return rc;
}

/* One request; the inode in its answer (0: none). Ends the program on a failure. */
static uint64_t ask(Catena__Request *request)
{
	Catena__Reply *reply;
	uint64_t ino = 0;
	uint8_t *data;
	size_t size;
	int rc;

	request->id = ++request_id;
	request->time = 1;
	if (by_lane && next_ino != 0 && state_request_is_command(request))
		request->lane = ++lane;
	if (state_request_is_command(request))
		rc = apply(request, &data, &size);
	else
		rc = state_query(state, SESSION, request, &data, &size);
	if (rc != 0) {
		fprintf(stderr, "state_bench: the store failed: %s\n", strerror(-rc));
		exit(1);
	}
	/* What an answer costs to read is the client's business: only some are looked at. */
	if (data != NULL &&
	    (request->op_case == CATENA__REQUEST__OP_CREATE || request_id % 64 == 0 ||
	     request->op_case == CATENA__REQUEST__OP_DELEGATE || request->lane != 0)) {
		reply = catena__reply__unpack(NULL, size, data);
		if (reply == NULL || reply->error != 0) {
			fprintf(stderr, "state_bench: request refused: %d\n",
				reply == NULL ? -1 : reply->error);
			exit(1);
		}
		ino = reply->attr != NULL         ? reply->attr->ino
		      : reply->delegation != NULL ? reply->delegation->first_ino
						  : 0;
		catena__reply__free_unpacked(reply, NULL);
	}
	free(data);
	return ino;
}

static ProtobufCBinaryData name_of(char room[32], const char *prefix, unsigned number)
{
	int size = snprintf(room, 32, "%s%08u", prefix, number);

	return (ProtobufCBinaryData){.len = (size_t)size, .data = (uint8_t *)room};
}

static uint64_t make(uint64_t parent, uint32_t mode, const char *prefix, unsigned number)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	char room[32];

	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &create;
	create.parent = parent;
	create.name = name_of(room, prefix, number);
	create.mode = mode;
	create.exclusive = true;
	create.ino = next_ino;
	if (next_ino == 0)
		return ask(&request);
	ask(&request);
	return next_ino++;
}

/* From here on commands are of the lane, and the numbers of files are known before. */
static void begin_lane(unsigned count)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__DelegateReq delegate = CATENA__DELEGATE_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_DELEGATE;
	request.delegate = &delegate;
	delegate.count = count;
	next_ino = ask(&request);
	by_lane = true;
}

static void run_create(unsigned i)
{
	inodes[i] = make(directories[i % DIRECTORIES], S_IFREG | 0644, "file", i);
}

static void run_lookup(unsigned i)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	char room[32];

	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	lookup.parent = directories[i % DIRECTORIES];
	lookup.name = name_of(room, "file", i);
	ask(&request);
}

static void run_getattr(unsigned i)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	getattr.ino = inodes[i];
	ask(&request);
}

static void run_setattr(unsigned i)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	setattr.ino = inodes[i];
	setattr.mask = CATENA__SET_MASK__SET_SIZE;
	setattr.size = 4096;
	ask(&request);
}

static void run_open_close(unsigned i)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__CloseReq close = CATENA__CLOSE_REQ__INIT;

	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	open.ino = close.ino = inodes[i];
	ask(&request);
	request.op_case = CATENA__REQUEST__OP_CLOSE;
	request.close = &close;
	close.count = 1;
	ask(&request);
}

static void run_rename(unsigned i)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__RenameReq rename_ = CATENA__RENAME_REQ__INIT;
	char from[32], to[32];

	request.op_case = CATENA__REQUEST__OP_RENAME;
	request.rename = &rename_;
	rename_.parent = rename_.new_parent = directories[i % DIRECTORIES];
	rename_.name = name_of(from, "file", i);
	rename_.new_name = name_of(to, "new", i);
	ask(&request);
}

static void run_unlink(unsigned i)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__UnlinkReq unlink_ = CATENA__UNLINK_REQ__INIT;
	char room[32];

	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &unlink_;
	unlink_.parent = directories[i % DIRECTORIES];
	unlink_.name = name_of(room, "new", i);
	ask(&request);
}

static void run_readdir(unsigned i)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__ReaddirReq readdir = CATENA__READDIR_REQ__INIT;
	Catena__Reply *reply;
	uint8_t *data;
	size_t size;
	bool eof;

	request.op_case = CATENA__REQUEST__OP_READDIR;
	request.readdir = &readdir;
	readdir.ino = directories[i];
	readdir.limit = 1000;
	readdir.plus = true;
	do {
		if (state_query(state, SESSION, &request, &data, &size) != 0)
			exit(1);
		reply = catena__reply__unpack(NULL, size, data);
		if (reply == NULL || reply->error != 0)
			exit(1);
		eof = reply->eof;
		if (reply->n_entries > 0)
			readdir.cookie = reply->entries[reply->n_entries - 1]->cookie;
		catena__reply__free_unpacked(reply, NULL);
		free(data);
	} while (!eof);
}

static void measure(const char *name, void (*run)(unsigned i), unsigned calls, unsigned units)
{
	uint64_t start = clock_monotonic_ns(), took;

	for (unsigned i = 0; i < calls; i++) {
		if (batch > 1 && i % batch == 0)
			state_batch_begin(state);
		run(i);
		if (batch > 1 && (i + 1 == calls || (i + 1) % batch == 0) &&
		    state_batch_commit(state) != 0)
			exit(1);
	}
	took = clock_monotonic_ns() - start;
	printf("state_%s %.0f per_s\n", name, (double)units * (double)NS_PER_SEC / (double)took);
	printf("state_%s_cost %.2f us\n", name, (double)took / 1e3 / (double)units);
	fflush(stdout);
}

static int open_all(const char *path)
{
	const struct state_options options = {
		.copies = 3, .partitions = 256, .chunk_size = 16u << 20};
	const struct kv_options kv_options = {
		.path = path,
		.families = records_families,
		.family_count = records_family_count,
		.create = true,
	};
	char error[256] = "";
	int rc = kv_open(&kv_options, &kv, error, sizeof(error));

	if (rc == 0)
		rc = state_init(kv, "bench", &options);
	if (rc == 0)
		rc = state_open(kv, &state, error, sizeof(error));
	if (rc == 0)
		rc = session_open_as(state, ++apply_index, SESSION, 1, "bench", "bench");
	if (rc != 0)
		fprintf(stderr, "state_bench: %s %s\n", strerror(-rc), error);
	return rc;
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	const char *base = argc > 1 ? argv[1] : tmp != NULL ? tmp : "/tmp";
	unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 100000;
	char path[4096];
	uint64_t start;

	batch = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
	snprintf(path, sizeof(path), "%s/state_bench.XXXXXX", base);
	inodes = calloc(count + 1, sizeof(*inodes));
	if (count == 0 || inodes == NULL || mkdtemp(path) == NULL) {
		fprintf(stderr, "usage: state_bench [DIRECTORY [COUNT [BATCH [lane]]]]\n");
		return 2;
	}
	if (open_all(path) != 0)
		return 1;
	for (unsigned i = 0; i < DIRECTORIES; i++)
		directories[i] = make(ROOT_INO, S_IFDIR | 0755, "dir", i);
	if (argc > 4)
		begin_lane(count);
	measure("create", run_create, count, count);
	measure("lookup", run_lookup, count, count);
	measure("getattr", run_getattr, count, count);
	measure("readdirplus_entry", run_readdir, DIRECTORIES, count);
	measure("setattr", run_setattr, count, count);
	measure("open_and_close", run_open_close, count, count);
	measure("rename", run_rename, count, count);
	measure("unlink", run_unlink, count, count);
	start = clock_monotonic_ns();
	if (state_reload(state) != 0)
		return 1;
	printf("state_reload %.2f ms\n", (double)(clock_monotonic_ns() - start) / 1e6);
	state_close(state);
	kv_close(kv);
	free(inodes);
	tree_remove(path);
	return 0;
}
