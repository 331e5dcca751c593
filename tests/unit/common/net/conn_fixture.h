/* conn_fixture.h - two ends of a connection for tests, on one loop in the test's thread unless the
 * test says otherwise. Callbacks only note what happened: cmocka's assertions may not leave a
 * callback of libuv. */
#ifndef CATENA_TESTS_UNIT_COMMON_NET_CONN_FIXTURE_H
#define CATENA_TESTS_UNIT_COMMON_NET_CONN_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "common/os/clock.h"
#include "common/net/conn.h"
#include "common/net/conn_internal.h"
#include "common/os/log.h"
#include "tests/lib/random.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

#define MIB (1u << 20)

/* One end, and what it has seen. */
struct end {
	struct conn *conn;
	int ready, closed, drained;
	int error; /* of closed() */
	uint64_t frames, bytes;
	uint64_t wrong; /* frames that are not what they should be */
	struct tls_identity peer;
	void (*on_frame)(struct end *end, const struct frame_header *header, struct buf *payload);
	void (*on_ready)(struct end *end);
	void *test;
};

struct fixture {
	char dir[CA_PATH_MAX], ca[CA_PATH_MAX], other_ca[CA_PATH_MAX], log[CA_PATH_MAX];
	struct ca_files server, client, master, expired, stranger;
	SSL_CTX *server_tls, *client_tls, *master_tls, *expired_tls, *stranger_tls;
	uv_loop_t loop;
	struct buf_pool *pool;
	struct listener *listener;
	char address[64];
	struct end accepted; /* by the listener */
	struct end connected;
	struct conn_options accept_options;
	int accept_error;
	uint64_t random;
};

extern struct fixture fx;

uint32_t fx_random(uint32_t below);

/* ---- callbacks ---- */

extern const struct conn_callbacks fx_callbacks;

void fx_on_accepted(void *user, int fd);

/* ---- waiting ---- */

/* Runs the loop until *@counter is at least @value. False: not within @seconds. */
bool fx_wait(const int *counter, int value, double seconds);
bool fx_wait_frames(const uint64_t *counter, uint64_t value, double seconds);
void fx_run_for(double seconds);

/* ---- set-up ---- */

/* Once for all tests of a program: certificates, and the log in a file. */
int fx_group_setup(void **state);
int fx_group_teardown(void **state);

/* Before each test: a loop and a listener that accepts one connection at a time. */
int fx_setup(void **state);

/* Everything has been given back, or this fails. */
int fx_teardown(void **state);

/* ---- doing things ---- */

int fx_connect_as(SSL_CTX *tls, enum tls_role server_role);
void fx_connect(void);
int fx_send(struct conn *conn, struct buf_pool *pool, uint64_t id, uint32_t offset,
	    uint32_t length);

/* True: the frame is what fx_send() sends for its request id. */
bool fx_check(const struct frame_header *header, const struct buf *payload);

/* Lines of the log that contain @text; NULL: prints the log. */
int fx_log_count(const char *text);

/* @text is in exactly @count lines of the log. */
void fx_assert_logged(const char *text, int count);
#endif
