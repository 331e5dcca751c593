/* chain_client_ops.c - operation ids: each update has one for good, and every update says up to
 * which all have been answered, so that the members may forget those.
 *
 * An update belongs to one session. When that is over, somebody else may have changed what it was
 * about: it is never sent under another session's id. */
#include "fs/chain_client_internal.h"

void chain_op_forget(struct chain_client *client, struct chain_request *request)
{
	pthread_mutex_lock(&client->ops_lock);
	if (request->client_id != client->op_session || request->op_id == 0)
		goto out;
	if (request->op_prev != NULL)
		request->op_prev->op_next = request->op_next;
	else
		client->oldest_op = request->op_next;
	if (request->op_next != NULL)
		request->op_next->op_prev = request->op_prev;
	else
		client->newest_op = request->op_prev;
	request->op_id = 0;
out:
	pthread_mutex_unlock(&client->ops_lock);
}

/* The session that the request is of; 0: any. */
static uint64_t bound_to(const struct chain_request *request)
{
	return request->client_id != 0 ? request->client_id : request->session;
}

bool chain_op_void(struct chain_client *client, const struct chain_request *request)
{
	uint64_t session = atomic_load_explicit(&client->session_id, memory_order_acquire);

	return frame_is_update(request->op) && bound_to(request) != 0 && session != 0 &&
	       bound_to(request) != session;
}

/* The same for all attempts: that is how members know a repeated update. False: its session is
 * over. */
static bool op_assign(struct chain_client *client, struct chain_request *request,
		      struct frame_header *header)
{
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
		client->oldest_op = NULL;
		client->newest_op = NULL;
	}
	if (request->op_id == 0) {
		request->client_id = session;
		request->op_id = ++client->last_op;
		request->op_next = NULL;
		request->op_prev = client->newest_op;
		if (client->newest_op != NULL)
			client->newest_op->op_next = request;
		else
			client->oldest_op = request;
		client->newest_op = request;
	}
	header->client_id = request->client_id;
	header->op_id = request->op_id;
	header->answered = client->oldest_op->op_id - 1;
out:
	pthread_mutex_unlock(&client->ops_lock);
	return ours;
}

bool chain_request_header(struct chain_client *client, struct chain_request *request,
			  struct frame_header *header)
{
	*header = (struct frame_header){
		.op = request->op,
		.flags = request->sync                            ? FRAME_SYNC
			 : request->suspect == request->target_id ? FRAME_VERIFY
								  : 0,
		.key = request->key,
		.epoch = request->epoch,
		.offset = request->offset,
		.range = request->range,
		.length = request->payload == NULL ? 0 : request->payload->length,
	};
	if (frame_is_update(request->op)) {
		header->version = request->known == NULL ? 0 : atomic_load(request->known);
		return op_assign(client, request, header);
	}
	header->client_id = atomic_load_explicit(&client->session_id, memory_order_acquire);
	return true;
}
