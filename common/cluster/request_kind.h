/* request_kind.h - which requests of clients are commands: entries of the master's log, and what they
 * take. Pure. */
#ifndef CATENA_COMMON_CLUSTER_REQUEST_KIND_H
#define CATENA_COMMON_CLUSTER_REQUEST_KIND_H
#include <stdbool.h>
#include "catena.pb-c.h"

/* True: it changes something, and leaves a reply in the session's record. Else it only asks. */
bool request_kind_is_command(const Catena__Request *request);
/* True: the master gives it numbers when it does it: of an inode, or of a file. Each start of the
 * master skips some, so after one a repetition gets others. */
bool request_kind_takes_numbers(const Catena__Request *request);
#endif
