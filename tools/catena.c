/* catena - the cluster's tool for people and programs: catena COMMAND [ARGUMENT...] [OPTIONS].
 *
 * One table of commands; each gets the options and a connection to the master, see cli/cli.h.
 * docs/man/catena.1 is the manual. Exit status: 0 done, 1 failed, 64 wrong usage. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/conf.h"
#include "common/os/log.h"
#include "common/rpc/rpc.h"
#include "tools/cli/cli.h"

/* ---- connection ---- */

static const struct conf_option conf_options[] = {
	{"client", "master", CONF_STRING, offsetof(struct cli_options, master), 0, 0, "",
	 "host:port"},
	{"tls", "ca", CONF_STRING, offsetof(struct cli_options, ca), 0, 0, "", ""},
	{"tls", "cert", CONF_STRING, offsetof(struct cli_options, cert), 0, 0, "", ""},
	{"tls", "key", CONF_STRING, offsetof(struct cli_options, key), 0, 0, "", ""},
	{0},
};

static int connect_master(const struct cli_options *options, struct rpc_client **out)
{
	struct rpc_client_options rpc = {.target = options->master,
					 .tls = {options->ca, options->cert, options->key},
					 .server_role = TLS_ROLE_MASTER};
	struct tls_identity self;
	char error[512] = "";
	enum tls_role role = TLS_ROLE_ADMIN;
	int rc;

	rc = tls_files_check(&rpc.tls, role, &self, error, sizeof(error));
	if (rc != 0) {
		/* Looking is allowed to clients, too. */
		char other[512] = "";

		rc = tls_files_check(&rpc.tls, TLS_ROLE_CLIENT, &self, other, sizeof(other));
	}
	if (rc == 0)
		rc = rpc_client_open(&rpc, out, error, sizeof(error));
	if (rc != 0)
		fprintf(stderr, "catena: %s\n", error);
	return rc;
}

/* ---- the command line ---- */

static const struct cli_command commands[] = {
	{"status", "", 0, 0, cli_run_status, "what there is, and how it is", false},
	{"drain", "TARGET|SERVER [--undo] [--wait]", 1, 1, cli_run_drain,
	 "empty a disk or a machine, to take it away", false},
	{"recovery", "[pause|resume|rate SIZE|rate auto]", 0, 2, cli_run_recovery,
	 "how fast copies are made equal", false},
	{"chain accept-data-loss", "PARTITION|all TARGET [--pool N] --accept-data-loss", 2, 2,
	 cli_run_accept_data_loss, "go on without members that never come back", false},
	{"explain", "CODE|all", 1, 1, cli_run_explain, "what a finding of fsck.catena is", true},
	{0},
};

static void usage(FILE *out)
{
	fprintf(out, "usage: catena COMMAND --master HOST:PORT -o ca=FILE,cert=FILE,key=FILE\n"
		     "       catena COMMAND --config FILE\n"
		     "  --json   for programs\n"
		     "  --help\n"
		     "commands:\n");
	for (const struct cli_command *c = commands; c->words != NULL; c++)
		fprintf(out, "  %s%s%s\n      %s\n", c->words, c->arguments[0] != '\0' ? " " : "",
			c->arguments, c->help);
}

static bool set_text(char **field, const char *value)
{
	free(*field);
	*field = strdup(value);
	return *field != NULL;
}

/* "ca=...,cert=...,key=..." */
static bool parse_o(struct cli_options *options, const char *text)
{
	char *copy = strdup(text), *rest = copy, *item;
	bool ok = copy != NULL;

	while (ok && (item = strsep(&rest, ",")) != NULL) {
		if (strncmp(item, "ca=", 3) == 0)
			ok = set_text(&options->ca, item + 3);
		else if (strncmp(item, "cert=", 5) == 0)
			ok = set_text(&options->cert, item + 5);
		else if (strncmp(item, "key=", 4) == 0)
			ok = set_text(&options->key, item + 4);
		else if (strncmp(item, "master=", 7) == 0)
			ok = set_text(&options->master, item + 7);
		else {
			fprintf(stderr, "catena: -o %s: known are ca, cert, key, master\n", item);
			ok = false;
		}
	}
	free(copy);
	return ok;
}

