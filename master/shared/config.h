/* config.h - reads the master's configuration file; docs/man/catena-master.8 explains each
 * option. */
#ifndef CATENA_MASTER_SHARED_CONFIG_H
#define CATENA_MASTER_SHARED_CONFIG_H
#include <stddef.h>
#include <stdint.h>
#include "common/os/conf.h"
#include "common/net/tls.h"

struct master_config {
	/* [master] */
	char *listen, *data, *log, *log_level;
	uint64_t client_lease_ns, serving_lease_ns, session_timeout_ns, recall_timeout_ns;
	uint64_t cache_bytes;
	/* [tls] */
	char *ca, *cert, *key;
	/* [pool], at --init */
	uint64_t copies, partitions, chunk_size;
	char *failure_domain;
	/* [cluster] */
	uint64_t initial_targets; /* 0: as many as copies */
	/* [recovery] */
	uint64_t replace_after_ns, lease_margin_ns, gather_ns, return_wait_ns, unreachable_ns,
		hear_wait_ns, moves;
	/* Of the command line: bytes of entries that are kept; 0: none are. */
	uint64_t keep_log_bytes;
};

extern const struct conf_option master_options[];

/* One line in @error. On success release with conf_free(master_options, ...). */
int master_config_load(const char *path, struct master_config *out, char *error, size_t error_size);
struct tls_files master_config_tls(const struct master_config *config);
#endif
