/* route.c - see route.h. */
#include "tests/sim/cluster/route.h"
#include <string.h>
#include "fs/chains/route.h"

struct user {
	int (*load)(void *user, uint64_t server_id);
	void *user;
};

static struct chains_load load_of(void *arg, uint64_t server_id, uint32_t worker)
{
	const struct user *user = arg;
	int load = user->load(user->user, server_id);

	(void)worker;
	return (struct chains_load){.requests = load < 0 ? 0 : (unsigned)load, .down = load < 0};
}

static void fill(struct chains_request *out, const struct route_request *request)
{
	memset(out, 0, sizeof(*out));
	out->op = request->op;
	out->key = request->key;
	out->offset = request->offset;
	out->to_tail = request->to_tail;
	out->tried_count = request->tried_count;
	out->bad_count = request->bad_count;
	memcpy(out->tried, request->tried, sizeof(out->tried));
	memcpy(out->bad, request->bad, sizeof(out->bad));
	out->checksum_failures = request->checksum_failures;
}

int route_choose(const struct cluster_map *map, const struct route_request *request,
		 int (*load)(void *user, uint64_t server_id), void *user, struct route *out)
{
	struct user arg = {load, user};
	struct chains_asker asker = {
		.near = {.host = "", .rack = "", .zone = ""}, .load = load_of, .user = &arg};
	struct chains_request inner;
	struct chains_route route;
	int rc;

	fill(&inner, request);
	rc = chains_route_choose(map, &inner, &asker, &route);
	if (rc == 0)
		*out = (struct route){route.epoch, route.server_id, route.target_id};
	return rc;
}

enum route_verdict route_judge(const struct route_request *request, uint32_t status, int *error)
{
	struct chains_request inner;

	fill(&inner, request);
	switch (chains_route_judge(&inner, status, error)) {
	case CHAINS_DONE:
		return ROUTE_DONE;
	case CHAINS_RETRY:
		return ROUTE_RETRY;
	case CHAINS_OTHER_MEMBER:
		return ROUTE_OTHER_MEMBER;
	case CHAINS_BAD_COPY:
		return ROUTE_BAD_COPY;
	case CHAINS_ASK_TAIL:
		return ROUTE_ASK_TAIL;
	case CHAINS_SEND_AGAIN:
		break;
	}
	return ROUTE_SEND_AGAIN;
}

bool route_to_any(const struct route_request *request)
{
	struct chains_request inner;

	fill(&inner, request);
	return chains_route_role(&inner) == CHAINS_ANY;
}

uint64_t route_backoff_ns(unsigned attempts)
{
	return chains_route_backoff_ns(attempts);
}
