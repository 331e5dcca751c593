#include "tests/sim/cluster/checks.h"
#include "master/check/check.h"
#include "master/state/chain_change.h"

static int file_index(const struct chunk_key *key)
{
	return key->file_id == FILE_EXACT ? 0 : key->file_id == FILE_MIXED ? 1 : -1;
}

struct history *history_of(void *world, const struct chunk_key *key, uint32_t block)
{
	struct world *w = world;
	int file = file_index(key);

	return file < 0 ? NULL : &w->partitions[key->partition].histories[file][block];
}

/* ---- what a member says ---- */

void check_request(struct world *w, const struct frame_header *header)
{
	int file = file_index(&header->key);

	if (file >= 0)
		w->floors[(header->request_id >> 8) % FLOORS] =
			w->partitions[header->key.partition].acked[file];
}

void check_answer(struct world *w, const struct disk *disk, const struct frame_header *header)
{
	struct partition *p = &w->partitions[header->key.partition];
	int file = file_index(&header->key);
	uint64_t floor;

	if (header->status != FRAME_OK || file < 0 || p->exposed || p->accepted)
		return;
	if (frame_is_update(header->op) && header->version > p->acked[file])
		p->acked[file] = header->version;
	floor = w->floors[(header->request_id >> 8) % FLOORS];
	if (header->op == FRAME_READ && header->version < floor) {
		trace(w,
		      "target %u of server %u answers from version %llu of chunk %u/%llu, %llu was "
		      "known",
		      disk->entry.target_id, disk->server, (unsigned long long)header->version,
		      header->key.partition, (unsigned long long)header->key.file_id,
		      (unsigned long long)floor);
		problem(w, "a member served that lacks an acknowledged update");
	}
}

/* ---- who may have lost what ---- */

static void expose(struct world *w, unsigned p)
{
	struct partition *part = &w->partitions[p];

	trace(w, "partition %u may have lost what was not flushed", p);
	part->exposed = true;
	for (unsigned f = 0; f < FILES; f++)
		for (unsigned b = 0; b < MODEL_BLOCKS; b++) {
			struct history *h = &part->histories[f][b];

			for (size_t i = 0; i < h->count; i++)
				if (h->entries[i].write && h->entries[i].ended != NEVER &&
				    h->entries[i].durable == NEVER)
					h->entries[i].exposed = true;
		}
}

static void check_exposed(struct world *w, unsigned p)
{
	struct partition *part = &w->partitions[p];
	bool continuous = false, lost = false;

	for (unsigned t = 0; t < TARGETS_MAX; t++) {
		if (!part->copies[t].in_sync)
			continue;
		continuous = continuous || part->copies[t].continuous;
		lost = lost || part->copies[t].lost;
	}
	if (lost && !continuous)
		expose(w, p);
}

void check_process_ended(struct world *w, const struct disk *disk, bool lost)
{
	for (unsigned t = 0; t < TARGETS_MAX; t++) {
		if (w->disk_of[t] != (unsigned)(disk - w->disks))
			continue;
		for (unsigned p = 0; p < w->options.partitions; p++) {
			struct copy *copy = &w->partitions[p].copies[t];

			copy->continuous = false;
			copy->lost = copy->lost || lost;
			if (copy->in_sync)
				check_exposed(w, p);
		}
	}
}

/* By what the master knows: on a server that is there, and not said to have failed. */
static bool is_there(const struct world *w, unsigned t)
{
	struct chain_manager_status status;
	uint64_t now = local(w, NODE_MASTER);

	return w->disk_of[t] != DISKS_MAX &&
	       chain_manager_online(w->master.manager, w->id_of[w->disk_of[t] / DISKS_EACH], now) &&
	       chain_manager_target_status(w->master.manager, w->master.state_map, t, now,
					   &status) == 0 &&
	       status.error == 0;
}

void check_settled(struct world *w, const struct disk *disk)
{
	for (unsigned t = 0; t < TARGETS_MAX; t++)
		for (unsigned p = 0; p < w->options.partitions; p++) {
			const struct copy *copies = w->partitions[p].copies;
			bool other = false;

			if (w->disk_of[t] != (unsigned)(disk - w->disks) || !copies[t].in_sync ||
			    !copies[t].lost)
				continue;
			for (unsigned u = 0; u < TARGETS_MAX && !other; u++)
				other = copies[u].in_sync && copies[u].continuous && is_there(w, u);
			if (!other)
				expose(w, p);
		}
}

