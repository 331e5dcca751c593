/* state.c - the state machine as its users see it: opening, requests in, replies out. */
#include "master/state/state.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "common/base/bytes.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/cluster/request_kind.h"
#include "master/state/internal.h"

#define LOG_MODULE "state"

/* The first format has no instance. */
#define SUPER_FORMAT   1
#define SUPER_FORMAT_2 2
#define SUPER_HEAD     (1 + NAME_KEY_BYTES + 8) /* before the cluster id */
#define PARTITIONS_MAX 65536u

/* ---- opening ---- */

static bool options_ok(const char *cluster, const struct state_options *options)
{
	size_t size = strlen(cluster);

	return size > 0 && size < sizeof(((struct state *)0)->cluster_id) && options->copies >= 1 &&
	       options->copies <= CHAIN_MEMBERS_MAX && options->partitions >= 1 &&
	       options->partitions <= PARTITIONS_MAX && options->chunk_size >= CHUNK_SIZE_MIN &&
	       options->chunk_size <= CHUNK_SIZE_MAX && options->chunk_size % CHUNK_SIZE_MIN == 0;
}

static void put_root(struct kv_batch *batch)
{
	int64_t now = clock_realtime_ns();
	struct inode root = {
		.ino = ROOT_INO,
		.mode = S_IFDIR | 0755,
		.nlink = 2,
		.pool = DEFAULT_POOL,
		.size = DIRECTORY_BYTES,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.version = 1,
		.parent = ROOT_INO,
	};
	uint8_t key[8], value[INODE_VALUE_BYTES];

	key_u64(key, ROOT_INO);
	inode_encode(&root, value);
	kv_batch_put(batch, FAMILY_INODES, key, sizeof(key), value, sizeof(value));
}

static void put_super(struct kv_batch *batch, const uint8_t name_key[NAME_KEY_BYTES],
		      uint64_t instance, const char *cluster)
{
	uint8_t key[META_KEY_MAX], super[SUPER_HEAD + sizeof(((struct state *)0)->cluster_id)];
	size_t size = strlen(cluster);

	super[0] = SUPER_FORMAT_2;
	memcpy(super + 1, name_key, NAME_KEY_BYTES);
	put_le64(super + 1 + NAME_KEY_BYTES, instance);
	memcpy(super + SUPER_HEAD, cluster, size);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SUPER, 0), super,
		     SUPER_HEAD + size);
}

int state_init(struct kv *kv, const char *cluster, const struct state_options *options)
{
	struct counters counters = {
		.next_ino = ROOT_INO + 1,
		.next_file_id = 1,
		.next_session = 1,
		.next_server = 1,
		.next_removal = 1,
		.next_target = 1,
		.map_version = 1,
		.inodes = 1,
	};
	uint8_t key[META_KEY_MAX], name_key[NAME_KEY_BYTES], *old;
	uint8_t value[COUNTERS_VALUE_BYTES];
	uint64_t instance;
	struct kv_batch *batch;
	size_t size;
	int rc;

	if (!options_ok(cluster, options))
		return -EINVAL;
	rc = kv_get(kv, FAMILY_META, key, key_meta(key, META_SUPER, 0), &old, &size);
	if (rc != -ENOENT) {
		if (rc == 0)
			free(old);
		return rc == 0 ? -EEXIST : rc;
	}
	if (getrandom(name_key, NAME_KEY_BYTES, 0) != NAME_KEY_BYTES ||
	    getrandom(&instance, sizeof(instance), 0) != sizeof(instance))
		return -EIO;
	batch = kv_batch_new();
	if (batch == NULL)
		return -ENOMEM;
	put_super(batch, name_key, instance == 0 ? 1 : instance, cluster);
	counters_encode(&counters, value);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), value,
		     sizeof(value));
	put_root(batch);
	cluster_put_default_pool(batch, options);
	rc = kv_write(kv, batch, true);
	kv_batch_free(batch);
	return rc;
}

static int load_super(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size, head;
	int rc = kv_get(state->kv, FAMILY_META, key, key_meta(key, META_SUPER, 0), &value, &size);

	if (rc != 0)
		return rc;
	head = size > 0 && value[0] == SUPER_FORMAT ? 1 + NAME_KEY_BYTES : SUPER_HEAD;
	if (size <= head || size - head >= sizeof(state->cluster_id) ||
	    (value[0] != SUPER_FORMAT && value[0] != SUPER_FORMAT_2)) {
		rc = -EUCLEAN;
	} else {
		memcpy(state->name_key, value + 1, NAME_KEY_BYTES);
		state->instance = 0;
		if (value[0] == SUPER_FORMAT_2)
			state->instance = get_le64(value + 1 + NAME_KEY_BYTES);
		memcpy(state->cluster_id, value + head, size - head);
		state->cluster_id[size - head] = '\0';
	}
	free(value);
	return rc;
}

static int load_counters(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	int rc =
		kv_get(state->kv, FAMILY_META, key, key_meta(key, META_COUNTERS, 0), &value, &size);

	if (rc != 0)
		return rc == -ENOENT ? -EUCLEAN : rc;
	if (!counters_decode(value, size, &state->counters))
		rc = -EUCLEAN;
	state->stored_index = state->counters.index;
	free(value);
	return rc;
}

