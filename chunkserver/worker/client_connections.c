#include "chunkserver/worker/client_connections.h"
#include <errno.h>
#include <stdlib.h>
#include "chunkserver/base/chain_faults.h"
#include "common/base/expects.h"

struct client {
	struct table_node node; /* first */
	struct client_name name;
	uint64_t connection;
};

struct client_name client_connections_name(uint64_t id, const char *certificate)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (const char *c = certificate; *c != '\0'; c++)
		hash = (hash ^ (uint8_t)*c) * 1099511628211u;
	return (struct client_name){.id = id, .certificate = hash};
}

static uint64_t hash_of(struct client_name name)
{
	return table_hash(name.id ^ name.certificate);
}

static struct client *find(const struct client_connections *clients, struct client_name name)
{
	struct table_node *node = table_first(&clients->table, hash_of(name));

	for (; node != NULL; node = table_more(node)) {
		struct client *client = (struct client *)(void *)node;

		if (client->name.id == name.id && client->name.certificate == name.certificate)
			return client;
	}
	return NULL;
}

int client_connections_join(struct client_connections *clients, struct client_name name,
			    uint64_t connection, uint64_t *older)
{
	struct client *client = find(clients, name);

	expects(connection != 0);
	*older = 0;
	if (client != NULL) {
		*older = FAULTY(KEEP_OLD_CONNECTIONS) ? 0 : client->connection;
		client->connection = connection;
		return 0;
	}
	client = calloc(1, sizeof(*client));
	if (client == NULL)
		return -ENOMEM;
	client->name = name;
	client->connection = connection;
	if (table_add(&clients->table, &client->node, hash_of(name)) < 0) {
		free(client);
		return -ENOMEM;
	}
	return 0;
}

void client_connections_leave(struct client_connections *clients, struct client_name name,
			      uint64_t connection)
{
	struct client *client = find(clients, name);

	if (client == NULL || client->connection != connection)
		return;
	table_remove(&clients->table, &client->node);
	free(client);
	if (clients->table.count == 0)
		table_free(&clients->table);
}