void check_replaced(struct world *w, const struct disk *disk)
{
	for (unsigned t = 0; t < TARGETS_MAX; t++)
		for (unsigned p = 0; p < PARTITIONS_MAX; p++)
			if (w->disk_of[t] == (unsigned)(disk - w->disks))
				w->partitions[p].copies[t].replaced = true;
}

bool is_lost(const struct world *w, unsigned p)
{
	for (unsigned t = 0; t < TARGETS_MAX; t++)
		if (w->partitions[p].copies[t].in_sync && !w->partitions[p].copies[t].replaced)
			return false;
	return true;
}

void check_wiped(struct world *w, const struct disk *disk)
{
	check_process_ended(w, disk, true);
	check_replaced(w, disk);
	for (unsigned t = 0; t < TARGETS_MAX; t++)
		if (w->disk_of[t] == (unsigned)(disk - w->disks))
			w->disk_of[t] = DISKS_MAX;
}

/* ---- chains ---- */

bool in_sync_in(const struct map_chain *chain, uint32_t target)
{
	int at = cluster_map_chain_index(chain, target);

	return at >= 0 && chain->members[at].state == MEMBER_IN_SYNC;
}

/* Nobody may be able to serve any more who is not in-sync in the chain that others will hear of. */
static void check_excluded(struct world *w, unsigned p, const struct map_chain *chain)
{
	for (unsigned d = 0; d < DISKS_MAX; d++) {
		struct disk *disk = &w->disks[d];
		struct chain *member = disk->env == NULL ? NULL : disk->chains[p];

		if (member == NULL || disk->down || chain_epoch(member) >= chain->epoch ||
		    local(w, disk->server) >= w->servers[disk->server].lease_until ||
		    in_sync_in(chain, disk->entry.target_id) || !chain_is_ready(member))
			continue;
		trace(w, "target %u of server %u may still serve partition %u by epoch %llu",
		      disk->entry.target_id, disk->server, p,
		      (unsigned long long)chain_epoch(member));
		problem(w, "a chain went on without a member that could still serve");
	}
}

void trace_chain(struct world *w, unsigned p, const struct map_chain *chain)
{
	static const char *const states[] = {"?", "", " syncing", " offline"};
	char line[256];
	size_t at = 0;

	if (!w->options.verbose)
		return;
	for (uint32_t i = 0; i < chain->count; i++) {
		unsigned d = w->disk_of[chain->members[i].target_id % TARGETS_MAX];

		at += (size_t)snprintf(
			line + at, sizeof(line) - at, " %u@%d%s%s", chain->members[i].target_id,
			d == DISKS_MAX ? -1 : (int)(d / DISKS_EACH),
			states[chain->members[i].state], i + 1 < chain->count ? "," : "");
	}
	trace(w, "partition %u epoch %llu:%s", p, (unsigned long long)chain->epoch, line);
}

static uint32_t sum_of(const struct map_chain *chain)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < chain->count; i++) {
		uint32_t member[2] = {chain->members[i].target_id, chain->members[i].state};

		sum = sum * 31 + crc32c(member, sizeof(member));
	}
	return sum;
}

void check_shown(struct world *w, unsigned p, const struct map_chain *chain)
{
	struct partition *part = &w->partitions[p];
	size_t n = part->shown_count < SHOWN_MAX ? part->shown_count : SHOWN_MAX;

	for (size_t i = 0; i < n; i++) {
		if (part->shown[i].epoch != chain->epoch)
			continue;
		if (part->shown[i].sum != sum_of(chain)) {
			trace_chain(w, p, chain);
			problem(w, "two chains have one epoch");
		}
		return;
	}
	n = part->shown_count++ % SHOWN_MAX;
	part->shown[n].epoch = chain->epoch;
	part->shown[n].sum = sum_of(chain);
}

