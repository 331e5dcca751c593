/* conn_internal.h - shared by conn*.c only, which call each other in a circle: what any part of a
 * connection meets may send, deliver or end it.
 *
 * A frame that is sent: conn_send() puts it into the ring. A thread that finds the conn not busy
 * becomes the busy one: it encrypts and writes until the ring is empty, for frames of other threads
 * too. So threads never wait for each other's encryption. When the socket is full ("blocked"), the
 * loop goes on as soon as it is not. When a write fails, tx.failed keeps the error, and the loop
 * ends the connection (conn_send_run()).
 *
 * A frame that comes: the loop reads ciphertext into a block (conn_receive_run()), decrypts it
 * record by record, and delivers each whole frame. Without a buffer for a payload it is "starved":
 * reading pauses and is tried again. A frame of wrong form, or the end of the socket, ends the
 * connection.
 *
 * TLS: libssl is given memory, not the socket (conn_bio.c). Ciphertext is gathered in a block and
 * written by one send(), and read into a block by one recv().
 *
 * Locks: tx.lock guards the first part of struct conn_tx; the second part belongs to the busy
 * thread. Everything else belongs to the loop's thread, and to no thread between conn_detach() and
 * conn_attach(). Under tx.lock no callback runs, and nothing that takes longer than waking the loop,
 * except the close notification. ssl_lock guards the SSL for one record, and never over a system
 * call. Only the close notification takes both: tx.lock first.
 *
 * Life: refs counts the owner (until closed() or conn_close()), each thread in conn_send(), a
 * batch, a dispatch from the loop, and conn_ref()s. */
#ifndef CATENA_COMMON_NET_CONN_INTERNAL_H
#define CATENA_COMMON_NET_CONN_INTERNAL_H
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "common/net/conn.h"
#include "common/os/log.h"

#define CONN_LOG_PER_SECOND 5
/* The largest record: its plain bytes, the record itself, and the record with a KeyUpdate, which may
 * come before it. */
#define CONN_RECORD_PLAIN 16384u
#define CONN_RECORD_MAX   (CONN_RECORD_PLAIN + 22)
#define CONN_RECORD_ROOM  (CONN_RECORD_MAX + 64)
/* A block has the ciphertext that one system call reads or writes, and behind it one record's plain
 * bytes. At half this size, the additional system calls cost 10 %. At a larger one, cache misses cost
 * what fewer system calls gain. */
#define CONN_CIPHER_BYTES (8 * CONN_RECORD_MAX + 64)
#define CONN_BLOCK_BYTES  (CONN_CIPHER_BYTES + CONN_RECORD_PLAIN)
/* A key protects at most this many records; then there is a new one. RFC 8446 (5.5) allows 2^24.5.
 */
#define CONN_KEY_RECORDS (UINT64_C(1) << 23)
/* At most this many blocks are read for one event: other connections of the loop wait. */
#define CONN_READS_PER_EVENT 4
/* A thread that sends for others hands over to the loop after this much. */
#define CONN_PUMP_BYTES (8u << 20)
/* Frames of at most so many bytes wait for the end of a batch. */
#define CONN_BATCH_BYTES      (64u << 10)
#define CONN_STARVED_RETRY_MS 1

enum conn_state {
	CONN_RESOLVING,
	CONN_CONNECTING,
	CONN_HANDSHAKING,
	CONN_OPEN,
	CONN_CLOSED,
};

/* On the stack of the loop's callback. When gone is set, the conn has ended or moves to another loop,
 * and the callback must not touch it any more. */
struct conn_dispatch {
	bool gone;
};

struct tx_frame {
	uint8_t header[FRAME_HEADER_BYTES];
	struct buf *payload; /* a reference, or NULL */
	const uint8_t *data;
	const uint8_t *crcs;
	uint32_t length, crc_bytes;
};

struct conn_tx {
	/* Guarded by lock. */
	pthread_mutex_t lock;
	struct tx_frame *ring;
	uint32_t ring_size, ring_head, ring_count; /* size is a power of two, or 0 */
	bool open;                                 /* the handshake is done */
	bool busy;                                 /* a thread encrypts and writes */
	bool closing;                              /* nothing more is taken */
	bool batched;      /* in some thread's batch, linked by batch_next */
	bool owe_drained;  /* conn_send() has returned with much queued */
	bool drained;      /* the loop has to call drained() */
	bool want_drained; /* there is such a callback */
	int failed;        /* -errno of the write that failed */
	uv_async_t *async; /* NULL: no loop */
	struct conn *batch_next;
	atomic_bool blocked;  /* the socket is full; written under the lock */
	atomic_size_t queued; /* bytes of frames not yet with the kernel */

