/* transport.h - what carries the frames of a chains_client: the seam between its
 * decisions and the world. net.c is the real one; tests bring their own.
 *
 * Each connection belongs to one of the loops; its events come on that loop's thread. */
#ifndef CATENA_FS_CHAINS_TRANSPORT_H
#define CATENA_FS_CHAINS_TRANSPORT_H
#include <stdint.h>
#include "common/net/frame.h"
#include "common/net/tls.h"

#define CHAINS_LOOPS_MAX 32u

struct chains_transport;
struct chains_link;

struct chains_transport_ops {
	/* Calls tick(user, loop) on each loop's thread: soon after start, and whenever wake() says.
	 */
	int (*start)(struct chains_transport *t, void (*tick)(void *user, unsigned loop),
		     void *user);
	/* Ends the loops; every connection has been closed. Nothing is called after it. */
	void (*stop)(struct chains_transport *t);
	void (*destroy)(struct chains_transport *t);
	uint64_t (*now)(struct chains_transport *t); /* monotonic ns, any thread */
	/* tick(loop) at @at_ns or earlier. Any thread, cheap when it would come earlier anyway. */
	void (*wake)(struct chains_transport *t, unsigned loop, uint64_t at_ns);
	/* On the loop's thread. Then one of chains_link_ready() and chains_link_closed()
	 * follows. */
	int (*connect)(struct chains_transport *t, unsigned loop, const char *address,
		       struct chains_link *link, void **conn);
	/* On the loop's thread; no event comes after it. */
	void (*close)(void *conn);
	/* Any thread that has a reference, or on the loop's thread. -EPIPE: it is over, and
	 * chains_link_closed() comes or has come. */
	int (*send)(void *conn, const struct frame_header *header, struct buf *payload);
	void (*ref)(void *conn);
	void (*unref)(void *conn);
	void (*batch)(bool begin);
};

struct chains_transport {
	const struct chains_transport_ops *ops;
	unsigned loops;
};

/* Events, on the loop's thread. */
void chains_link_ready(struct chains_link *link, const struct tls_identity *peer);
/* Takes @payload over. */
void chains_link_frame(struct chains_link *link, const struct frame_header *header,
		       struct buf *payload);
void chains_link_closed(struct chains_link *link, int error);

/* Over conn.h, with @loops threads. One line in @error. */
int chains_net_create(const struct tls_files *tls, struct buf_pool *pool, unsigned loops,
		      struct chains_transport **out, char *error, size_t error_size);
#endif
