/* map_chains.c - does each partition have the copies that its pool wants? */
#include <errno.h>
#include "common/base/bitmap.h"
#include "common/base/bytes.h"
#include "master/check/map.h"
#include "master/state/chain_change.h"

/* One chain, and what it is compared with. */
struct chain_case {
	struct check_map *map;
	const struct check_pool *pool;
	uint32_t partition;
	struct map_chain chain;
};

static struct check_finding finding_of(const struct chain_case *of, enum check_code code)
{
	return (struct check_finding){
		.code = code, .pool = of->pool->id, .partition = of->partition};
}

static bool is_first(const struct chain_case *of, uint32_t i)
{
	return cluster_map_chain_index(&of->chain, of->chain.members[i].target_id) == (int)i;
}

static void judge_members(const struct chain_case *of)
{
	const struct map_chain *chain = &of->chain;

	for (uint32_t i = 0; i < chain->count; i++) {
		uint32_t target = chain->members[i].target_id;
		struct check_finding finding = finding_of(of, CHECK_MEMBER_TWICE);

		finding.target = target;
		if (!is_first(of, i)) {
			check_tell(of->map->run, finding, "partition %u: target %u", of->partition,
				   target);
		} else if (check_map_target(of->map, target) == NULL) {
			finding.code = CHECK_MEMBER_UNKNOWN;
			check_tell(of->map->run, finding, "partition %u: target %u", of->partition,
				   target);
		}
	}
}

/* In-sync members come first, then one at most that is made equal, then those that are away. */
static bool shape_ok(const struct map_chain *chain)
{
	enum member_state last = MEMBER_IN_SYNC;
	unsigned syncing = 0;

	for (uint32_t i = 0; i < chain->count; i++) {
		enum member_state state = chain->members[i].state;

		if (state < last || state > MEMBER_OFFLINE)
			return false;
		syncing += state == MEMBER_SYNCING ? 1 : 0;
		last = state;
	}
	return syncing <= 1;
}

/* Gives the domain of member @i, if it has a copy of its own and its server is known. */
static bool domain_of(const struct chain_case *of, uint32_t i, uint64_t *domain)
{
	const struct chain_member *member = &of->chain.members[i];
	const struct check_target *target = check_map_target(of->map, member->target_id);
	const struct check_server *server;

	if (member->state != MEMBER_IN_SYNC || !is_first(of, i) || target == NULL ||
	    !target->readable)
		return false;
	server = check_map_server(of->map, target->target.server_id);
	if (server == NULL || !server->readable)
		return false;
	*domain = server->domains[of->pool->pool.failure_domain];
	return true;
}

/* A chain that is being moved has a member more than its pool wants, which may be where the one is
 * that goes. So what counts is how many domains have a copy. */
static void judge_domains(const struct chain_case *of)
{
	uint64_t domains[CHAIN_MEMBERS_MAX], domain;
	uint32_t copies = 0, count = 0, twice = 0;

	for (uint32_t i = 0; i < of->chain.count; i++) {
		uint32_t known = 0;

		if (!domain_of(of, i, &domain))
			continue;
		copies++;
		while (known < count && domains[known] != domain)
			known++;
		if (known == count)
			domains[count++] = domain;
		else
			twice = of->chain.members[i].target_id;
	}
	if (count < copies && count < of->pool->pool.copies) {
		struct check_finding finding = finding_of(of, CHECK_DOMAIN_TWICE);

		finding.target = twice;
		finding.is = count;
		finding.should = copies;
		check_tell(of->map->run, finding, "partition %u: %u copies in %u domains",
			   of->partition, copies, count);
	}
}

