#include "tests/lib/state_fixture.h"
#include "master/check/check.h"
#include "master/log/command.h"

int fixture_open_state(struct fixture *f)
{
	char error[128];
	int rc = state_open(f->kv, &f->state, error, sizeof(error));

	if (rc == 0) {
		f->state->name_mask = f->name_mask;
		f->index = state_applied_index(f->state);
	}
	return rc;
}

int fixture_init(struct fixture *f, uint64_t name_mask)
{
	const struct state_options options = {
		.copies = 3, .partitions = FIXTURE_PARTITIONS, .chunk_size = 16u << 20};
	int rc;

	memset(f, 0, sizeof(*f));
	f->name_mask = name_mask;
	f->time = 1000;
	f->session = FIXTURE_SESSION;
	rc = kv_open_memory(records_families, records_family_count, &f->kv);
	if (rc == 0)
		rc = state_init(f->kv, "cluster-1", &options);
	if (rc == 0)
		rc = fixture_open_state(f);
	if (rc == 0)
		rc = session_open_as(f->state, ++f->index, f->session, FIXTURE_SECRET, "host:/mnt",
				     "client-1");
	return rc;
}

static void fixture_forget_reply(struct fixture *f)
{
	if (f->reply != NULL)
		catena__reply__free_unpacked(f->reply, NULL);
	free(f->bytes);
	f->reply = NULL;
	f->bytes = NULL;
}

void fixture_end(struct fixture *f)
{
	fixture_forget_reply(f);
	state_close(f->state);
	kv_close(f->kv);
}

int fixture_reopen(struct fixture *f)
{
	state_close(f->state);
	f->state = NULL;
	return fixture_open_state(f);
}

int fixture_send(struct fixture *f, Catena__Request *request)
{
	int rc;

	fixture_forget_reply(f);
	request->time = f->time;
	if (request->id == 0)
		request->id = ++f->request_id;
	if (state_request_is_command(request)) {
		struct log_command command = {
			.kind = COMMAND_REQUEST,
			.session = f->session,
			.request = {.message = request, .answered = f->answered}};
		struct command_result result = {0};

		rc = command_apply(f->state, f->index + 1, &command, &result);
		if (rc == COMMAND_IS_DAMAGED) { /* as the log does */
			struct log_command instead;
			uint64_t *numbers;

			rc = command_without_damage(f->state, &command, &instead, &numbers);
			if (rc == 0)
				rc = command_apply(f->state, f->index + 1, &instead, &result);
			free(numbers);
		}
		f->bytes = result.answer.reply;
		f->size = result.answer.reply_size;
		f->lane = result.answer.lane;
	} else {
		rc = state_query(f->state, f->session, request, &f->bytes, &f->size);
	}
	if (rc != 0)
		return -EREMOTEIO;
	f->index = state_applied_index(f->state);
	f->reply = catena__reply__unpack(NULL, f->size, f->bytes);
	if (f->reply != NULL && f->bytes == NULL)
		f->reply->id = request->id;
	if (f->reply == NULL || f->reply->id != request->id)
		return -EBADMSG;
	return -f->reply->error;
}

struct map_server fixture_server(const char *name)
{
	struct map_server server = {.workers = 2};

	snprintf(server.name, sizeof(server.name), "%s", name);
	snprintf(server.address, sizeof(server.address), "%s:1234", name);
	snprintf(server.host, sizeof(server.host), "host-%s", name);
	snprintf(server.rack, sizeof(server.rack), "r1");
	snprintf(server.zone, sizeof(server.zone), "z1");
	return server;
}

int fixture_accept(struct fixture *f, const struct state_accept *accept)
{
	int rc = state_apply_session_close(f->state, f->index + 1, f->session, NULL, 0);

	if (rc == 0)
		f->index++;
	return rc == 0 || rc == -ENOENT ? state_apply_accept(f->state, ++f->index, accept) : rc;
}

int do_register_server(struct fixture *f, const struct map_server *server,
		       struct state_registered_target *targets, size_t count)
{
	struct state_registration registration = {
		.server = server, .targets = targets, .target_count = count};

	state_registration_read(f->state, &registration);
	return state_apply_register(f->state, ++f->index, &registration);
}

int do_register(struct fixture *f, const char *name, const char *uuid1, const char *uuid2)
{
	struct state_registered_target targets[2] = {0};
	struct map_server server = fixture_server(name);

	snprintf(targets[0].uuid, sizeof(targets[0].uuid), "%s", uuid1);
	if (uuid2 != NULL)
		snprintf(targets[1].uuid, sizeof(targets[1].uuid), "%s", uuid2);
	return do_register_server(f, &server, targets, uuid2 == NULL ? 1 : 2);
}

