/* publisher.h - the chain manager in the master: it is told what happens, and what it decides is
 * put into the log, made durable, and then shown. With the state lock held, unless said otherwise.
 *
 * A decision's way: planned, in the log, durable; then told to those who lose a place and could
 * serve on without knowing it (the fenced), and when they have said that they know, or cannot serve
 * any more, to everybody. Nothing new is decided meanwhile. */
#ifndef CATENA_MASTER_CLUSTER_PUBLISHER_H
#define CATENA_MASTER_CLUSTER_PUBLISHER_H
#include "master/shared/master.h"

struct chunkserver;

int publisher_start(struct master *master);
/* NULL is allowed as master->publisher. */
void publisher_free(struct master *master);
/* Publishes the view and pushes it to everyone. */
void master_publish(struct master *master);

/* Does what can be done now; after anything that may have changed something. */
void publisher_act(struct master *master, uint64_t now_ns);
/* Each tick, with what is to be done there and not every time. */
void publisher_tick(struct master *master, uint64_t now_ns, uint64_t gap_ns);
/* publisher_act() should be called again within 10 ms. */
bool publisher_soon(struct master *master, uint64_t now_ns);
/* No change of chains is under way. */
bool publisher_settled(const struct master *master);
/* A command that changes the map is in the log as @index: it is shown when it is durable. */
void publisher_changed(struct master *master, uint64_t index);
/* The master may serve from now on. */
void publisher_heard(struct master *master, uint64_t now_ns);
/* The store was opened again. */
void publisher_recovered(struct master *master);
/* A server has said which map it has. */
void publisher_seen(struct master *master, uint64_t server, uint64_t version);
/* To one of those who have to have the new map first, as long as that is so. */
void publisher_push_fence(struct master *master, struct chunkserver *server);
/* The speed limits, to one server or (NULL) all. */
void publisher_push_recovery(struct master *master, struct chunkserver *server);
#endif
