/* sessions.c - sessions of clients in memory and in the store; see sessions.h. */
#include "master/records/sessions.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/bytes.h"
#include "master/records/core.h"
#include "master/records/scan.h"

#define SESSION_FORMAT 1
#define PRUNE_BATCH    64u /* answered requests per record that forgets their replies */

struct session *session_find(const struct state *state, uint64_t id)
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

void session_free(struct session *session)
{
	struct open_file *file, *next = NULL;

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

struct session *session_new(uint64_t id, uint64_t secret, const char *mount, const char *name)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return NULL;
	session->id = id;
	session->secret = secret;
	session->mount = strdup(mount);
	session->name = strdup(name);
	if (session->mount == NULL || session->name == NULL) {
		session_free(session);
		return NULL;
	}
	return session;
}

void session_add(struct state *state, struct session *session)
{
	HASH_ADD(hh, state->sessions, id, sizeof(session->id), session);
}

void sessions_unload(struct state *state)
{
	struct session *session, *next = NULL;
	struct open_total *total, *next_total = NULL;

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

/* ---- replies ---- */

/* Returns the index of the first kept reply with an id not below @id. */
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

uint64_t session_last_reply(const struct session *session)
{
	return session->reply_end == session->reply_first
		       ? 0
		       : session->replies[session->reply_end - 1].id;
}

size_t session_replies_above(const struct session *session, uint64_t id)
{
	return id == UINT64_MAX ? 0 : session->reply_end - reply_at(session, id + 1);
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

	expects(id > session->answered);
	if (copy == NULL || reply_room(session) != 0) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, data, size);
	at = reply_at(session, id);
	expects(at == session->reply_end || session->replies[at].id != id);
	memmove(session->replies + at + 1, session->replies + at,
		(session->reply_end - at) * sizeof(*session->replies));
	session->replies[at] = (struct kept_reply){.id = id, .data = copy, .size = size};
	session->reply_end++;
	return 0;
}

/* ---- open files ---- */

bool session_may_open(const struct session *session, uint64_t ino)
{
	return HASH_COUNT(session->opens) < STATE_OPENS_MAX ||
	       session_open_count(session, ino) != 0;
}

uint32_t session_open_count(const struct session *session, uint64_t ino)
{
	struct open_file *file;

	HASH_FIND(hh, session->opens, &ino, sizeof(ino), file);
	return file == NULL ? 0 : file->count;
}

uint64_t session_open_total(const struct state *state, uint64_t ino)
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
	expects(delta >= 0 || total->count >= (uint64_t)-delta);
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

void session_remove(struct state *state, struct session *session)
{
	struct open_file *file, *next = NULL;

	HASH_ITER(hh, session->opens, file, next)
	{
		session_set_open(state, session, file->ino, 0);
	}
	HASH_DEL(state->sessions, session);
	session_free(session);
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
	put_le64(value + 9, session->forgetting);
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

void session_batch_put(struct kv_batch *batch, const struct session *session)
{
	put_session(batch, session, session->delegations);
}

void session_batch_delete(struct kv_batch *batch, uint64_t id)
{
	uint8_t key[META_KEY_MAX], start[16], end[16];

	key_u64_u64(start, id, 0);
	key_u64_u64(end, id + 1, 0);
	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_SESSION, id));
	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_LANE, id));
	kv_batch_delete_range(batch, FAMILY_REPLIES, start, sizeof(start), end, sizeof(end));
	kv_batch_delete_range(batch, FAMILY_OPENS, start, sizeof(start), end, sizeof(end));
}

bool session_decode(const uint8_t *data, size_t size, struct session_record *record)
{
	struct reader r = reader_on(data, size);

	if (reader_u8(&r) != SESSION_FORMAT)
		return false;
	record->secret = reader_le64(&r);
	record->answered = reader_le64(&r);
	record->mount_size = reader_le16(&r);
	record->mount = (const char *)reader_bytes(&r, record->mount_size);
	record->name_size = reader_le16(&r);
	record->name = (const char *)reader_bytes(&r, record->name_size);
	for (unsigned i = 0; i < DELEGATIONS; i++) {
		record->delegations[i].first_ino = reader_le64(&r);
		record->delegations[i].first_file_id = reader_le64(&r);
		record->delegations[i].count = reader_le32(&r);
	}
	return reader_done(&r) && record->mount_size <= SESSION_TEXT_MAX &&
	       record->name_size <= SESSION_TEXT_MAX;
}

