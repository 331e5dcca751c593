/* transport.h - what carries the frames of a chain_client: the seam between its
 * decisions and the world. net.c is the real one; tests bring their own.
 *
 * Each connection belongs to one of the loops; its events come on that loop's thread. */
#ifndef CATENA_FS_CHAINS_TRANSPORT_H
#define CATENA_FS_CHAINS_TRANSPORT_H
#include <stdint.h>
#include "common/net/frame.h"
#include "common/net/tls.h"

#define CHAIN_LOOPS_MAX 32u

struct chain_transport;
struct chain_link;

struct chain_transport_ops {
	/* Calls tick(user, loop) on each loop's thread: soon after start, and whenever wake() says.
	 */
	int (*start)(struct chain_transport *t, void (*tick)(void *user, unsigned loop),
		     void *user);
	/* Ends the loops; every connection has been closed. Nothing is called after it. */
	void (*stop)(struct chain_transport *t);
	void (*destroy)(struct chain_transport *t);
	uint64_t (*now)(struct chain_transport *t); /* monotonic ns, any thread */
	/* tick(loop) at @at_ns or earlier. Any thread, cheap when it would come earlier anyway. */
	void (*wake)(struct chain_transport *t, unsigned loop, uint64_t at_ns);
	/* On the loop's thread. Then one of chain_link_ready() and chain_link_closed() follows. */
	int (*connect)(struct chain_transport *t, unsigned loop, const char *address,
		       struct chain_link *link, void **conn);
	/* On the loop's thread; no event comes after it. */
	void (*close)(void *conn);
	/* Any thread that has a reference, or on the loop's thread. -EPIPE: it is over, and
	 * chain_link_closed() comes or has come. */
	int (*send)(void *conn, const struct frame_header *header, struct buf *payload);
	void (*ref)(void *conn);
	void (*unref)(void *conn);
	void (*batch)(bool begin);
};

struct chain_transport {
	const struct chain_transport_ops *ops;
	unsigned loops;
};

/* Events, on the loop's thread. */
void chain_link_ready(struct chain_link *link, const struct tls_identity *peer);
/* Takes @payload over. */
void chain_link_frame(struct chain_link *link, const struct frame_header *header,
		      struct buf *payload);
void chain_link_closed(struct chain_link *link, int error);

/* Over conn.h, with @loops threads. One line in @error. */
int chain_transport_net(const struct tls_files *tls, struct buf_pool *pool, unsigned loops,
			struct chain_transport **out, char *error, size_t error_size);
#endif