static void unload(struct state *state)
{
	leases_unload(state);
	appends_unload(state);
	sessions_unload(state);
	cluster_unload(state);
	lives_unload(state);
	inode_cache_clear(state->inodes);
	dentry_cache_clear(state->dentries);
}

int state_reload(struct state *state)
{
	int rc;

	unload(state);
	rc = load_super(state);
	if (rc == 0)
		rc = load_counters(state);
	if (rc == 0)
		rc = lives_load(state);
	if (rc == 0)
		rc = cluster_load(state);
	if (rc == 0)
		rc = sessions_load(state);
	if (rc == 0)
		rc = leases_load(state);
	if (rc == 0)
		rc = appends_load(state);
	state->stale = rc != 0;
	return rc;
}

int state_ready(struct state *state)
{
	int rc;

	if (!state->stale)
		return 0;
	rc = state_reload(state);
	return rc == -ENOENT || rc == -EUCLEAN ? -EIO : rc;
}

int state_apply_start(struct state *state, uint64_t index, const struct state_start *start)
{
	struct state_life last;
	struct txn *txn;
	uint64_t instance;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	if (start->instance == 0 || start->chance == 0)
		return -EINVAL;
	state_life(state, &last);
	instance = state->instance;
	txn = txn_begin(state, NULL, 0);
	txn->counters.next_ino += STATE_ID_GAP;
	txn->counters.next_file_id += STATE_ID_GAP;
	txn->counters.next_session += STATE_ID_GAP;
	/* The maps of this life are newer than all before: see shell/published_map.h. */
	txn->counters.map_version++;
	if (instance == 0) {
		instance = start->instance;
		put_super(txn->batch, state->name_key, instance, state->cluster_id);
	}
	rc = lives_begin(txn, index, last.number + 1, start->chance);
	if (rc != 0)
		return rc;
	rc = txn_commit(txn, index);
	if (rc == 0)
		state->instance = instance;
	else
		lives_begin_failed(state);
	return rc;
}

int state_open(struct kv *kv, struct state **out, char *error, size_t error_size)
{
	struct state *state = calloc(1, sizeof(*state));
	int rc = -ENOMEM;

	if (state == NULL)
		goto out;
	state->kv = kv;
	state->name_mask = UINT64_MAX;
	state->inodes = inode_cache_new();
	state->dentries = dentry_cache_new();
	state->txn.batch = kv_batch_new();
	if (state->inodes == NULL || state->dentries == NULL || state->txn.batch == NULL)
		goto out;
	rc = state_reload(state);
out:
	if (rc == 0) {
		*out = state;
		return 0;
	}
	snprintf(error, error_size, "%s",
		 rc == -ENOENT    ? "the store is not initialised"
		 : rc == -EUCLEAN ? "the store is damaged or of another version"
				  : strerror(-rc));
	state_close(state);
	return rc;
}

void state_close(struct state *state)
{
	if (state == NULL)
		return;
	leases_unload(state);
	appends_unload(state);
	sessions_unload(state);
	cluster_unload(state);
	lives_unload(state);
	inode_cache_free(state->inodes);
	dentry_cache_free(state->dentries);
	kv_batch_free(state->txn.batch);
	free(state);
}

const char *state_cluster(const struct state *state)
{
	return state->cluster_id;
}

uint64_t state_instance(const struct state *state)
{
	return state->instance;
}

uint64_t state_applied_index(const struct state *state)
{
	return state->counters.index;
}

uint64_t state_stored_index(const struct state *state)
{
	return state->stored_index;
}

void state_counts(const struct state *state, struct state_counts *out)
{
	out->inodes = state->counters.inodes;
	out->orphans = state->counters.orphans;
	out->removals = state->counters.removals;
	out->allocated_bytes = state->counters.bytes;
}

/* ---- requests ---- */

bool state_request_is_command(const Catena__Request *request)
{
	return request_is_command(request);
}

bool state_request_grows(const Catena__Request *request)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_CREATE:
		return request->create->ino == 0; /* else room was promised with the number */
	case CATENA__REQUEST__OP_LINK:
	case CATENA__REQUEST__OP_DELEGATE:
		return true;
	case CATENA__REQUEST__OP_XATTR:
		return request->xattr->op == XATTR_OP_SET;
	default:
		return false;
	}
}

static int run_command(struct txn *txn, const Catena__Request *request, struct reply_room *room)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_SETATTR:
		return op_setattr(txn, request->setattr, room);
	case CATENA__REQUEST__OP_CREATE:
		return op_create(txn, request->create, room);
	case CATENA__REQUEST__OP_LINK:
		return op_link(txn, request->link, room);
	case CATENA__REQUEST__OP_UNLINK:
		return op_unlink(txn, request->unlink, room);
	case CATENA__REQUEST__OP_RENAME:
		return op_rename(txn, request->rename, room);
	case CATENA__REQUEST__OP_OPEN:
		return op_open(txn, request->open, room);
	case CATENA__REQUEST__OP_CLOSE:
		return op_close(txn, request->close, room);
	case CATENA__REQUEST__OP_XATTR:
		return op_xattr(txn, request->xattr, room);
	case CATENA__REQUEST__OP_DELEGATE:
		return op_delegate(txn, request->delegate, room);
	case CATENA__REQUEST__OP_APPEND:
		return op_append(txn, request->append, room);
	default:
		return -EINVAL;
	}
}

