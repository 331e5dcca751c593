/* catena-chunkserver - keeps chunks on this machine's disks; see catena-chunkserver(8). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/server/config.h"
#include "chunkserver/server/server.h"
#include "chunkserver/store/store.h"
#include "common/os/descriptors.h"
#include "common/os/log.h"
#include "common/os/ready.h"
#include "common/rpc/rpc.h"

#define LOG_MODULE "main"

#define EXIT_USAGE 64

struct arguments {
	const char *config;
	bool init;
	int ready_fd;
};

static int usage(FILE *to)
{
	fputs("usage: catena-chunkserver --config FILE [--init] [--ready-fd N]\n", to);
	return to == stdout ? 0 : EXIT_USAGE;
}

static int fail(const char *what)
{
	fprintf(stderr, "catena-chunkserver: %s\n", what);
	return EXIT_FAILURE;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"init", no_argument, NULL, 'i'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	arguments->ready_fd = -1;
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			arguments->config = optarg;
			break;
		case 'i':
			arguments->init = true;
			break;
		case 'r':
			arguments->ready_fd = ready_fd_parse(optarg);
			if (arguments->ready_fd < 0)
				return usage(stderr);
			break;
		case 'h':
			return usage(stdout);
		default:
			return usage(stderr);
		}
	}
	return arguments->config == NULL || optind != argc ? usage(stderr) : -1;
}

/* Those that are targets already stay as they are, so that a disk can be added. */
static int init_targets(const struct config *config, const struct tls_identity *self)
{
	char error[512] = "";
	size_t made = 0;

	for (size_t i = 0; i < config->targets.count; i++) {
		const char *path = config->targets.items[i];
		int rc = store_init(path, self->cluster, error, sizeof(error));

		if (rc < 0 && rc != -EEXIST)
			return fail(error);
		made += rc == 0;
		printf("catena-chunkserver: %s target %s of cluster %s\n",
		       rc == 0 ? "made" : "left as it is:", path, self->cluster);
	}
	return made > 0 ? EXIT_SUCCESS : fail(error);
}

static void on_left(void *user)
{
	uv_stop(user);
}

/* The second one does not wait for others to take over. */
static void on_stop_signal(uv_signal_t *handle, int number)
{
	static bool leaving;
	struct server *server = handle->data;

	if (leaving) {
		log_info("stopping at once signal=%d", number);
		uv_stop(handle->loop);
		return;
	}
	leaving = true;
	log_info("stopping signal=%d", number);
	server_leave(server, on_left, handle->loop);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	(void)handle;
	(void)number;
	if (log_reopen() < 0)
		log_error("the log cannot be opened again");
}

static int serve(const struct config *config, const struct tls_identity *self, int ready_fd)
{
	static const int stop_signals[] = {SIGTERM, SIGINT};
	uv_signal_t signals[3];
	char error[512] = "";
	struct server *server;
	uv_loop_t loop;

	signal(SIGPIPE, SIG_IGN);
	if (uv_loop_init(&loop) != 0)
		return fail("cannot make an event loop");
	rpc_init();
	if (server_open(&loop, config, self, &server, error, sizeof(error)) < 0) {
		uv_loop_close(&loop);
		rpc_shutdown();
		return fail(error);
	}
	for (size_t i = 0; i < 3; i++) {
		uv_signal_init(&loop, &signals[i]);
		signals[i].data = server;
		if (i < 2)
			uv_signal_start(&signals[i], on_stop_signal, stop_signals[i]);
		else
			uv_signal_start(&signals[i], on_hangup, SIGHUP);
	}
	log_info("ready address=%s workers=%d targets=%u of=%zu cluster=%s name=%s",
		 server_address(server), (int)config->workers, server_targets(server),
		 config->targets.count, self->cluster, self->name);
	ready_tell(ready_fd, server_address(server));
	uv_run(&loop, UV_RUN_DEFAULT);
	server_stop(server);
	for (size_t i = 0; i < 3; i++)
		uv_close((uv_handle_t *)&signals[i], NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	server_free(server);
	uv_loop_close(&loop);
	rpc_shutdown();
	log_info("stopped");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct tls_identity self;
	struct tls_files files;
	struct config config;
	char error[512] = "";
	int status = parse(argc, argv, &arguments);

	if (status >= 0)
		return status;
	if (config_load(arguments.config, &config, error, sizeof(error)) < 0)
		return fail(error);
	files = (struct tls_files){.ca = config.ca, .cert = config.cert, .key = config.key};
	if (tls_files_check(&files, TLS_ROLE_CHUNKSERVER, &self, error, sizeof(error)) < 0) {
		status = fail(error);
	} else if (arguments.init) {
		status = init_targets(&config, &self);
	} else if (config.log[0] != '\0' && log_open(config.log) < 0) {
		snprintf(error, sizeof(error), "cannot write the log %s: %s", config.log,
			 strerror(errno));
		status = fail(error);
	} else {
		log_set_level(config.level);
		descriptors_raise();
		/* Disk work of all workers shares libuv's pool, which reads this once. */
		setenv("UV_THREADPOOL_SIZE", "8", 0);
		status = serve(&config, &self, arguments.ready_fd);
	}
	config_free(&config);
	return status;
}
