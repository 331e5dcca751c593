/* failure_domain.h - says which servers fail together: by host, rack or zone. Pure. */
#ifndef CATENA_MASTER_SERVERS_FAILURE_DOMAIN_H
#define CATENA_MASTER_SERVERS_FAILURE_DOMAIN_H
#include <stdint.h>
#include "common/cluster/cluster_map.h"

/* Gives the number of a server's domain. Two servers are in one domain of this level when the
 * numbers are equal. Without a label of this level, the next finer one counts; the finest is the
 * server. */
uint64_t failure_domain_of(const struct map_server *server, enum failure_domain level);
/* Gives "server", "host", "rack" or "zone". */
const char *failure_domain_name(enum failure_domain level);
/* Errors: -EINVAL. */
int failure_domain_parse(const char *text, enum failure_domain *out);
#endif
