/* config.c - the table of the master's options. */
#include "master/shared/config.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/cluster/chunk.h"
#include "common/os/clock.h"
#include "common/cluster/cluster_map.h"
#include "common/os/log.h"
#include "master/servers/failure_domain.h"

#define AT(field) offsetof(struct master_config, field)

const struct conf_option master_options[] = {
	{"master", "listen", CONF_STRING, AT(listen), 0, 0, "0.0.0.0:7400",
	 "address and port of the control plane"},
	{"master", "data", CONF_STRING, AT(data), 0, 0, NULL, "directory of the store"},
	{"master", "log", CONF_STRING, AT(log), 0, 0, "", "log file; empty: stderr"},
	{"master", "log_level", CONF_STRING, AT(log_level), 0, 0, "info",
	 "debug, info, warn or error"},
	{"master", "client_lease", CONF_DURATION, AT(client_lease_ns), NS_PER_SEC, 300 * NS_PER_SEC,
	 "4s", "how long a client may cache without hearing of the master"},
	{"master", "serving_lease", CONF_DURATION, AT(serving_lease_ns), NS_PER_SEC / 2,
	 300 * NS_PER_SEC, "2s", "how long a chunkserver may serve without hearing of the master"},
	{"master", "session_timeout", CONF_DURATION, AT(session_timeout_ns), NS_PER_SEC,
	 86400 * NS_PER_SEC, "60s", "when a connected but silent client is given up"},
	{"master", "recall_timeout", CONF_DURATION, AT(recall_timeout_ns), NS_PER_SEC,
	 86400 * NS_PER_SEC, "60s", "how long a client may take to give a lease back"},
	{"master", "cache", CONF_SIZE, AT(cache_bytes), 1 << 20, 1ull << 40, "128M",
	 "memory for the store's cache"},
	{"tls", "ca", CONF_STRING, AT(ca), 0, 0, NULL, "certificate of the cluster's CA"},
	{"tls", "cert", CONF_STRING, AT(cert), 0, 0, NULL, "certificate with role master"},
	{"tls", "key", CONF_STRING, AT(key), 0, 0, NULL, "its private key"},
	{"pool", "copies", CONF_UINT, AT(copies), 1, CHAIN_MEMBERS_MAX, "3",
	 "copies of each chunk"},
	{"pool", "partitions", CONF_UINT, AT(partitions), 1, 65536, "256",
	 "chains of the default pool"},
	{"pool", "chunk_size", CONF_SIZE, AT(chunk_size), CHUNK_SIZE_MIN, CHUNK_SIZE_MAX, "16M",
	 "bytes of a chunk, a multiple of 1M"},
	{"pool", "failure_domain", CONF_STRING, AT(failure_domain), 0, 0, "host",
	 "of which no chain has two members: server, host, rack or zone"},
	{"cluster", "initial_targets", CONF_UINT, AT(initial_targets), 0, 65536, "0",
	 "place the chains when so many targets are there; 0: as many as copies"},
	{"recovery", "replace_after", CONF_DURATION, AT(replace_after_ns), NS_PER_SEC,
	 30ull * 86400 * NS_PER_SEC, "10m", "when a missing copy is made anew on another target"},
	{"recovery", "lease_margin", CONF_DURATION, AT(lease_margin_ns), 10 * NS_PER_MSEC,
	 60 * NS_PER_SEC, "500ms", "how much later than its lease a chunkserver is surely silent"},
	{"recovery", "gather", CONF_DURATION, AT(gather_ns), 0, 60 * NS_PER_SEC, "50ms",
	 "who is lost within this time counts as lost at once"},
	{"recovery", "return_wait", CONF_DURATION, AT(return_wait_ns), 0, 3600 * NS_PER_SEC, "3s",
	 "how long the first of all lost members waits for the others"},
	{"recovery", "hear_wait", CONF_DURATION, AT(hear_wait_ns), 0, 3600 * NS_PER_SEC, "10s",
	 "how long a master that has started waits for its targets before it serves"},
	{"recovery", "unreachable", CONF_DURATION, AT(unreachable_ns), 100 * NS_PER_MSEC,
	 60 * NS_PER_SEC, "1500ms", "how long somebody must be out of reach of others"},
	{"recovery", "moves", CONF_UINT, AT(moves), 1, 1024, "8",
	 "partitions that are moved to or from a target at a time"},
	{0},
};

static int check(const char *path, struct master_config *config, char *error, size_t error_size)
{
	enum failure_domain domain;
	enum log_level level;

	if (failure_domain_parse(config->failure_domain, &domain) != 0) {
		snprintf(error, error_size,
			 "%s: [pool] failure_domain = %s: use server, host, rack or zone", path,
			 config->failure_domain);
		return -EINVAL;
	}
	if (config->chunk_size % CHUNK_SIZE_MIN != 0) {
		snprintf(error, error_size, "%s: [pool] chunk_size must be a multiple of 1M", path);
		return -EINVAL;
	}
	if (config->initial_targets != 0 && config->initial_targets < config->copies) {
		snprintf(error, error_size,
			 "%s: [cluster] initial_targets = %llu is less than [pool] copies = %llu",
			 path, (unsigned long long)config->initial_targets,
			 (unsigned long long)config->copies);
		return -EINVAL;
	}
	if (log_level_parse(config->log_level, &level) != 0) {
		snprintf(error, error_size,
			 "%s: [master] log_level = %s: use debug, info, warn or error", path,
			 config->log_level);
		return -EINVAL;
	}
	if (config->data[0] == '\0') {
		snprintf(error, error_size, "%s: [master] data is empty", path);
		return -EINVAL;
	}
	if (config->initial_targets == 0)
		config->initial_targets = config->copies;
	return 0;
}

int master_config_load(const char *path, struct master_config *out, char *error, size_t error_size)
{
	struct master_config config = {0};
	int rc = conf_load(path, master_options, &config, error, error_size);

	if (rc != 0)
		return rc;
	rc = check(path, &config, error, error_size);
	if (rc != 0) {
		conf_free(master_options, &config);
		return rc;
	}
	*out = config;
	return 0;
}

struct tls_files master_config_tls(const struct master_config *config)
{
	return (struct tls_files){.ca = config->ca, .cert = config->cert, .key = config->key};
}