static bool read_config(struct cli_options *options, const char *path)
{
	char error[512];
	struct cli_options kept = *options;

	conf_free(conf_options, options);
	if (conf_load(path, conf_options, options, error, sizeof(error)) != 0) {
		fprintf(stderr, "catena: %s\n", error);
		memset(options, 0, sizeof(*options));
		return false;
	}
	options->json = kept.json;
	options->undo = kept.undo;
	options->wait = kept.wait;
	options->accept_data_loss = kept.accept_data_loss;
	options->pool = kept.pool;
	return true;
}

static bool parse(int argc, char **argv, struct cli_options *options)
{
	static const struct option list[] = {
		{"master", required_argument, NULL, 'm'},
		{"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"undo", no_argument, NULL, 'U'},
		{"wait", no_argument, NULL, 'W'},
		{"pool", required_argument, NULL, 'P'},
		{"accept-data-loss", no_argument, NULL, 'A'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "m:c:o:jh", list, NULL)) != -1) {
		switch (c) {
		case 'm':
			if (!set_text(&options->master, optarg))
				return false;
			break;
		case 'c':
			if (!read_config(options, optarg))
				return false;
			break;
		case 'o':
			if (!parse_o(options, optarg))
				return false;
			break;
		case 'j':
			options->json = true;
			break;
		case 'U':
			options->undo = true;
			break;
		case 'W':
			options->wait = true;
			break;
		case 'P':
			options->pool = optarg;
			break;
		case 'A':
			options->accept_data_loss = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return false;
		}
	}
	return true;
}

/* How many of the words are the command's own; 0: it is another. */
static unsigned match(const struct cli_command *command, unsigned count, char **words)
{
	const char *rest = command->words;
	unsigned used = 0;

	while (used < count && *rest != '\0') {
		size_t length = strcspn(rest, " ");

		if (strlen(words[used]) != length || strncmp(words[used], rest, length) != 0)
			return 0;
		used++;
		rest += length + (rest[length] == ' ');
	}
	return *rest == '\0' ? used : 0;
}

static const struct cli_command *find_command(unsigned count, char **words, unsigned *used)
{
	for (const struct cli_command *c = commands; c->words != NULL; c++) {
		*used = match(c, count, words);
		if (*used > 0 && count - *used >= c->arguments_min &&
		    count - *used <= c->arguments_max)
			return c;
	}
	return NULL;
}

static bool complete(const struct cli_options *o)
{
	char *const all[] = {o->master, o->ca, o->cert, o->key};
	static const char *const names[] = {"--master", "-o ca=", "-o cert=", "-o key="};

	for (size_t i = 0; i < 4; i++)
		if (all[i] == NULL || all[i][0] == '\0') {
			fprintf(stderr, "catena: %s is missing\n", names[i]);
			return false;
		}
	return true;
}

int main(int argc, char **argv)
{
	struct cli_options options = {0};
	const struct cli_command *command = NULL;
	struct rpc_client *client;
	unsigned used = 0;
	int status = CLI_USAGE;

	if (!parse(argc, argv, &options))
		goto out;
	command = find_command((unsigned)(argc - optind), argv + optind, &used);
	if (command == NULL) {
		usage(stderr);
		goto out;
	}
	if (command->alone) {
		status = command->run(&options, NULL, argv + optind + used,
				      (unsigned)(argc - optind) - used);
		goto out;
	}
	if (!complete(&options))
		goto out;
	/* What the library has to say comes out in our one line. */
	log_set_level(LOG_LEVEL_ERROR);
	rpc_init();
	status = 1;
	if (connect_master(&options, &client) == 0) {
		status = command->run(&options, client, argv + optind + used,
				      (unsigned)(argc - optind) - used);
		rpc_client_close(client);
	}
	rpc_shutdown();
out:
	conf_free(conf_options, &options);
	return status;
}