	/* Belong to the busy thread. */
	uint64_t key_records; /* made with this key */
	uint64_t key_limit;   /* how many may be; CONN_KEY_RECORDS, less in tests */
	uint8_t *block;
	size_t sealed, sent; /* bytes of records in block, and how many the kernel has of them */
	size_t open_bytes;   /* plain bytes gathered for the next record */
	size_t block_frames; /* bytes of frames that are in block */
	struct tx_frame frame;
	bool has_frame;
	size_t frame_at; /* bytes of the frame that are in records */
};

enum rx_stage { RX_HEADER, RX_PAYLOAD, RX_CRCS };

struct conn_rx {
	uint8_t *block;
	size_t at, end;             /* in block: ciphertext that libssl has not taken */
	size_t plain_at, plain_end; /* in its plain part: decrypted, not yet used */
	enum rx_stage stage;
	uint32_t have; /* bytes of the stage */
	uint8_t head[FRAME_HEADER_BYTES];
	struct frame_header header;
	struct buf *payload;
	bool waiting; /* header is complete, its buffer is not there yet */
	bool paused;  /* by the user */
	bool starved; /* by the pool */
};

struct conn_resolve {
	uv_getaddrinfo_t request;
	struct conn *conn; /* NULL: closed meanwhile */
};

struct conn {
	atomic_uint refs;
	enum conn_state state;
	bool server;
	int fd;
	uv_loop_t *loop;
	uv_poll_t *poll;
	uv_timer_t *timer;
	int poll_events;
	int start_error; /* of conn_connect() or the look-up; the loop reports it */
	struct conn_dispatch *dispatch;

	SSL_CTX *tls;
	pthread_mutex_t ssl_lock;
	SSL *ssl;
	bool bio_gathers; /* ssl_lock: what libssl writes goes to tx.block */
	enum tls_role server_role;
	struct tls_identity peer;
	char peer_name[128];
	struct conn_resolve *resolve;
	struct addrinfo *addresses, *next_address;

	struct buf_pool *pool;
	uint32_t receive_max;
	struct conn_callbacks callbacks;
	void *user;

	struct conn_rx rx;
	struct conn_tx tx;
};

/* conn.c */
void conn_finish(struct conn *conn, int error);
extern struct log_rate conn_log_rate; /* of conn_complain(); tests wipe it */
/* Logs "@what peer=... reason=..." at most CONN_LOG_PER_SECOND times a second. */
void conn_complain(const struct conn *conn, const char *what, const char *reason);
/* The loop's on_async() comes soon. Thread: any. */
void conn_wake(struct conn *conn);
/* The same. Locks: tx.lock held. */
void conn_wake_locked(struct conn *conn);
int conn_poll_open(struct conn *conn);
void conn_poll_close(struct conn *conn);

/* conn_blocks.c: recycled blocks of CONN_BLOCK_BYTES, hot in the cache. Any thread. */
uint8_t *conn_block_get(void); /* NULL: out of memory */
void conn_block_put(uint8_t *block);

/* conn_connect.c */
void conn_address_name(const struct sockaddr *address, char *out, size_t size);
/* Sets the socket's options for the way to @peer. Best before connect(): the timers of an algorithm
 * that paces stay with a socket for good. */
void conn_address_tune(int fd, const struct sockaddr *peer, socklen_t size);
int conn_connect_start(struct conn *conn, const char *address);
/* Socket writable, or failed. May end the conn. */
void conn_connect_event(struct conn *conn, struct conn_dispatch *d);
/* Gives up a look-up or an attempt that is under way. */
void conn_connect_end(struct conn *conn);

/* conn_bio.c */
BIO *conn_bio_new(struct conn *conn); /* NULL: out of memory */

/* conn_handshake.c */
int conn_handshake_start(struct conn *conn);
void conn_handshake_step(struct conn *conn, struct conn_dispatch *d);

/* conn_send.c */
void conn_send_init(struct conn_tx *tx);
/* Sends what waits, and calls drained(). May end the conn. Thread: the loop's. */
void conn_send_run(struct conn *conn, struct conn_dispatch *d);
/* Sends the close notification where it is possible, then takes nothing more. The socket is closed
 * now, or by the busy thread. */
void conn_send_end(struct conn *conn);
void conn_send_free(struct conn_tx *tx);

/* conn_receive.c */
/* Reads from the socket and delivers frames. May end the conn. Thread: the loop's. */
void conn_receive_run(struct conn *conn, struct conn_dispatch *d);
bool conn_receive_pending(
	const struct conn *conn); /* something read waits for conn_receive_run() */
void conn_receive_end(struct conn *conn);
#endif
