/* rpc_fixture.h - a server that echoes, refuses and delays, and clients that record, in one process
 * on loopback with certificates made here; what the tests of rpc share. */
#ifndef CATENA_TESTS_UNIT_COMMON_RPC_RPC_FIXTURE_H
#define CATENA_TESTS_UNIT_COMMON_RPC_RPC_FIXTURE_H
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

#define PLAIN    "/catena.Test/Plain"
#define LATER    "/catena.Test/Later"
#define DEADLINE (30 * NS_PER_SEC)

extern char dir[CA_PATH_MAX], other_dir[CA_PATH_MAX];
extern struct ca_files server_files, client_files, admin_files;

/* ---- a server that echoes, refuses, delays ---- */

struct test_server {
	struct rpc_server *rpc;
	atomic_int opened, closed;
	atomic_int messages, turns;
	atomic_int in_turn;       /* messages since the last turn */
	atomic_bool hold;         /* message callbacks wait while it is set */
	atomic_bool close_on_end; /* close the stream when a message says "end" */
	atomic_bool mute;         /* answers nothing; the test does, on this stream: */
	struct rpc_stream *stream;
	atomic_ulong bytes;
	char last[32];
	struct rpc_call *later;
	pthread_mutex_t lock;
};

extern struct test_server *the_server;

int start_server_on(struct test_server *s, uint16_t port, const struct ca_files *files, char *error,
		    size_t size);
int setup(void **state);
int teardown(void **state);

/* ---- a client that records ---- */

struct record {
	struct rpc_client *client;
	struct rpc_stream *stream;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *bytes;
	size_t size;
	int closed, error;
};

int open_client(struct record *r, uint16_t port, const struct ca_files *files);
int open_stream(struct record *r, uint64_t timeout_ns);

/* Waits for @size bytes (or, with 0, for the end). False: not within 8 s. */
bool wait_for(struct record *r, size_t size);
void close_record(struct record *r);
bool wait_count(atomic_int *count, int want);
int group_setup(void **state);
int group_teardown(void **state);

#define with_server(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#endif
