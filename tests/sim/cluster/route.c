/* route.c - see route.h. */
#include "tests/sim/cluster/route.h"
#include <string.h>
#include "fs/chains/internal.h"

struct user {
	int (*load)(void *user, uint64_t server_id);
	void *user;
};

static struct chain_load load_of(void *arg, uint64_t server_id, uint32_t worker)
{
	const struct user *user = arg;
	int load = user->load(user->user, server_id);

	(void)worker;
	return (struct chain_load){.requests = load < 0 ? 0 : (unsigned)load, .down = load < 0};
}

static void fill(struct chain_request *out, const struct route_request *request)
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
	struct chain_asker asker = {
		.near = {.host = "", .rack = "", .zone = ""}, .load = load_of, .user = &arg};
	struct chain_request inner;
	struct chain_route route;
	int rc;

	fill(&inner, request);
	rc = chain_choose(map, &inner, &asker, &route);
	if (rc == 0)
		*out = (struct route){route.epoch, route.server_id, route.target_id};
	return rc;
}

enum route_verdict route_judge(const struct route_request *request, uint32_t status, int *error)
{
	struct chain_request inner;

	fill(&inner, request);
	switch (chain_judge(&inner, status, error)) {
	case CHAIN_DONE:
		return ROUTE_DONE;
	case CHAIN_RETRY:
		return ROUTE_RETRY;
	case CHAIN_OTHER_MEMBER:
		return ROUTE_OTHER_MEMBER;
	case CHAIN_BAD_COPY:
		return ROUTE_BAD_COPY;
	case CHAIN_ASK_TAIL:
		return ROUTE_ASK_TAIL;
	case CHAIN_SEND_AGAIN:
		break;
	}
	return ROUTE_SEND_AGAIN;
}

bool route_to_any(const struct route_request *request)
{
	struct chain_request inner;

	fill(&inner, request);
	return chain_role_of(&inner) == CHAIN_ANY;
}

uint64_t route_backoff_ns(unsigned attempts)
{
	return chain_backoff_ns(attempts);
}
