#include "tests/sim/cluster/older.h"

static void store_image_free(struct kv *image)
{
	if (image != NULL)
		kv_close(image);
}

/* One that the copy gave no number would be given one that is another's. */
static bool all_have_numbers(struct world *w)
{
	if (w->master.state == NULL) /* down: nobody knows */
		return false;
	for (unsigned d = 0; d < DISKS_MAX; d++)
		if (w->disks[d].used && state_target_id(w->master.state, w->disks[d].uuid) == 0)
			return false;
	return true;
}

void store_copied(struct world *w)
{
	unsigned i = (unsigned)chance(w, IMAGES);

	/* Nobody copies what does not serve, but what was the only one. */
	if (w->put_back != 0 && !may_serve(w))
		return;
	if (w->partitions[0].epoch == 0 && !all_have_numbers(w))
		return;
	store_image_free(w->images[i]);
	if (kv_memory_copy(w->master.kv, &w->images[i]) != 0)
		abort();
	trace(w, "the master's store is copied to %u", i);
}

/* What was in its place is kept in the copy's. False: there is none. */
static bool store_put_back(struct world *w, bool power)
{
	unsigned i = (unsigned)chance(w, IMAGES);
	struct kv *copy;

	if (w->images[i] == NULL)
		return false;
	master_kill(w, power);
	trace(w, "copy %u of the master's store is put in its place", i);
	w->put_back++;
	if (kv_memory_copy(w->images[i], &copy) != 0)
		abort();
	store_image_free(w->original);
	if (kv_memory_copy(copy, &w->original) != 0)
		abort();
	store_image_free(w->images[i]);
	w->images[i] = w->master.kv;
	w->master.kv = copy;
	return true;
}

/* Since it was put in its place it has given numbers to targets, before it heard that it was
 * behind. */
static void store_as_it_was(struct world *w)
{
	trace(w, "the copy is put in its place as it was");
	kv_close(w->master.kv);
	w->master.kv = w->original;
	w->original = NULL;
}

/* ---- what targets have seen is gathered ---- */

/* It answers the master that asks. */
static bool tells(const struct world *w, const struct disk *disk)
{
	unsigned s = disk->server;

	return disk->used && disk->env != NULL && !disk->down && w->nodes[s].alive &&
	       w->nodes[s].frozen_until <= w->now && !is_cut(w, s, NODE_MASTER) &&
	       !is_cut(w, NODE_MASTER, s);
}

static void target_tells(struct world *w, struct accept_plan *plan, const struct disk *disk,
			 struct accept_target *out)
{
	const struct model_notes *notes = &disk->store.notes;

	memset(out, 0, sizeof(*out));
	memcpy(out->uuid, disk->uuid, sizeof(out->uuid));
	out->id = accept_plan_number(plan, disk->uuid, (uint32_t)notes->seen.target_id);
	out->seen = (struct state_seen){.life = notes->seen.life,
					.chance = notes->seen.chance,
					.version = notes->seen.version,
					.index = notes->seen.index};
	out->server.id = notes->seen.server_id;
	out->server.workers = 1;
	out->life = disk->life_said;
	out->settled = target_entry_is_in(&disk->entry);
	snprintf(out->server.name, sizeof(out->server.name), "s%u", disk->server);
	snprintf(out->server.address, sizeof(out->server.address), "s%u:1", disk->server);
	snprintf(out->server.host, sizeof(out->server.host), "h%u", disk->server);
	for (unsigned p = 0; out->id != 0 && p < w->options.partitions; p++)
		if (notes->chains[p].epoch != 0)
			(void)accept_plan_chain(plan, out->id, POOL, p, &notes->chains[p],
						notes->seen.version);
	if (out->id != 0 && accept_plan_heard(plan, out->id) != 0)
		abort();
	out->heard = true;
}

struct gathered {
	struct state *state;
	struct cluster_map *map;
	struct accept_plan *plan;
	struct accept_target targets[DISKS_MAX];
	size_t count;
	uint32_t clash; /* a number of two targets */
	uint32_t left_out[DISKS_MAX];
	size_t left_out_count;
	uint64_t chance;
	struct accept_decision decision;
};

