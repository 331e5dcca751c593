#include "tests/sim/cluster/faults.h"

static void start_later(struct world *w, unsigned node, uint64_t after)
{
	schedule(w, w->now + after, EV_START, NOWHERE)->a = node;
}

/* Mostly back soon, sometimes long after others have taken over. */
static uint64_t outage(struct world *w)
{
	return chance(w, 3) == 0 ? between(w, 2 * SEC, 9 * SEC) : between(w, 5 * MS, 1500 * MS);
}

static unsigned some_server(struct world *w)
{
	return (unsigned)chance(w, w->options.servers);
}

static unsigned some_node(struct world *w)
{
	uint64_t dice = chance(w, 10);

	return dice < 6   ? some_server(w)
	       : dice < 8 ? NODE_MASTER
			  : NODE_CLIENT + (unsigned)chance(w, CLIENTS);
}

static struct disk *some_disk(struct world *w)
{
	struct disk *disk;

	do
		disk = &w->disks[chance(w, DISKS_MAX)];
	while (!disk->used || disk->server >= w->options.servers);
	return disk;
}

/* ---- the network ---- */

static void break_between(struct world *w, unsigned a, unsigned b)
{
	for (uint64_t id = 1; id <= w->conn_count; id++) {
		struct conn *c = conn_of(w, id);

		if ((c->node[0] != a || c->node[1] != b) && (c->node[0] != b || c->node[1] != a))
			continue;
		/* Both ends hear of it. */
		c->dropped = c->dropped || chance(w, 2) == 0;
		for (unsigned side = 0; side < 2; side++) {
			c->holed[side] = true;
			conn_tell_closed(w, id, side);
		}
	}
}

static void cut(struct world *w, unsigned a, unsigned b, bool both)
{
	uint64_t until = w->now + (chance(w, 2) == 0 ? between(w, 10 * MS, 900 * MS)
						     : between(w, 1 * SEC, 8 * SEC));

	if (a == b)
		return;
	trace(w, "cut %u -> %u%s until %.3f", a, b, both ? " and back" : "",
	      (double)until / (double)MS);
	w->cut_until[a][b] = until;
	if (both)
		w->cut_until[b][a] = until;
}

/* What a client has sent stays under way for long, and the client gives the connection up before it
 * arrives. */
static void stall(struct world *w, unsigned client, unsigned s)
{
	for (uint64_t id = 1; id <= w->conn_count; id++) {
		struct conn *c = conn_of(w, id);
		struct event *event;

		if (c->node[0] != client || c->node[1] != s || !c->open[0] || !c->open[1])
			continue;
		trace(w, "what node %u sends to %u is late", client, s);
		if (c->last[0] < w->now)
			c->last[0] = w->now;
		c->last[0] += between(w, 50 * MS, 900 * MS);
		event = schedule(w, w->now + between(w, 1 * MS, 50 * MS), EV_FAULT, NOWHERE);
		event->conn = id;
		event->number = FAULT_GIVE_UP;
	}
}

static void isolate(struct world *w, unsigned a)
{
	uint64_t until = w->now + between(w, 200 * MS, 7 * SEC);
	bool both = chance(w, 2) == 0;

	trace(w, "node %u is cut off until %.3f", a, (double)until / (double)MS);
	for (unsigned b = 0; b < NODES; b++) {
		if (b == a)
			continue;
		w->cut_until[a][b] = until;
		if (both)
			w->cut_until[b][a] = until;
	}
}

/* ---- processes and machines ---- */

static bool power_fails(struct world *w)
{
	return w->options.power && chance(w, 2) == 0;
}

static void stop_server(struct world *w, unsigned s, bool power)
{
	if (!w->servers[s].there)
		return;
	server_kill(w, s, power);
	start_later(w, s, outage(w) + (power ? between(w, 100 * MS, 1 * SEC) : 0));
}

static void stop_several(struct world *w, bool all)
{
	bool power = power_fails(w);
	uint64_t spread = chance(w, 2) == 0 ? 1 : 600 * MS;

	for (unsigned s = 0; s < w->options.servers; s++) {
		struct event *event;

		if (!all && chance(w, 2) == 0)
			continue;
		event = schedule(w, w->now + chance(w, spread), EV_FAULT, NOWHERE);
		event->a = s;
		event->number = power ? FAULT_POWER : FAULT_STOP;
	}
}

