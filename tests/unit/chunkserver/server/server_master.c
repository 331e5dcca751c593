#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/chunkserver/server/server_master.h"

struct master master = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int on_open(void *user, struct rpc_stream *stream, const struct tls_identity *peer,
		   void **stream_user)
{
	pthread_mutex_lock(&master.mutex);
	rpc_stream_unref(master.stream);
	master.stream = rpc_stream_ref(stream);
	master.streams++;
	pthread_mutex_unlock(&master.mutex);
	return 0;
}

static void keep(Catena__ServerBatch **place, const uint8_t *data, size_t size)
{
	if (*place != NULL)
		catena__server_batch__free_unpacked(*place, NULL);
	*place = catena__server_batch__unpack(NULL, size, data);
}

static void on_message(void *stream_user, struct rpc_stream *stream, const uint8_t *data,
		       size_t size)
{
	Catena__ServerBatch *batch = catena__server_batch__unpack(NULL, size, data);

	pthread_mutex_lock(&master.mutex);
	if (batch->n_registrations > 0)
		keep(&master.last_register, data, size);
	if (batch->n_heartbeats > 0)
		keep(&master.last_heartbeat, data, size);
	if (batch->n_reports > 0)
		keep(&master.last_report, data, size);
	master.registrations += (unsigned)batch->n_registrations;
	master.heartbeats += (unsigned)batch->n_heartbeats;
	master.reports += (unsigned)batch->n_reports;
	pthread_mutex_unlock(&master.mutex);
	catena__server_batch__free_unpacked(batch, NULL);
}

static void on_stream_closed(void *stream_user, struct rpc_stream *stream, int error)
{
}

static const struct rpc_stream_handler handler = {
	.open = on_open,
	.message = on_message,
	.closed = on_stream_closed,
};
static const struct rpc_method methods[] = {
	{.path = "/catena.Master/Chunkserver", .stream = &handler},
	{0},
};

void say(const Catena__ServerPush *push)
{
	size_t size = catena__server_push__get_packed_size(push);
	uint8_t *data = malloc(size);

	catena__server_push__pack(push, data);
	pthread_mutex_lock(&master.mutex);
	rpc_stream_send(master.stream, data, size);
	pthread_mutex_unlock(&master.mutex);
	free(data);
}

int server_master_start(const struct tls_files *tls, char *address, size_t size)
{
	struct rpc_server_options options = {
		.listen = "127.0.0.1:0", .tls = *tls, .methods = methods};
	char error[256];
	int rc = rpc_server_start(&options, &master.server, error, sizeof(error));

	if (rc == 0)
		snprintf(address, size, "127.0.0.1:%u", rpc_server_port(master.server));
	return rc;
}

static void forget(Catena__ServerBatch **place)
{
	if (*place != NULL)
		catena__server_batch__free_unpacked(*place, NULL);
	*place = NULL;
}

void server_master_stop(void)
{
	rpc_stream_unref(master.stream);
	master.stream = NULL;
	rpc_server_stop(master.server);
	forget(&master.last_register);
	forget(&master.last_heartbeat);
	forget(&master.last_report);
	master.streams = master.registrations = master.heartbeats = master.reports = 0;
}

unsigned counted(const unsigned *count)
{
	unsigned n;

	pthread_mutex_lock(&master.mutex);
	n = *count;
	pthread_mutex_unlock(&master.mutex);
	return n;
}

Catena__ServerBatch *take(Catena__ServerBatch **place)
{
	Catena__ServerBatch *batch;

	pthread_mutex_lock(&master.mutex);
	batch = *place;
	*place = NULL;
	pthread_mutex_unlock(&master.mutex);
	assert_non_null(batch);
	return batch;
}

void done_with(Catena__ServerBatch *batch)
{
	catena__server_batch__free_unpacked(batch, NULL);
}
