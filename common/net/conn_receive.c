/* conn_receive.c - receiving: records become plain bytes, and these become frames.
 *
 * The middle of a payload is decrypted straight into the payload's buffer. Everything else goes
 * through the block's plain part, so that a record of small frames costs one SSL_read(). No field
 * of a header is believed before its checksum is good. */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>
#include "common/net/conn_internal.h"
#include "common/os/log.h"

#define LOG_MODULE "conn"

/* A payload that lacks less than this is not decrypted straight into its buffer: the next record most
 * likely holds more than what is missing. */
#define DIRECT_MIN 4096u

enum rx_result {
	RX_GO_ON,
	RX_NEED,  /* bytes from the socket */
	RX_STOP,  /* paused or starved */
	RX_ENDED, /* the conn has ended or moved: it must not be touched */
};

static enum rx_result refuse(struct conn *conn, const char *reason, int error)
{
	conn_complain(conn, "connection ended", reason);
	conn_finish(conn, error);
	return RX_ENDED;
}

/* ---- frames ---- */

static enum rx_result deliver(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;
	struct buf *payload = rx->payload;

	rx->payload = NULL;
	rx->stage = RX_HEADER;
	rx->have = 0;
	conn->callbacks.frame(conn, conn->user, &rx->header, payload);
	if (d->gone)
		return RX_ENDED;
	return rx->paused ? RX_STOP : RX_GO_ON;
}

/* The header is there: get a buffer for what follows. */
static enum rx_result start_payload(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;

	if (rx->header.length == 0)
		return deliver(conn, d);
	rx->payload = buf_get(conn->pool, rx->header.length);
	if (rx->payload == NULL) {
		rx->waiting = true;
		rx->starved = true;
		return RX_STOP;
	}
	rx->payload->start = rx->header.offset % BLOCK_SIZE;
	rx->payload->length = rx->header.length;
	rx->stage = RX_PAYLOAD;
	rx->have = 0;
	return RX_GO_ON;
}

static enum rx_result end_header(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;
	const char *why = "";
	int rc = frame_header_decode(rx->head, &rx->header, &why);

	if (rc < 0)
		return refuse(conn, why, rc);
	if (rx->header.length > conn->receive_max)
		return refuse(conn, "payload longer than allowed here", -EMSGSIZE);
	return start_payload(conn, d);
}

static uint8_t *stage_at(struct conn_rx *rx, uint32_t *size)
{
	switch (rx->stage) {
	case RX_PAYLOAD:
		*size = rx->header.length;
		return buf_payload(rx->payload);
	case RX_CRCS:
		*size = frame_crc_bytes(&rx->header);
		return (uint8_t *)rx->payload->crcs;
	case RX_HEADER:
	default:
		*size = FRAME_HEADER_BYTES;
		return rx->head;
	}
}

/* The stage has all its bytes. */
static enum rx_result end_stage(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;

	switch (rx->stage) {
	case RX_HEADER:
		return end_header(conn, d);
	case RX_PAYLOAD:
		rx->stage = RX_CRCS;
		rx->have = 0;
		return RX_GO_ON;
	case RX_CRCS:
	default:
		return deliver(conn, d);
	}
}

/* Uses up the plain bytes of the block. */
static enum rx_result use_plain(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;

	while (rx->plain_at < rx->plain_end) {
		uint32_t size, n;
		uint8_t *to = stage_at(rx, &size);
		enum rx_result result;

		n = size - rx->have;
		if (n > rx->plain_end - rx->plain_at)
			n = (uint32_t)(rx->plain_end - rx->plain_at);
		memcpy(to + rx->have, rx->block + CONN_CIPHER_BYTES + rx->plain_at, n);
		rx->plain_at += n;
		rx->have += n;
		if (rx->have < size)
			continue;
		result = end_stage(conn, d);
		if (result != RX_GO_ON)
			return result;
	}
	return RX_GO_ON;
}

/* ---- records ---- */

static enum rx_result read_failed(struct conn *conn, int code, const char *reason, int error)
{
	bool whole;

	switch (code) {
	case SSL_ERROR_WANT_READ:
		return RX_NEED;
	case SSL_ERROR_ZERO_RETURN:
		/* In order only between frames. */
		whole = conn->rx.stage == RX_HEADER && conn->rx.have == 0;
		conn_finish(conn, whole ? 0 : -ECONNRESET);
		return RX_ENDED;
	default:
		/* In TLS 1.3 a client hears only now that the server refuses its certificate. */
		return refuse(conn, reason, error);
	}
}

/* Decrypts one record, or what is left of one. */
static enum rx_result read_record(struct conn *conn)
{
	struct conn_rx *rx = &conn->rx;
	uint32_t missing = rx->stage == RX_PAYLOAD ? rx->header.length - rx->have : 0;
	bool direct = missing >= DIRECT_MIN;
	uint8_t *to = direct ? buf_payload(rx->payload) + rx->have : rx->block + CONN_CIPHER_BYTES;
	int n, code = SSL_ERROR_NONE, error = 0;
	char reason[256];

