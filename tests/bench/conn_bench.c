/* What a connection costs: prints "name value unit" per line.
 *
 * Method: client and server in one process, each with a loop and a thread of its own, over
 * loopback. CPU seconds are those of the whole process, both ends together. Every figure is taken
 * after a warm-up of the same kind. Block checksums are carried but not computed here, for they are
 * the users' of a connection to make and to verify. */
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "common/os/clock.h"
#include "common/net/conn.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

#define MIB          (1u << 20)
#define QUEUE_HIGH   (4u << 20)
#define PAYLOADS     16
#define SMALL_WINDOW 64

enum mode { MODE_RTT, MODE_PIPELINE, MODE_UPLOAD, MODE_DOWNLOAD, MODE_BOTH };

struct side {
	uv_loop_t loop;
	uv_async_t stop;
	pthread_t thread;
	struct buf_pool *pool;
	SSL_CTX *tls;
	struct conn *conn;
};

static struct side client, server;
static struct listener *listener;
static sem_t done;
static bool stopping;

static enum mode mode;
static uint32_t frame_size;
static uint64_t to_send, to_receive; /* frames still to come, at the client */
static uint64_t server_left;         /* frames that the server still sends */
static uint64_t server_received, server_expects;
static struct buf *payloads[2][PAYLOADS];
static uint64_t request_id;

static void die(const char *what, int rc)
{
	fprintf(stderr, "conn_bench: %s: %s\n", what, rc < 0 ? strerror(-rc) : "failed");
	exit(1);
}

static void send_one(struct side *side, uint32_t size, uint16_t flags)
{
	struct buf *payload = NULL;
	struct frame_header header = {
		.op = (flags & FRAME_REPLY) != 0 ? FRAME_READ : FRAME_WRITE,
		.flags = flags,
		.request_id = ++request_id,
		.length = size,
	};
	int rc;

	if (size == 0)
		header.op = FRAME_PING;
	else
		payload = payloads[side == &server][header.request_id % PAYLOADS];
	if (payload != NULL)
		payload->length = size;
	rc = conn_send(side->conn, &header, payload);
	if (rc < 0)
		die("conn_send", rc);
}

static void send_more(struct side *side, uint64_t *left, uint16_t flags)
{
	while (*left > 0 && conn_queued(side->conn) < QUEUE_HIGH) {
		--*left;
		send_one(side, frame_size, flags);
	}
}

/* ---- server ---- */

static void server_frame(struct conn *conn, void *user, const struct frame_header *header,
			 struct buf *payload)
{
	buf_unref(payload);
	switch (mode) {
	case MODE_RTT:
	case MODE_PIPELINE:
		send_one(&server, frame_size, FRAME_REPLY);
		break;
	case MODE_UPLOAD:
		if (++server_received == server_expects)
			send_one(&server, 0, FRAME_REPLY);
		break;
	case MODE_BOTH:
		if (header->op != FRAME_PING && ++server_received == server_expects)
			send_one(&server, 0, FRAME_REPLY);
		if (header->op == FRAME_PING)
			send_more(&server, &server_left, FRAME_REPLY);
		break;
	case MODE_DOWNLOAD:
		send_more(&server, &server_left, FRAME_REPLY);
		break;
	}
}

static void server_drained(struct conn *conn, void *user)
{
	if (mode == MODE_DOWNLOAD || mode == MODE_BOTH)
		send_more(&server, &server_left, FRAME_REPLY);
}

static void on_ready(struct conn *conn, void *user, const struct tls_identity *peer)
{
	sem_post(&done);
}

static void on_closed(struct conn *conn, void *user, int error)
{
	if (!stopping)
		die("connection closed", error);
}

static void on_accepted(void *user, int fd)
{
	const struct conn_options options = {
		.loop = &server.loop,
		.tls = server.tls,
		.pool = server.pool,
		.callbacks = {on_ready, server_frame, on_closed, server_drained},
	};
	int rc = conn_accept(&options, fd, &server.conn);

	if (rc < 0)
		die("conn_accept", rc);
}

/* ---- client ---- */

