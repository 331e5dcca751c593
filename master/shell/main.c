/* main.c - catena-master: arguments, signals, the main loop. docs/man/catena-master.8 is the
 * manual.
 *
 * Exit status: 0 ended in order; 1 could not start; 64 wrong usage; 78 wrong configuration. */
#define LOG_MODULE "master"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "common/os/descriptors.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/ready.h"
#include "common/rpc/rpc.h"
#include "master/shell/accept.h"
#include "master/shell/start.h"

#define EXIT_USAGE   64
#define EXIT_CONFIG  78
#define KEEP_LOG_MAX (UINT64_C(1) << 20) /* MiB */
/* For all targets to say what they have seen. */
#define ACCEPT_WAIT_NS (30 * NS_PER_SEC)

struct master_arguments {
	const char *config;
	bool init;
	bool accept;          /* an older store */
	bool without_missing; /* targets, then */
	uint64_t keep_log;    /* MiB; 0: not at all */
	int ready_fd;         /* -1: none */
};

struct loop {
	uv_loop_t uv;
	uv_timer_t timer;
	uv_signal_t term, interrupt, hangup;
	struct master *master;
};

static void usage(FILE *out)
{
	fprintf(out,
		"usage: catena-master --config FILE [--init | --accept-older-store "
		"[--without-missing]] [--keep-log N] [--ready-fd N] [--help]\n"
		"  --config FILE   configuration; see catena-master(8)\n"
		"  --init          make the data directory of a new cluster, and end\n"
		"  --accept-older-store  go on with a store older than what targets have seen, and "
		"end\n"
		"  --without-missing     although some targets are not there\n"
		"  --keep-log N    keep the last N MiB of commands for catena-replay, beside the "
		"store\n"
		"  --ready-fd N    write the address to this file descriptor when it can be "
		"used\n");
}

static bool parse_keep_log(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *out > 0 &&
	       *out <= KEEP_LOG_MAX;
}

static int parse(int argc, char **argv, struct master_arguments *out)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"init", no_argument, NULL, 'i'},
		{"accept-older-store", no_argument, NULL, 'a'},
		{"without-missing", no_argument, NULL, 'w'},
		{"keep-log", required_argument, NULL, 'k'},
		{"foreground", no_argument, NULL, 'f'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	*out = (struct master_arguments){.ready_fd = -1};
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			out->config = optarg;
			break;
		case 'i':
			out->init = true;
			break;
		case 'a':
			out->accept = true;
			break;
		case 'w':
			out->without_missing = true;
			break;
		case 'k':
			if (!parse_keep_log(optarg, &out->keep_log))
				return EXIT_USAGE;
			break;
		case 'f': /* always so */
			break;
		case 'r':
			out->ready_fd = ready_fd_parse(optarg);
			if (out->ready_fd < 0)
				return EXIT_USAGE;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return EXIT_USAGE;
		}
	}
	if ((out->init && out->accept) || (out->without_missing && !out->accept) ||
	    (out->keep_log != 0 && (out->init || out->accept)))
		return EXIT_USAGE;
	return optind == argc && out->config != NULL ? 0 : EXIT_USAGE;
}

/* ---- the loop ---- */

static void on_tick(uv_timer_t *timer)
{
	struct loop *loop = timer->data;

	master_tick(loop->master);
}

static void on_end(uv_signal_t *handle, int number)
{
	log_info("ending signal=%d", number);
	uv_stop(handle->loop);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	int rc = log_reopen();

	if (rc != 0)
		log_warn("the log file cannot be opened again error=\"%s\"", strerror(-rc));
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	uv_close(handle, NULL);
}

static int run(struct master *master)
{
	struct loop loop = {.master = master};
	int rc = uv_loop_init(&loop.uv);

	if (rc != 0)
		return rc;
	uv_timer_init(&loop.uv, &loop.timer);
	loop.timer.data = &loop;
	uv_timer_start(&loop.timer, on_tick, MASTER_TICK_MS, MASTER_TICK_MS);
	uv_signal_init(&loop.uv, &loop.term);
	uv_signal_init(&loop.uv, &loop.interrupt);
	uv_signal_init(&loop.uv, &loop.hangup);
	uv_signal_start(&loop.term, on_end, SIGTERM);
	uv_signal_start(&loop.interrupt, on_end, SIGINT);
	uv_signal_start(&loop.hangup, on_hangup, SIGHUP);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	uv_walk(&loop.uv, close_handle, NULL);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	uv_loop_close(&loop.uv);
	return 0;
}

/* ---- start ---- */

static void tell_ready(struct master *master, int fd)
{
	char address[300];

	master_address(master, address, sizeof(address));
	log_info("ready address=%s cluster=%s", address, master->self.cluster);
	ready_tell(fd, address);
}

static int open_log(const struct master_config *config)
{
	enum log_level level;
	int rc;

	if (log_level_parse(config->log_level, &level) == 0)
		log_set_level(level);
	if (config->log[0] == '\0')
		return 0;
	rc = log_open(config->log);
	if (rc != 0)
		fprintf(stderr, "catena-master: cannot open the log file %s: %s\n", config->log,
			strerror(-rc));
	return rc;
}

static int serve(const struct master_config *config, const struct master_arguments *arguments)
{
	char error[512] = "";
	struct master *master;
	int rc;

	descriptors_raise();
	rpc_init();
	rc = master_start(config, &master, error, sizeof(error));
	if (rc == 0) {
		tell_ready(master, arguments->ready_fd);
		rc = run(master);
		master_stop(master);
	} else {
		fprintf(stderr, "catena-master: %s\n", error);
	}
	rpc_shutdown();
	return rc == 0 ? 0 : 1;
}

static int accept_older(const struct master_config *config,
			const struct master_arguments *arguments)
{
	struct accept_options options = {.wait_ns = ACCEPT_WAIT_NS,
					 .without_missing = arguments->without_missing,
					 .out = stdout};
	char error[512] = "";
	int rc;

	rpc_init();
	rc = master_accept(config, &options, error, sizeof(error));
	rpc_shutdown();
	if (rc != 0)
		fprintf(stderr, "catena-master: %s\n", error);
	return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct master_arguments arguments;
	struct master_config config;
	char error[512] = "";
	int status;

	status = parse(argc, argv, &arguments);
	if (status != 0) {
		usage(stderr);
		return status;
	}
	signal(SIGPIPE, SIG_IGN);
	if (master_config_load(arguments.config, &config, error, sizeof(error)) != 0) {
		fprintf(stderr, "catena-master: %s\n", error);
		return EXIT_CONFIG;
	}
	config.keep_log_bytes = arguments.keep_log << 20;
	status = 1;
	if (open_log(&config) != 0)
		goto out;
	if (arguments.accept) {
		status = accept_older(&config, &arguments);
	} else if (!arguments.init) {
		status = serve(&config, &arguments);
	} else if (master_init(&config, error, sizeof(error)) == 0) {
		status = 0;
	} else {
		fprintf(stderr, "catena-master: %s\n", error);
	}
out:
	conf_free(master_options, &config);
	return status;
}