void check_published(struct world *w, unsigned p, const struct map_chain *chain)
{
	struct partition *part = &w->partitions[p];
	bool accepted = !epochs_of_one_line(chain->epoch, part->epoch);

	check_shown(w, p, chain);
	if (chain->epoch <= part->epoch)
		return;
	part->epoch = chain->epoch;
	part->alone = 0;
	w->changes++;
	trace_chain(w, p, chain);
	check_excluded(w, p, chain);
	for (uint32_t t = 0; t < TARGETS_MAX; t++) {
		struct copy *copy = &part->copies[t];
		int at = cluster_map_chain_index(chain, t);
		enum member_state state = at < 0 ? MEMBER_OFFLINE : chain->members[at].state;
		unsigned d = w->disk_of[t];

		/* One that becomes in-sync behind its death is in its former process's place, as
		 * are those of a chain that is accepted although there were later ones. */
		if (state == MEMBER_SYNCING ||
		    (state == MEMBER_IN_SYNC && !copy->in_sync && (!copy->syncing || accepted)))
			copy->continuous = d < DISKS_MAX && w->nodes[w->disks[d].server].alive &&
					   (state == MEMBER_SYNCING || !part->forgotten);
		if (state == MEMBER_IN_SYNC && !copy->in_sync) {
			/* Nobody has made it equal when that was to be in a forgotten chain. */
			if (accepted && part->forgotten) {
				copy->lost = copy->lost || copy->lost_before;
				copy->replaced = copy->replaced || copy->replaced_before;
			}
			copy->lost_before = copy->replaced_before = false;
		}
		if (state == MEMBER_SYNCING) {
			copy->lost_before = copy->lost_before || copy->lost;
			copy->replaced_before = copy->replaced_before || copy->replaced;
			copy->lost = copy->replaced = false;
		}
		copy->in_sync = state == MEMBER_IN_SYNC;
		copy->syncing = state == MEMBER_SYNCING;
	}
	check_exposed(w, p);
}

void check_serves(struct world *w)
{
	const struct map_pool *pool = cluster_map_pool(w->master.state_map, POOL);

	for (unsigned d = 0; d < DISKS_MAX; d++) {
		const struct model_notes *notes = &w->disks[d].store.notes;

		if (w->disks[d].env == NULL || w->disks[d].entry.target_id == 0 ||
		    w->master.streams[w->disks[d].server].conn == 0)
			continue;
		for (unsigned p = 0; p < w->options.partitions; p++)
			if (notes->chains[p].epoch > pool->chains[p].epoch &&
			    (pool->chains[p].epoch != 0 || !w->disks[d].given_up))
				problem(w, "a master serves although a target has gone by a later "
					   "chain");
	}
	for (unsigned p = 0; p < w->options.partitions; p++) {
		struct partition *part = &w->partitions[p];

		for (size_t i = 0; i < SHOWN_MAX; i++)
			if (part->shown[i].epoch > pool->chains[p].epoch)
				part->shown[i].epoch = UINT64_MAX;
		if (part->epoch <= pool->chains[p].epoch)
			continue;
		trace(w, "partition %u goes back from epoch %llu to %llu", p,
		      (unsigned long long)part->epoch, (unsigned long long)pool->chains[p].epoch);
		part->accepted = true;
		part->epoch = pool->chains[p].epoch;
	}
}

/* ---- members at rest ---- */

static bool is_removed(void *world, const struct chunk_key *key)
{
	const struct world *w = world;

	return key->file_id >= FILE_TEMPORARY &&
	       key->file_id - FILE_TEMPORARY < w->master.job_count;
}

static void trace_blocks(struct world *w, const struct model_chunk *a, const struct model_chunk *b)
{
	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		if (a->blocks[i] != b->blocks[i])
			trace(w, "  block %u: %llu, %llu", i, (unsigned long long)a->blocks[i],
			      (unsigned long long)b->blocks[i]);
}

static void rest_differs(struct world *w, struct disk *disk, struct disk *behind,
			 const struct chunk_key *key)
{
	const struct model_chunk *a = model_chunk(&disk->store, key);
	const struct model_chunk *b = model_chunk(&behind->store, key);

	problem(w, "members at rest differ");
	trace(w, "chunk %u/%llu: target %u has %d version %llu, target %u %d %llu", key->partition,
	      (unsigned long long)key->file_id, disk->entry.target_id, a->exists,
	      (unsigned long long)a->version, behind->entry.target_id, b->exists,
	      (unsigned long long)b->version);
	trace_blocks(w, a, b);
}

static void check_member_rest(struct world *w, struct disk *disk, unsigned p)
{
	const struct chunk_key *key;
	struct disk *behind;
	uint32_t target;

	if (disk->chains[p] == NULL || chain_next_server(disk->chains[p], &target) == 0 ||
	    w->disk_of[target % TARGETS_MAX] == DISKS_MAX)
		return;
	behind = &w->disks[w->disk_of[target % TARGETS_MAX]];
	if (behind->env == NULL || behind->chains[p] == NULL ||
	    !chain_equal_expected(disk->chains[p], behind->chains[p]))
		return;
	w->equal_looks++;
	key = chain_equal_check(&disk->store, &behind->store, p, &disk->equal[p], is_removed, w);
	if (key != NULL)
		rest_differs(w, disk, behind, key);
}

