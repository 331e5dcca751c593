/* watch.h - requests that are with a link and should not be any more.
 *
 * Locks: none held by the caller. */
#ifndef CATENA_FS_CHAINS_WATCH_H
#define CATENA_FS_CHAINS_WATCH_H
#include <stdbool.h>
#include <stdint.h>

struct chains_link;
struct cluster_map;

/* Sends those requests anew that this member is not to be asked any more, and connects again to a
 * server that has moved. @old may be NULL. Thread: any. */
void chains_watch_new_map(struct chains_link *link, const struct cluster_map *old,
			  const struct cluster_map *map);
/* Asks other members what this one does not answer. Returns when to look again; UINT64_MAX: never.
 * Thread: the link's loop. */
uint64_t chains_watch_hedge(struct chains_link *link, uint64_t now);
/* Says whether the link's server cannot be reached. Thread: any. */
bool chains_watch_unreachable(struct chains_link *link, uint64_t now);
#endif
