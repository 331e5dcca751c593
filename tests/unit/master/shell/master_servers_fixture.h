/* master_servers_fixture.h - peers that speak to the master as chunkservers; for
 * master_servers_test.c and master_chains_test.c. */
#ifndef CATENA_TESTS_UNIT_MASTER_SHELL_MASTER_SERVERS_FIXTURE_H
#define CATENA_TESTS_UNIT_MASTER_SHELL_MASTER_SERVERS_FIXTURE_H
#include "tests/unit/master/shell/master_fixture.h"

#define PATH "/catena.Master/Chunkserver"

struct registration {
	const char *cluster, *name, *address, *uuid;
	int cert;
	uint64_t life;
};

bool has_registered(const void *message, uint64_t n);
bool has_map_with_chains(const void *message, uint64_t unused);

/* The last map says that so many servers are online. */
bool has_online(const void *message, uint64_t n);
bool has_removes(const void *message, uint64_t n);
bool has_server_renewed(const void *message, uint64_t sequence);

#define server_push(p, test, arg)                                                                  \
	((Catena__ServerPush *)peer_wait_for(p, &catena__server_push__descriptor, test, arg,       \
					     PATIENCE_MS))
#define free_push(push) catena__server_push__free_unpacked(push, NULL)

/* @second: another target, of life 1; NULL: none. */
extern uint64_t told_instance; /* in registrations; 0: none */
extern struct state_seen told_seen;

struct peer *server_connect_with(const struct registration *r, const char *second_uuid);
struct peer *server_connect(const struct registration *r);

/* Also tells the ids. */
struct peer *server_up_again(int n, uint64_t life, uint64_t *server_id, uint32_t *target_id);
struct peer *server_up(int n, uint64_t *server_id, uint32_t *target_id);
void heartbeat(struct peer *p, uint64_t sequence, uint32_t target_id, uint64_t used);
void expect_refused(const struct registration *r, int error);

/* Sends heartbeats of all servers in the background. */
struct beating {
	pthread_mutex_t lock; /* of peers */
	struct peer *peers[SERVERS];
	uint32_t targets[SERVERS];
	atomic_bool stop, paused[SERVERS];
	pthread_t thread;
};

void begin_beating(struct beating *b);
void three_servers(struct beating *b);
void set_peer(struct beating *b, int i, struct peer *peer, struct peer **old);
void close_all(struct beating *b);
#endif