void check_rest(struct world *w, struct disk *disk)
{
	/* Nothing is expected of members that say that they are ready when they are not. */
	if (FAULTY(SERVE_UNREADY))
		return;
	for (unsigned p = 0; p < w->options.partitions && w->problem == NULL; p++)
		check_member_rest(w, disk, p);
}

/* ---- the end ---- */

static bool members_quiet(struct world *w, unsigned p, const struct map_chain *chain)
{
	if (chain->count != COPIES)
		return false;
	for (uint32_t i = 0; i < chain->count; i++) {
		unsigned d = w->disk_of[chain->members[i].target_id % TARGETS_MAX];
		struct chain *member =
			d == DISKS_MAX || w->disks[d].env == NULL ? NULL : w->disks[d].chains[p];
		struct chain_counts counts;

		if (member == NULL || chain->members[i].state != MEMBER_IN_SYNC ||
		    chain_epoch(member) != chain->epoch || !chain_is_ready(member))
			return false;
		counts = chain_count(member);
		if (counts.pending + counts.queued + counts.held > 0)
			return false;
	}
	return true;
}

static bool is_in_use(const struct map_pool *pool, unsigned partitions, uint32_t target)
{
	for (unsigned p = 0; p < partitions; p++)
		if (cluster_map_chain_index(&pool->chains[p], target) >= 0)
			return true;
	return false;
}

bool quiet(struct world *w)
{
	const struct map_pool *pool;

	for (unsigned c = 0; c < CLIENTS; c++)
		for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++)
			if (w->clients[c].ops[i].state != OP_IDLE)
				return false;
	for (unsigned i = 0; i < w->master.job_count; i++)
		if (!w->master.jobs[i].over)
			return false;
	if (!w->nodes[NODE_MASTER].alive || w->master.map == NULL || w->master.planned_index != 0)
		return false;
	if (w->options.older && (!w->master.heard || w->master.behind))
		return false;
	if (w->options.fences && (fences_busy(w->master.fences) || fences_owed(w->master.fences)))
		return false;
	for (unsigned c = 0; c < CLIENTS; c++)
		if (w->clients[c].waits || session_of(w, w->clients[c].session)->fenced)
			return false;
	pool = cluster_map_pool(w->master.map, POOL);
	for (unsigned p = 0; p < w->options.partitions; p++)
		if (!members_quiet(w, p, &pool->chains[p]))
			return false;
	for (size_t i = 0; i < w->master.map->target_count; i++)
		if (w->master.map->targets[i].draining &&
		    is_in_use(pool, w->options.partitions, w->master.map->targets[i].id))
			return false;
	return true;
}

static void compare_copies(struct world *w, unsigned p, const struct map_chain *chain)
{
	struct disk *first = &w->disks[w->disk_of[chain->members[0].target_id]];

	for (uint32_t i = 0; i < chain->count; i++) {
		struct disk *disk = &w->disks[w->disk_of[chain->members[i].target_id]];

		for (unsigned slot = 0; slot < disk->store.count; slot++) {
			const struct model_chunk *a = disk->store.chunks[slot];
			const struct model_chunk *b = model_chunk(&first->store, &a->key);

			if (a->key.partition != p)
				continue;
			if (a->exists && a->key.file_id >= FILE_TEMPORARY &&
			    a->key.file_id - FILE_TEMPORARY < w->master.job_count &&
			    !w->partitions[p].accepted && !w->partitions[p].forgotten) {
				trace(w, "chunk %u/%llu is at target %u", p,
				      (unsigned long long)a->key.file_id,
				      chain->members[i].target_id);
				problem(w, "a removed chunk came back");
			}
			/* An update that was sent again after a change has its epoch there. */
			if (a->exists == b->exists && a->version == b->version &&
			    memcmp(a->blocks, b->blocks, sizeof(a->blocks)) == 0)
				continue;
			trace(w,
			      "chunk %u/%llu: target %u has %d %llu/%llu, target %u %d %llu/%llu",
			      p, (unsigned long long)a->key.file_id, chain->members[i].target_id,
			      a->exists, (unsigned long long)a->epoch,
			      (unsigned long long)a->version, chain->members[0].target_id,
			      b->exists, (unsigned long long)b->epoch,
			      (unsigned long long)b->version);
			trace_blocks(w, a, b);
			problem(w, "copies differ in the end");
		}
	}
}

