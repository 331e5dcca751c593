/* chunkserver.c - see chunkserver.h. */
#define LOG_MODULE "chunkserver"
#include "master/shared/chunkserver.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/log.h"

struct chunkserver *chunkserver_find(const struct master *master, uint64_t id)
{
	struct chunkserver *server;

	HASH_FIND(hh, master->chunkservers, &id, sizeof(id), server);
	return server;
}

struct chunkserver *chunkserver_by_name(const struct master *master, const char *name)
{
	for (struct chunkserver *s = master->chunkservers; s != NULL; s = s->hh.next)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

void chunkserver_send(struct chunkserver_stream *stream, const struct push *push)
{
	static struct log_rate noise;
	int rc;

	if (stream->over || push->size == 0)
		return;
	rc = push->failed ? -ENOMEM : rpc_stream_send(stream->rpc, push->data, push->size);
	if (rc == 0 || rc == -EPIPE)
		return;
	if (log_rate_ok(&noise, 2))
		log_warn("stream given up name=%s error=\"%s\"", stream->name, strerror(-rc));
	rpc_stream_close(stream->rpc);
}

void chunkserver_stream_unref(struct chunkserver_stream *stream)
{
	if (--stream->refs == 0)
		free(stream);
}

void chunkserver_free_all(struct master *master)
{
	struct chunkserver *server, *next;

	HASH_ITER(hh, master->chunkservers, server, next)
	{
		HASH_DEL(master->chunkservers, server);
		free(server->catchups);
		free(server);
	}
}
