/* conn_bio.c - the BIO from which libssl reads and to which it writes. During the handshake it is
 * the socket, without SIGPIPE; after it the blocks of conn_receive.c and conn_send.c. */
#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include "common/net/conn_internal.h"

static int from_socket(struct conn *conn, BIO *bio, char *data, int size)
{
	ssize_t n = recv(conn->fd, data, (size_t)size, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	return (int)n;
}

static int from_block(struct conn_rx *rx, BIO *bio, char *data, int size)
{
	size_t n = rx->end - rx->at;

	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (n > (size_t)size)
		n = (size_t)size;
	memcpy(data, rx->block + rx->at, n);
	rx->at += n;
	return (int)n;
}

static int bio_read(BIO *bio, char *data, int size)
{
	struct conn *conn = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (conn->state == CONN_OPEN)
		return from_block(&conn->rx, bio, data, size);
	return from_socket(conn, bio, data, size);
}

static int to_socket(struct conn *conn, BIO *bio, const char *data, int size)
{
	ssize_t n = send(conn->fd, data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)n;
}

static int to_block(struct conn_tx *tx, const char *data, int size)
{
	if ((size_t)size > CONN_CIPHER_BYTES - tx->sealed)
		return -1;
	memcpy(tx->block + tx->sealed, data, (size_t)size);
	tx->sealed += (size_t)size;
	return size;
}

static int bio_write(BIO *bio, const char *data, int size)
{
	struct conn *conn = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (conn->bio_gathers)
		return to_block(&conn->tx, data, size);
	if (conn->state == CONN_HANDSHAKING)
		return to_socket(conn, bio, data, size);
	/* An alert because of what SSL_read() met: the connection ends now, and the alert could
	 * land in the middle of a record that is half sent. */
	return size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void setup(void)
{
	BIO_METHOD *fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");

	if (fresh == NULL)
		return;
	BIO_meth_set_write(fresh, bio_write);
	BIO_meth_set_read(fresh, bio_read);
	BIO_meth_set_ctrl(fresh, bio_ctrl);
	BIO_meth_set_create(fresh, bio_create);
	method = fresh;
}

BIO *conn_bio_new(struct conn *conn)
{
	BIO *bio = NULL;

	pthread_once(&once, setup);
	if (method != NULL)
		bio = BIO_new(method);
	if (bio != NULL)
		BIO_set_data(bio, conn);
	return bio;
}
