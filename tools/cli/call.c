/* call.c - questions to the master, and what to say when they fail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli/cli.h"

int cli_fail(const char *what, int error, const char *refusal)
{
	fprintf(stderr, "catena: %s: %s%s%s\n", what, rpc_strerror(error),
		refusal[0] != '\0' ? ": " : "", refusal);
	return 1;
}

/* @roles: whose certificates may. */
static int call(const struct cli_options *options, struct rpc_client *client, const char *method,
		const char *roles, const void *request, size_t request_size, uint8_t **data,
		size_t *size)
{
	char refusal[256];
	int rc = rpc_call_wait(client, method, request, request_size, CLI_TIMEOUT_NS, data, size);

	if (rc == 0)
		return 0;
	rpc_client_refusal(client, refusal, sizeof(refusal));
	if (rc == -EACCES && refusal[0] == '\0')
		snprintf(refusal, sizeof(refusal), "it takes a certificate of the role %s", roles);
	return cli_fail(options->master, rc, refusal);
}

int cli_status_fetch(const struct cli_options *options, struct rpc_client *client,
		     Catena__StatusReply **out)
{
	uint8_t *data;
	size_t size;
	int rc = call(options, client, "/catena.Master/Status", "admin or client", "", 0, &data,
		      &size);

	if (rc != 0)
		return rc;
	*out = catena__status_reply__unpack(NULL, size, data);
	free(data);
	if (*out == NULL || (*out)->map == NULL) {
		if (*out != NULL)
			catena__status_reply__free_unpacked(*out, NULL);
		*out = NULL;
		return cli_fail(options->master, -EBADMSG, "");
	}
	return 0;
}

int cli_admin(const struct cli_options *options, struct rpc_client *client, const char *what,
	      const Catena__AdminRequest *request, const char *done)
{
	size_t size = catena__admin_request__get_packed_size(request);
	uint8_t *bytes = malloc(size + 1), *data;
	Catena__AdminReply *reply;
	int rc = 1;

	if (bytes == NULL)
		return cli_fail(what, -ENOMEM, "");
	catena__admin_request__pack(request, bytes);
	rc = call(options, client, "/catena.Master/Admin", "admin", bytes, size, &data, &size);
	free(bytes);
	if (rc != 0)
		return rc;
	reply = catena__admin_reply__unpack(NULL, size, data);
	free(data);
	if (reply == NULL)
		return cli_fail(options->master, -EBADMSG, "");
	if (reply->error != 0) {
		/* The master's own words say more than the number does. */
		if (reply->message[0] != '\0')
			fprintf(stderr, "catena: %s: %s\n", what, reply->message);
		else
			cli_fail(what, -reply->error, "");
		rc = 1;
	} else {
		printf("%s\n", reply->message[0] != '\0' ? reply->message : done);
	}
	catena__admin_reply__free_unpacked(reply, NULL);
	return rc;
}
