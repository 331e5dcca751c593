/* rpc_bench - what a message between a client and the master costs, with both on this machine.
 *
 * Prints "name value unit" lines: round trips of 64-byte messages on a stream with 1, 16 and 64 in
 * flight, unary calls, and CPU time of both ends together. The server is a process of its own, as
 * in life: two ends in one process would share one epoll set and disturb each other. Usage:
 * rpc_bench [SECONDS]. */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "common/os/clock.h"
#include "common/rpc/rpc.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

static double seconds = 2;

static int echo_open(void *server_user, struct rpc_stream *stream, const struct tls_identity *peer,
		     void **stream_user)
{
	return peer->role == TLS_ROLE_CLIENT ? 0 : -1;
}

static void echo_message(void *user, struct rpc_stream *stream, const uint8_t *data, size_t size)
{
	rpc_stream_send(stream, data, size);
}

static void echo_closed(void *user, struct rpc_stream *stream, int error)
{
}

static void echo_unary(void *user, struct rpc_call *call, const struct tls_identity *peer,
		       const uint8_t *data, size_t size)
{
	rpc_call_reply(call, 0, data, size);
}

struct client {
	struct rpc_stream *stream;
	atomic_ulong answered;
	sem_t wake;
	bool chain; /* send the next from the callback: no thread hop in the client */
	atomic_bool stop;
	sem_t closed;
};

#define MESSAGE_BYTES 64

static void on_message(void *user, const uint8_t *data, size_t size)
{
	struct client *c = user;

	/* Coalesced answers count one per message. */
	for (size_t i = 0; i < size / MESSAGE_BYTES; i++) {
		atomic_fetch_add(&c->answered, 1);
		if (c->chain && !atomic_load(&c->stop))
			rpc_stream_send(c->stream, data, MESSAGE_BYTES);
		else
			sem_post(&c->wake);
	}
}

static void on_closed(void *user, int error)
{
	struct client *c = user;

	if (error != 0)
		fprintf(stderr, "rpc_bench: stream ended error=%d\n", error);
	sem_post(&c->closed);
}

static pid_t server_pid;

/* Of the other process: its clock can be read while it runs. */
static double server_seconds(void)
{
	struct timespec ts = {0};
	clockid_t clock;

	if (clock_getcpuclockid(server_pid, &clock) == 0)
		clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / (double)NS_PER_SEC;
}

