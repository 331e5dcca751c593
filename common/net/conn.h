/* conn.h - one TLS connection that carries frames, on a libuv loop.
 *
 * Owns socket, SSL and queues. Handshake, HELLO exchange by the user, then frames both ways. Many
 * frames may be queued; they go out in the order of conn_send(). Received payloads are checked for
 * form only (header CRC, bounds); block checksums are the user's to verify, where the data is
 * used.
 *
 * Threading: a conn belongs to its loop's thread; callbacks run there and may call any function
 * here, conn_close() included. conn_send() alone may be called from any thread that is sure that
 * the conn is not freed before the call (conn_ref()): it encrypts and writes at once when nothing
 * is queued, else it queues.
 *
 * Deadlines: connect + handshake must end within handshake_timeout; idle connections are the
 * user's to PING. */
#ifndef CATENA_COMMON_NET_CONN_H
#define CATENA_COMMON_NET_CONN_H
#include <uv.h>
#include "common/net/frame.h"
#include "common/net/tls.h"

struct conn;

/* A shorter queue is what a batch gathers, and nobody waits for its end. */
#define CONN_DRAINED_MIN (64u << 10)

struct conn_callbacks {
	/* Handshake done; @peer is verified, borrowed, valid as long as the conn. */
	void (*ready)(struct conn *conn, void *user, const struct tls_identity *peer);
	/* A whole frame. @payload (NULL when length is 0) has start, length and crcs filled; the
	 * callee takes over the reference. */
	void (*frame)(struct conn *conn, void *user, const struct frame_header *header,
		      struct buf *payload);
	/* The connection is over: -errno (0: closed by the peer in order). Called once, never for
	 * conn_close(); the conn is freed after it returns. */
	void (*closed)(struct conn *conn, void *user, int error);
	/* Optional: the send queue is empty again after a conn_send() that left CONN_DRAINED_MIN
	 * bytes or more there. */
	void (*drained)(struct conn *conn, void *user);
};

struct conn_options {
	uv_loop_t *loop;
	SSL_CTX *tls;          /* borrowed, must outlive the conn */
	struct buf_pool *pool; /* received payloads; when it is empty, reading pauses */
	struct conn_callbacks callbacks;
	void *user;
	uint64_t handshake_timeout_ns; /* 0: 5 s */
	enum tls_role server_role;     /* client side: role the server must prove */
	uint32_t receive_max;          /* larger payloads are refused; 0: FRAME_PAYLOAD_MAX */
};

/* Starts connecting to "host:port" (numeric IPv4, [IPv6], or a name). Later errors come by
 * closed(). */
int conn_connect(const struct conn_options *options, const char *address, struct conn **out);
/* Takes over the accepted socket @fd, also when it fails. */
int conn_accept(const struct conn_options *options, int fd, struct conn **out);

/* Queues one frame. header->length must be payload->length (or 0 with NULL); checksums are taken
 * from payload->crcs. @payload is referenced until sent, the caller keeps its own reference.
 * -EPIPE: closing; -ENOMEM; nothing was queued then. -EAGAIN is never returned: look at
 * conn_queued(). Frames sent before ready() wait for it. */
int conn_send(struct conn *conn, const struct frame_header *header, struct buf *payload);
/* Bytes queued and not yet given to the kernel. */
size_t conn_queued(const struct conn *conn);
/* Between the two, conn_send() of this thread only queues (up to 64 KiB per conn); the end writes,
 * so that several small frames cost one system call. They nest. The callbacks here are inside such
 * a pair already; other places that send to the same conn several times are worth one. */
void conn_batch_begin(void);
void conn_batch_end(void);
/* Writes what has been gathered so far: something is begun next that takes the CPU from this
 * thread, or its time. */
void conn_batch_flush(void);
/* Keeps the memory of the conn valid, and nothing else: after its end conn_send() says -EPIPE. Any
 * thread. */
struct conn *conn_ref(struct conn *conn);
void conn_unref(struct conn *conn); /* NULL is allowed */
/* Stops or resumes reading (back-pressure). */
void conn_pause(struct conn *conn, bool pause);

/* Moves the conn, with whatever is queued or already read, to another loop: stops it here; the
 * other loop's thread then calls conn_attach(). Only after ready(). Between the two no function may
 * be called but conn_close(), which is also what a conn needs whose conn_attach() has failed. */
void conn_detach(struct conn *conn);
int conn_attach(struct conn *conn, uv_loop_t *loop, const struct conn_callbacks *callbacks,
		void *user);

/* Payloads received from now on come from @pool. On the loop's thread, or between detach and
 * attach. */
void conn_set_pool(struct conn *conn, struct buf_pool *pool);

/* Closes at once and frees later, on the loop; no callback comes after it. NULL is allowed. */
void conn_close(struct conn *conn);
const char *conn_peer_name(const struct conn *conn);               /* "ip:port", for logs */
const struct tls_identity *conn_identity(const struct conn *conn); /* after ready() */

/* A listening socket on the loop. "host:port"; port 0: any, see listener_port(). Accepted sockets
 * are given to @accepted, which takes @fd over (usually to conn_accept()). At most
 * @per_address_pending handshakes of one address at a time is the user's business. */
struct listener;
int listener_open(uv_loop_t *loop, const char *address, void (*accepted)(void *user, int fd),
		  void *user, struct listener **out);
uint16_t listener_port(const struct listener *listener);
void listener_close(struct listener *listener);

/* Takes "host:port" or "[IPv6]:port" apart; the port is a number. -EINVAL: it is something else. */
int conn_address_split(const char *address, char host[256], char port[8]);
#endif
