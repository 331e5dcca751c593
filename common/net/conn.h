/* conn.h - one TLS connection that carries frames, on a libuv loop.
 *
 * A conn owns socket, SSL and queues. First comes the handshake, then the user's exchange of HELLO,
 * then frames go both ways. Many frames may be queued; they go out in the order of conn_send().
 * Received frames are checked for form only (header CRC, bounds). The user verifies block
 * checksums, where the data is used.
 *
 * Thread: the loop's. Callbacks run there and may call any function here, conn_close() included.
 * conn_send() alone may be called from any thread with a reference (conn_ref()). It encrypts and
 * writes at once when nothing is queued, else it queues.
 *
 * Deadlines: connect and handshake end within handshake_timeout_ns. The user PINGs idle
 * connections.
 */
#ifndef CATENA_COMMON_NET_CONN_H
#define CATENA_COMMON_NET_CONN_H
#include <uv.h>
#include "common/net/frame.h"
#include "common/net/tls.h"

struct conn;

/* drained() is called for queues that had this many bytes or more. A batch alone gathers less. */
#define CONN_DRAINED_MIN (64u << 10)

struct conn_callbacks {
	/* Handshake done; @peer is verified, borrowed, valid as long as the conn. */
	void (*ready)(struct conn *conn, void *user, const struct tls_identity *peer);
	/* A whole frame has come. @payload (NULL when length is 0) has start, length and crcs
	 * filled; the callee takes over the reference. */
	void (*frame)(struct conn *conn, void *user, const struct frame_header *header,
		      struct buf *payload);
	/* The connection is over: -errno, or 0 when the peer closed it in order. Called once, and
	 * never for conn_close(). The conn is freed after it returns. */
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

/* Starts connecting to "host:port": numeric IPv4, [IPv6], or a name. Errors: -EINVAL when it is
 * something else, -ENOMEM or the system's. What goes wrong later comes by closed(). */
int conn_connect(const struct conn_options *options, const char *address, struct conn **out);
/* Begins a connection on an accepted socket. Takes @fd over, also when it fails. Errors: -ENOMEM or
 * the system's. */
int conn_accept(const struct conn_options *options, int fd, struct conn **out);

/* Sends or queues one frame. header->length must be payload->length, or 0 with NULL; checksums are
 * taken from payload->crcs. @payload is referenced until it is sent; the caller keeps its own
 * reference. Frames sent before ready() wait for it. The queue has no limit: look at conn_queued().
 * Thread: any. Errors: -EPIPE when the conn is closing, -ENOMEM; nothing was queued then. */
int conn_send(struct conn *conn, const struct frame_header *header, struct buf *payload);
/* Returns the bytes queued and not yet given to the kernel. Thread: any. */
size_t conn_queued(const struct conn *conn);
/* Bracket several calls of conn_send() by this thread. In between each only queues, up to 64 KiB a
 * conn, and the end writes: so small frames share one system call. Brackets nest. The callbacks
 * here are inside one already. */
void conn_batch_begin(void);
void conn_batch_end(void);
/* Writes what the bracket has gathered so far. Call it before work that takes long or gives up the
 * CPU. */
void conn_batch_flush(void);
/* Keeps the memory of the conn valid, and nothing else: after its end conn_send() returns -EPIPE.
 * Thread: any. */
struct conn *conn_ref(struct conn *conn);
void conn_unref(struct conn *conn); /* NULL is allowed */
/* Stops or resumes reading (back-pressure). */
void conn_pause(struct conn *conn, bool pause);

/* Moves the conn, with everything queued or already read, to another loop. conn_detach() stops it
 * on its loop, after ready(). Then the other loop's thread calls conn_attach(). Nothing but
 * conn_close() may be called in between, and it must be called after a conn_attach() that failed
 * (errors: -ENOMEM or libuv's). */
void conn_detach(struct conn *conn);
int conn_attach(struct conn *conn, uv_loop_t *loop, const struct conn_callbacks *callbacks,
		void *user);

/* Takes the buffers of payloads received from now on from @pool. Thread: the loop's, or between
 * detach and attach. */
void conn_set_pool(struct conn *conn, struct buf_pool *pool);

/* Closes at once and frees later, on the loop; no callback comes after it. NULL is allowed. */
void conn_close(struct conn *conn);
const char *conn_peer_name(const struct conn *conn);               /* "ip:port", for logs */
const struct tls_identity *conn_identity(const struct conn *conn); /* after ready() */

/* A listening socket on the loop. @address is "host:port"; port 0: any, see listener_port().
 * @accepted takes each accepted @fd over, usually to conn_accept(). The user limits how many
 * handshakes one address may have under way. Thread: the loop's; listener_open() may wait for a name
 * server. Errors: -EINVAL when @address is something else, -EADDRNOTAVAIL for a name without an
 * address, -ENOMEM or the system's. listener_close() frees later, on the loop; NULL is allowed. */
struct listener;
int listener_open(uv_loop_t *loop, const char *address, void (*accepted)(void *user, int fd),
		  void *user, struct listener **out);
uint16_t listener_port(const struct listener *listener);
void listener_close(struct listener *listener);

/* Takes "host:port" or "[IPv6]:port" apart. Errors: -EINVAL when it is something else, or the port
 * is not a number. */
int conn_address_split(const char *address, char host[256], char port[8]);
#endif