int fixture_three_targets(struct fixture *f)
{
	int rc = do_register(f, "a", "uuid-1", "uuid-2");

	return rc == 0 ? do_register(f, "b", "uuid-3", NULL) : rc;
}

ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

int do_lookup(struct fixture *f, uint64_t parent, const char *name)
{
	FIXTURE_REQUEST(LookupReq, LOOKUP_REQ, LOOKUP);
	request.lookup = &req;
	req.parent = parent;
	req.name = bytes_of(name);
	return fixture_send(f, &request);
}

int do_getattr(struct fixture *f, uint64_t ino)
{
	FIXTURE_REQUEST(GetattrReq, GETATTR_REQ, GETATTR);
	request.getattr = &req;
	req.ino = ino;
	return fixture_send(f, &request);
}

int do_create_full(struct fixture *f, uint64_t parent, const char *name, uint32_t mode, bool open,
		   bool exclusive)
{
	FIXTURE_REQUEST(CreateReq, CREATE_REQ, CREATE);
	request.create = &req;
	req.parent = parent;
	req.name = bytes_of(name);
	req.mode = mode;
	req.uid = 1000;
	req.gid = 100;
	req.open = open;
	req.exclusive = exclusive;
	return fixture_send(f, &request);
}

int do_create(struct fixture *f, uint64_t parent, const char *name)
{
	return do_create_full(f, parent, name, S_IFREG | 0644, false, true);
}

int do_delegate(struct fixture *f, uint32_t count)
{
	FIXTURE_REQUEST(DelegateReq, DELEGATE_REQ, DELEGATE);
	request.delegate = &req;
	req.count = count;
	return fixture_send(f, &request);
}

int do_create_number(struct fixture *f, uint64_t ino, const char *name)
{
	FIXTURE_REQUEST(CreateReq, CREATE_REQ, CREATE);
	request.create = &req;
	req.parent = ROOT_INO;
	req.name = bytes_of(name);
	req.mode = S_IFREG | 0644;
	req.exclusive = true;
	req.ino = ino;
	return fixture_send(f, &request);
}

int do_mkdir(struct fixture *f, uint64_t parent, const char *name)
{
	return do_create_full(f, parent, name, S_IFDIR | 0755, false, true);
}

int do_symlink(struct fixture *f, uint64_t parent, const char *name, const char *target)
{
	FIXTURE_REQUEST(CreateReq, CREATE_REQ, CREATE);
	request.create = &req;
	req.parent = parent;
	req.name = bytes_of(name);
	req.mode = S_IFLNK;
	req.symlink = bytes_of(target);
	return fixture_send(f, &request);
}

int do_link(struct fixture *f, uint64_t ino, uint64_t parent, const char *name)
{
	FIXTURE_REQUEST(LinkReq, LINK_REQ, LINK);
	request.link = &req;
	req.ino = ino;
	req.parent = parent;
	req.name = bytes_of(name);
	return fixture_send(f, &request);
}

int do_unlink(struct fixture *f, uint64_t parent, const char *name)
{
	FIXTURE_REQUEST(UnlinkReq, UNLINK_REQ, UNLINK);
	request.unlink = &req;
	req.parent = parent;
	req.name = bytes_of(name);
	return fixture_send(f, &request);
}

int do_rmdir(struct fixture *f, uint64_t parent, const char *name)
{
	FIXTURE_REQUEST(UnlinkReq, UNLINK_REQ, UNLINK);
	request.unlink = &req;
	req.parent = parent;
	req.name = bytes_of(name);
	req.directory = true;
	return fixture_send(f, &request);
}

int do_rename(struct fixture *f, uint64_t parent, const char *name, uint64_t new_parent,
	      const char *new_name, uint32_t flags)
{
	FIXTURE_REQUEST(RenameReq, RENAME_REQ, RENAME);
	request.rename = &req;
	req.parent = parent;
	req.name = bytes_of(name);
	req.new_parent = new_parent;
	req.new_name = bytes_of(new_name);
	req.flags = flags;
	return fixture_send(f, &request);
}

int do_readlink(struct fixture *f, uint64_t ino)
{
	FIXTURE_REQUEST(ReadlinkReq, READLINK_REQ, READLINK);
	request.readlink = &req;
	req.ino = ino;
	return fixture_send(f, &request);
}

int do_readdir(struct fixture *f, uint64_t ino, uint64_t cookie, uint32_t limit, bool plus)
{
	FIXTURE_REQUEST(ReaddirReq, READDIR_REQ, READDIR);
	request.readdir = &req;
	req.ino = ino;
	req.cookie = cookie;
	req.limit = limit;
	req.plus = plus;
	return fixture_send(f, &request);
}

