/* conn_send.c - sending: the ring of frames, records made of them, batches. conn_internal.h has the
 * story. */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/net/conn_internal.h"
#include "common/os/lock.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "checksums go out as they are in memory, and little-endian is the format");

/* Longer pieces are encrypted where they lie. Shorter ones share a record with their neighbours: a
 * record costs about as much as copying this many bytes. */
#define COPY_MAX 8192u
#define RING_MIN 16u

/* The conns that this thread's bracket has gathered. */
static _Thread_local struct {
	unsigned depth;
	struct conn *first;
} batch;

void conn_send_init(struct conn_tx *tx)
{
	tx->key_limit = CONN_KEY_RECORDS;
	pthread_mutex_init(&tx->lock, NULL);
}

void conn_send_free(struct conn_tx *tx)
{
	free(tx->ring);
	pthread_mutex_destroy(&tx->lock);
}

/* ---- the ring ---- */

static int ring_grow(struct conn_tx *tx)
{
	uint32_t size = tx->ring_size == 0 ? RING_MIN : tx->ring_size * 2;
	struct tx_frame *ring;

	if (size > UINT32_MAX / 2 / sizeof(*ring))
		return -ENOMEM;
	ring = malloc(size * sizeof(*ring));
	if (ring == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < tx->ring_count; i++)
		ring[i] = tx->ring[(tx->ring_head + i) & (tx->ring_size - 1)];
	free(tx->ring);
	tx->ring = ring;
	tx->ring_size = size;
	tx->ring_head = 0;
	return 0;
}

static int ring_push(struct conn_tx *tx, const struct tx_frame *frame)
{
	lock_held(&tx->lock);
	if (tx->ring_count == tx->ring_size) {
		int rc = ring_grow(tx);

		if (rc < 0)
			return rc;
	}
	tx->ring[(tx->ring_head + tx->ring_count++) & (tx->ring_size - 1)] = *frame;
	return 0;
}

static void ring_pop(struct conn_tx *tx, struct tx_frame *frame)
{
	lock_held(&tx->lock);
	expects(tx->ring_count > 0);
	*frame = tx->ring[tx->ring_head];
	tx->ring_head = (tx->ring_head + 1) & (tx->ring_size - 1);
	tx->ring_count--;
}

static size_t frame_bytes(const struct tx_frame *frame)
{
	return FRAME_HEADER_BYTES + (size_t)frame->length + frame->crc_bytes;
}

/* ---- records; the caller is busy ---- */

static bool record_fits(const struct conn_tx *tx)
{
	return tx->sealed + CONN_RECORD_ROOM <= CONN_CIPHER_BYTES;
}

/* Appends a record to the block. */
static int seal(struct conn *conn, const uint8_t *plain, size_t size)
{
	struct conn_tx *tx = &conn->tx;
	int n;

	pthread_mutex_lock(&conn->ssl_lock);
	conn->bio_gathers = true;
	if (tx->key_records++ >= tx->key_limit) {
		tx->key_records = 1;
		SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
	}
	n = SSL_write(conn->ssl, plain, (int)size);
	conn->bio_gathers = false;
	if (n <= 0)
		ERR_clear_error();
	pthread_mutex_unlock(&conn->ssl_lock);
	return n == (int)size ? 0 : -EIO;
}

static int seal_open(struct conn *conn)
{
	struct conn_tx *tx = &conn->tx;
	size_t size = tx->open_bytes;

	if (size == 0)
		return 0;
	tx->open_bytes = 0;
	return seal(conn, tx->block + CONN_CIPHER_BYTES, size);
}

/* Copies into the record that is being gathered. Returns how many bytes it took, or -errno; 0: the
 * block has no room for another record. */
static ssize_t append(struct conn *conn, const uint8_t *data, size_t size)
{
	struct conn_tx *tx = &conn->tx;
	int rc;

	if (!record_fits(tx))
		return 0;
	if (size > CONN_RECORD_PLAIN - tx->open_bytes)
		size = CONN_RECORD_PLAIN - tx->open_bytes;
	memcpy(tx->block + CONN_CIPHER_BYTES + tx->open_bytes, data, size);
	tx->open_bytes += size;
	rc = tx->open_bytes == CONN_RECORD_PLAIN ? seal_open(conn) : 0;
	return rc < 0 ? rc : (ssize_t)size;
}

/* Makes a record straight from where the payload lies. Returns the same as append(). */
static ssize_t seal_direct(struct conn *conn, const uint8_t *data, size_t size)
{
	int rc = seal_open(conn);

	if (rc < 0)
		return rc;
	if (!record_fits(&conn->tx))
		return 0;
	if (size > CONN_RECORD_PLAIN)
		size = CONN_RECORD_PLAIN;
	rc = seal(conn, data, size);
	return rc < 0 ? rc : (ssize_t)size;
}

