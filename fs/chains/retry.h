/* retry.h - requests that wait for another attempt: until a time, or until a map or an answer says
 * that it is worth it.
 *
 * Whoever puts a request here gives it away. Thread: any; requests go on on loop 0's thread.
 * Locks: takes the client's retry_lock. */
#ifndef CATENA_FS_CHAINS_RETRY_H
#define CATENA_FS_CHAINS_RETRY_H
#include <stdbool.h>
#include <stdint.h>

struct chains_client;
struct chains_request;
struct cluster_map;

/* The client has one of those that are due soon and one of the others, so that many of the latter
 * cost little. Under retry_lock. */
struct retry_list {
	struct chains_request *first;
	uint64_t look_ns; /* the first may be due then */
};

/* Makes another attempt at @at_ns. */
void chains_retry_at(struct chains_client *client, struct chains_request *request, uint64_t at_ns);
/* Ends the request with @error at the next tick. */
void chains_retry_fail(struct chains_client *client, struct chains_request *request, int error);
/* Makes another attempt after a pause that grows with each. */
void chains_retry_later(struct chains_client *client, struct chains_request *request);
/* Waits for a map, because this one has no member that can be asked. */
void chains_retry_with_map(struct chains_client *client, struct chains_request *request);

/* Tries all of them at once. */
void chains_retry_all(struct chains_client *client);
/* Tries those at once for which the new map, the @map_count'th, changes something. */
void chains_retry_map(struct chains_client *client, const struct cluster_map *old,
		      const struct cluster_map *map, uint64_t map_count);
/* Notes that @request is over. Requests parked until one of its chain is answered go on; a probe
 * hands its place to the next. */
void chains_retry_finished(struct chains_client *client, struct chains_request *request,
			   bool answered);
/* Makes the attempts that are due. Thread: loop 0's. */
void chains_retry_tick(struct chains_client *client, uint64_t now);
#endif