static int run_query(struct txn *txn, const Catena__Request *request, struct reply_room *room)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_LOOKUP:
		return op_lookup(txn, request->lookup, room);
	case CATENA__REQUEST__OP_GETATTR:
		return op_getattr(txn, request->getattr, room);
	case CATENA__REQUEST__OP_READLINK:
		return op_readlink(txn, request->readlink, room);
	case CATENA__REQUEST__OP_READDIR:
		return op_readdir(txn, request->readdir, room);
	case CATENA__REQUEST__OP_XATTR:
		return op_xattr(txn, request->xattr, room);
	case CATENA__REQUEST__OP_STATFS:
		return op_statfs(txn, room);
	case CATENA__REQUEST__OP_SYNC_ALL:
		return 0; /* what it waits for is the log's business */
	default:
		return -EINVAL;
	}
}

static void reply_begin(struct reply_room *room, uint64_t id)
{
	static const Catena__Reply empty = CATENA__REPLY__INIT;

	room->reply = empty;
	room->reply.id = id;
	room->owned = NULL;
}

static int reply_pack(struct reply_room *room, uint8_t **out, size_t *size)
{
	size_t packed = catena__reply__get_packed_size(&room->reply);
	uint8_t *data = malloc(packed == 0 ? 1 : packed);

	if (data != NULL) {
		catena__reply__pack(&room->reply, data);
		*out = data;
		*size = packed;
	}
	free(room->owned);
	room->owned = NULL;
	return data == NULL ? -ENOMEM : 0;
}

static int reply_error(uint64_t id, int rc, uint8_t **out, size_t *size)
{
	struct reply_room room;

	reply_begin(&room, id);
	room.reply.error = -rc;
	return reply_pack(&room, out, size);
}

/* Effects, reply and index in one batch, or nothing. */
static int apply_new(struct txn *txn, uint64_t index, const Catena__Request *request,
		     uint8_t **reply, size_t *reply_size)
{
	struct session *session = txn->session;
	struct reply_room room;
	uint8_t key[16], *packed;
	size_t size;
	int rc;

	reply_begin(&room, request->id);
	rc = run_command(txn, request, &room);
	if (txn->store_error != 0) {
		free(room.owned);
		return txn->store_error;
	}
	if (rc != 0) {
		txn_reset(txn);
		room.reply.error = -rc;
	}
	rc = reply_pack(&room, &packed, &size);
	if (rc != 0)
		return rc;
	key_u64_u64(key, session->id, request->id);
	kv_batch_put(txn->batch, FAMILY_REPLIES, key, sizeof(key), packed, size);
	session_batch_prune(txn, session);
	rc = txn_commit(txn, index);
	if (rc != 0) {
		free(packed);
		return rc;
	}
	session_pruned(session);
	if (session_keep_reply(session, request->id, packed, size) != 0)
		txn->state->stale = true;
	*reply = packed;
	*reply_size = size;
	return 0;
}

int state_apply_request(struct state *state, uint64_t index, uint64_t session_id,
			const Catena__Request *request, uint8_t **reply, size_t *reply_size)
{
	const struct kept_reply *kept;
	struct session *session;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, session_id);
	if (session == NULL || session->fenced)
		return reply_error(request->id, -ESTALE, reply, reply_size);
	kept = session_reply(session, request->id);
	if (kept != NULL) {
		uint8_t *copy = malloc(kept->size == 0 ? 1 : kept->size);

		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, kept->data, kept->size);
		*reply = copy;
		*reply_size = kept->size;
		return 0;
	}
	/* A copy of a request that came so late that its answer is forgotten: it must not be done
	 * again, and nobody waits for the answer. */
	if (request->id <= session->answered)
		return reply_error(request->id, -EALREADY, reply, reply_size);
	/* No lease comes again with its generation, so a repetition gets the same answer. */
	if (!leases_allow(state, session, request->lease_generation))
		return reply_error(request->id, -ESTALE, reply, reply_size);
	if (session->reply_end - session->reply_first >= REPLIES_MAX)
		return reply_error(request->id, -ENOBUFS, reply, reply_size);
	return apply_new(txn_begin(state, session, request->time), index, request, reply,
			 reply_size);
}

int state_query(struct state *state, uint64_t session_id, const Catena__Request *request,
		uint8_t **reply, size_t *reply_size)
{
	struct session *session;
	struct reply_room room;
	struct txn *txn;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, session_id);
	txn = txn_begin(state, session, request->time);
	reply_begin(&room, request->id);
	rc = session == NULL || session->fenced ? -ESTALE : run_query(txn, request, &room);
	if (txn->store_error != 0) {
		free(room.owned);
		return txn->store_error;
	}
	room.reply.error = -rc;
	return reply_pack(&room, reply, reply_size);
}