static int load_session(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct state *state = user;
	struct session_record record;
	struct session *session;

	if (!session_decode(value, size, &record))
		return -EUCLEAN;
	session = calloc(1, sizeof(*session));
	if (session == NULL)
		return -ENOMEM;
	session->id = get_be64(key + 1);
	session->secret = record.secret;
	session->answered = session->forgetting = record.answered;
	memcpy(session->delegations, record.delegations, sizeof(session->delegations));
	session->mount = strndup(record.mount, record.mount_size);
	session->name = strndup(record.name, record.name_size);
	if (session->mount == NULL || session->name == NULL) {
		session_free(session);
		return -ENOMEM;
	}
	HASH_ADD(hh, state->sessions, id, sizeof(session->id), session);
	return 0;
}

static int load_lane(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct session *session = session_find(user, get_be64(key + 1));

	return session != NULL && meta_decode_lane(value, size, &session->lane_done) ? 0 : -EUCLEAN;
}

static int load_open(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct state *state = user;
	struct session *session = session_find(state, get_be64(key));

	if (session == NULL || size != 4)
		return -EUCLEAN;
	return session_set_open(state, session, get_be64(key + 8), get_le32(value));
}

static int load_reply(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct session *session = session_find(user, get_be64(key));

	if (session == NULL)
		return -EUCLEAN;
	if (get_be64(key + 8) <= session->answered)
		return 0;
	return session_keep_reply(session, get_be64(key + 8), value, size);
}

int sessions_load(struct state *state)
{
	int rc = scan_tag(state->kv, META_SESSION, load_session, state);

	if (rc == 0)
		rc = scan_tag(state->kv, META_LANE, load_lane, state);
	if (rc == 0)
		rc = scan_pairs(state->kv, FAMILY_OPENS, load_open, state);
	if (rc == 0)
		rc = scan_pairs(state->kv, FAMILY_REPLIES, load_reply, state);
	return rc;
}

void session_batch_prune(struct kv_batch *batch, struct session *session, uint64_t through)
{
	uint8_t start[16], end[16];

	expects(session->forgetting == session->answered);
	if (through < session->answered || through - session->answered < PRUNE_BATCH)
		return;
	session->forgetting = through;
	key_u64_u64(start, session->id, session->answered);
	key_u64_u64(end, session->id, through + 1);
	kv_batch_delete_range(batch, FAMILY_REPLIES, start, sizeof(start), end, sizeof(end));
	/* Without their replies, only this number recognises requests that were executed. */
	put_session(batch, session, session->delegations);
}

void session_batch_lane(struct kv_batch *batch, const struct session *session, uint64_t done)
{
	uint8_t key[META_KEY_MAX], value[META_LANE_BYTES];

	expects(done == session->lane_done + 1);
	meta_encode_lane(done, value);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_LANE, session->id), value,
		     sizeof(value));
}

void session_pruned(struct session *session)
{
	session->answered = session->forgetting;
	drop_replies(session, session->answered);
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

uint64_t session_delegated_ino(const struct session *session, uint64_t file_id)
{
	for (unsigned i = 0; i < DELEGATIONS; i++) {
		const struct delegation *d = &session->delegations[i];

		if (file_id >= d->first_file_id && file_id - d->first_file_id < d->count)
			return d->first_ino + (file_id - d->first_file_id);
	}
	return 0;
}

static void push_delegation(struct delegation delegations[DELEGATIONS],
			    const struct delegation *newest)
{
	memmove(&delegations[1], &delegations[0], (DELEGATIONS - 1) * sizeof(delegations[0]));
	delegations[0] = *newest;
}

void session_batch_delegate(struct kv_batch *batch, const struct session *session,
			    const struct delegation *delegation)
{
	struct delegation delegations[DELEGATIONS];

	memcpy(delegations, session->delegations, sizeof(delegations));
	push_delegation(delegations, delegation);
	put_session(batch, session, delegations);
}

void session_delegate(struct session *session, const struct delegation *delegation)
{
	push_delegation(session->delegations, delegation);
}
