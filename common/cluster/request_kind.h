/* request_kind.h - which requests of clients are commands: entries of the master's log. Pure. */
#ifndef CATENA_COMMON_CLUSTER_REQUEST_KIND_H
#define CATENA_COMMON_CLUSTER_REQUEST_KIND_H
#include <stdbool.h>
#include "catena.pb-c.h"

/* True: it changes something, and leaves a reply in the session's record. Else it only asks. */
bool request_kind_is_command(const Catena__Request *request);
#endif
