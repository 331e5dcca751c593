/* failure_domain.c - domains as numbers: a hash of their labels. */
#include "master/servers/failure_domain.h"
#include <errno.h>
#include <string.h>

/* FNV-1a, with the end of each text. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	do {
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
	} while (*text++ != '\0');
	return hash;
}

#define HASH_START 0xcbf29ce484222325u

uint64_t failure_domain_of(const struct map_server *server, enum failure_domain level)
{
	if (level == FAILURE_DOMAIN_DEFAULT)
		level = FAILURE_DOMAIN_HOST;
	if (level == FAILURE_DOMAIN_ZONE && server->zone[0] != '\0')
		return hash_text(hash_text(HASH_START, "zone"), server->zone);
	/* Racks are numbered within their zones. */
	if (level >= FAILURE_DOMAIN_RACK && server->rack[0] != '\0')
		return hash_text(hash_text(hash_text(HASH_START, "rack"), server->zone),
				 server->rack);
	if (level >= FAILURE_DOMAIN_HOST && server->host[0] != '\0')
		return hash_text(hash_text(HASH_START, "host"), server->host);
	return server->id;
}

static const char *const names[] = {
	[FAILURE_DOMAIN_DEFAULT] = "host", [FAILURE_DOMAIN_SERVER] = "server",
	[FAILURE_DOMAIN_HOST] = "host",    [FAILURE_DOMAIN_RACK] = "rack",
	[FAILURE_DOMAIN_ZONE] = "zone",
};

const char *failure_domain_name(enum failure_domain level)
{
	return names[level];
}

int failure_domain_parse(const char *text, enum failure_domain *out)
{
	for (unsigned i = FAILURE_DOMAIN_SERVER; i <= FAILURE_DOMAIN_ZONE; i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum failure_domain)i;
			return 0;
		}
	return -EINVAL;
}
