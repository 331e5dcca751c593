/* session.c - sessions of clients: what they have open, and the replies kept for them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/state/internal.h"

#define SESSION_FORMAT   1
#define SESSION_TEXT_MAX 4096u
#define PRUNE_BATCH      64u /* answered requests per record that forgets their replies */

/* ---- tables in memory ---- */

struct session *session_find(struct state *state, uint64_t id)
{
	struct session *session;

	HASH_FIND(hh, state->sessions, &id, sizeof(id), session);
	return session;
}

static void drop_replies(struct session *session, uint64_t through)
{
	while (session->reply_first < session->reply_end &&
	       session->replies[session->reply_first].id <= through)
		free(session->replies[session->reply_first++].data);
}

static void session_free(struct session *session)
{
	struct open_file *file, *next;

	HASH_ITER(hh, session->opens, file, next)
	{
		HASH_DEL(session->opens, file);
		free(file);
	}
	drop_replies(session, UINT64_MAX);
	free(session->replies);
	free(session->mount);
	free(session->name);
	free(session);
}

void sessions_unload(struct state *state)
{
	struct session *session, *next;
	struct open_total *total, *next_total;

	HASH_ITER(hh, state->sessions, session, next)
	{
		HASH_DEL(state->sessions, session);
		session_free(session);
	}
	HASH_ITER(hh, state->opens, total, next_total)
	{
		HASH_DEL(state->opens, total);
		free(total);
	}
}

/* Index of the first kept reply with an id not below @id. */
static size_t reply_at(const struct session *session, uint64_t id)
{
	size_t low = session->reply_first, high = session->reply_end;

	if (low < high && session->replies[high - 1].id < id)
		return high; /* nearly always: ids grow */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (session->replies[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t state_session_done(const struct state *state, uint64_t id)
{
	const struct session *session = session_find((struct state *)(uintptr_t)state, id);
	uint64_t kept;

	if (session == NULL)
		return 0;
	/* Forgetting a reply that was received goes with a later one: the newest is always there.
	 */
	kept = session->reply_end == session->reply_first
		       ? 0
		       : session->replies[session->reply_end - 1].id;
	return kept > session->answered ? kept : session->answered;
}

const struct kept_reply *session_reply(const struct session *session, uint64_t id)
{
	size_t at = reply_at(session, id);

	if (at < session->reply_end && session->replies[at].id == id)
		return &session->replies[at];
	return NULL;
}

static int reply_room(struct session *session)
{
	size_t count = session->reply_end - session->reply_first;
	struct kept_reply *bigger;
	size_t capacity;

	if (session->reply_end < session->reply_capacity)
		return 0;
	if (session->reply_first > session->reply_capacity / 2) {
		memmove(session->replies, session->replies + session->reply_first,
			count * sizeof(*session->replies));
	} else {
		capacity = session->reply_capacity == 0 ? 64 : session->reply_capacity * 2;
		bigger = malloc(capacity * sizeof(*bigger));
		if (bigger == NULL)
			return -ENOMEM;
		if (count > 0)
			memcpy(bigger, session->replies + session->reply_first,
			       count * sizeof(*bigger));
		free(session->replies);
		session->replies = bigger;
		session->reply_capacity = capacity;
	}
	session->reply_first = 0;
	session->reply_end = count;
	return 0;
}

int session_keep_reply(struct session *session, uint64_t id, const void *data, size_t size)
{
	uint8_t *copy = malloc(size == 0 ? 1 : size);
	size_t at;

	if (copy == NULL || reply_room(session) != 0) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, data, size);
	at = reply_at(session, id);
	memmove(session->replies + at + 1, session->replies + at,
		(session->reply_end - at) * sizeof(*session->replies));
	session->replies[at] = (struct kept_reply){.id = id, .data = copy, .size = size};
	session->reply_end++;
	return 0;
}

uint32_t session_open_count(const struct session *session, uint64_t ino)
{
	struct open_file *file;

	HASH_FIND(hh, session->opens, &ino, sizeof(ino), file);
	return file == NULL ? 0 : file->count;
}

uint64_t state_open_total(const struct state *state, uint64_t ino)
{
	struct open_total *total;

	HASH_FIND(hh, state->opens, &ino, sizeof(ino), total);
	return total == NULL ? 0 : total->count;
}

static int add_total(struct state *state, uint64_t ino, int64_t delta)
{
	struct open_total *total;

	HASH_FIND(hh, state->opens, &ino, sizeof(ino), total);
	if (total == NULL) {
		total = calloc(1, sizeof(*total));
		if (total == NULL)
			return -ENOMEM;
		total->ino = ino;
		HASH_ADD(hh, state->opens, ino, sizeof(total->ino), total);
	}
	total->count += (uint64_t)delta;
	if (total->count == 0) {
		HASH_DEL(state->opens, total);
		free(total);
	}
	return 0;
}

int session_set_open(struct state *state, struct session *session, uint64_t ino, uint32_t count)
{
	struct open_file *file;
	int rc;

	HASH_FIND(hh, session->opens, &ino, sizeof(ino), file);
	if (file == NULL) {
		if (count == 0)
			return 0;
		file = calloc(1, sizeof(*file));
		if (file == NULL)
			return -ENOMEM;
		file->ino = ino;
		HASH_ADD(hh, session->opens, ino, sizeof(file->ino), file);
	}
	rc = add_total(state, ino, (int64_t)count - (int64_t)file->count);
	file->count = count;
	if (count == 0) {
		HASH_DEL(session->opens, file);
		free(file);
	}
	return rc;
}

/* ---- records ---- */

static uint8_t *put_text(uint8_t *at, const char *text)
{
	size_t size = strlen(text);

	put_le16(at, (uint16_t)size);
	memcpy(at + 2, text, size);
	return at + 2 + size;
}

static void put_session(struct kv_batch *batch, const struct session *session,
			const struct delegation delegations[DELEGATIONS])
{
	uint8_t key[META_KEY_MAX], value[21 + 2 * SESSION_TEXT_MAX + 20 * DELEGATIONS], *at;

	value[0] = SESSION_FORMAT;
	put_le64(value + 1, session->secret);
	put_le64(value + 9, session->answered);
	at = put_text(value + 17, session->mount);
	at = put_text(at, session->name);
	for (unsigned i = 0; i < DELEGATIONS; i++, at += 20) {
		put_le64(at, delegations[i].first_ino);
		put_le64(at + 8, delegations[i].first_file_id);
		put_le32(at + 16, delegations[i].count);
	}
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SESSION, session->id), value,
		     (size_t)(at - value));
}