static void stop_master(struct world *w)
{
	master_kill(w, power_fails(w));
	start_later(w, NODE_MASTER, outage(w));
}

static void freeze(struct world *w, unsigned node)
{
	struct node *n = &w->nodes[node];
	uint64_t dice = chance(w, 3);

	if (!n->alive || n->frozen_until > w->now || is_client(node))
		return;
	/* Often just about as long as a lease and its margin. */
	n->frozen_until = w->now + (dice == 0   ? between(w, 5 * MS, 400 * MS)
				    : dice == 1 ? between(w, 2200 * MS, 3100 * MS)
						: between(w, 1 * SEC, 6 * SEC));
	trace(w, "node %u stands still until %.3f", node, (double)n->frozen_until / (double)MS);
}

/* ---- disks ---- */

/* Would what was acknowledged still be somewhere if this disk's content went away now? */
static bool is_dispensable(struct world *w, const struct disk *disk)
{
	for (unsigned p = 0; p < w->options.partitions; p++) {
		const struct partition *part = &w->partitions[p];
		bool has = false, other = false;

		if (part->alone != 0 && w->disk_of[part->alone] == (unsigned)(disk - w->disks))
			return false;

		for (unsigned t = 0; t < TARGETS_MAX; t++) {
			if (!part->copies[t].in_sync)
				continue;
			if (w->disk_of[t] == (unsigned)(disk - w->disks))
				has = true;
			else
				other = other || part->copies[t].continuous;
		}
		if (has && !other)
			return false;
	}
	return true;
}

static void replace_disk(struct world *w, struct disk *disk)
{
	if (!is_dispensable(w, disk))
		return;
	trace(w, "disk %u is replaced by an empty one", disk_number(w, disk));
	stop_server(w, disk->server, power_fails(w));
	check_wiped(w, disk);
	disk_wipe(disk);
}

static void put_old_back(struct world *w, struct disk *disk)
{
	if (!disk->image.there || disk->image.life >= disk->life_seen || disk->aside.there ||
	    (!w->options.loss && !is_dispensable(w, disk)))
		return;
	trace(w, "an old copy of disk %u is put back, of life %llu", disk_number(w, disk),
	      (unsigned long long)disk->image.life);
	stop_server(w, disk->server, power_fails(w));
	check_replaced(w, disk);
	disk_put_back(disk);
	if (chance(w, 2) == 0)
		stop_several(w, true);
}

/* Has some chain lost what was answered, as long as this disk is not there? And none of its others,
 * but those who have everything. */
static bool is_last(const struct world *w, const struct disk *disk)
{
	bool last = false;

	for (unsigned p = 0; p < w->options.partitions; p++) {
		bool has = false, other = false, continuous = false;

		for (unsigned t = 0; t < TARGETS_MAX; t++) {
			const struct copy *copy = &w->partitions[p].copies[t];

			if (!copy->in_sync)
				continue;
			if (copy->replaced)
				return false;
			if (w->disk_of[t] == (unsigned)(disk - w->disks))
				has = true;
			else
				other = true, continuous = continuous || copy->continuous;
		}
		if (has && other && !continuous)
			return false;
		last = last || (has && !other);
	}
	return last;
}

/* All others die; then the last one's disk is to go back in time. */
static void leave_last(struct world *w, const struct disk *disk)
{
	struct event *event;

	if (!disk->image.there)
		return;
	trace(w, "disk %u is to be the last", disk_number(w, disk));
	w->last = disk;
	/* The copy is not old before. */
	if (disk->image.life >= disk->life_seen)
		stop_server(w, disk->server, false);
	for (unsigned s = 0; s < w->options.servers; s++) {
		if (s == disk->server)
			continue;
		event = schedule(w, w->now + chance(w, 50 * MS), EV_FAULT, NOWHERE);
		event->a = s;
		event->number = FAULT_STOP;
	}
	event = schedule(w, w->now + between(w, 300 * MS, 900 * MS), EV_FAULT, NOWHERE);
	event->a = disk_number(w, disk);
	event->number = FAULT_LAST_GOES_BACK;
}

