/* cli.h - what the parts of catena(1) share: a command gets its words, the options, and a
 * connection to the master. */
#ifndef CATENA_TOOLS_CLI_H
#define CATENA_TOOLS_CLI_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "catena.pb-c.h"
#include "common/os/clock.h"
#include "common/rpc/rpc.h"

#define CLI_USAGE      64
#define CLI_TIMEOUT_NS (10 * NS_PER_SEC)

struct cli_options {
	char *master, *ca, *cert, *key;
	bool json, undo, wait, accept_data_loss;
	const char *pool; /* NULL: the cluster's only one, or the first */
};

struct cli_command {
	const char *words; /* what it is called, "noun" or "noun verb" */
	const char *arguments;
	unsigned arguments_min, arguments_max;
	int (*run)(const struct cli_options *options, struct rpc_client *client, char **arguments,
		   unsigned count); /* the exit status */
	const char *help;
	bool alone; /* the master is not asked: @client is NULL */
};

/* ---- call.c ---- */

/* One line on standard error; returns 1. @refusal: "" or what the other side says. */
int cli_fail(const char *what, int error, const char *refusal);
/* Asks the master; *out is freed with catena__status_reply__free_unpacked(). 0, or the exit status,
 * and the error has been told. */
int cli_status_fetch(const struct cli_options *options, struct rpc_client *client,
		     Catena__StatusReply **out);
/* 0, or the exit status, and the error has been told. When it is done, the master's word for it is
 * printed, or else @done. */
int cli_admin(const struct cli_options *options, struct rpc_client *client, const char *what,
	      const Catena__AdminRequest *request, const char *done);

/* ---- summary.c: what can be known from a status; pure ---- */

struct cli_health {
	unsigned placed, whole, degraded, lost, syncing; /* chains */
};
/* Whole: all copies are in-sync and their servers there. Lost: none is. Syncing ones are degraded
 * ones, or have more copies than they need. */
struct cli_health cli_pool_health(const Catena__ClusterMap *map, const Catena__Pool *pool);
const Catena__Server *cli_server_of(const Catena__ClusterMap *map, uint32_t target_id);
const Catena__Target *cli_target(const Catena__ClusterMap *map, uint32_t target_id);
/* NULL: the master said nothing of it. */
const Catena__TargetStatus *cli_target_status(const Catena__StatusReply *status,
					      uint32_t target_id);
/* Chains that have this target, in whatever state. */
unsigned cli_partitions_of(const Catena__ClusterMap *map, uint32_t target_id);

struct cli_catchup {
	unsigned chains;           /* that have the target as syncing */
	uint64_t compared, copied; /* chunks, bytes */
	unsigned damaged;          /* chains whose source cannot read everything */
};
/* @target_id 0: all of them. */
struct cli_catchup cli_catchup_of(const Catena__StatusReply *status, uint32_t target_id);
/* "ok", or everything that is to be said of it: "failed: Input/output error, out 34 s". */
void cli_condition(const Catena__StatusReply *status, const Catena__Target *target, char *out,
		   size_t size);
/* "312.4 GiB" */
const char *cli_size(uint64_t bytes, char out[32]);
/* "45 s", "12 min", "3 h", "2 d" */
const char *cli_duration(uint64_t seconds, char out[32]);
/* "paused", "at most 50.0 MiB/s a server", "as users leave room" */
void cli_recovery(const Catena__Recovery *recovery, char *out, size_t size);

/* ---- status_text.c, status_json.c ---- */

void cli_status_text(FILE *out, const char *master, const Catena__StatusReply *status);
/* -EILSEQ: there is text that is not UTF-8. */
int cli_status_json(FILE *out, const Catena__StatusReply *status);

/* ---- commands ---- */

int cli_run_status(const struct cli_options *options, struct rpc_client *client, char **arguments,
		   unsigned count);
/* drain.c */
int cli_run_drain(const struct cli_options *options, struct rpc_client *client, char **arguments,
		  unsigned count);
/* Ids of the targets that @word names: an id, a UUID, or a server with all of its. malloc()ed; 0:
 * none. */
size_t cli_targets_named(const Catena__ClusterMap *map, const char *word, uint32_t **out);
/* recovery.c */
int cli_run_recovery(const struct cli_options *options, struct rpc_client *client, char **arguments,
		     unsigned count);
/* explain.c */
int cli_run_explain(const struct cli_options *options, struct rpc_client *client, char **arguments,
		    unsigned count);
int cli_run_accept_data_loss(const struct cli_options *options, struct rpc_client *client,
			     char **arguments, unsigned count);
#endif
