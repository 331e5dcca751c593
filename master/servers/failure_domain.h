/* failure_domain.h - what fails together: servers, hosts, racks, zones. Pure. */
#ifndef CATENA_MASTER_SERVERS_FAILURE_DOMAIN_H
#define CATENA_MASTER_SERVERS_FAILURE_DOMAIN_H
#include <stdint.h>
#include "common/cluster/cluster_map.h"

/* Two servers are in one domain of this level when the numbers are equal. Without a label of this
 * level, the next finer one counts; a server is always a domain of its own. */
uint64_t failure_domain_of(const struct map_server *server, enum failure_domain level);
/* "server", "host", "rack", "zone". */
const char *failure_domain_name(enum failure_domain level);
/* -EINVAL. */
int failure_domain_parse(const char *text, enum failure_domain *out);
#endif
