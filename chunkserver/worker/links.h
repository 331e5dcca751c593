/* links.h - connections to the successors' servers: one for each worker of each server, shared by
 * all chains whose successor is there. */
#ifndef CATENA_CHUNKSERVER_WORKER_LINKS_H
#define CATENA_CHUNKSERVER_WORKER_LINKS_H
#include "chunkserver/worker/loop.h"
#include "chunkserver/worker/members.h"
#include "common/base/duration.h"

#define LINK_RETRY_MIN_NS (20 * NS_PER_MSEC)
#define LINK_RETRY_MAX_NS (500 * NS_PER_MSEC)
/* Ticks without a frame, until the successor is asked, and until the link is closed. */
#define LINK_PING_TICKS    10u
#define LINK_SILENCE_TICKS 100u
/* Ticks without a link or an answer, until the master is told: 1.5 s. */
#define LINK_UNREACHABLE_TICKS 30u

/* A connection to one worker of a successor's server, shared by all chains that go there. */
struct link {
	struct worker *worker;
	struct conn *conn; /* NULL: between attempts */
	uint64_t id;       /* of the connection that stands, HELLO answered; else 0 */
	uint64_t server_id;
	uint32_t remote_worker;
	char address[MAP_NAME_MAX];
	uint64_t retry_at_ns, retry_ns;
	unsigned silent;  /* ticks since the last frame: a worker that stands still counts none */
	unsigned unheard; /* ticks since the last answer, or since the link was made */
	unsigned users;   /* members */
	struct link *prev, *next;
};

/* Gives the member the link that its chain wants now. @configured: the chain has been configured,
 * and is told of its link even if that is the same. */
void link_choose(struct worker *worker, struct member *member, bool configured);
/* Finds the link whose connection chains call @id. NULL: it is gone. */
struct link *link_find(struct worker *worker, uint64_t id);
/* Connects again, and gives up connections on which nothing is heard. */
void links_tick(struct worker *worker, uint64_t now_ns);
/* Closes all of them, when the worker stops. */
void links_close(struct worker *worker);
/* Frees all of them, closed before. No member may use one afterwards. */
void links_free(struct worker *worker);
#endif