static void client_frame(struct conn *conn, void *user, const struct frame_header *header,
			 struct buf *payload)
{
	buf_unref(payload);
	if (to_receive == 0 || --to_receive == 0) {
		sem_post(&done);
		return;
	}
	if ((mode == MODE_RTT || mode == MODE_PIPELINE) && to_send > 0) {
		to_send--;
		send_one(&client, frame_size, 0);
	}
}

static void client_drained(struct conn *conn, void *user)
{
	if (mode == MODE_UPLOAD || mode == MODE_BOTH)
		send_more(&client, &to_send, 0);
}

static uv_async_t start;

static void on_start(uv_async_t *async)
{
	conn_batch_begin();
	if (mode == MODE_DOWNLOAD || mode == MODE_BOTH)
		send_one(&client, 0, 0);
	if (mode == MODE_UPLOAD || mode == MODE_BOTH) {
		send_more(&client, &to_send, 0);
	} else if (mode != MODE_DOWNLOAD) {
		uint64_t window = mode == MODE_RTT ? 1 : SMALL_WINDOW;

		while (window-- > 0 && to_send > 0) {
			to_send--;
			send_one(&client, frame_size, 0);
		}
	}
	conn_batch_end();
}

/* ---- measuring ---- */

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run(enum mode what, uint32_t size, uint64_t frames, double *seconds, double *cpu)
{
	uint64_t from = clock_monotonic_ns();
	double cpu_from = cpu_seconds();

	mode = what;
	frame_size = size;
	server_received = 0;
	server_expects = frames;
	server_left = what == MODE_DOWNLOAD || what == MODE_BOTH ? frames : 0;
	to_send = frames;
	to_receive = what == MODE_UPLOAD ? 1 : what == MODE_BOTH ? frames + 1 : frames;
	uv_async_send(&start);
	sem_wait(&done);
	*seconds = (double)(clock_monotonic_ns() - from) / (double)NS_PER_SEC;
	*cpu = cpu_seconds() - cpu_from;
}

static void measure_small(enum mode what, const char *name, uint32_t size, uint64_t frames)
{
	double seconds, cpu;

	run(what, size, frames / 10, &seconds, &cpu);
	run(what, size, frames, &seconds, &cpu);
	if (what == MODE_RTT)
		printf("%s_rtt %.1f us\n", name, seconds / (double)frames * 1e6);
	else
		printf("%s_rate %.0f frames/s\n", name, (double)frames / seconds);
	printf("%s_cpu %.2f us/frame\n", name, cpu / (double)frames * 1e6);
	fflush(stdout);
}

static void measure_bulk(enum mode what, const char *name, uint32_t size, uint64_t frames)
{
	double seconds, cpu, mib = (double)frames * size / MIB * (what == MODE_BOTH ? 2 : 1);

	run(what, size, frames / 4, &seconds, &cpu);
	run(what, size, frames, &seconds, &cpu);
	printf("%s_rate %.0f MiB/s\n", name, mib / seconds);
	printf("%s_cpu %.3f s/GiB\n", name, cpu / mib * 1024);
	fflush(stdout);
}

/* ---- set-up ---- */

static void on_stop(uv_async_t *async)
{
	uv_stop(async->loop);
}

static void *loop_thread(void *arg)
{
	uv_run(arg, UV_RUN_DEFAULT);
	return NULL;
}

static void side_init(struct side *side, const struct tls_files *files)
{
	char error[300];
	int rc = tls_context(files, &side->tls, error, sizeof(error));

	if (rc < 0) {
		fprintf(stderr, "conn_bench: %s\n", error);
		exit(1);
	}
	uv_loop_init(&side->loop);
	uv_async_init(&side->loop, &side->stop, on_stop);
	rc = buf_pool_create(256 * (size_t)MIB, &side->pool);
	if (rc < 0)
		die("buf_pool_create", rc);
}

