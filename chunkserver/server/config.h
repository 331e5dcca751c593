/* config.h - the chunkserver's configuration file; see catena-chunkserver(8). */
#ifndef CATENA_CHUNKSERVER_SERVER_CONFIG_H
#define CATENA_CHUNKSERVER_SERVER_CONFIG_H
#include <stddef.h>
#include <stdint.h>
#include "common/os/conf.h"
#include "common/os/log.h"

#define WORKERS_MAX 16u

struct config {
	char *listen, *advertise, *master;
	char *log, *log_level;
	char *host, *rack, *zone;
	uint64_t workers; /* 0 in the file: one for each core */
	uint64_t memory;
	char *ca, *cert, *key;
	struct conf_list targets;
	enum log_level level;
};

/* Reads and checks the file; config_free() frees what it said. Errors: -errno, and one line in
 * @error. */
int config_load(const char *path, struct config *config, char *error, size_t error_size);
void config_free(struct config *config);
#endif