static char *reader_text(struct reader *r)
{
	uint16_t size = reader_le16(r);
	const uint8_t *bytes = reader_bytes(r, size);

	return bytes == NULL ? NULL : strndup((const char *)bytes, size);
}

static int load_session(struct state *state, uint64_t id, const uint8_t *value, size_t size)
{
	struct reader r = reader_on(value, size);
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return -ENOMEM;
	session->id = id;
	if (reader_u8(&r) != SESSION_FORMAT)
		r.failed = true;
	session->secret = reader_le64(&r);
	session->answered = session->pruned = reader_le64(&r);
	session->mount = reader_text(&r);
	session->name = reader_text(&r);
	for (unsigned i = 0; i < DELEGATIONS; i++) {
		session->delegations[i].first_ino = reader_le64(&r);
		session->delegations[i].first_file_id = reader_le64(&r);
		session->delegations[i].count = reader_le32(&r);
	}
	if (!reader_done(&r) || session->mount == NULL || session->name == NULL) {
		session_free(session);
		return -EUCLEAN;
	}
	HASH_ADD(hh, state->sessions, id, sizeof(session->id), session);
	return 0;
}

static int load_open(struct state *state, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct session *session = session_find(state, get_be64(key));

	if (session == NULL || size != 4)
		return -EUCLEAN;
	return session_set_open(state, session, get_be64(key + 8), get_le32(value));
}

static int load_reply(struct state *state, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct session *session = session_find(state, get_be64(key));

	if (session == NULL)
		return -EUCLEAN;
	if (get_be64(key + 8) <= session->answered)
		return 0;
	return session_keep_reply(session, get_be64(key + 8), value, size);
}

