/* leaving.h - the time between the wish to stop and the stop: the server waits, but not for ever,
 * until other servers have taken over.
 *
 * Thread: the front loop's. */
#ifndef CATENA_CHUNKSERVER_SERVER_LEAVING_H
#define CATENA_CHUNKSERVER_SERVER_LEAVING_H
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct leaving {
	uv_timer_t timer;
	uint64_t until_ns; /* at the latest; 0: the server stays */
	bool (*may_go)(void *owner);
	void *owner;
	void (*left)(void *user);
	void *user;
};

/* @may_go says whether no chain needs the server any more. */
void leaving_open(struct leaving *leaving, uv_loop_t *loop, bool (*may_go)(void *owner),
		  void *owner);
/* Begins to wait: @left is called once, on the loop, when the server may go, or after @timeout_ns.
 * Called once. */
void leaving_start(struct leaving *leaving, uint64_t timeout_ns, void (*left)(void *user),
		   void *user);
/* True from leaving_start() on. */
bool leaving_has_begun(const struct leaving *leaving);
/* No callback comes any more; the loop has to be run to let the timer go. */
void leaving_close(struct leaving *leaving);
#endif
