/* appends.c - the rights to append in memory and in the store; see appends.h. */
#include "master/records/appends.h"
#include <errno.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/base/bytes.h"
#include "master/records/core.h"
#include "master/records/scan.h"

static struct append_right *find_right(const struct state *state, uint64_t ino)
{
	struct append_right *right;

	HASH_FIND(hh, state->appends, &ino, sizeof(ino), right);
	return right;
}

uint64_t append_holder(const struct state *state, uint64_t ino)
{
	const struct append_right *right = find_right(state, ino);

	return right == NULL ? 0 : right->session->id;
}

static int add_right(struct state *state, uint64_t ino, struct session *session)
{
	struct append_right *right = malloc(sizeof(*right));

	if (right == NULL)
		return -ENOMEM;
	*right = (struct append_right){.ino = ino, .session = session};
	HASH_ADD(hh, state->appends, ino, sizeof(right->ino), right);
	session->appends++;
	return 0;
}

static void drop_right(struct state *state, struct append_right *right)
{
	expects(right->session->appends > 0);
	right->session->appends--;
	HASH_DEL(state->appends, right);
	free(right);
}

static void batch_put(struct kv_batch *batch, uint64_t ino, uint64_t session)
{
	uint8_t key[META_KEY_MAX], value[META_APPEND_BYTES];

	meta_encode_append(session, value);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_APPEND, ino), value,
		     sizeof(value));
}

static void batch_delete(struct kv_batch *batch, uint64_t ino)
{
	uint8_t key[META_KEY_MAX];

	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_APPEND, ino));
}

void append_batch(struct kv_batch *batch, const struct session *session,
		  const struct append_change *change)
{
	if (!change->changed)
		return;
	if (change->taken)
		batch_put(batch, change->ino, session->id);
	else
		batch_delete(batch, change->ino);
}

int append_changed(struct state *state, struct session *session, const struct append_change *change)
{
	struct append_right *right;

	if (!change->changed)
		return 0;
	right = find_right(state, change->ino);
	if (right != NULL)
		drop_right(state, right);
	return change->taken ? add_right(state, change->ino, session) : 0;
}

static int by_ino(const struct append_right *a, const struct append_right *b)
{
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

void append_batch_close(struct state *state, struct kv_batch *batch, const struct session *session)
{
	/* The order in which they were taken is not in the store, and a replica that was started since
	 * does not know it. */
	if (session->appends > 1)
		HASH_SRT(hh, state->appends, by_ino);
	for (struct append_right *right = state->appends; right != NULL; right = right->hh.next)
		if (right->session == session)
			batch_delete(batch, right->ino);
}

void append_closed(struct state *state, const struct session *session)
{
	struct append_right *right, *next = NULL;

	HASH_ITER(hh, state->appends, right, next)
	{
		if (right->session == session)
			drop_right(state, right);
	}
	expects(session->appends == 0);
}

static int load_right(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct state *state = user;
	struct session *session;
	uint64_t holder;

	if (!meta_decode_append(value, size, &holder))
		return -EUCLEAN;
	session = session_find(state, holder);
	return session == NULL ? -EUCLEAN : add_right(state, get_be64(key + 1), session);
}

int appends_load(struct state *state)
{
	return scan_tag(state->kv, META_APPEND, load_right, state);
}

void appends_unload(struct state *state)
{
	struct append_right *right, *next = NULL;

	HASH_ITER(hh, state->appends, right, next)
	{
		drop_right(state, right);
	}
}