/* Calls @load for each record of a family whose keys are two numbers. */
static int load_pairs(struct state *state, enum family family,
		      int (*load)(struct state *state, const uint8_t *key, const uint8_t *value,
				  size_t size))
{
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	int rc = kv_iter_open(state->kv, family, "", 0, NULL, 0, &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		rc = key_size == 16 ? load(state, key, value, size) : -EUCLEAN;
		if (rc != 0)
			break;
	}
	kv_iter_free(iter);
	return rc;
}

int sessions_load(struct state *state)
{
	static const uint8_t start = META_SESSION, end = META_SESSION + 1;
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	int rc = kv_iter_open(state->kv, FAMILY_META, &start, 1, &end, 1, &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		rc = key_size == 9 ? load_session(state, get_be64(key + 1), value, size) : -EUCLEAN;
		if (rc != 0)
			break;
	}
	kv_iter_free(iter);
	if (rc == 0)
		rc = load_pairs(state, FAMILY_OPENS, load_open);
	if (rc == 0)
		rc = load_pairs(state, FAMILY_REPLIES, load_reply);
	return rc;
}

void session_batch_prune(struct txn *txn, struct session *session)
{
	uint8_t start[16], end[16];

	session->pruning = session->pruned;
	if (session->answered - session->pruned < PRUNE_BATCH)
		return;
	session->pruning = session->answered;
	key_u64_u64(start, session->id, session->pruned);
	key_u64_u64(end, session->id, session->answered + 1);
	kv_batch_delete_range(txn->batch, FAMILY_REPLIES, start, sizeof(start), end, sizeof(end));
	/* With the replies goes what would recognise their requests, but for this number. */
	put_session(txn->batch, session, session->delegations);
}

void session_pruned(struct session *session)
{
	session->pruned = session->pruning;
}

/* ---- delegated numbers ---- */

uint64_t session_delegated(const struct session *session, uint64_t ino)
{
	for (unsigned i = 0; i < DELEGATIONS; i++) {
		const struct delegation *d = &session->delegations[i];

		if (ino >= d->first_ino && ino - d->first_ino < d->count)
			return d->first_file_id + (ino - d->first_ino);
	}
	return 0;
}

static void push_delegation(struct delegation delegations[DELEGATIONS],
			    const struct delegation *newest)
{
	memmove(&delegations[1], &delegations[0], (DELEGATIONS - 1) * sizeof(delegations[0]));
	delegations[0] = *newest;
}

void session_batch_delegate(struct txn *txn, const struct session *session,
			    const struct delegation *delegation)
{
	struct delegation delegations[DELEGATIONS];

	memcpy(delegations, session->delegations, sizeof(delegations));
	push_delegation(delegations, delegation);
	put_session(txn->batch, session, delegations);
}

void session_delegate(struct session *session, const struct delegation *delegation)
{
	push_delegation(session->delegations, delegation);
}

int op_delegate(struct txn *txn, const Catena__DelegateReq *req, struct reply_room *room)
{
	static const Catena__Delegation empty = CATENA__DELEGATION__INIT;
	struct delegation *delegation = &txn->delegation;

	if (req->count == 0 || req->count > DELEGATION_MAX)
		return -EINVAL;
	if (!ids_left(&txn->counters, req->count))
		return -ENOSPC;
	delegation->first_ino = txn->counters.next_ino;
	delegation->first_file_id = txn->counters.next_file_id;
	delegation->count = req->count;
	txn->counters.next_ino += req->count;
	txn->counters.next_file_id += req->count;
	room->delegation = empty;
	room->delegation.first_ino = delegation->first_ino;
	room->delegation.first_file_id = delegation->first_file_id;
	room->delegation.count = delegation->count;
	room->reply.delegation = &room->delegation;
	return 0;
}

/* ---- commands ---- */

int state_apply_answered(struct state *state, uint64_t index, uint64_t session_id, uint64_t through)
{
	struct session *session;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, session_id);
	if (session != NULL && through > session->answered && through != UINT64_MAX) {
		session->answered = through;
		drop_replies(session, through);
	}
	/* The store hears of it with a later command: a restart in between only keeps more. */
	if (index > state->counters.index)
		state->counters.index = index;
	return 0;
}

