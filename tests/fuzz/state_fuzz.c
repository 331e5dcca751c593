/* Goal: no request that a client can send, and no damage of the store's records, makes the master's
 * state or a check of the store crash, read out of bounds or never end; requests, however strange,
 * leave a sound store; and a store that the state refuses is never called clean by a check.
 * Method: random requests over few inodes and names, packed, mutated (bits, bytes, cut), unpacked
 * and applied, with the check of all records at the end of each run; then records of that store are
 * flipped, cut, deleted or swapped, the store is checked, the state is opened again and, if it
 * opens, used. */
#include "tests/lib/fuzz.h"
#include "common/os/log.h"
#include "master/check/check.h"
#include "tests/lib/state_fixture.h"

#define REQUESTS_MAX 120
#define BYTES_MAX    8192
#define DAMAGES_MAX  6

static uint64_t applied, succeeded, refused_stores, dirty_stores, next_id;

static uint64_t below(uint64_t *random, uint64_t limit)
{
	return fuzz_random(random) % limit;
}

/* A number that is interesting now and then. */
static uint64_t number(uint64_t *random)
{
	static const uint64_t odd[] = {0,         1,          2,          UINT32_MAX,
				       INT64_MAX, UINT64_MAX, 1ull << 50, 1ull << 62};

	switch (below(random, 4)) {
	case 0:
		return odd[below(random, sizeof(odd) / sizeof(odd[0]))];
	case 1:
		return fuzz_random(random);
	default:
		return below(random, 3000);
	}
}

static uint64_t some_ino(uint64_t *random)
{
	return below(random, 20) == 0 ? number(random) : 1 + below(random, 7);
}

static ProtobufCBinaryData some_name(uint64_t *random)
{
	static uint8_t text[2][6000];
	static unsigned turn;
	uint8_t *at = text[++turn % 2];
	size_t size = below(random, 25) == 0 ? below(random, sizeof(text[0])) : 1;

	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)('a' + below(random, 9));
	if (below(random, 20) == 0 && size > 0)
		at[below(random, size)] = (uint8_t)below(random, 256);
	return (ProtobufCBinaryData){.len = size, .data = at};
}

/* Any request: all messages are filled, op_case says which counts. */
static size_t make_request(uint64_t *random, uint8_t *out)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO, 0};
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	Catena__LinkReq link_ = CATENA__LINK_REQ__INIT;
	Catena__UnlinkReq unlink_ = CATENA__UNLINK_REQ__INIT;
	Catena__RenameReq rename_ = CATENA__RENAME_REQ__INIT;
	Catena__ReaddirReq readdir = CATENA__READDIR_REQ__INIT;
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__CloseReq close_ = CATENA__CLOSE_REQ__INIT;
	Catena__XattrReq xattr = CATENA__XATTR_REQ__INIT;

	/* Mostly the next, now and then one that was there before. */
	request.id = below(random, 10) == 0 ? 1 + below(random, 100) : ++next_id;
	request.time = (int64_t)number(random);
	switch (below(random, 16)) {
	case 0:
		request.op_case = CATENA__REQUEST__OP_LOOKUP;
		request.lookup = &lookup;
		lookup.parent = some_ino(random);
		lookup.name = some_name(random);
		break;
	case 1:
	case 2:
		request.op_case = CATENA__REQUEST__OP_SETATTR;
		request.setattr = &setattr;
		setattr.ino = some_ino(random);
		setattr.mask = (uint32_t)(below(random, 3) ? 1u << below(random, 12)
							   : fuzz_random(random));
		setattr.mode = (uint32_t)fuzz_random(random);
		setattr.size = number(random);
		setattr.file_id = below(random, 30);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		request.op_case = CATENA__REQUEST__OP_CREATE;
		request.create = &create;
		create.parent = some_ino(random);
		create.name = some_name(random);
		create.mode = types[below(random, 7)] | (uint32_t)below(random, 010000);
		create.open = below(random, 2) == 0;
		create.exclusive = below(random, 2) == 0;
		create.symlink = some_name(random);
		break;
	case 7:
		request.op_case = CATENA__REQUEST__OP_LINK;
		request.link = &link_;
		link_.ino = some_ino(random);
		link_.parent = some_ino(random);
		link_.name = some_name(random);
		break;
	case 8:
	case 9:
		request.op_case = CATENA__REQUEST__OP_UNLINK;
		request.unlink = &unlink_;
		unlink_.parent = some_ino(random);
		unlink_.name = some_name(random);
		unlink_.directory = below(random, 2) == 0;
		break;
	case 10:
	case 11:
		request.op_case = CATENA__REQUEST__OP_RENAME;
		request.rename = &rename_;
		rename_.parent = some_ino(random);
		rename_.name = some_name(random);
		rename_.new_parent = some_ino(random);
		rename_.new_name = some_name(random);
		rename_.flags = (uint32_t)below(random, 5);
		break;
	case 12:
		request.op_case = CATENA__REQUEST__OP_READDIR;
		request.readdir = &readdir;
		readdir.ino = some_ino(random);
		readdir.cookie = number(random);
		readdir.limit = (uint32_t)number(random);
		readdir.plus = below(random, 2) == 0;
		break;
	case 13:
		request.op_case = CATENA__REQUEST__OP_OPEN;
		request.open = &open;
		open.ino = some_ino(random);
		open.truncate = below(random, 2) == 0;
		break;
	case 14:
		request.op_case = CATENA__REQUEST__OP_CLOSE;
		request.close = &close_;
		close_.ino = some_ino(random);
		close_.count = (uint32_t)number(random);
		break;
	default:
		request.op_case = CATENA__REQUEST__OP_XATTR;
		request.xattr = &xattr;
		xattr.ino = some_ino(random);
		xattr.name = some_name(random);
		xattr.op = (uint32_t)below(random, 6);
		xattr.flags = (uint32_t)below(random, 5);
	}
	if (catena__request__get_packed_size(&request) > BYTES_MAX)
		return 0;
	return catena__request__pack(&request, out);
}