/* Its server is stopped for it. */
static bool is_left_out(const struct gathered *g, const struct disk *disk)
{
	for (size_t i = 0; i < g->left_out_count; i++)
		if (disk->store.notes.seen.target_id == g->left_out[i] ||
		    state_target_id(g->state, disk->uuid) == g->left_out[i])
			return true;
	return false;
}

static void gather(struct world *w, struct gathered *g)
{
	char error[256];

	if (state_open(w->master.kv, &g->state, error, sizeof(error)) != 0)
		abort();
	g->map = state_map(g->state);
	g->plan = g->map == NULL ? NULL : accept_plan_new(g->map, g->chance);
	if (g->plan == NULL)
		abort();
	for (unsigned d = 0; d < DISKS_MAX; d++) {
		if (!tells(w, &w->disks[d]) || is_left_out(g, &w->disks[d]))
			continue;
		target_tells(w, g->plan, &w->disks[d], &g->targets[g->count]);
		g->count++;
	}
	for (size_t i = 0; i < g->count; i++)
		if (accept_decision_clash(g->plan, g->targets, g->count, i) != NULL)
			g->clash = g->targets[i].id;
	if (accept_decision_make(g->plan, g->state, g->targets, g->count, &g->decision) != 0)
		abort();
}

static void gathered_free(struct gathered *g)
{
	accept_decision_free(&g->decision);
	accept_plan_free(g->plan);
	cluster_map_unref(g->map);
	state_close(g->state);
}

/* @without_clash: those that have a number of others are left out, both. */
static void gather_all(struct world *w, bool without_clash, struct gathered *g)
{
	memset(g, 0, sizeof(*g));
	g->chance = ++w->master.starts * UINT64_C(0x9e3779b97f4a7c15) | 1;
	gather(w, g);
	while (g->clash != 0 && without_clash) {
		trace(w, "both targets %u are left out", g->clash);
		g->left_out[g->left_out_count++] = g->clash;
		gathered_free(g);
		g->clash = 0;
		g->count = 0;
		gather(w, g);
	}
}

/* ---- it is accepted ---- */

struct session_ids {
	uint64_t ids[SESSIONS_MAX];
	size_t count;
};

static int list_session(void *user, uint64_t id, const char *mount, const char *name)
{
	struct session_ids *list = user;

	list->ids[list->count++] = id;
	return 0;
}

static void end_all_sessions(struct state *state)
{
	struct session_ids list = {.count = 0};

	if (state_sessions(state, list_session, &list) != 0)
		abort();
	for (size_t i = 0; i < list.count; i++)
		if (state_apply_session_close(state, state_applied_index(state) + 1, list.ids[i],
					      NULL, 0) != 0)
			abort();
}

static void check_given_up(struct world *w)
{
	for (unsigned i = 0; i < SESSIONS_MAX && w->options.fences && w->sessions[i].id != 0; i++)
		if (w->sessions[i].over_at == 0)
			w->sessions[i].given_up = true;
}

/* What only those know who were not heard is lost, and an administrator has said so. */
static void check_accepted(struct world *w, const struct gathered *g)
{
	for (unsigned d = 0; d < DISKS_MAX; d++) {
		struct disk *disk = &w->disks[d];

		disk->given_up = !tells(w, disk) || is_left_out(g, disk);
		/* It counts as begun anew: see life_of() in accept_decision.c. */
		if (disk->used && (!tells(w, disk) || !target_entry_is_in(&disk->entry)))
			check_process_ended(w, disk, false);
	}
	for (unsigned i = 0; i < SESSIONS_MAX && w->options.fences && w->sessions[i].id != 0; i++)
		if (w->sessions[i].id >= state_next_session_id(g->state))
			problem(w, "sessions may come again");
	for (size_t i = 0; i < g->decision.accept.chain_count; i++) {
		const struct chain_change *change = &g->decision.chains[i];
		struct partition *part = &w->partitions[change->partition];
		uint64_t base = accept_plan_epoch(g->plan, POOL, change->partition);

		trace_chain(w, change->partition, &change->chain);
		part->alone = change->chain.count == 1 ? change->chain.members[0].target_id : 0;
		part->forgotten = part->forgotten || base < part->epoch;
		if (i >= g->decision.accept.chain_count - g->decision.unknown ||
		    (base < part->epoch && accept_plan_missing(g->plan, 0) != 0)) {
			trace(w, "partition %u may have lost anything", change->partition);
			part->accepted = true;
		}
	}
}

