/* master_fixture.h - a master in this process, and peers that speak its protocol; for
 * master_test.c and master_servers_test.c. */
#ifndef CATENA_TESTS_UNIT_MASTER_SHELL_MASTER_FIXTURE_H
#define CATENA_TESTS_UNIT_MASTER_SHELL_MASTER_FIXTURE_H
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "catena.pb-c.h"
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/rpc/rpc.h"
#include "master/shell/start.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

#define CLUSTER "11111111-2222-3333-4444-555555555555"
#define SERVERS 4
/* How long a test waits for what has to come: it never does on a machine that has time for it. */
#define PATIENCE_MS 30000u

struct fixture {
	char dir[CA_PATH_MAX], data[CA_PATH_MAX + 8];
	struct ca_files master_cert, client_cert, admin_cert, server_certs[SERVERS];
	struct master_config config;
	struct master *master;
	pthread_t ticker;
	atomic_bool stop;
	uint16_t port;
};

extern struct fixture fx;

/* Starts it on what is in the data directory. */
int fixture_start(void);
void fixture_stop(void);

/* A new data directory and a master on it; short leases, so that tests need not wait long. */
int fixture_setup(void **state);
/* The same, with a lease of chunkservers that does not run out while a busy machine lets tests wait. */
int fixture_setup_calm(void **state);
int fixture_teardown(void **state);
int fixture_group_setup(void **state);
int fixture_group_teardown(void **state);

/* ---- peers ---- */

/* All that a peer ever received on its stream, as one message: messages there add up. */
struct peer {
	struct rpc_client *client;
	struct rpc_stream *stream;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *bytes;
	size_t size;
	bool closed;
	int error;
};

struct peer *peer_open(const struct ca_files *cert, const char *path);
void peer_close(struct peer *p);
void peer_send(struct peer *p, const ProtobufCMessage *message);

/* Waits until @test is true of all that came (unpacked as @type), or for the end of the stream with
 * NULL. The message is the caller's to free; NULL: it never became true. */
typedef bool peer_test(const void *message, uint64_t arg);
void *peer_wait_for(struct peer *p, const ProtobufCMessageDescriptor *type, peer_test *test,
		    uint64_t arg, unsigned ms);

/* The same, and forgets what it returns, and nothing that comes later. */
void *peer_take(struct peer *p, const ProtobufCMessageDescriptor *type, peer_test *test,
		uint64_t arg, unsigned ms);
bool peer_wait_closed(struct peer *p);

/* Forgets what came; for tests that wait for the next of something. */
void peer_forget(struct peer *p);
bool has_opened(const void *message, uint64_t n);
bool has_grants(const void *message, uint64_t n);
bool has_recalls(const void *message, uint64_t n);
bool has_reply(const void *message, uint64_t id);

#define peer_push(p, test, arg)                                                                    \
	((Catena__ClientPush *)peer_wait_for(p, &catena__client_push__descriptor, test, arg,       \
					     PATIENCE_MS))
#define push_free_unpacked(push) catena__client_push__free_unpacked(push, NULL)

/* ---- what a client sends ---- */

void send_open(struct peer *p, uint64_t session, uint64_t secret);
struct peer *client_open_stream(uint64_t session, uint64_t secret);
void send_requests(struct peer *p, Catena__Request **requests, size_t count);
void send_create(struct peer *p, uint64_t id, const char *name, bool durable);
void send_grow(struct peer *p, uint64_t id, const Catena__Attr *attr, uint64_t size);
void send_unlink(struct peer *p, uint64_t id, const char *name);
void send_renew(struct peer *p, uint64_t sequence);

/* Unpacked replies: the one with this id, or NULL. */
const Catena__Reply *find_reply(const Catena__ClientPush *push, uint64_t id);
#endif