static double cpu_seconds(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return server_seconds() + (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static void report(const char *name, unsigned long count, uint64_t ns, double cpu)
{
	double s = (double)ns / (double)NS_PER_SEC;

	printf("%s.rate %.0f msgs/s\n", name, (double)count / s);
	printf("%s.cpu %.1f us/msg\n", name, cpu * 1e6 / (double)count);
}

static void measure_stream(struct rpc_client *client, const char *name, unsigned in_flight,
			   bool chain)
{
	static const struct rpc_stream_events events = {.message = on_message, .closed = on_closed};
	struct client c = {.chain = chain};
	uint8_t message[MESSAGE_BYTES] = {1};
	uint64_t start, end;
	double cpu;

	sem_init(&c.wake, 0, 0);
	sem_init(&c.closed, 0, 0);
	if (rpc_stream_open(client, "/catena.Bench/Echo", &events, &c, 5 * NS_PER_SEC, &c.stream) !=
	    0)
		exit(1);
	cpu = cpu_seconds();
	start = clock_monotonic_ns();
	end = start + (uint64_t)(seconds * (double)NS_PER_SEC);
	for (unsigned i = 0; i < in_flight; i++)
		rpc_stream_send(c.stream, message, sizeof(message));
	while (clock_monotonic_ns() < end) {
		if (chain) {
			usleep(10000);
			continue;
		}
		sem_wait(&c.wake);
		rpc_stream_send(c.stream, message, sizeof(message));
	}
	atomic_store(&c.stop, true);
	end = clock_monotonic_ns();
	cpu = cpu_seconds() - cpu;
	report(name, atomic_load(&c.answered), end - start, cpu);
	if (in_flight == 1)
		printf("%s.latency %.1f us\n", name,
		       (double)(end - start) / 1e3 / (double)atomic_load(&c.answered));
	rpc_stream_close(c.stream);
	sem_wait(&c.closed);
	rpc_stream_unref(c.stream);
}

static void measure_unary(struct rpc_client *client)
{
	uint8_t message[MESSAGE_BYTES] = {1}, *reply;
	uint64_t start = clock_monotonic_ns(),
		 end = start + (uint64_t)(seconds * (double)NS_PER_SEC);
	double cpu = cpu_seconds();
	unsigned long count = 0;
	size_t size;

	while (clock_monotonic_ns() < end) {
		if (rpc_call_wait(client, "/catena.Bench/Unary", message, sizeof(message),
				  5 * NS_PER_SEC, &reply, &size) != 0)
			exit(1);
		free(reply);
		count++;
	}
	end = clock_monotonic_ns();
	report("unary.1", count, end - start, cpu_seconds() - cpu);
	printf("unary.1.latency %.1f us\n", (double)(end - start) / 1e3 / (double)count);
}

static void serve(const struct tls_files *files, int port_fd, int end_fd)
{
	static const struct rpc_stream_handler echo = {echo_open, echo_message, echo_closed};
	static const struct rpc_method methods[] = {
		{.path = "/catena.Bench/Echo", .stream = &echo},
		{.path = "/catena.Bench/Unary", .unary = echo_unary},
		{0},
	};
	struct rpc_server_options options = {.listen = "127.0.0.1:0", .methods = methods};
	struct rpc_server *server;
	char error[256];
	uint16_t port;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	options.tls = *files;
	rpc_init();
	if (rpc_server_start(&options, &server, error, sizeof(error)) != 0) {
		fprintf(stderr, "rpc_bench: %s\n", error);
		exit(1);
	}
	port = rpc_server_port(server);
	if (write(port_fd, &port, sizeof(port)) != sizeof(port))
		exit(1);
	while (read(end_fd, &byte, 1) > 0)
		;
	rpc_server_stop(server);
	rpc_shutdown();
	exit(0);
}

/* The port of a server in a process of its own, which ends when *end_fd is closed. */
static uint16_t start_server(const struct tls_files *files, int *end_fd)
{
	int port_pipe[2], end_pipe[2];
	uint16_t port;

	if (pipe(port_pipe) != 0 || pipe(end_pipe) != 0)
		exit(1);
	server_pid = fork();
	if (server_pid == 0) {
		close(end_pipe[1]);
		serve(files, port_pipe[1], end_pipe[0]);
	}
	close(port_pipe[1]);
	close(end_pipe[0]);
	if (server_pid < 0 || read(port_pipe[0], &port, sizeof(port)) != sizeof(port))
		exit(1);
	close(port_pipe[0]);
	*end_fd = end_pipe[1];
	return port;
}

int main(int argc, char **argv)
{
	char dir[CA_PATH_MAX], error[256] = "", target[32];
	struct ca_files server_cert, client_cert;
	struct rpc_client_options options = {.target = target, .server_role = TLS_ROLE_MASTER};
	struct rpc_client *client;
	int end_fd;

	if (argc > 1)
		seconds = atof(argv[1]);
	ca_temp_dir(dir);
	ca_init(dir, "bench");
	ca_issue(dir, "master", "m", NULL, &server_cert);
	ca_issue(dir, "client", "c", NULL, &client_cert);
	options.tls = client_cert.files;
	snprintf(target, sizeof(target), "127.0.0.1:%u", start_server(&server_cert.files, &end_fd));
	rpc_init();
	if (rpc_client_open(&options, &client, error, sizeof(error)) != 0) {
		fprintf(stderr, "rpc_bench: %s\n", error);
		return 1;
	}
	measure_stream(client, "stream.1", 1, false);
	measure_stream(client, "stream.1.chained", 1, true);
	measure_stream(client, "stream.16", 16, false);
	measure_stream(client, "stream.64", 64, true);
	measure_unary(client);
	rpc_client_close(client);
	rpc_shutdown();
	close(end_fd);
	waitpid(server_pid, NULL, 0);
	tree_remove(dir);
	return 0;
}