static void set_up(const char *dir)
{
	struct ca_files server_files, client_files;
	struct conn_options options;
	char address[64], ca[CA_PATH_MAX];
	int rc;

	snprintf(ca, sizeof(ca), "%.200s/ca", dir);
	ca_init(ca, "bench");
	ca_issue(ca, "chunkserver", "server", NULL, &server_files);
	ca_issue(ca, "client", "client", NULL, &client_files);
	side_init(&server, &server_files.files);
	side_init(&client, &client_files.files);
	for (int side = 0; side < 2; side++) {
		for (int i = 0; i < PAYLOADS; i++) {
			struct buf_pool *pool = side == 0 ? client.pool : server.pool;

			payloads[side][i] = buf_get(pool, MIB);
			memset(payloads[side][i]->data, i, MIB);
			memset(payloads[side][i]->crcs, i, FRAME_CRCS_MAX * 4);
		}
	}
	rc = listener_open(&server.loop, "127.0.0.1:0", on_accepted, NULL, &listener);
	if (rc < 0)
		die("listener_open", rc);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(listener));
	options = (struct conn_options){
		.loop = &client.loop,
		.tls = client.tls,
		.pool = client.pool,
		.callbacks = {on_ready, client_frame, on_closed, client_drained},
		.server_role = TLS_ROLE_CHUNKSERVER,
	};
	rc = conn_connect(&options, address, &client.conn);
	if (rc < 0)
		die("conn_connect", rc);
	uv_async_init(&client.loop, &start, on_start);
	pthread_create(&server.thread, NULL, loop_thread, &server.loop);
	pthread_create(&client.thread, NULL, loop_thread, &client.loop);
	sem_wait(&done);
	sem_wait(&done);
}

static void stop(struct side *side)
{
	uv_async_send(&side->stop);
	pthread_join(side->thread, NULL);
	conn_close(side->conn);
	uv_close((uv_handle_t *)&side->stop, NULL);
}

static void tear_down(void)
{
	/* Before the server's loop can see the end of the connection. */
	uv_async_send(&server.stop);
	pthread_join(server.thread, NULL);
	stopping = true;
	stop(&client);
	uv_close((uv_handle_t *)&start, NULL);
	uv_run(&client.loop, UV_RUN_DEFAULT);
	uv_loop_close(&client.loop);
	uv_close((uv_handle_t *)&server.stop, NULL);
	conn_close(server.conn);
	listener_close(listener);
	uv_run(&server.loop, UV_RUN_DEFAULT);
	uv_loop_close(&server.loop);
	for (int side = 0; side < 2; side++)
		for (int i = 0; i < PAYLOADS; i++)
			buf_unref(payloads[side][i]);
	buf_pool_destroy(client.pool);
	buf_pool_destroy(server.pool);
	SSL_CTX_free(client.tls);
	SSL_CTX_free(server.tls);
}

int main(int argc, char **argv)
{
	const double scale = argc > 1 ? atof(argv[1]) : 1;
	const char *only = argc > 2 ? argv[2] : "";
	char dir[CA_PATH_MAX];

#define WANTED(name) (only[0] == '\0' || strcmp(only, name) == 0)
#define COUNT(n)     ((uint64_t)((n)*scale) + SMALL_WINDOW)
	sem_init(&done, 0, 0);
	ca_temp_dir(dir);
	set_up(dir);
	tree_remove(dir);
	if (WANTED("conn_64b"))
		measure_small(MODE_RTT, "conn_64b", 64, COUNT(30000));
	if (WANTED("conn_4k"))
		measure_small(MODE_RTT, "conn_4k", 4096, COUNT(20000));
	if (WANTED("conn_64b_pipelined"))
		measure_small(MODE_PIPELINE, "conn_64b_pipelined", 64, COUNT(400000));
	if (WANTED("conn_64k"))
		measure_bulk(MODE_UPLOAD, "conn_64k_up", 65536, COUNT(24000));
	if (WANTED("conn_1m"))
		measure_bulk(MODE_UPLOAD, "conn_1m_up", MIB, COUNT(2000));
	if (WANTED("conn_1m_down"))
		measure_bulk(MODE_DOWNLOAD, "conn_1m_down", MIB, COUNT(2000));
	if (WANTED("conn_1m_both"))
		measure_bulk(MODE_BOTH, "conn_1m_both_ways", MIB, COUNT(1500));
	tear_down();
	return 0;
}
