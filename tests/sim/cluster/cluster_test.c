/* Goal: whatever networks, processes, machines, disks, power and clocks do, a cluster loses nothing
 * that it must keep, shows nothing that it must not show, and is whole again by itself when the
 * trouble is over. Method: the code of chain members and walks, of the master's state and chain
 * manager, and of the mount's routing, on modelled disks, wires and clocks; everything in one
 * process on one simulated time. Clients write, read, flush, punch and repeat; the seed decides
 * what breaks. Meanwhile neighbours at rest are compared (chain_equal.h). Then the histories of all
 * blocks are checked, and the copies compared (checks.h). Can it fail? Faults planted in chain and
 * manager must each be found.
 *
 *   cluster_test [--seeds N] [--seed S [--every N]] [--plant NAME] [--verbose]
 *
 * --seed S alone runs that seed, with --seeds N that and the next ones, or each Nth. Without
 * arguments: 3000 seeds, those kept, and every planted fault until it is found, but resume-unequal
 * and forget-altered, which are rare here and found by chain_test; with CATENA_SIM_SEEDS in the
 * environment, so many seeds and no faults (under sanitizers each takes much longer). */
#include "tests/sim/cluster/faults.h"
#include "tests/sim/cluster/plants.h"

#define EVENTS_MAX  3000000u
#define TROUBLE     (14 * SEC)
#define PATIENCE    (150 * SEC)
#define SEEDS       3000u
#define PLANT_SEEDS 8000u

/* ---- the world's course ---- */

/* Is it still to happen, now, at this node? */
static bool takes_place(struct world *w, struct event *event)
{
	struct conn *c;

	if (event->node == NOWHERE)
		return event->kind != EV_STORE;
	if (event->kind == EV_MESSAGE)
		return message_comes(w, event);
	if (event->life != w->nodes[event->node].life || !w->nodes[event->node].alive) {
		if (event->kind == EV_CONNECTED && w->nodes[event->node].powered) {
			conn_of(w, event->conn)->open[0] = false;
			conn_tell_closed(w, event->conn, 1);
		}
		return false;
	}
	if (event->kind == EV_CLOSED) {
		c = conn_of(w, event->conn);
		if (!c->open[event->side])
			return false;
		c->open[event->side] = false;
	}
	return true;
}

/* False: the event has gone back into the queue. */
static bool elsewhere(struct world *w, struct event *event)
{
	switch (event->kind) {
	case EV_CONNECT:
		if (connect_arrives(w, event))
			return true;
		heap_push(w, event);
		return false;
	case EV_PROBE:
		probe_arrives(w, event);
		return true;
	case EV_FAULT:
		if (!w->healed)
			fault_happens(w, event);
		return true;
	case EV_START:
		node_starts(w, event->a);
		return true;
	case EV_IMAGE:
		disk_copy(&w->disks[event->a]);
		return true;
	case EV_STORE_IMAGE:
		store_copied(w);
		return true;
	case EV_CHECK:
		administrator_looks(w);
		schedule(w, w->now + 1 * SEC, EV_CHECK, NOWHERE);
		return true;
	default:
		abort();
	}
}

static void step(struct world *w)
{
	struct event *event = heap_pop(w);
	unsigned node = event->node;

	w->now = event->time;
	w->events++;
	if (node < NODES && w->nodes[node].alive && w->nodes[node].frozen_until > w->now) {
		event->time = w->nodes[node].frozen_until;
		heap_push(w, event);
		return;
	}
	if (takes_place(w, event)) {
		if (node == NOWHERE) {
			if (!elsewhere(w, event))
				return;
		} else if (is_server(node)) {
			at_server(w, event);
		} else if (node == NODE_MASTER) {
			at_master(w, event);
		} else {
			at_client(w, event);
		}
	}
	event_free(w, event);
}

static void run_until_quiet(struct world *w)
{
	uint64_t deadline = w->now + PATIENCE;
	uint64_t accepted = w->accepted;

	while (w->problem == NULL && !(w->events % 32 == 0 && quiet(w))) {
		/* The administrator may put stores back for long before one is accepted. */
		if (w->accepted != accepted)
			deadline = w->now + PATIENCE;
		accepted = w->accepted;
		if (w->now > deadline || w->events > EVENTS_MAX) {
			problem(w, "something waits for ever");
			tell_state(w);
			return;
		}
		step(w);
	}
}

