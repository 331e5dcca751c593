/* route.h - which member of a chain a request is to ask, and what its answer means.
 *
 * Pure: functions of the request, the cluster map and what is known of the ways to its servers.
 * Thread: any. Locks: none. */
#ifndef CATENA_FS_CHAINS_ROUTE_H
#define CATENA_FS_CHAINS_ROUTE_H
#include "fs/chains/request.h"

enum chains_role { CHAINS_HEAD, CHAINS_TAIL, CHAINS_ANY };

struct chains_near {
	const char *host, *rack, *zone; /* "": unknown */
};

/* What is known of the way to a server's worker. */
struct chains_load {
	unsigned requests; /* under way */
	bool down;         /* could not be reached last time, or is silent */
};

struct chains_asker {
	struct chains_near near;
	struct chains_load (*load)(void *user, uint64_t server_id, uint32_t worker);
	void *user;
};

struct chains_route {
	uint64_t epoch;
	uint64_t server_id;
	uint32_t worker;
	uint32_t target_id;
};

/* 0; -ENOENT: no chain yet; -EAGAIN: nobody who can be asked now; -EIO: every
 * in-sync copy is known to be bad. */
int chains_route_choose(const struct cluster_map *map, const struct chains_request *request,
			const struct chains_asker *asker, struct chains_route *out);
enum chains_role chains_route_role(const struct chains_request *request);

enum chains_verdict {
	CHAINS_DONE,         /* the answer stands, or the error *error does */
	CHAINS_RETRY,        /* later, or with a newer map */
	CHAINS_OTHER_MEMBER, /* now, of another member */
	CHAINS_BAD_COPY,     /* the same, and never again of this one */
	CHAINS_ASK_TAIL,
	CHAINS_SEND_AGAIN, /* damaged on the way */
};
/* What an answer's status means for the request. */
enum chains_verdict chains_route_judge(const struct chains_request *request, uint32_t status,
				       int *error);
uint64_t chains_route_backoff_ns(unsigned attempts);
/* The same of a request that has waited for so long already. */
uint64_t chains_route_pause_ns(unsigned attempts, uint64_t waited_ns);
/* Whether a member that was asked at another epoch is still the one to ask. Then the request may
 * stay: a head that stays head, and a member that stays in-sync, answer what they have got. */
bool chains_route_still_right(const struct cluster_map *map, const struct chains_request *request,
			      uint64_t server_id, uint32_t worker);
/* Whether there is another one that a read can be asked of now. */
bool chains_route_has_other(const struct cluster_map *map, const struct chains_request *request,
			    const struct chains_asker *asker);
#endif
