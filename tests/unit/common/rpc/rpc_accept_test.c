/* rpc_accept_test - a server's port when descriptors run out.
 *
 * Goal: silent connections, more than there are descriptors, take nothing from those who are
 * served, leave descriptors to the process itself, and end by the handshake's deadline; then the
 * port is as before. Method: rpc_fixture.h with few descriptors; the silent ones come from a child
 * process, which has its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "common/os/descriptors.h"
#include "tests/unit/common/rpc/rpc_fixture.h"

#define DESCRIPTORS 256
#define SILENT      600

/* In the child: nothing of gRPC's may be touched. @addresses: so many of 127.0.0.x. */
static void connect_silently(uint16_t port, unsigned addresses, int ready)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	char byte = 0;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < SILENT; i++) {
		struct sockaddr_in from = {.sin_family = AF_INET};
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + i % addresses);
		if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
		    fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
			_exit(1);
		(void)connect(fd, (struct sockaddr *)&to, sizeof(to));
		if (i % 50 == 0)
			usleep(10000);
	}
	if (write(ready, &byte, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static pid_t begin_silent(uint16_t port, unsigned addresses)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit limit;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test does not end it */
		/* The sockets of the server are no business of the child's. */
		for (int fd = 3; fd < DESCRIPTORS; fd++) {
			if (fd != ready[1])
				close(fd);
		}
		if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
			_exit(1);
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			_exit(1);
		connect_silently(port, addresses, ready[1]);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void end_silent(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool plain_works(struct record *r)
{
	uint8_t *reply = NULL;
	size_t size;
	int rc = rpc_call_wait(r->client, PLAIN, "x", 1, DEADLINE, &reply, &size);

	free(reply);
	return rc == 0 && size == 1;
}

static bool newcomer_works(void)
{
	struct record r;
	bool works;

	if (open_client(&r, rpc_server_port(the_server->rpc), &client_files) != 0)
		return false;
	works = plain_works(&r);
	rpc_client_close(r.client);
	pthread_mutex_destroy(&r.lock);
	pthread_cond_destroy(&r.changed);
	return works;
}

static void test_the_port_outlives_silent_connections(void **state)
{
	struct record r;
	uint64_t start;
	pid_t silent;
	int files[DESCRIPTORS / 4];

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_true(plain_works(&r));
	silent = begin_silent(rpc_server_port(the_server->rpc), 40);
	usleep(500000);
	/* Who is served goes on, and the process can open its own files. */
	assert_true(plain_works(&r));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(files[i] >= 0);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		close(files[i]);
	/* They are still connected as far as they know; after the deadline the next one is let in.
	 */
	start = clock_monotonic_ns();
	while (!newcomer_works())
		assert_true(clock_monotonic_ns() - start < 15 * NS_PER_SEC);
	assert_true(plain_works(&r));
	end_silent(silent);
	rpc_client_close(r.client);
}

static void test_one_silent_address_leaves_room_for_others(void **state)
{
	/* 127.0.0.2 only; we come from 127.0.0.1, at once. */
	pid_t silent = begin_silent(rpc_server_port(the_server->rpc), 1);

	usleep(300000);
	assert_true(newcomer_works());
	end_silent(silent);
}

static void test_all_that_we_may_have_is_asked_for(void **state)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = DESCRIPTORS;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	descriptors_raise();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(limit.rlim_cur == limit.rlim_max || limit.rlim_cur == DESCRIPTORS_MAX);
	assert_true(descriptors_for_peers() < (int)limit.rlim_cur);
	limit.rlim_cur = DESCRIPTORS;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(descriptors_for_peers(), DESCRIPTORS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_that_we_may_have_is_asked_for),
		with_server(test_one_silent_address_leaves_room_for_others),
		with_server(test_the_port_outlives_silent_connections),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
