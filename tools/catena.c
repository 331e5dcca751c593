/* catena - the cluster's tool for people and programs: catena NOUN [VERB] [OPTIONS].
 *
 * One table of commands; each gets the options and a connection to the master. docs/man/catena.1 is
 * the manual. Exit status: 0 done, 1 failed, 64 wrong usage. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "catena.pb-c.h"
#include "common/clock.h"
#include "common/cluster_map.h"
#include "common/conf.h"
#include "common/log.h"
#include "common/rpc.h"

#define EXIT_USAGE      64
#define CALL_TIMEOUT_NS (10 * NS_PER_SEC)

struct options {
	char *master, *ca, *cert, *key;
	bool json;
};

struct command {
	const char *noun, *verb; /* verb NULL: none */
	int (*run)(const struct options *options, struct rpc_client *client);
	const char *help;
};

/* ---- connection ---- */

static const struct conf_option conf_options[] = {
	{"client", "master", CONF_STRING, offsetof(struct options, master), 0, 0, "", "host:port"},
	{"tls", "ca", CONF_STRING, offsetof(struct options, ca), 0, 0, "", ""},
	{"tls", "cert", CONF_STRING, offsetof(struct options, cert), 0, 0, "", ""},
	{"tls", "key", CONF_STRING, offsetof(struct options, key), 0, 0, "", ""},
	{0},
};

static int fail(const char *what, int error, const char *refusal)
{
	const char *text = error == -EHOSTUNREACH ? "nobody answers there" : strerror(-error);

	fprintf(stderr, "catena: %s: %s%s%s\n", what, text, refusal[0] != '\0' ? ": " : "",
		refusal);
	return 1;
}

static int connect_master(const struct options *options, struct rpc_client **out)
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

/* ---- status ---- */

static int fetch_status(const struct options *options, struct rpc_client *client,
			Catena__StatusReply **out)
{
	char refusal[256];
	uint8_t *data;
	size_t size;
	int rc = rpc_call_wait(client, "/catena.Master/Status", "", 0, CALL_TIMEOUT_NS, &data,
			       &size);

	if (rc != 0) {
		rpc_client_refusal(client, refusal, sizeof(refusal));
		return fail(options->master, rc, refusal);
	}
	*out = catena__status_reply__unpack(NULL, size, data);
	free(data);
	if (*out == NULL || (*out)->map == NULL)
		return fail(options->master, -EBADMSG, "");
	return 0;
}

struct pool_health {
	unsigned placed, whole, degraded, lost;
};

static const Catena__Server *server_of(const Catena__ClusterMap *map, uint32_t target_id)
{
	for (size_t t = 0; t < map->n_targets; t++) {
		if (map->targets[t]->id != target_id)
			continue;
		for (size_t s = 0; s < map->n_servers; s++)
			if (map->servers[s]->id == map->targets[t]->server_id)
				return map->servers[s];
	}
	return NULL;
}

/* A chain is whole when all copies are in-sync and there, lost when no such copy is. */
static void check_chain(const Catena__ClusterMap *map, const Catena__Pool *pool,
			const Catena__Chain *chain, struct pool_health *health)
{
	unsigned good = 0;

	if (chain->epoch == 0)
		return;
	for (size_t i = 0; i < chain->n_members; i++) {
		const Catena__Server *server = server_of(map, chain->members[i]->target_id);

		if (chain->members[i]->state == MEMBER_IN_SYNC && server != NULL && server->online)
			good++;
	}
	health->placed++;
	if (good == 0)
		health->lost++;
	else if (good < pool->copies)
		health->degraded++;
	else
		health->whole++;
}

static struct pool_health check_pool(const Catena__ClusterMap *map, const Catena__Pool *pool)
{
	struct pool_health health = {0};

	for (size_t i = 0; i < pool->n_chains; i++)
		check_chain(map, pool, pool->chains[i], &health);
	return health;
}

static const char *size_text(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	unsigned unit = 0;

	for (; value >= 1024 && unit < 6; unit++)
		value /= 1024;
	snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return out;
}

