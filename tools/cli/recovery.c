/* recovery.c - catena recovery, catena chain accept-data-loss. */
#include <stdlib.h>
#include <string.h>
#include "common/cluster/cluster_map.h"
#include "common/os/conf.h"
#include "tools/cli/cli.h"

static int show(const Catena__StatusReply *status)
{
	struct cli_catchup catchup = cli_catchup_of(status, 0);
	char how[64], copied[32];

	cli_recovery(status->recovery, how, sizeof(how));
	printf("%s; %u members syncing, %llu chunks compared, %s copied\n", how, catchup.chains,
	       (unsigned long long)catchup.compared, cli_size(catchup.copied, copied));
	return 0;
}

/* False: wrong usage, told. */
static bool change(Catena__Recovery *recovery, char **arguments, unsigned count)
{
	if (count == 1 && strcmp(arguments[0], "pause") == 0) {
		recovery->paused = true;
	} else if (count == 1 && strcmp(arguments[0], "resume") == 0) {
		recovery->paused = false;
	} else if (count == 2 && strcmp(arguments[0], "rate") == 0) {
		recovery->rate = 0;
		if (strcmp(arguments[1], "auto") != 0 &&
		    (conf_parse_size(arguments[1], &recovery->rate) != 0 || recovery->rate == 0)) {
			fprintf(stderr,
				"catena: recovery rate %s: must be bytes a second such as 50M, or "
				"auto\n",
				arguments[1]);
			return false;
		}
	} else {
		fprintf(stderr, "catena: recovery: pause, resume, rate SIZE or rate auto\n");
		return false;
	}
	return true;
}

int cli_run_recovery(const struct cli_options *options, struct rpc_client *client, char **arguments,
		     unsigned count)
{
	Catena__Recovery recovery = CATENA__RECOVERY__INIT;
	Catena__AdminRequest request = CATENA__ADMIN_REQUEST__INIT;
	Catena__StatusReply *status = NULL;
	char how[64];
	int rc;

	/* Before anything is asked of anybody. */
	if (count > 0 && !change(&recovery, arguments, count))
		return CLI_USAGE;
	rc = cli_status_fetch(options, client, &status);
	if (rc != 0)
		return rc;
	if (count == 0) {
		rc = show(status);
		goto out;
	}
	/* Both are sent: what is not to be changed stays as it is. */
	recovery = (Catena__Recovery)CATENA__RECOVERY__INIT;
	if (status->recovery != NULL) {
		recovery.rate = status->recovery->rate;
		recovery.paused = status->recovery->paused;
	}
	change(&recovery, arguments, count);
	request.op_case = CATENA__ADMIN_REQUEST__OP_RECOVERY;
	request.recovery = &recovery;
	cli_recovery(&recovery, how, sizeof(how));
	rc = cli_admin(options, client, "recovery", &request, how);
out:
	catena__status_reply__free_unpacked(status, NULL);
	return rc;
}

/* ---- accepting that data is lost ---- */

static const char explanation[] =
	"catena: chain accept-data-loss makes a chain without any in-sync member go on with what\n"
	"TARGET has. Whatever only the missing members know is lost: writes that programs were\n"
	"told are safe. If one of them can still come back, bring it back instead. If you are\n"
	"sure that none can, say --accept-data-loss too.\n";

static bool parse_number(const char *word, uint32_t *out)
{
	char *end;
	unsigned long long value = strtoull(word, &end, 10);

	if (word[0] < '0' || word[0] > '9' || *end != '\0' || value >= UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

/* False: told. */
static bool find_pool(const Catena__ClusterMap *map, const char *word, uint32_t *out)
{
	uint32_t id = 0;

	if (word != NULL && !parse_number(word, &id)) {
		fprintf(stderr, "catena: --pool %s: must be a number\n", word);
		return false;
	}
	for (size_t i = 0; i < map->n_pools; i++) {
		if (word != NULL && map->pools[i]->id != id)
			continue;
		*out = map->pools[i]->id;
		return true;
	}
	fprintf(stderr, "catena: chain accept-data-loss: there is no such pool\n");
	return false;
}

int cli_run_accept_data_loss(const struct cli_options *options, struct rpc_client *client,
			     char **arguments, unsigned count)
{
	Catena__AcceptDataLossRequest accept = CATENA__ACCEPT_DATA_LOSS_REQUEST__INIT;
	Catena__AdminRequest request = CATENA__ADMIN_REQUEST__INIT;
	Catena__StatusReply *status = NULL;
	uint32_t *targets = NULL;
	size_t target_count;
	int rc;

	if (!options->accept_data_loss) {
		fputs(explanation, stderr);
		return CLI_USAGE;
	}
	accept.partition = UINT32_MAX;
	if (strcmp(arguments[0], "all") != 0 && !parse_number(arguments[0], &accept.partition)) {
		fprintf(stderr, "catena: chain accept-data-loss %s: must be a partition or all\n",
			arguments[0]);
		return CLI_USAGE;
	}
	rc = cli_status_fetch(options, client, &status);
	if (rc != 0)
		return rc;
	rc = 1;
	if (!find_pool(status->map, options->pool, &accept.pool))
		goto out;
	target_count = cli_targets_named(status->map, arguments[1], &targets);
	if (target_count != 1) {
		fprintf(stderr, "catena: chain accept-data-loss: %s is not exactly one target\n",
			arguments[1]);
		goto out;
	}
	accept.target_id = targets[0];
	request.op_case = CATENA__ADMIN_REQUEST__OP_ACCEPT_DATA_LOSS;
	request.accept_data_loss = &accept;
	rc = cli_admin(options, client, "chain accept-data-loss", &request,
		       "done; look at catena status");
out:
	free(targets);
	catena__status_reply__free_unpacked(status, NULL);
	return rc;
}