static void read_everything(struct world *w)
{
	for (unsigned i = 0; i < w->options.partitions * FILES && w->problem == NULL; i++) {
		unsigned c = i % CLIENTS;
		struct op *op = &w->clients[c].ops[0];

		if (op->state != OP_IDLE)
			run_until_quiet(w);
		*op = (struct op){
			.route = {.op = FRAME_READ,
				  .key = {.pool = POOL,
					  .partition = i / FILES,
					  .file_id = i % FILES == 0 ? FILE_EXACT : FILE_MIXED}},
			.blocks = MODEL_BLOCKS,
			.begun = w->now};
		op_route(w, c, op);
	}
	run_until_quiet(w);
}

/* ---- beginning and end ---- */

static void choose_options(struct world *w)
{
	struct options *o = &w->options;

	o->servers = 4 + (unsigned)chance(w, 2);
	o->partitions = 4 + (unsigned)chance(w, 5);
	o->several = chance(w, 3) != 0;
	o->power = chance(w, 2) == 0;
	o->old_disks = chance(w, 3) == 0;
	o->loss = o->old_disks && chance(w, 4) == 0;
	o->damage = chance(w, 4) == 0;
	/* Without chance: the others are as they would be without. */
	o->fences = o->seed % 3 == 0;
	o->older = o->seed % 5 == 2;
	if (o->older)
		o->old_disks = o->loss = false;
	w->manager_options = (struct chain_manager_options){
		.lease_ns = 2 * SEC,
		.margin_ns = 500 * MS,
		.replace_after_ns = between(w, 4 * SEC, 20 * SEC),
		.gather_ns = 200 * MS,
		.return_ns = 3 * SEC,
		.unreachable_ns = 3 * SEC,
		.moves_max = 2,
	};
}

static void place_disks(struct world *w)
{
	for (unsigned t = 0; t < TARGETS_MAX; t++)
		w->disk_of[t] = DISKS_MAX;
	for (unsigned i = 0; i < SERVERS_MAX + 2; i++)
		w->server_of[i] = SERVERS_MAX;
	for (unsigned s = 0; s < w->options.servers; s++)
		w->manager_options.initial_targets += server_disks(w, s);
}

static void plan_faults(struct world *w)
{
	uint64_t at = 2 * SEC;

	for (uint64_t n = chance(w, 16); n > 0; n--) {
		/* Many come soon after another. */
		if (chance(w, 2) == 0)
			at = between(w, 2 * SEC, TROUBLE - 1 * SEC);
		else
			at += chance(w, 700 * MS);
		schedule(w, at, EV_FAULT, NOWHERE);
	}
	for (uint64_t n = w->options.fences ? 2 + chance(w, 8) : 0; n > 0; n--)
		schedule(w, between(w, 2 * SEC, TROUBLE - 1 * SEC), EV_FAULT, NOWHERE)->number =
			FAULT_SESSION_ENDS;
	for (uint64_t n = w->options.older ? 1 + chance(w, 4) : 0; n > 0; n--)
		schedule(w, between(w, 1 * SEC, TROUBLE - 2 * SEC), EV_STORE_IMAGE, NOWHERE);
	for (uint64_t n = w->options.older ? 1 + chance(w, 3) : 0; n > 0; n--)
		schedule(w, between(w, 2 * SEC, TROUBLE - 1 * SEC), EV_FAULT, NOWHERE)->number =
			FAULT_OLDER_STORE;
	/* Every fourth of these worlds. */
	if (w->options.fences && w->options.seed % 4 == 1)
		schedule(w, between(w, 2 * SEC, TROUBLE - 6 * SEC), EV_FAULT, NOWHERE)->number =
			FAULT_SESSION_GOES_ON;
	for (unsigned d = 0; d < DISKS_MAX && w->options.old_disks; d++)
		if (w->disks[d].used)
			schedule(w, between(w, 1 * SEC, 5 * SEC), EV_IMAGE, NOWHERE)->a = d;
}