static void last_goes_back(struct world *w, struct disk *disk, bool soon)
{
	struct event *event;

	if (disk->image.life >= disk->life_seen || disk->aside.there || !is_last(w, disk))
		return;
	trace(w, "an old copy of disk %u takes the place of the last, of life %llu",
	      disk_number(w, disk), (unsigned long long)disk->image.life);
	if (soon && w->nodes[disk->server].alive) {
		server_kill(w, disk->server, false);
		start_later(w, disk->server, between(w, 1 * MS, 60 * MS));
	} else {
		stop_server(w, disk->server, power_fails(w));
	}
	disk_set_aside(disk);
	event = schedule(w, w->now + between(w, 500 * MS, 5 * SEC), EV_FAULT, NOWHERE);
	event->a = disk_number(w, disk);
	event->number = FAULT_RIGHT_DISK;
}

static void right_disk(struct world *w, struct disk *disk)
{
	if (!disk->aside.there)
		return;
	/* It was not the last any more: one that was equal has become in-sync, and the others have
	 * made the old copy equal to them. */
	if (!disk->old) {
		disk_throw_away(disk);
		return;
	}
	trace(w, "the right disk %u is put back", disk_number(w, disk));
	stop_server(w, disk->server, power_fails(w));
	disk_take_back(disk);
}

static void fail_disk(struct world *w, struct disk *disk)
{
	if (disk->env == NULL || disk->down)
		return;
	disk_fails(w, disk);
	schedule(w, w->now + outage(w), EV_DISK_BACK, disk->server)->a = disk_number(w, disk);
}

static void spoil_disk(struct world *w, struct disk *disk)
{
	uint64_t dice = chance(w, 10);

	if (dice < 3)
		fail_disk(w, disk);
	else if (dice < 5)
		disk->full_until = w->now + between(w, 5 * MS, 3 * SEC);
	else if (dice < 6 && w->options.damage)
		disk_damage(w, disk);
	else if (dice < 8 && w->options.old_disks)
		put_old_back(w, disk);
	else if (dice < 9)
		replace_disk(w, disk);
}

/* ---- administrators ---- */

static unsigned servers_left(const struct world *w)
{
	unsigned count = 0;

	for (unsigned s = 0; s < w->options.servers; s++) {
		bool usable = false;

		for (unsigned d = s * DISKS_EACH; d < (s + 1) * DISKS_EACH; d++)
			usable = usable || (w->disks[d].used && !w->disks[d].draining);
		count += usable;
	}
	return count;
}

static void drain_disk(struct world *w, struct disk *disk)
{
	struct master *m = &w->master;

	if (!w->nodes[NODE_MASTER].alive || w->nodes[NODE_MASTER].frozen_until > w->now ||
	    servers_left(w) <= COPIES + 1 || w->partitions[0].epoch == 0 ||
	    disk->entry.target_id == 0)
		return;
	trace(w, "disk %u is to be emptied", disk_number(w, disk));
	if (state_apply_drain(m->state, m->applied + 1, &disk->entry.target_id, 1, true) != 0)
		return;
	m->applied++;
	disk->draining = true;
	master_state_changed(w);
	flush_begins(w);
}

static void server_joins(struct world *w)
{
	unsigned s = w->options.servers;

	if (s == SERVERS_MAX)
		return;
	w->options.servers++;
	(void)server_disks(w, s);
	server_start(w, s);
}

/* ---- sessions ---- */

/* Often there is something on its way: late in a connection, or at a head that does not hear of
 * anything. */
static void session_breaks(struct world *w)
{
	unsigned c = (unsigned)chance(w, CLIENTS);
	const struct client *client = &w->clients[c];
	uint64_t dice = chance(w, 8);

	w->busy_until = w->now + between(w, 100 * MS, 900 * MS);
	if (dice < 2)
		stall(w, NODE_CLIENT + c, some_server(w));
	else if (dice < 4)
		cut(w, NODE_MASTER, some_server(w), true);
	else if (dice < 5)
		cut(w, some_server(w), some_server(w), chance(w, 2) == 0);
	else if (dice < 6)
		cut(w, NODE_MASTER, NODE_CLIENT + c, true);
	if (dice < 6 && chance(w, 2) == 0) {
		schedule(w, w->now + chance(w, 3 * SEC), EV_FAULT, NOWHERE)->number =
			FAULT_SESSION_ENDS;
		return;
	}
	if (w->nodes[NODE_MASTER].alive && w->nodes[NODE_MASTER].frozen_until <= w->now &&
	    !session_of(w, client->session)->fenced)
		session_ends(w, client->session);
}