static size_t mutate(uint64_t *random, uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (below(random, 3)) {
	case 0:
		data[below(random, size)] ^= (uint8_t)(1u << below(random, 8));
		return size;
	case 1:
		data[below(random, size)] = (uint8_t)fuzz_random(random);
		return size;
	default:
		return below(random, size);
	}
}

static bool apply_bytes(struct fixture *f, const uint8_t *data, size_t size)
{
	uint8_t *exact = fuzz_exact_copy(data, size);
	Catena__Request *request = catena__request__unpack(NULL, size, exact);
	int rc;

	free(exact);
	if (request == NULL)
		return true;
	applied++;
	if (request->id == 0)
		request->id = 1;
	/* Of a lane only what comes next is taken. */
	if (request->lane != 0)
		request->lane = session_find(f->state, f->session)->lane_done + 1;
	rc = fixture_send(f, request);
	catena__request__free_unpacked(request, NULL);
	FUZZ_CHECK(rc != -EBADMSG && rc != -EREMOTEIO && rc <= 0 && rc > -200);
	succeeded += rc == 0;
	return true;
}

static bool send_requests(struct fixture *f, uint64_t *random)
{
	uint64_t count = 1 + below(random, REQUESTS_MAX);
	uint8_t data[BYTES_MAX];

	for (uint64_t i = 0; i < count; i++) {
		size_t size = make_request(random, data);

		if (below(random, 8) == 0)
			size = mutate(random, data, size);
		if (!apply_bytes(f, data, size))
			return false;
		if (below(random, 60) == 0)
			f->answered = below(random, next_id + 1);
	}
	return true;
}

/* One record at random: a few steps from the start of a family. */
static void damage_record(struct fixture *f, uint64_t *random)
{
	unsigned family = (unsigned)below(random, FAMILY_COUNT);
	struct kv_batch *batch = kv_batch_new();
	const uint8_t *key = NULL, *value = NULL;
	size_t key_size = 0, size = 0;
	uint64_t steps = 1 + below(random, 12);
	uint8_t changed[BYTES_MAX];
	struct kv_iter *iter;

	if (kv_iter_open(f->kv, family, "", 0, NULL, 0, &iter) != 0)
		abort();
	while (steps > 0 && kv_iter_next(iter, &key, &key_size, &value, &size) == 1)
		steps--;
	if (key != NULL && size < sizeof(changed)) {
		memcpy(changed, value, size);
		if (below(random, 4) == 0)
			kv_batch_delete(batch, family, key, key_size);
		else
			kv_batch_put(batch, family, key, key_size, changed,
				     mutate(random, changed, size));
		if (kv_write(f->kv, batch, false) != 0)
			abort();
	}
	kv_iter_free(iter);
	kv_batch_free(batch);
}

static void no_report(void *user, const struct check_finding *finding)
{
	(void)finding;
}

/* True when a check has seen everything, and found nothing. */
static bool is_clean(struct fixture *f,
		     int (*check)(struct kv *kv, const struct check_options *options,
				  check_report_fn *report, void *user, struct check_result *result))
{
	const struct check_options options = {.name_mask = f->name_mask};
	struct check_result result;
	bool clean = check(f->kv, &options, no_report, NULL, &result) == 0;

	for (unsigned i = 0; i < CHECK_SEVERITIES; i++)
		clean = clean && result.found[i] == 0;
	return clean;
}

static bool run_one(uint64_t seed, uint64_t run)
{
	uint64_t random = fuzz_state(seed, run);
	struct fixture f;
	bool ok, clean;

	next_id = 0;
	if (fixture_init(&f, run % 2 == 0 ? UINT64_MAX : UINT64_C(3) << 20) != 0)
		return false;
	ok = send_requests(&f, &random) && state_is_sound(&f);
	state_close(f.state);
	f.state = NULL;
	for (uint64_t i = below(&random, DAMAGES_MAX) + 1; i > 0; i--)
		damage_record(&f, &random);
	clean = is_clean(&f, check_namespace);
	clean = is_clean(&f, check_map) && clean;
	dirty_stores += clean ? 0 : 1;
	if (fixture_open_state(&f) == 0) {
		/* What it answers now is not judged: only that it does. */
		for (uint64_t ino = 1; ino < 20; ino++) {
			do_readdir(&f, ino, 0, 100, true);
			do_rename(&f, ino, "a", 2, "b", 0);
			do_unlink(&f, ino, "c");
			do_close(&f, ino, 9);
		}
		state_apply_session_close(f.state, ++f.index, f.session, NULL, 0);
	} else {
		/* What the master cannot open is never called clean. */
		ok = ok && !clean;
		refused_stores++;
	}
	fixture_end(&f);
	return ok;
}

int main(int argc, char **argv)
{
	struct fuzz_options options = {.runs = 600, .seed = 1};

	if (!fuzz_options_get(argc, argv, &options))
		return 2;
	/* Damage is met all the time here, and each says so. */
	log_open("/dev/null");
	for (uint64_t run = 0; run < options.runs; run++)
		if (!run_one(options.seed, run)) {
			fprintf(stderr, "failed: --seed %" PRIu64 ", run %" PRIu64 "\n",
				options.seed, run);
			return 1;
		}
	printf("%" PRIu64 " runs, %" PRIu64 " requests (%" PRIu64 " done), %" PRIu64
	       " damaged stores refused, %" PRIu64 " not clean\n",
	       options.runs, applied, succeeded, refused_stores, dirty_stores);
	return 0;
}