void check_copies(struct world *w)
{
	const struct map_pool *pool = cluster_map_pool(w->master.map, POOL);

	for (unsigned p = 0; p < w->options.partitions && w->problem == NULL; p++) {
		/* Slots are made by looking them up: all of the first one's beforehand. */
		for (uint32_t i = 0; i < pool->chains[p].count; i++) {
			struct disk *disk =
				&w->disks[w->disk_of[pool->chains[p].members[i].target_id]];
			struct disk *first =
				&w->disks[w->disk_of[pool->chains[p].members[0].target_id]];

			for (unsigned slot = 0; slot < first->store.count; slot++)
				(void)model_chunk(&disk->store, &first->store.chunks[slot]->key);
		}
		compare_copies(w, p, &pool->chains[p]);
	}
}

static void store_wrong(void *user, const struct check_finding *finding)
{
	struct world *w = user;

	trace(w, "CF-%u: %s: %s", (unsigned)finding->code, check_kind_of(finding->code)->title,
	      finding->text);
	problem(w, "the master's store does not fit together in the end");
}

void check_store(struct world *w)
{
	struct check_result result;

	if (check_namespace(w->master.kv, NULL, store_wrong, w, &result) != 0 ||
	    check_map(w->master.kv, NULL, store_wrong, w, &result) != 0)
		problem(w, "the master's store cannot be checked");
}

static const char *history_wrong(const struct partition *p, unsigned file, const struct history *h,
				 bool deadlines_lost)
{
	const char *wrong = p->accepted || deadlines_lost ? NULL : history_deadlines(h);

	if (wrong == NULL && !p->accepted)
		wrong = history_ordered(h, p->exposed);

	if (wrong == NULL && !p->exposed && !p->accepted && file == 0)
		wrong = history_linearizable(h);
	return wrong;
}

void check_histories(struct world *w)
{
	for (unsigned p = 0; p < w->options.partitions && w->problem == NULL; p++)
		for (unsigned f = 0; f < FILES; f++)
			for (unsigned b = 0; b < MODEL_BLOCKS; b++) {
				const struct history *h = &w->partitions[p].histories[f][b];
				const char *wrong =
					history_wrong(&w->partitions[p], f, h, w->ends_lost);

				if (wrong == NULL)
					continue;
				problem(w, wrong);
				if (w->options.verbose) {
					fprintf(stderr, "  partition %u file %u block %u:\n", p, f,
						b);
					history_print(h);
				}
				return;
			}
}

void tell_state(struct world *w)
{
	for (unsigned d = 0; d < DISKS_MAX && w->options.verbose; d++)
		for (unsigned p = 0; p < w->options.partitions; p++) {
			const struct disk *disk = &w->disks[d];
			struct chain_counts c;

			if (disk->env == NULL || disk->chains[p] == NULL)
				continue;
			c = chain_count(disk->chains[p]);
			fprintf(stderr,
				"  server %u target %u partition %u epoch %llu link %s ready %d "
				"strict %d queued %zu pending %zu held %zu\n",
				disk->server, disk->entry.target_id, p,
				(unsigned long long)chain_epoch(disk->chains[p]),
				chain_link_name(c.link), chain_is_ready(disk->chains[p]), c.strict,
				c.queued, c.pending, c.held);
		}
	for (unsigned p = 0; p < w->options.partitions && w->master.map != NULL; p++)
		trace_chain(w, p, &w->master.map->pools[0].chains[p]);
	if (w->options.verbose)
		fprintf(stderr, "  master: %s, plan in the log %d, to be told first %u\n",
			w->nodes[NODE_MASTER].alive ? "alive" : "dead",
			w->master.planned_index != 0, w->master.fenced_count);
	if (w->options.verbose && w->options.fences && w->master.fences != NULL)
		fprintf(stderr, "  fences busy %d owed %d\n", fences_busy(w->master.fences),
			fences_owed(w->master.fences));
	for (unsigned c = 0; c < CLIENTS && w->options.verbose; c++)
		fprintf(stderr, "  client %u has session %llu, waits %d, it is over %d\n", c,
			(unsigned long long)w->clients[c].session, w->clients[c].waits,
			session_of(w, w->clients[c].session)->fenced);
	for (unsigned i = 0; i < w->master.job_count && w->options.verbose; i++)
		if (!w->master.jobs[i].over)
			fprintf(stderr, "  chunk %u is not removed yet, asked at %llu ms\n",
				FILE_TEMPORARY + w->master.jobs[i].temporary,
				(unsigned long long)(w->master.jobs[i].asked_at / MS));
	for (unsigned c = 0; c < CLIENTS && w->options.verbose; c++)
		for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++)
			if (w->clients[c].ops[i].state != OP_IDLE)
				fprintf(stderr, "  client %u waits for %s of partition %u\n", c,
					frame_op_name(w->clients[c].ops[i].route.op),
					w->clients[c].ops[i].route.key.partition);
}