static void print_targets(const Catena__StatusReply *status)
{
	const Catena__ClusterMap *map = status->map;
	char used[32], capacity[32];

	printf("%-16s %-8s %-22s %-7s %10s %10s\n", "SERVER", "STATE", "ADDRESS", "TARGET", "USED",
	       "CAPACITY");
	for (size_t s = 0; s < map->n_servers; s++) {
		const Catena__Server *server = map->servers[s];

		for (size_t t = 0; t < map->n_targets; t++) {
			const Catena__Target *target = map->targets[t];

			if (target->server_id != server->id)
				continue;
			printf("%-16s %-8s %-22s %-7u %10s %10s%s\n", server->name,
			       server->online ? "online" : "offline", server->address, target->id,
			       size_text(target->used, used), size_text(target->capacity, capacity),
			       target->full ? "  full" : "");
		}
	}
}

static void print_status(const struct options *options, const Catena__StatusReply *status)
{
	char size[32];

	printf("cluster  %s\n", status->map->cluster);
	printf("master   %s  map %llu  log %llu  store %s\n", options->master,
	       (unsigned long long)status->map->version, (unsigned long long)status->log_index,
	       status->store_error[0] == '\0' ? "ok" : status->store_error);
	for (size_t i = 0; i < status->map->n_pools; i++) {
		const Catena__Pool *pool = status->map->pools[i];
		struct pool_health health = check_pool(status->map, pool);

		printf("pool     %u  copies %u  chunk %s  partitions %u: %u whole, %u degraded, %u "
		       "unreachable, %zu not placed\n",
		       pool->id, pool->copies, size_text(pool->chunk_size, size), pool->partitions,
		       health.whole, health.degraded, health.lost, pool->n_chains - health.placed);
	}
	printf("files    %llu inodes  %llu orphans  %llu to be removed\n\n",
	       (unsigned long long)status->inodes, (unsigned long long)status->orphans,
	       (unsigned long long)status->removal_queue);
	print_targets(status);
	printf("\n%-16s %-8s %-22s %s\n", "CLIENT", "STATE", "SESSION", "MOUNT");
	for (size_t i = 0; i < status->n_sessions; i++)
		printf("%-16s %-8s %-22llu %s\n", status->sessions[i]->name,
		       status->sessions[i]->online ? "online" : "silent",
		       (unsigned long long)status->sessions[i]->id, status->sessions[i]->mount);
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *pools_json(const Catena__ClusterMap *map)
{
	json_t *list = json_array();

	for (size_t i = 0; i < map->n_pools; i++) {
		const Catena__Pool *pool = map->pools[i];
		struct pool_health health = check_pool(map, pool);

		json_array_append_new(list,
				      json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "id",
						(int)pool->id, "copies", (int)pool->copies,
						"chunk_size", (int)pool->chunk_size, "partitions",
						(int)pool->partitions, "whole", (int)health.whole,
						"degraded", (int)health.degraded, "unreachable",
						(int)health.lost, "placed", (int)health.placed));
	}
	return list;
}

static json_t *servers_json(const Catena__ClusterMap *map)
{
	json_t *list = json_array();

	for (size_t s = 0; s < map->n_servers; s++) {
		const Catena__Server *server = map->servers[s];
		json_t *targets = json_array();

		for (size_t t = 0; t < map->n_targets; t++) {
			const Catena__Target *target = map->targets[t];

			if (target->server_id == server->id)
				json_array_append_new(
					targets,
					json_pack("{s:i, s:s, s:o, s:o, s:b}", "id",
						  (int)target->id, "uuid", target->uuid, "used",
						  number(target->used), "capacity",
						  number(target->capacity), "full", target->full));
		}
		json_array_append_new(
			list, json_pack("{s:o, s:s, s:s, s:b, s:i, s:s, s:s, s:s, s:o}", "id",
					number(server->id), "name", server->name, "address",
					server->address, "online", server->online, "workers",
					(int)server->workers, "host", server->host, "rack",
					server->rack, "zone", server->zone, "targets", targets));
	}
	return list;
}

