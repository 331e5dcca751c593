/* ops.c - operation ids: each update has one for good, and every update says up to
 * which all of its chunk have been answered, so that the members may forget those. What is stuck in
 * another chunk keeps nothing in this one's list of ids, which is short.
 *
 * An update belongs to one session. When that is over, somebody else may have changed what it was
 * about: it is never sent under another session's id. */
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "fs/chains/internal.h"
#include "fs/chains/ops.h"

static struct chains_request **bucket_of(struct chains_client *client, const struct chunk_key *key)
{
	return &client->ops[chunk_key_hash(key) % CHAINS_OPS_BUCKETS];
}

/* Of the chunk; NULL: none is open. Ids are given in the order of the lists. */
static struct chains_request *oldest_of(struct chains_client *client, const struct chunk_key *key)
{
	struct chains_request *request = *bucket_of(client, key);

	while (request != NULL && !chunk_key_equal(&request->key, key))
		request = request->op_next;
	return request;
}

bool chains_ops_forget(struct chains_client *client, struct chains_request *request, bool lingers)
{
	struct chains_request **bucket = bucket_of(client, &request->key), *other;
	bool close = false;

	pthread_mutex_lock(&client->ops_lock);
	if (request->client_id != client->op_session || request->op_id == 0)
		goto out;
	DL_DELETE2(*bucket, request, op_prev, op_next);
	expects(request->op_id <= client->last_op);
	request->op_id = 0;
	lingers = lingers || request->lingers;
	other = oldest_of(client, &request->key);
	if (other != NULL)
		other->lingers = other->lingers || lingers;
	else
		close = lingers;
out:
	pthread_mutex_unlock(&client->ops_lock);
	return close;
}

static void on_closed(struct chains_request *request, int error, const struct frame_header *answer,
		      struct buf *payload)
{
	buf_unref(payload);
	free(request);
}

void chains_ops_close(struct chains_client *client, const struct chunk_key *key, uint64_t session)
{
	struct cluster_map *map = chains_client_map(client);
	const struct map_pool *pool = map == NULL ? NULL : cluster_map_pool(map, key->pool);
	struct chains_request *request = NULL;

	if (pool != NULL && session == chains_client_session(client) &&
	    !chains_client_stopping(client))
		request = calloc(1, sizeof(*request));
	if (request != NULL) {
		request->op = FRAME_TRUNCATE;
		request->closing = true;
		request->durable = true; /* or the power of the members takes it away again */
		request->key = *key;
		request->offset = pool->chunk_size;
		request->session = session;
		request->done = on_closed;
		chains_client_send(client, request);
	}
	cluster_map_unref(map);
}

/* The session that the request is of; 0: any. */
static uint64_t bound_to(const struct chains_request *request)
{
	return request->client_id != 0 ? request->client_id : request->session;
}

bool chains_ops_void(struct chains_client *client, const struct chains_request *request)
{
	uint64_t session = atomic_load_explicit(&client->session_id, memory_order_acquire);

	return frame_is_update(request->op) && bound_to(request) != 0 && session != 0 &&
	       bound_to(request) != session;
}

/* The same for all attempts: that is how members know a repeated update. False: its session is
 * over. */
static bool op_assign(struct chains_client *client, struct chains_request *request,
		      struct frame_header *header)
{
	struct chains_request **bucket = bucket_of(client, &request->key), *oldest;
	uint64_t session;
	bool ours;

	pthread_mutex_lock(&client->ops_lock);
	/* Read here: a session once left must not come back, and ids begin again with each. */
	session = atomic_load_explicit(&client->session_id, memory_order_acquire);
	ours = bound_to(request) == 0 || bound_to(request) == session;
	if (!ours)
		goto out;
	if (client->op_session != session) {
		/* The old ones are in nobody's list from here on. */
		client->op_session = session;
		client->last_op = 0;
		memset(client->ops, 0, sizeof(client->ops));
	}
	if (request->op_id == 0) {
		request->client_id = session;
		request->op_id = ++client->last_op;
		DL_APPEND2(*bucket, request, op_prev, op_next);
	}
	header->client_id = request->client_id;
	header->op_id = request->op_id;
	oldest = oldest_of(client, &request->key);
	/* It is in the list itself, and ids are given in the order of the lists. */
	expects(oldest != NULL && oldest->op_id <= request->op_id);
	header->answered = oldest->op_id - 1;
out:
	pthread_mutex_unlock(&client->ops_lock);
	return ours;
}

bool chains_ops_header(struct chains_client *client, struct chains_request *request,
		       struct frame_header *header)
{
	*header = (struct frame_header){
		.op = request->op,
		.flags = (uint16_t)((request->durable ? FRAME_DURABLE : 0) |
				    (request->closing ? FRAME_CLOSING : 0) |
				    (request->suspect != 0 && request->suspect == request->target_id
					     ? FRAME_VERIFY
					     : 0)),
		.key = request->key,
		.epoch = request->epoch,
		.offset = request->offset,
		.range = request->range,
		.length = request->payload == NULL ? 0 : request->payload->length,
	};
	if (request->known != NULL) {
		header->version = atomic_load(&request->known->version);
		header->arg = header->version == 0 ? 0 : atomic_load(&request->known->epoch);
	}
	if (frame_is_update(request->op))
		return op_assign(client, request, header);
	header->client_id = atomic_load_explicit(&client->session_id, memory_order_acquire);
	return true;
}