static ssize_t encode_some(struct conn *conn)
{
	const struct conn_tx *tx = &conn->tx;
	const struct tx_frame *frame = &tx->frame;
	size_t at = tx->frame_at;

	if (at < FRAME_HEADER_BYTES)
		return append(conn, frame->header + at, FRAME_HEADER_BYTES - at);
	at -= FRAME_HEADER_BYTES;
	if (at < frame->length) {
		if (frame->length - at > COPY_MAX)
			return seal_direct(conn, frame->data + at, frame->length - at);
		return append(conn, frame->data + at, frame->length - at);
	}
	at -= frame->length;
	return append(conn, frame->crcs + at, frame->crc_bytes - at);
}

/* 1: the whole frame is in records; 0: the block is full; -errno. */
static int encode_frame(struct conn *conn)
{
	struct conn_tx *tx = &conn->tx;
	const size_t size = frame_bytes(&tx->frame);

	while (tx->frame_at < size) {
		ssize_t n = encode_some(conn);

		if (n <= 0)
			return (int)n;
		tx->frame_at += (size_t)n;
		tx->block_frames += (size_t)n;
	}
	buf_unref(tx->frame.payload);
	tx->has_frame = false;
	return 1;
}

static bool next_frame(struct conn_tx *tx)
{
	if (tx->has_frame)
		return true;
	pthread_mutex_lock(&tx->lock);
	if (tx->ring_count > 0) {
		ring_pop(tx, &tx->frame);
		tx->has_frame = true;
		tx->frame_at = 0;
	}
	pthread_mutex_unlock(&tx->lock);
	return tx->has_frame;
}

static int fill_block(struct conn *conn)
{
	struct conn_tx *tx = &conn->tx;
	int rc = 1;

	if (tx->block == NULL) {
		tx->block = conn_block_get();
		if (tx->block == NULL)
			return -ENOMEM;
	}
	while (rc > 0 && next_frame(tx))
		rc = encode_frame(conn);
	return rc < 0 ? rc : seal_open(conn);
}