/* False: it cannot be, or somebody is missing. */
static bool store_accepted(struct world *w, bool without_missing, bool without_clash)
{
	struct gathered g;
	bool done = false, missing;

	gather_all(w, without_clash, &g);
	w->clash = g.clash != 0;
	missing = accept_plan_missing(g.plan, 0) != 0 || accept_plan_unknown(g.plan) != 0;
	if (w->clash || g.count == 0 || (missing && !without_missing) || g.decision.stranded != 0) {
		trace(w, "the store is not accepted: %s, missing %u", w->clash ? "clash" : "",
		      accept_plan_missing(g.plan, 0));
	} else if (g.decision.older || g.decision.newer != 0) {
		end_all_sessions(g.state);
		if (state_apply_accept(g.state, state_applied_index(g.state) + 1,
				       &g.decision.accept) != 0)
			abort();
		if (chance(w, 4) == 0) {
			kv_memory_crash(w->master.kv);
			trace(w, "power fails while the store is accepted");
		} else {
			trace(w, "the store is accepted%s", without_missing ? " without" : "");
			if (kv_flush(w->master.kv) != 0)
				abort();
			check_accepted(w, &g);
			check_given_up(w);
			w->accepted++;
			done = true;
		}
	} else {
		trace(w, "nothing is to be accepted");
		done = true;
	}
	gathered_free(&g);
	return done;
}

/* ---- administrators ---- */

static void start_master_later(struct world *w)
{
	schedule(w, w->now + between(w, 5 * MS, 900 * MS), EV_START, NOWHERE)->a = NODE_MASTER;
}

static void administrator_accepts(struct world *w)
{
	uint64_t waited = w->now - w->behind_since;
	bool split, without;

	/* No lease of a former master is left. */
	if (w->now < w->accept_from + 4 * SEC)
		return;
	/* Two with one number do not come to differ by waiting. */
	split = w->clash && w->original == NULL;
	without = (split || waited > (w->healed ? 20 * SEC : 4 * SEC)) && chance(w, 3) == 0;
	if (store_accepted(w, without, without && split)) {
		w->to_be_accepted = false;
		start_master_later(w);
	} else if (w->clash && w->original != NULL) {
		store_as_it_was(w);
	} else if ((w->clash || (!w->healed && chance(w, 4) == 0)) && store_put_back(w, false)) {
		w->to_be_accepted = false;
		start_master_later(w);
	}
}

void administrator_of_stores(struct world *w)
{
	if (!w->options.older)
		return;
	if (w->to_be_accepted) {
		administrator_accepts(w);
		return;
	}
	if (!w->nodes[NODE_MASTER].alive || !w->master.behind || chance(w, 2) == 0)
		return;
	if (!w->healed && chance(w, 3) == 0 && store_put_back(w, false)) {
		start_master_later(w);
		return;
	}
	master_kill(w, false);
	w->to_be_accepted = true;
	w->accept_from = w->now;
}

void twin_ends(struct world *w)
{
	state_close(w->twin.state);
	store_image_free(w->twin.kv);
	w->twin.state = NULL;
	w->twin.kv = NULL;
}

/* Servers find it in the place of the right one now and then; nobody is served by it, since it does
 * not hear enough. */
static void twin_starts(struct world *w)
{
	struct state_start start = {.instance = 1, .chance = ++w->master.starts};
	unsigned i = (unsigned)chance(w, IMAGES);
	char error[256];

	twin_ends(w);
	if (kv_memory_copy(w->images[i] != NULL ? w->images[i] : w->master.kv, &w->twin.kv) != 0 ||
	    state_open(w->twin.kv, &w->twin.state, error, sizeof(error)) != 0 ||
	    state_apply_start(w->twin.state, state_applied_index(w->twin.state) + 1, &start,
			      STATE_ID_GAP) != 0)
		abort();
	trace(w, "another master is started on a copy");
}

void older_store(struct world *w, bool power)
{
	if (chance(w, 3) == 0)
		twin_starts(w);
	else if (!w->to_be_accepted && store_put_back(w, power))
		start_master_later(w);
}

void images_free(struct world *w)
{
	for (unsigned i = 0; i < IMAGES; i++)
		store_image_free(w->images[i]);
	store_image_free(w->original);
	twin_ends(w);
}