	pthread_mutex_lock(&conn->ssl_lock);
	ERR_clear_error();
	n = SSL_read(conn->ssl, to, (int)(direct ? missing : CONN_RECORD_PLAIN));
	if (n <= 0) {
		code = SSL_get_error(conn->ssl, n);
		if (code == SSL_ERROR_SSL || code == SSL_ERROR_SYSCALL)
			error = tls_handshake_error(conn->ssl, reason, sizeof(reason));
	}
	pthread_mutex_unlock(&conn->ssl_lock);
	if (n <= 0)
		return read_failed(conn, code, reason, error);
	if (direct) {
		rx->have += (uint32_t)n;
	} else {
		rx->plain_at = 0;
		rx->plain_end = (size_t)n;
	}
	return RX_GO_ON;
}

/* Ends the payload's stage if what went straight into its buffer has completed it. */
static enum rx_result end_direct(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;

	if (rx->stage == RX_PAYLOAD && rx->have == rx->header.length)
		return end_stage(conn, d);
	return RX_GO_ON;
}

static enum rx_result process(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;
	enum rx_result result = RX_GO_ON;

	if (rx->paused || rx->starved)
		return RX_STOP;
	if (rx->waiting) {
		rx->waiting = false;
		result = start_payload(conn, d);
	}
	while (result == RX_GO_ON) {
		result = use_plain(conn, d);
		/* Without a block everything that was read has been used. */
		if (result == RX_GO_ON)
			result = rx->block == NULL ? RX_NEED : read_record(conn);
		if (result == RX_GO_ON)
			result = end_direct(conn, d);
	}
	return result;
}

/* ---- the socket ---- */

/* Reads once from the socket. Returns the bytes; 0: the peer closed; -EAGAIN: nothing is there.
 * *full: there may be more. */
static ssize_t read_block(struct conn *conn, bool *full)
{
	struct conn_rx *rx = &conn->rx;
	ssize_t n;

	if (rx->block == NULL) {
		rx->block = conn_block_get();
		if (rx->block == NULL)
			return -ENOMEM;
	}
	/* libssl asks for more only when it has taken all that was in the block. */
	rx->at = rx->end = 0;
	do {
		n = recv(conn->fd, rx->block, CONN_CIPHER_BYTES, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	rx->end = (size_t)n;
	*full = n == CONN_CIPHER_BYTES;
	return n;
}

/* Something read has not been used. */
static bool unused(const struct conn_rx *rx)
{
	return rx->at < rx->end || rx->plain_at < rx->plain_end;
}

static void release_block(struct conn *conn)
{
	struct conn_rx *rx = &conn->rx;

	if (unused(rx) || SSL_pending(conn->ssl) > 0)
		return;
	conn_block_put(rx->block);
	rx->block = NULL;
	rx->at = rx->end = 0;
	rx->plain_at = rx->plain_end = 0;
}

static void on_starved(uv_timer_t *timer);

static void wait_for_pool(struct conn *conn)
{
	static struct log_rate rate;

	if (log_rate_ok(&rate, 1))
		log_debug("receiving waits for buffer memory peer=%s", conn->peer_name);
	uv_timer_start(conn->timer, on_starved, CONN_STARVED_RETRY_MS, 0);
}

void conn_receive_run(struct conn *conn, struct conn_dispatch *d)
{
	struct conn_rx *rx = &conn->rx;
	enum rx_result result = process(conn, d);
	bool full = true;

	for (int i = 0; i < CONN_READS_PER_EVENT && result == RX_NEED && full; i++) {
		ssize_t n = read_block(conn, &full);

		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			/* Without the alert before it, the peer died or was cut off. */
			conn_finish(conn, n == 0 ? -ECONNRESET : (int)n);
			return;
		}
		result = process(conn, d);
	}
	if (result == RX_ENDED)
		return;
	release_block(conn);
	if (rx->starved && !uv_is_active((uv_handle_t *)conn->timer))
		wait_for_pool(conn);
}

static void on_starved(uv_timer_t *timer)
{
	struct conn *conn = timer->data;

	conn->rx.starved = false;
	conn_wake(conn);
}

bool conn_receive_pending(const struct conn *conn)
{
	const struct conn_rx *rx = &conn->rx;

	/* A block is kept only while something in it, or in libssl, is unused. */
	return !rx->paused && !rx->starved && (rx->waiting || rx->block != NULL);
}

void conn_receive_end(struct conn *conn)
{
	struct conn_rx *rx = &conn->rx;

	buf_unref(rx->payload);
	rx->payload = NULL;
	conn_block_put(rx->block);
	rx->block = NULL;
}