/* -EAGAIN: the socket is full. */
static int write_block(struct conn *conn)
{
	struct conn_tx *tx = &conn->tx;

	while (tx->sent < tx->sealed) {
		ssize_t n = send(conn->fd, tx->block + tx->sent, tx->sealed - tx->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		tx->sent += (size_t)n;
	}
	atomic_fetch_sub_explicit(&tx->queued, tx->block_frames, memory_order_relaxed);
	tx->block_frames = 0;
	tx->sealed = 0;
	tx->sent = 0;
	conn_block_put(tx->block);
	tx->block = NULL;
	return 0;
}

/* ---- who sends ---- */

static bool tx_idle(const struct conn_tx *tx)
{
	return tx->ring_count == 0 && !tx->has_frame && tx->block == NULL;
}

/* Something waits that this thread may send. Locks: tx.lock. */
static bool tx_ready(const struct conn_tx *tx)
{
	lock_held(&tx->lock);
	return tx->open && !tx->busy && !tx->closing && tx->failed == 0 &&
	       !atomic_load_explicit(&tx->blocked, memory_order_relaxed) && !tx_idle(tx);
}

static void drop_frames(struct conn_tx *tx)
{
	while (tx->ring_count > 0) {
		struct tx_frame frame;

		ring_pop(tx, &frame);
		buf_unref(frame.payload);
	}
	if (tx->has_frame)
		buf_unref(tx->frame.payload);
	tx->has_frame = false;
	conn_block_put(tx->block);
	tx->block = NULL;
	atomic_store_explicit(&tx->queued, 0, memory_order_relaxed);
}

/* Drops everything and closes the socket. No thread is busy, and none will be. Locks: tx.lock. */
static void release(struct conn *conn)
{
	lock_held(&conn->tx.lock);
	expects(conn->tx.closing && !conn->tx.busy);
	drop_frames(&conn->tx);
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
}

/* Encrypts and writes what waits, until nothing does or the socket is full. tx_ready() holds, and
 * the caller has a reference. @from_loop: the caller looks at blocked, failed and drained
 * afterwards, so the loop need not be woken for them. Locks: tx.lock, which is free meanwhile. */
static void pump(struct conn *conn, bool from_loop)
{
	struct conn_tx *tx = &conn->tx;
	size_t done = 0;
	bool wake = false;
	int rc = 0;

	lock_held(&tx->lock);
	expects(tx->open && !tx->busy);
	tx->busy = true;
	while (!tx->closing && !tx_idle(tx)) {
		if (done >= CONN_PUMP_BYTES) {
			wake = true;
			break;
		}
		pthread_mutex_unlock(&tx->lock);
		if (tx->block == NULL || tx->sent == tx->sealed)
			rc = fill_block(conn);
		done += tx->sealed - tx->sent;
		if (rc == 0)
			rc = write_block(conn);
		pthread_mutex_lock(&tx->lock);
		if (rc < 0)
			break;
	}
	tx->busy = false;
	if (rc == -EAGAIN) {
		atomic_store_explicit(&tx->blocked, true, memory_order_relaxed);
		wake = wake || !from_loop;
	} else if (rc < 0) {
		tx->failed = rc;
		wake = wake || !from_loop;
	} else if (tx->owe_drained && tx_idle(tx)) {
		tx->owe_drained = false;
		tx->drained = tx->want_drained;
		wake = wake || (tx->drained && !from_loop);
	}
	if (tx->closing)
		release(conn);
	else if (wake)
		conn_wake_locked(conn);
}

/* Returns true when the frame waits for the end of this thread's batch. Locks: tx.lock. */
static bool join_batch(struct conn *conn)
{
	struct conn_tx *tx = &conn->tx;

	lock_held(&tx->lock);
	if (batch.depth == 0 ||
	    atomic_load_explicit(&tx->queued, memory_order_relaxed) >= CONN_BATCH_BYTES)
		return false;
	if (!tx->batched) {
		tx->batched = true;
		tx->batch_next = batch.first;
		batch.first = conn;
		conn_ref(conn);
	}
	return true;
}

void conn_batch_begin(void)
{
	batch.depth++;
}

void conn_batch_flush(void)
{
	while (batch.first != NULL) {
		struct conn *conn = batch.first;
		struct conn_tx *tx = &conn->tx;

		batch.first = tx->batch_next;
		pthread_mutex_lock(&tx->lock);
		tx->batched = false;
		if (tx_ready(tx))
			pump(conn, false);
		pthread_mutex_unlock(&tx->lock);
		conn_unref(conn);
	}
}

void conn_batch_end(void)
{
	expects(batch.depth > 0);
	if (--batch.depth == 0)
		conn_batch_flush();
}

int conn_send(struct conn *conn, const struct frame_header *header, struct buf *payload)
{
	struct conn_tx *tx = &conn->tx;
	struct tx_frame frame = {.payload = payload};
	int rc = -EPIPE;

	expects(header->length == (payload == NULL ? 0 : payload->length));
	frame_header_encode(header, frame.header);
	if (payload != NULL) {
		frame.data = buf_payload(payload);
		frame.crcs = (const uint8_t *)payload->crcs;
		frame.length = header->length;
		frame.crc_bytes = frame_crc_bytes(header);
	}

	/* A reference of our own: conn_close() may come while this thread is busy. */
	conn_ref(conn);
	pthread_mutex_lock(&tx->lock);
	if (tx->closing || tx->failed != 0)
		goto out;
	rc = ring_push(tx, &frame);
	if (rc < 0)
		goto out;
	if (payload != NULL)
		buf_ref(payload);
	atomic_fetch_add_explicit(&tx->queued, frame_bytes(&frame), memory_order_relaxed);
	if (tx_ready(tx) && !join_batch(conn))
		pump(conn, false);
	if ((tx->busy || !tx_idle(tx)) && conn_queued(conn) >= CONN_DRAINED_MIN)
		tx->owe_drained = true;
out:
	pthread_mutex_unlock(&tx->lock);
	conn_unref(conn);
	return rc;
}

size_t conn_queued(const struct conn *conn)
{
	return atomic_load_explicit(&conn->tx.queued, memory_order_relaxed);
}

/* ---- for the loop ---- */

void conn_send_run(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_tx *tx = &conn->tx;
	bool drained;
	int failed;

	pthread_mutex_lock(&tx->lock);
	if (!tx->busy)
		atomic_store_explicit(&tx->blocked, false, memory_order_relaxed);
	if (tx_ready(tx))
		pump(conn, true);
	drained = tx->drained;
	tx->drained = false;
	failed = tx->failed;
	pthread_mutex_unlock(&tx->lock);

	if (drained && conn->callbacks.drained != NULL)
		conn->callbacks.drained(conn, conn->user);
	if (d->gone || failed == 0)
		return;
	/* The peer's last frames or its alert tell more than the write's error: they are read first.
	 */
	if (!conn->rx.paused)
		conn_receive_run(conn, d);
	if (!d->gone)
		conn_finish(conn, failed);
}

/* Tells the peer that the connection ends in order. No thread is busy and nothing waits. Locks:
 * tx.lock. */
static void send_close_notify(struct conn *conn)
{
	lock_held(&conn->tx.lock);
	expects(conn->tx.block == NULL && conn->tx.sealed == 0);
	conn->tx.block = conn_block_get();
	if (conn->tx.block == NULL)
		return;
	pthread_mutex_lock(&conn->ssl_lock);
	conn->bio_gathers = true;
	SSL_shutdown(conn->ssl);
	conn->bio_gathers = false;
	ERR_clear_error();
	pthread_mutex_unlock(&conn->ssl_lock);
	write_block(conn);
}

void conn_send_end(struct conn *conn)
{
	struct conn_tx *tx = &conn->tx;

	pthread_mutex_lock(&tx->lock);
	tx->async = NULL;
	if (tx_ready(tx))
		pump(conn, true);
	tx->closing = true;
	if (tx->busy) {
		/* Its write fails now, and then it releases everything. */
		shutdown(conn->fd, SHUT_RDWR);
	} else {
		if (tx->open && tx->failed == 0 && tx_idle(tx))
			send_close_notify(conn);
		release(conn);
	}
	pthread_mutex_unlock(&tx->lock);
}