static void world_start(struct world *w)
{
	w->random = w->options.seed * 0x9e3779b97f4a7c15ull + 0x7654321;
	for (unsigned i = 0; i < 4; i++)
		(void)chance(w, 2);
	choose_options(w);
	w->options.narrow = w->options.seed % 4 == 2;
	disk_ops.ops_kept = w->options.narrow ? NARROW : 0;
	w->now = MS;
	for (unsigned node = 0; node < NODES; node++) {
		w->nodes[node].drift = (int64_t)chance(w, 80000) - 40000;
		w->nodes[node].clock_base = chance(w, 1000 * SEC);
		w->nodes[node].alive = w->nodes[node].powered = is_client(node);
		w->nodes[node].life = 1;
	}
	for (unsigned c = 0; c < CLIENTS; c++)
		w->clients[c].session = c + 1;
	place_disks(w);
	sim_master_init(w);
	sim_master_start(w);
	for (unsigned s = 0; s < w->options.servers; s++)
		server_start(w, s);
	for (unsigned c = 0; c < CLIENTS; c++) {
		schedule(w, w->now + chance(w, 100 * MS), EV_TICK, NODE_CLIENT + c);
		schedule(w, w->now + 500 * MS + chance(w, 500 * MS), EV_ISSUE, NODE_CLIENT + c);
	}
	schedule(w, w->now + 1 * SEC, EV_CHECK, NOWHERE);
	plan_faults(w);
}

static void world_end(struct world *w)
{
	master_kill(w, false);
	for (unsigned s = 0; s < SERVERS_MAX; s++)
		if (w->servers[s].there)
			server_kill(w, s, false);
	while (w->heap_count > 0)
		event_free(w, heap_pop(w));
	while (w->free_events != NULL) {
		struct event *event = w->free_events;

		w->free_events = event->next_free;
		free(event);
	}
	images_free(w);
	kv_close(w->master.kv);
	free(w->heap);
	free(w->lost);
	free(w->conns);
	for (unsigned d = 0; d < DISKS_MAX; d++)
		disk_free(&w->disks[d]);
	for (unsigned c = 0; c < CLIENTS; c++)
		cluster_map_unref(w->clients[c].map);
	for (unsigned p = 0; p < PARTITIONS_MAX; p++)
		for (unsigned f = 0; f < FILES; f++)
			for (unsigned b = 0; b < MODEL_BLOCKS; b++)
				free(w->partitions[p].histories[f][b].entries);
}

/* NULL, or what went wrong. */
static const char *run_seed(uint64_t seed, bool verbose)
{
	struct world *w = calloc(1, sizeof(*w));
	const char *wrong;

	if (w == NULL)
		abort();
	w->options = (struct options){.seed = seed, .verbose = verbose};
	world_start(w);
	while (w->problem == NULL && w->now < TROUBLE)
		step(w);
	heal(w);
	while (w->problem == NULL && w->now < TROUBLE + 1 * SEC)
		step(w);
	w->ending = true;
	run_until_quiet(w);
	read_everything(w);
	if (w->problem == NULL)
		check_copies(w);
	if (w->problem == NULL)
		check_store(w);
	if (w->problem == NULL)
		check_histories(w);
	if (verbose)
		fprintf(stderr,
			"  events %zu faults %zu operations %zu changes of chains %zu sessions "
			"ended %zu stores put back %llu accepted %llu looks at rest %zu "
			"healed after %llu ms\n",
			w->events, w->faults, w->done, w->changes, w->fences,
			(unsigned long long)w->put_back, (unsigned long long)w->accepted,
			w->equal_looks, (unsigned long long)((w->now - w->healed_at) / MS));
	world_end(w);
	wrong = w->problem;
	free(w);
	return wrong;
}

/* ---- planted faults ---- */

static int find_plants(uint64_t first, uint64_t seeds)
{
	int missed = 0;

	for (size_t i = 0; i < plant_count; i++) {
		const char *wrong = NULL;
		uint64_t begin = plants[i].first != 0 ? plants[i].first : first, seed = begin;

		if (plants[i].rare)
			continue;
		plant(i);
		for (; seed < begin + seeds && wrong == NULL; seed++)
			wrong = run_seed(seed, false);
		plant(plant_count);
		if (wrong == NULL) {
			printf("planted %s: NOT FOUND in %llu seeds\n", plants[i].name,
			       (unsigned long long)seeds);
			missed++;
		} else {
			printf("planted %s: found by seed %llu: %s\n", plants[i].name,
			       (unsigned long long)(seed - 1), wrong);
		}
		fflush(stdout);
	}
	return missed;
}