int do_open(struct fixture *f, uint64_t ino, bool truncate)
{
	FIXTURE_REQUEST(OpenReq, OPEN_REQ, OPEN);
	request.open = &req;
	req.ino = ino;
	req.truncate = truncate;
	return fixture_send(f, &request);
}

int do_close(struct fixture *f, uint64_t ino, uint32_t count)
{
	FIXTURE_REQUEST(CloseReq, CLOSE_REQ, CLOSE);
	request.close = &req;
	req.ino = ino;
	req.count = count;
	return fixture_send(f, &request);
}

int do_setattr(struct fixture *f, const Catena__SetattrReq *values)
{
	FIXTURE_REQUEST(SetattrReq, SETATTR_REQ, SETATTR);
	req = *values;
	request.setattr = &req;
	return fixture_send(f, &request);
}

int do_size_at(struct fixture *f, uint64_t ino, uint32_t mask, uint64_t size, uint64_t file_id,
	       uint64_t truncations)
{
	Catena__SetattrReq req = CATENA__SETATTR_REQ__INIT;

	req.ino = ino;
	req.mask = mask;
	req.size = size;
	req.file_id = file_id;
	req.truncations = truncations;
	return do_setattr(f, &req);
}

int do_size(struct fixture *f, uint64_t ino, uint32_t mask, uint64_t size, uint64_t file_id)
{
	uint64_t truncations = do_getattr(f, ino) == 0 ? f->reply->attr->truncations : 0;

	return do_size_at(f, ino, mask, size, file_id, truncations);
}

int do_xattr(struct fixture *f, uint64_t ino, uint32_t op, const char *name, const char *value,
	     uint32_t flags)
{
	FIXTURE_REQUEST(XattrReq, XATTR_REQ, XATTR);
	request.xattr = &req;
	req.ino = ino;
	req.op = op;
	req.name = bytes_of(name);
	req.value = bytes_of(value);
	req.flags = flags;
	return fixture_send(f, &request);
}

uint64_t reply_ino(const struct fixture *f)
{
	return f->reply == NULL || f->reply->attr == NULL ? 0 : f->reply->attr->ino;
}

/* ---- what must always hold ---- */

static void print_finding(void *user, const struct check_finding *finding)
{
	fprintf(stderr, "CF-%u, inode %llu, '%.*s' in %llu: %s: %s\n", (unsigned)finding->code,
		(unsigned long long)finding->ino, (int)finding->name_size,
		(const char *)finding->name, (unsigned long long)finding->parent,
		check_kind_of(finding->code)->title, finding->text);
}

/* What sessions have open is in memory as it is in the store. */
static bool opens_are_known(struct fixture *f)
{
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	unsigned records = 0, known = 0;
	bool ok = true;

	if (kv_iter_open(f->kv, FAMILY_OPENS, "", 0, NULL, 0, &iter) != 0)
		return false;
	for (; ok && kv_iter_next(iter, &key, &key_size, &value, &size) == 1; records++) {
		const struct session *session = session_find(f->state, get_be64(key));

		ok = session != NULL &&
		     session_open_count(session, get_be64(key + 8)) == get_le32(value);
	}
	kv_iter_free(iter);
	for (const struct session *s = f->state->sessions; s != NULL; s = s->hh.next)
		known += HASH_COUNT(s->opens);
	if (!ok || records != known)
		fprintf(stderr, "%u open files in the store, %u in memory\n", records, known);
	return ok && records == known;
}

/* So are the counters of what there is. */
static bool counters_are_known(struct fixture *f)
{
	const struct counters *is = &f->state->counters;
	uint8_t key[META_KEY_MAX], *value;
	struct counters stored = {0};
	size_t size;
	bool ok = kv_get(f->kv, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), &value, &size) ==
		  0;

	if (!ok)
		return false;
	ok = value_decode_counters(value, size, &stored) && stored.inodes == is->inodes &&
	     stored.orphans == is->orphans && stored.removals == is->removals &&
	     stored.bytes == is->bytes;
	free(value);
	if (!ok)
		fprintf(stderr, "the counters in memory are not those of the store\n");
	return ok;
}

bool state_is_sound(struct fixture *f)
{
	const struct check_options options = {.name_mask = f->name_mask};
	struct check_result result;
	int rc = check_namespace(f->kv, &options, print_finding, NULL, &result);
	bool ok = rc == 0;

	if (rc != 0)
		fprintf(stderr, "%s\n", result.error);
	for (unsigned i = 0; i < CHECK_SEVERITIES; i++)
		ok = ok && result.found[i] == 0;
	return ok && opens_are_known(f) && counters_are_known(f);
}
