/* status.c - catena status. */
#include "tools/cli/cli.h"

int cli_run_status(const struct cli_options *options, struct rpc_client *client, char **arguments,
		   unsigned count)
{
	Catena__StatusReply *status = NULL;
	int rc = cli_status_fetch(options, client, &status);

	if (rc != 0)
		return rc;
	if (!options->json)
		cli_status_text(stdout, options->master, status);
	else if (cli_status_json(stdout, status) != 0) {
		fprintf(stderr, "catena: status: the master's answer has text that is not UTF-8\n");
		rc = 1;
	}
	catena__status_reply__free_unpacked(status, NULL);
	return rc;
}