int state_apply_session_open(struct state *state, uint64_t index, uint64_t id, uint64_t secret,
			     const char *mount, const char *name)
{
	struct session *session;
	struct txn *txn;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	if (id == 0 || id >= STATE_ID_END || strlen(mount) > SESSION_TEXT_MAX ||
	    strlen(name) > SESSION_TEXT_MAX)
		return -EINVAL;
	if (session_find(state, id) != NULL)
		return -EEXIST;
	if (state->lease.session != 0)
		return -EBUSY;
	session = calloc(1, sizeof(*session));
	if (session == NULL)
		return -ENOMEM;
	session->id = id;
	session->secret = secret;
	session->mount = strdup(mount);
	session->name = strdup(name);
	if (session->mount == NULL || session->name == NULL) {
		session_free(session);
		return -ENOMEM;
	}
	txn = txn_begin(state, NULL, 0);
	if (txn->counters.next_session <= id)
		txn->counters.next_session = id + 1;
	put_session(txn->batch, session, session->delegations);
	rc = txn_commit(txn, index);
	if (rc != 0) {
		session_free(session);
		return rc;
	}
	HASH_ADD(hh, state->sessions, id, sizeof(session->id), session);
	return 0;
}

/* Orphans that only this session had open go; their numbers to @freed. */
static int free_orphans(struct txn *txn, const struct session *session, uint64_t *freed,
			size_t *freed_count)
{
	const struct open_file *file;

	for (file = session->opens; file != NULL; file = file->hh.next) {
		struct inode inode;
		int rc;

		if (state_open_total(txn->state, file->ino) > file->count)
			continue;
		rc = txn_read_inode(txn, file->ino, &inode);
		if (txn->store_error != 0)
			return rc;
		if (rc != 0 || inode.nlink != 0)
			continue;
		orphan_gone(txn, inode.ino);
		txn_free_records(txn, &inode, inode.size);
		freed[(*freed_count)++] = inode.ino;
	}
	return 0;
}

static void delete_session_records(struct kv_batch *batch, uint64_t id)
{
	uint8_t key[META_KEY_MAX], start[16], end[16];

	key_u64_u64(start, id, 0);
	key_u64_u64(end, id + 1, 0);
	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_SESSION, id));
	kv_batch_delete_range(batch, FAMILY_REPLIES, start, sizeof(start), end, sizeof(end));
	kv_batch_delete_range(batch, FAMILY_OPENS, start, sizeof(start), end, sizeof(end));
}

int state_apply_session_close(struct state *state, uint64_t index, uint64_t id)
{
	struct open_file *file, *next;
	struct session *session;
	size_t freed_count = 0;
	uint64_t *freed;
	struct txn *txn;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session == NULL)
		return -ENOENT;
	freed = malloc((HASH_COUNT(session->opens) + 1) * sizeof(*freed));
	if (freed == NULL)
		return -ENOMEM;
	txn = txn_begin(state, NULL, 0);
	rc = free_orphans(txn, session, freed, &freed_count);
	if (rc != 0)
		goto out;
	delete_session_records(txn->batch, id);
	leases_batch_close(txn, session);
	append_batch_close(txn, session);
	rc = txn_commit(txn, index);
	if (rc != 0)
		goto out;
	while (freed_count > 0)
		inode_cache_drop(state->inodes, freed[--freed_count]);
	HASH_ITER(hh, session->opens, file, next)
	{
		session_set_open(state, session, file->ino, 0);
	}
	append_closed(state, session);
	HASH_DEL(state->sessions, session);
	session_free(session);
	leases_closed_session(state, id);
out:
	free(freed);
	return rc;
}

int state_session_check(struct state *state, uint64_t id, uint64_t secret)
{
	const struct session *session;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session == NULL || session->fenced)
		return -ENOENT;
	return session->secret == secret ? 0 : -EACCES;
}

int state_sessions(struct state *state,
		   int (*each)(void *user, uint64_t session, const char *mount, const char *name),
		   void *user)
{
	struct session *session, *next;
	int rc = state_ready(state);

	HASH_ITER(hh, state->sessions, session, next)
	{
		if (rc != 0)
			break;
		rc = each(user, session->id, session->mount, session->name);
	}
	return rc;
}

uint64_t state_next_session_id(const struct state *state)
{
	return state->counters.next_session;
}