static unsigned server_of_member(const struct world *w, const struct map_chain *chain, unsigned at)
{
	unsigned d = at < chain->count && chain->members[at].state == MEMBER_IN_SYNC
			     ? w->disk_of[chain->members[at].target_id]
			     : DISKS_MAX;

	return d == DISKS_MAX ? SERVERS_MAX : w->disks[d].server;
}

static void cut_until(struct world *w, unsigned a, unsigned b, uint64_t until)
{
	trace(w, "cut %u -> %u and back until %.3f", a, b, (double)until / (double)MS);
	w->cut_until[a][b] = w->cut_until[b][a] = until;
}

/* The session ends, but neither its client nor the head hears of that; what the head passes on does
 * not come to its end. So the others may acknowledge before they get it, and have it still when
 * the chain goes on without that head. */
static void session_goes_on(struct world *w)
{
	unsigned c = (unsigned)chance(w, CLIENTS), p = (unsigned)chance(w, w->options.partitions);
	const struct map_chain *chain =
		w->master.map == NULL ? NULL : &w->master.map->pools[0].chains[p];
	unsigned head = chain == NULL ? SERVERS_MAX : server_of_member(w, chain, 0);
	unsigned next = chain == NULL ? SERVERS_MAX : server_of_member(w, chain, 1);
	unsigned last = chain == NULL ? SERVERS_MAX : server_of_member(w, chain, 2);
	uint64_t until = w->now + between(w, 3 * SEC, 5 * SEC);

	if (head == SERVERS_MAX || next == SERVERS_MAX || last == SERVERS_MAX ||
	    !w->nodes[NODE_MASTER].alive || w->nodes[NODE_MASTER].frozen_until > w->now ||
	    session_of(w, w->clients[c].session)->fenced)
		return;
	w->busy_until = w->now + 3 * SEC;
	cut_until(w, NODE_MASTER, head, until);
	cut_until(w, NODE_MASTER, NODE_CLIENT + c, until);
	cut_until(w, next, last, w->now + between(w, 2500 * MS, 4500 * MS));
	session_ends(w, w->clients[c].session);
}

/* ---- one of these ---- */

static void something_breaks(struct world *w)
{
	unsigned a = some_node(w), b = some_node(w);
	uint64_t dice = chance(w, 100);

	w->faults++;
	w->busy_until = w->now + between(w, 50 * MS, 600 * MS);
	trace(w, "fault %llu (%u, %u)", (unsigned long long)dice, a, b);
	if (w->options.old_disks && chance(w, 4) == 0)
		put_old_back(w, some_disk(w));
	else if (w->options.old_disks && chance(w, 4) == 0)
		leave_last(w, some_disk(w));
	else if (dice < 10)
		break_between(w, a, b);
	else if (dice < 14)
		stall(w, NODE_CLIENT + (unsigned)chance(w, CLIENTS), some_server(w));
	else if (dice < 25)
		cut(w, a, b, chance(w, 2) == 0);
	else if (dice < 32)
		isolate(w, a);
	else if (dice < 56)
		stop_server(w, some_server(w), power_fails(w));
	else if (dice < 63)
		stop_several(w, chance(w, 2) == 0);
	else if (dice < 73)
		freeze(w, chance(w, 5) == 0 ? NODE_MASTER : some_server(w));
	else if (dice < 80)
		stop_master(w);
	else if (dice < 83)
		drain_disk(w, some_disk(w));
	else if (dice < 85)
		server_joins(w);
	else
		spoil_disk(w, some_disk(w));
}

/* One that hits what is under way. */
static void change_breaks(struct world *w)
{
	uint64_t dice = chance(w, 10);

	trace(w, "fault of a change %llu", (unsigned long long)dice);
	w->busy_until = w->now + between(w, 50 * MS, 600 * MS);
	if (dice < 3) {
		master_kill(w, power_fails(w));
		start_later(w, NODE_MASTER, between(w, 10 * MS, 700 * MS));
	} else if (dice < 5) {
		stop_server(w, some_server(w), power_fails(w));
	} else if (dice < 6) {
		stop_several(w, true);
	} else if (dice < 8) {
		cut(w, some_server(w), some_node(w), chance(w, 2) == 0);
	} else {
		freeze(w, some_server(w));
	}
}

