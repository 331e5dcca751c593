/* client.c - the tables of clients; see client.h. */
#define LOG_MODULE "client"
#include "master/sessions/client.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/lock.h"
#include "common/os/log.h"

static struct log_rate noise;

void client_stream_unref(struct client_stream *stream)
{
	lock_held(&stream->master->lock);
	expects(stream->refs > 0);
	if (--stream->refs != 0)
		return;
	free(stream->mount);
	free(stream->early);
	free(stream);
}

void client_send(struct client_stream *stream, const struct push *push)
{
	int rc;

	if (stream->over || push->size == 0)
		return;
	rc = push->failed ? -ENOMEM : rpc_stream_send(stream->rpc, push->data, push->size);
	if (rc == 0 || rc == -EPIPE)
		return;
	/* The client comes back on a new stream and asks again for what it did not get. */
	if (log_rate_ok(&noise, 2))
		log_warn("stream given up name=%s error=\"%s\"", stream->name, strerror(-rc));
	rpc_stream_close(stream->rpc);
}

struct client_session *client_session_find(struct master *master, uint64_t id)
{
	struct client_session *session;

	HASH_FIND(hh, master->clients, &id, sizeof(id), session);
	return session;
}

struct client_session *client_session_new(uint64_t id, const char *mount, const char *name)
{
	struct client_session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return NULL;
	session->id = id;
	session->mount = strdup(mount);
	if (session->mount == NULL) {
		free(session);
		return NULL;
	}
	snprintf(session->name, sizeof(session->name), "%s", name);
	return session;
}

void client_session_free(struct client_session *session)
{
	if (session == NULL)
		return;
	free(session->mount);
	free(session);
}
