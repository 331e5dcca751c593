/* server_master.h - a master for tests of the chunkserver: it writes down what chunkservers say,
 * and says what the test wants. After cmocka.h. */
#ifndef CATENA_TESTS_UNIT_CHUNKSERVER_SERVER_SERVER_MASTER_H
#define CATENA_TESTS_UNIT_CHUNKSERVER_SERVER_SERVER_MASTER_H
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "catena.pb-c.h"
#include "common/rpc/rpc.h"

struct master {
	pthread_mutex_t mutex;
	struct rpc_server *server;
	struct rpc_stream *stream; /* the newest */
	unsigned streams, registrations, heartbeats, reports;
	Catena__ServerBatch *last_register, *last_heartbeat, *last_report;
};
extern struct master master;

void say(const Catena__ServerPush *push);
int server_master_start(const struct tls_files *tls, char *address, size_t size);
void server_master_stop(void);
unsigned counted(const unsigned *count);

/* The newest message of a kind, for the test to look at and to free. */
Catena__ServerBatch *take(Catena__ServerBatch **place);
void done_with(Catena__ServerBatch *batch);
#endif