/* Seeds that showed a fault once, of the cluster or of the test. */
static const uint64_t kept[] = {
	301001338,  /* a half that its process left in place was seen, and repeated after others */
	313003835,  /* the same, when its disk failed */
	312023518,  /* what a syncing member was sent had half of an update, which was then repeated
		     */
	312028451,  /* the same */
	311014458,  /* an update that waited for space made a removed chunk anew */
	311018839,  /* a copy that became in-sync behind its death was thought to have lived on */
	302016252,  /* a fence had come to its end in another store than the one that serves */
	400009907,  /* two stores were accepted, and gave the same epochs */
	311000917,  /* masters on two copies gave new disks the same number */
	1100312414, /* a chunk was removed behind a comparison, for a predecessor that had gone */
	1200096861, /* what was dropped, and not passed on, was shown by a head */
	1200099009, /* a predecessor took those behind to have what was pending between */
	1300117149, /* who had to know first was told of chains in which others lost their place */
	2000161787, /* a copy went on that an accepted store had given up, and then that one served */
	2001026262, /* an accepted store was known by its life alone, and another got as high epochs */
	2002633517, /* a member that only a forgotten chain made equal had lost what was not flushed */
	2002677672, /* an administrator had accepted a store without all disks of a chain */
	2002710277, /* a disk was to be emptied before its master had placed anything */
	2002879147, /* a copy that a forgotten chain was to make equal, and another had dropped */
	2002892007, /* a disk that was not heard knew chains, and the accepted store had placed none */
	2005302066, /* a copy was on its way when its chunk was removed, and the sender died */
	2010017217, /* in-sync members had a chunk or not by orders of a store that was given up */
	2010519800, /* a member went on alone with a copy that had begun, without dying itself */
	2020594222, /* who was not heard when a store was accepted counts as begun anew */
	2003349972, /* who is told first of a loss did not note what it was told with the others */
};

static unsigned seed_fails(uint64_t seed, bool verbose, const char *program, const char *planted)
{
	const char *wrong = run_seed(seed, verbose);

	if (wrong == NULL)
		return 0;
	printf("seed %llu: %s; again: %s --seed %llu --verbose%s%s\n", (unsigned long long)seed,
	       wrong, program, (unsigned long long)seed, planted == NULL ? "" : " --plant ",
	       planted == NULL ? "" : planted);
	fflush(stdout);
	return 1;
}

static int usage(void)
{
	fprintf(stderr, "usage: cluster_test [--seeds N] [--seed S [--every N]] [--plant NAME] "
			"[--verbose]\n");
	return 64;
}

int main(int argc, char **argv)
{
	uint64_t seeds = 0, first = 1, every = 1, failed = 0;
	const char *fewer = argc == 1 ? getenv("CATENA_SIM_SEEDS") : NULL;
	const char *planted = NULL;
	bool verbose = false, one = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0) {
			verbose = true;
		} else if (i + 1 >= argc) {
			return usage();
		} else if (strcmp(argv[i], "--seeds") == 0) {
			seeds = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--seed") == 0) {
			first = strtoull(argv[++i], NULL, 10);
			one = true;
		} else if (strcmp(argv[i], "--every") == 0) {
			every = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--plant") == 0) {
			size_t p = plant_by_name(planted = argv[++i]);

			if (p == plant_count)
				return usage();
			plant(p);
		} else {
			return usage();
		}
	}
	if (fewer != NULL)
		seeds = strtoull(fewer, NULL, 10);
	if (seeds == 0)
		seeds = one ? 1 : SEEDS;
	log_wanted = verbose;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]) && argc == 1; i++)
		failed += seed_fails(kept[i], verbose, argv[0], planted);
	for (uint64_t i = 0; i < seeds; i++)
		failed += seed_fails(first + i * every, verbose, argv[0], planted);
	printf("%llu seeds from %llu, %llu failed\n", (unsigned long long)seeds,
	       (unsigned long long)first, (unsigned long long)failed);
	if (failed == 0 && argc == 1 && fewer == NULL)
		failed = (uint64_t)find_plants(1, PLANT_SEEDS);
	return failed == 0 ? 0 : 1;
}