void fault_happens(struct world *w, const struct event *event)
{
	switch ((enum fault)event->number) {
	case FAULT_ANY:
		something_breaks(w);
		break;
	case FAULT_OF_CHANGE:
		change_breaks(w);
		break;
	case FAULT_STOP:
	case FAULT_POWER:
		stop_server(w, event->a, event->number == FAULT_POWER);
		break;
	case FAULT_LAST_GOES_BACK:
	case FAULT_LAST_GOES_BACK_SOON:
		last_goes_back(w, &w->disks[event->a], event->number == FAULT_LAST_GOES_BACK_SOON);
		break;
	case FAULT_RIGHT_DISK:
		right_disk(w, &w->disks[event->a]);
		break;
	case FAULT_SESSION_ENDS:
		session_breaks(w);
		break;
	case FAULT_OLDER_STORE:
		w->busy_until = w->now + between(w, 50 * MS, 600 * MS);
		older_store(w, power_fails(w));
		break;
	case FAULT_SESSION_GOES_ON:
		session_goes_on(w);
		break;
	case FAULT_GIVE_UP:
		conn_tell_closed(w, event->conn, 0);
		conn_tell_closed(w, event->conn, 1);
		break;
	}
}

void node_starts(struct world *w, unsigned node)
{
	if (w->nodes[node].alive || (node == NODE_MASTER && w->to_be_accepted))
		return;
	/* The machine is up before the process: connections are refused then. */
	if (!w->nodes[node].powered) {
		w->nodes[node].powered = true;
		start_later(w, node, between(w, 1 * MS, 500 * MS));
	} else if (node == NODE_MASTER) {
		sim_master_start(w);
	} else if (is_server(node)) {
		server_start(w, node);
	}
}

void heal(struct world *w)
{
	trace(w, "no more faults");
	twin_ends(w);
	w->healed = true;
	w->healed_at = w->now;
	memset(w->cut_until, 0, sizeof(w->cut_until));
	for (unsigned d = 0; d < DISKS_MAX; d++) {
		right_disk(w, &w->disks[d]);
		w->disks[d].full_until = 0;
		if (w->disks[d].env != NULL && w->disks[d].down)
			schedule(w, w->now + chance(w, 100 * MS), EV_DISK_BACK, w->disks[d].server)
				->a = d;
	}
	for (unsigned node = 0; node <= NODE_MASTER; node++)
		if (!w->nodes[node].alive && (node == NODE_MASTER || w->servers[node].there))
			start_later(w, node, chance(w, 2 * SEC));
}

/* What cannot be read at the only member that has it is given up. */
static void repair_damage(struct world *w, unsigned p, const struct map_chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++) {
		unsigned d = w->disk_of[chain->members[i].target_id];
		struct disk *disk = d == DISKS_MAX ? NULL : &w->disks[d];

		if (disk == NULL || disk->env == NULL || disk->chains[p] == NULL ||
		    !chain_count(disk->chains[p]).damaged)
			continue;
		trace(w, "damage at target %u is given up", chain->members[i].target_id);
		w->partitions[p].accepted = true;
		memset(disk->damaged, 0, sizeof(disk->damaged));
	}
}

/* What all that are there of the chain lack is given up: with one of them, or empty with another. */
static void accept_loss(struct world *w, unsigned p, const struct map_chain *chain)
{
	const struct cluster_map *map = w->master.state_map;

	for (uint32_t i = 0; i < chain->count; i++)
		if (chain_manager_accept_data_loss(w->master.manager, map, POOL, p,
						   chain->members[i].target_id) == 0) {
			trace(w, "loss is accepted in partition %u", p);
			w->partitions[p].accepted = true;
			return;
		}
	for (size_t i = 0; i < map->target_count; i++)
		if (chain_manager_accept_data_loss(w->master.manager, map, POOL, p,
						   map->targets[i].id) == 0) {
			trace(w, "partition %u begins empty", p);
			w->partitions[p].accepted = true;
			return;
		}
}

void administrator_looks(struct world *w)
{
	const struct map_pool *pool;

	administrator_of_stores(w);
	if (!w->healed || w->now < w->healed_at + 20 * SEC || !w->nodes[NODE_MASTER].alive ||
	    w->master.planned_index != 0 || !may_serve(w))
		return;
	pool = cluster_map_pool(w->master.state_map, POOL);
	for (unsigned p = 0; p < w->options.partitions; p++) {
		if (w->options.damage)
			repair_damage(w, p, &pool->chains[p]);
		if (is_lost(w, p))
			accept_loss(w, p, &pool->chains[p]);
	}
}