static json_t *sessions_json(const Catena__StatusReply *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->n_sessions; i++)
		json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:b}", "id",
						      number(status->sessions[i]->id), "name",
						      status->sessions[i]->name, "mount",
						      status->sessions[i]->mount, "online",
						      status->sessions[i]->online));
	return list;
}

static int print_status_json(const Catena__StatusReply *status)
{
	json_t *root = json_pack(
		"{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "cluster",
		status->map->cluster, "map_version", number(status->map->version), "log_index",
		number(status->log_index), "store_error", status->store_error, "inodes",
		number(status->inodes), "orphans", number(status->orphans), "removal_queue",
		number(status->removal_queue), "pools", pools_json(status->map), "servers",
		servers_json(status->map), "sessions", sessions_json(status));

	if (root == NULL)
		return fail("status", -EBADMSG, "the master's answer has text that is not UTF-8");
	json_dumpf(root, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(root);
	return 0;
}

static int run_status(const struct options *options, struct rpc_client *client)
{
	Catena__StatusReply *status = NULL;
	int rc = fetch_status(options, client, &status);

	if (rc == 0 && options->json)
		rc = print_status_json(status);
	else if (rc == 0)
		print_status(options, status);
	if (status != NULL)
		catena__status_reply__free_unpacked(status, NULL);
	return rc;
}

/* ---- the command line ---- */

static const struct command commands[] = {
	{"status", NULL, run_status, "what there is, and how it is"},
	{0},
};

static void usage(FILE *out)
{
	fprintf(out, "usage: catena COMMAND --master HOST:PORT -o ca=FILE,cert=FILE,key=FILE\n"
		     "       catena COMMAND --config FILE\n"
		     "  --json   for programs\n"
		     "  --help\n"
		     "commands:\n");
	for (const struct command *c = commands; c->noun != NULL; c++)
		fprintf(out, "  %s%s%-14s %s\n", c->noun, c->verb != NULL ? " " : "",
			c->verb != NULL ? c->verb : "", c->help);
}

static bool set_text(char **field, const char *value)
{
	free(*field);
	*field = strdup(value);
	return *field != NULL;
}

/* "ca=...,cert=...,key=..." */
static bool parse_o(struct options *options, const char *text)
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

static bool read_config(struct options *options, const char *path)
{
	char error[512];
	bool json = options->json;

	conf_free(conf_options, options);
	if (conf_load(path, conf_options, options, error, sizeof(error)) != 0) {
		fprintf(stderr, "catena: %s\n", error);
		memset(options, 0, sizeof(*options));
		return false;
	}
	options->json = json;
	return true;
}

static bool parse(int argc, char **argv, struct options *options)
{
	static const struct option list[] = {
		{"master", required_argument, NULL, 'm'},
		{"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
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
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return false;
		}
	}
	return true;
}

/* Words that are no options: noun and verb. */
static const struct command *find_command(int argc, char **argv)
{
	for (const struct command *c = commands; c->noun != NULL; c++) {
		int words = c->verb == NULL ? 1 : 2;

		if (argc == words && strcmp(argv[0], c->noun) == 0 &&
		    (words == 1 || strcmp(argv[1], c->verb) == 0))
			return c;
	}
	return NULL;
}

static bool complete(const struct options *o)
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
	struct options options = {0};
	const struct command *command = NULL;
	struct rpc_client *client;
	int status = EXIT_USAGE;

	if (!parse(argc, argv, &options))
		goto out;
	command = find_command(argc - optind, argv + optind);
	if (command == NULL) {
		usage(stderr);
		goto out;
	}
	if (!complete(&options))
		goto out;
	/* What the library has to say comes out in our one line. */
	log_set_level(LOG_LEVEL_ERROR);
	rpc_init();
	status = 1;
	if (connect_master(&options, &client) == 0) {
		status = command->run(&options, client);
		rpc_client_close(client);
	}
	rpc_shutdown();
out:
	conf_free(conf_options, &options);
	return status;
}
