#include "chunkserver/server/config.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/net/conn.h"

#define MEMORY_MIN (32u << 20)

#define FIELD(name) offsetof(struct config, name)
static const struct conf_option options[] = {
	{"chunkserver", "listen", CONF_STRING, FIELD(listen), 0, 0, NULL,
	 "host:port of the data plane; port 0: any"},
	{"chunkserver", "advertise", CONF_STRING, FIELD(advertise), 0, 0, "",
	 "host:port that others reach us at; default: listen"},
	{"chunkserver", "master", CONF_STRING, FIELD(master), 0, 0, NULL,
	 "host:port of the master"},
	{"chunkserver", "workers", CONF_UINT, FIELD(workers), 0, WORKERS_MAX, "0",
	 "event loops; 0: one for each core"},
	{"chunkserver", "memory", CONF_SIZE, FIELD(memory), MEMORY_MIN, 0, "256M",
	 "bytes for data under way"},
	{"chunkserver", "host", CONF_STRING, FIELD(host), 0, 0, "", "failure domain: this machine"},
	{"chunkserver", "rack", CONF_STRING, FIELD(rack), 0, 0, "", "failure domain"},
	{"chunkserver", "zone", CONF_STRING, FIELD(zone), 0, 0, "", "failure domain"},
	{"chunkserver", "log", CONF_STRING, FIELD(log), 0, 0, "", "file; default: standard error"},
	{"chunkserver", "log_level", CONF_STRING, FIELD(log_level), 0, 0, "info",
	 "debug, info, warn or error"},
	{"tls", "ca", CONF_STRING, FIELD(ca), 0, 0, NULL, "PEM file of the cluster's CA"},
	{"tls", "cert", CONF_STRING, FIELD(cert), 0, 0, NULL, "PEM file"},
	{"tls", "key", CONF_STRING, FIELD(key), 0, 0, NULL, "PEM file, mode 0600"},
	{"target", "path", CONF_STRING_LIST, FIELD(targets), 0, 0, NULL,
	 "data directory; one line for each disk"},
	{NULL, NULL, CONF_STRING, 0, 0, 0, NULL, NULL},
};

static bool is_wildcard(const char *host)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
	struct addrinfo *found;
	bool any = false;

	if (host[0] == '\0' || strcmp(host, "*") == 0)
		return true;
	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false; /* a name */
	if (found->ai_family == AF_INET) {
		any = ((const struct sockaddr_in *)(void *)found->ai_addr)->sin_addr.s_addr ==
		      htonl(INADDR_ANY);
	} else if (found->ai_family == AF_INET6) {
		static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff};
		const struct in6_addr *in6 =
			&((const struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr;

		any = IN6_IS_ADDR_UNSPECIFIED(in6) || memcmp(in6, mapped, sizeof(mapped)) == 0;
	}
	freeaddrinfo(found);
	return any;
}

/* What is advertised must lead others here: with "any address" they would reach themselves. */
static int check_reachable(const char *path, const struct config *config, char *error,
			   size_t error_size)
{
	bool own = config->advertise[0] == '\0';
	char host[256], port[8];

	if (conn_address_split(own ? config->listen : config->advertise, host, port) < 0) {
		snprintf(error, error_size, "%s: %s = '%s': wanted host:port", path,
			 own ? "listen" : "advertise", own ? config->listen : config->advertise);
		return -EINVAL;
	}
	if (is_wildcard(host)) {
		snprintf(error, error_size,
			 "%s: others cannot reach us by %s = %s: say by what they can, for example "
			 "advertise = store1.example.org:%s",
			 path, own ? "listen" : "advertise",
			 own ? config->listen : config->advertise, port);
		return -EINVAL;
	}
	if (!own && strtoul(port, NULL, 10) == 0) {
		snprintf(error, error_size, "%s: advertise = %s: no port that can be reached", path,
			 config->advertise);
		return -EINVAL;
	}
	return 0;
}

static int check(const char *path, struct config *config, char *error, size_t error_size)
{
	static const char *const names[] = {"listen", "master"};
	const char *values[] = {config->listen, config->master};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *colon = strrchr(values[i], ':');

		if (colon == NULL || colon == values[i] || colon[1] == '\0') {
			snprintf(error, error_size, "%s: %s = '%s': wanted host:port", path,
				 names[i], values[i]);
			return -EINVAL;
		}
	}
	if (check_reachable(path, config, error, error_size) < 0)
		return -EINVAL;
	if (log_level_parse(config->log_level, &config->level) < 0) {
		snprintf(error, error_size,
			 "%s: log_level = '%s': wanted debug, info, warn or error", path,
			 config->log_level);
		return -EINVAL;
	}
	for (size_t i = 0; i < config->targets.count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(config->targets.items[i], config->targets.items[j]) == 0) {
				snprintf(error, error_size, "%s: target path '%s' is there twice",
					 path, config->targets.items[i]);
				return -EINVAL;
			}
		}
	}
	if (config->workers == 0)
		config->workers = cores < 1                   ? 1
				  : cores > (long)WORKERS_MAX ? WORKERS_MAX
							      : (uint64_t)cores;
	return 0;
}

int config_load(const char *path, struct config *config, char *error, size_t error_size)
{
	int rc;

	memset(config, 0, sizeof(*config));
	rc = conf_load(path, options, config, error, error_size);
	if (rc < 0)
		return rc;
	rc = check(path, config, error, error_size);
	if (rc < 0)
		config_free(config);
	return rc;
}

void config_free(struct config *config)
{
	conf_free(options, config);
}