static void judge_copies(const struct chain_case *of)
{
	uint32_t in_sync = 0, syncing = 0, wanted = of->pool->pool.copies;
	struct check_finding finding = finding_of(of, CHECK_FEWER_COPIES);

	for (uint32_t i = 0; i < of->chain.count; i++) {
		in_sync += of->chain.members[i].state == MEMBER_IN_SYNC ? 1 : 0;
		syncing += of->chain.members[i].state == MEMBER_SYNCING ? 1 : 0;
	}
	finding.is = in_sync;
	finding.should = wanted;
	if (in_sync == 0) {
		finding.code = CHECK_PARTITION_WITHOUT_IN_SYNC;
		check_tell(of->map->run, finding, "partition %u, epoch %llu, %u members",
			   of->partition, (unsigned long long)of->chain.epoch, of->chain.count);
	} else if (in_sync < wanted) {
		check_tell(of->map->run, finding, "partition %u: %u of %u copies%s", of->partition,
			   in_sync, wanted, syncing != 0 ? ", one more is being made" : "");
	}
}

static void judge(const struct chain_case *of)
{
	/* The highest count of acceptances is refused, so that epochs do not wrap. */
	if (of->chain.epoch == 0 ||
	    of->chain.epoch >> ACCEPT_COUNT_SHIFT == UINT64_MAX >> ACCEPT_COUNT_SHIFT)
		check_tell(of->map->run, finding_of(of, CHECK_EPOCH), "partition %u: epoch %llu",
			   of->partition, (unsigned long long)of->chain.epoch);
	if (!shape_ok(&of->chain))
		check_tell(of->map->run, finding_of(of, CHECK_CHAIN_SHAPE),
			   "partition %u, epoch %llu", of->partition,
			   (unsigned long long)of->chain.epoch);
	judge_members(of);
	judge_copies(of);
	judge_domains(of);
}

static void check_chain(struct check_map *map, const struct check_scan *scan)
{
	uint32_t id = get_be32(scan->key + 1), partition = get_be32(scan->key + 5);
	struct check_finding finding = {.pool = id, .partition = partition};
	struct check_pool *pool = check_map_pool(map, id);
	struct chain_case of = {.map = map, .pool = pool, .partition = partition};

	if (pool == NULL || (pool->readable && partition >= pool->pool.partitions)) {
		finding.code = CHECK_CHAIN_OF_NO_PARTITION;
		check_tell(map->run, finding, "pool %u, partition %u", id, partition);
		return;
	}
	if (!pool->readable)
		return; /* what it should be is not known */
	map->run->result->partitions++;
	bitmap_set(pool->present, partition);
	pool->placed++;
	if (cluster_decode_chain(scan->value, scan->value_size, &of.chain)) {
		judge(&of);
		return;
	}
	finding.code = CHECK_RECORD_DAMAGED;
	check_tell(map->run, finding, "the chain of partition %u of pool %u", partition, id);
}

/* The chains of a pool are placed all at once. */
static void check_missing(struct check_map *map)
{
	for (size_t i = 0; i < map->pool_count; i++) {
		const struct check_pool *pool = &map->pools[i];

		for (uint32_t p = 0; pool->placed != 0 && p < pool->pool.partitions; p++)
			if (!bitmap_test(pool->present, p))
				check_tell(map->run,
					   (struct check_finding){.code = CHECK_CHAIN_MISSING,
								  .pool = pool->id,
								  .partition = p},
					   "partition %u of pool %u", p, pool->id);
	}
}

int check_map_chains(struct check_map *map)
{
	struct check_run *run = map->run;
	char key[CHECK_KEY_TEXT];
	struct check_scan scan;
	int rc = check_scan_open(run, FAMILY_META, META_CHAIN, "chains", &scan);

	while (rc == 0 && !scan.ended) {
		check_run_progress(run, scan.what, run->result->partitions, 0);
		if (scan.key_size == META_KEY_MAX)
			check_chain(map, &scan);
		else
			check_tell(run, (struct check_finding){.code = CHECK_RECORD_UNKNOWN},
				   "key %s", check_key_text(scan.key, scan.key_size, key));
		rc = check_scan_step(run, &scan);
	}
	check_scan_close(&scan);
	if (rc == 0)
		check_missing(map);
	return rc;
}
