/* Goal: whatever connections, processes, disks and power do, a chain of three members loses nothing
 * that it must keep, shows nothing that it must not show, ends with equal copies, and always goes
 * on when the trouble is over. Method: the real chain members and walks, on modelled disks and
 * wires and one simulated clock. Clients write, read, flush and repeat; the seed breaks wires,
 * kills servers (one or all), cuts power, freezes servers, fails and fills disks, lets leases run
 * out, changes chains. Meanwhile neighbours at rest are compared (chain_equal.h). Then histories of
 * all blocks are checked, and the copies compared. Can it fail? Faults planted in the chain
 * (chunkserver/base/chain_faults.h) must each be found.
 *
 *   chain_test [--seeds N] [--seed S] [--plant NAME] [--verbose]
 *
 * Without arguments: 300 seeds, and every planted fault until it is found; with CATENA_SIM_SEEDS in
 * the environment, so many seeds and no faults. */
#include "chunkserver/base/chain_faults.h"
#include "chunkserver/chain/chain.h"
#include <errno.h>
#include "common/os/log.h"
#include "tests/sim/chain/clients.h"
#include "tests/sim/chain/equality.h"

#define OPS_EACH   150u
#define EVENTS_MAX 3000000u

/* ---- trouble ---- */

/* What was answered and is not durable yet may be lost now, and a flush later does not bring it
 * back. */
static void power_was_cut(struct world *w)
{
	for (unsigned p = 0; p < PARTITIONS; p++)
		for (unsigned c = 0; c < REGISTERS; c++)
			for (unsigned b = 0; b < MODEL_BLOCKS; b++) {
				struct history *h = &w->histories[p][c][b];

				for (size_t i = 0; i < h->count; i++)
					if (h->entries[i].write && h->entries[i].ended != NEVER &&
					    h->entries[i].durable == NEVER)
						h->entries[i].exposed = true;
			}
}

/* As the master does it when nobody may have what was answered, and before anybody serves who lacks
 * it. */
static void next_epochs(struct world *w)
{
	for (unsigned p = 0; p < PARTITIONS; p++)
		w->configs[p].epoch++;
	tell_config(w);
}

static void kill_one(struct world *w, bool power)
{
	unsigned victim = (unsigned)chance(w, SERVERS);
	uint64_t back = w->now + between(w, 2 * MS, 200 * MS);

	trace(w, "%s server %u", power ? "power off" : "kill", victim);
	if (w->servers[victim].alive)
		make_unsure(w, victim);
	server_kill(w, victim, power);
	if (power) {
		power_was_cut(w);
		next_epochs(w);
	}
	if (w->options.reconfigure && chance(w, 2) == 0) {
		schedule(w, w->now + 30 * MS, EV_TAKE_OUT, victim, 0)->number =
			w->servers[victim].incarnation;
		back += 40 * MS;
	}
	schedule(w, back, EV_RESTART, victim, 0);
}

static void kill_all(struct world *w, bool power)
{
	trace(w, "%s all", power ? "power off" : "kill");
	for (unsigned i = 0; i < SERVERS; i++) {
		server_kill(w, i, power);
		if (power)
			power_was_cut(w);
		schedule(w, w->now + between(w, 2 * MS, 100 * MS), EV_RESTART, i, 0);
	}
	next_epochs(w);
}

static void fail_store(struct world *w, unsigned number)
{
	struct server *s = &w->servers[number];

	if (!s->alive || s->store_down)
		return;
	trace(w, "disk of server %u fails", number);
	s->store_down = true;
	server_time(w, number);
	chain_store_failed(s->env);
	server_run(w, number);
	for (unsigned other = 0; other < SERVERS; other++)
		wire_break(w, other, number);
	schedule(w, w->now + between(w, 5 * MS, 60 * MS), EV_STORE_BACK, number, 0)->generation =
		s->incarnation;
}

static void store_back(struct world *w, const struct event *event)
{
	struct server *s = &w->servers[event->a];

	if (s->incarnation != event->generation)
		return;
	/* Not before everything that the store was asked has come back. */
	for (size_t i = 0; i < w->heap_count; i++)
		if (w->heap[i].event->kind == EV_STORE && w->heap[i].event->a == event->a) {
			schedule(w, w->now + 5 * MS, EV_STORE_BACK, event->a, 0)->generation =
				s->incarnation;
			return;
		}
	s->store_down = false;
	halves_stay(history_of, w, &s->store);
	server_time(w, event->a);
	chain_store_back(s->env);
	server_run(w, event->a);
	for (unsigned other = 0; other < SERVERS; other++)
		wire_break(w, other, event->a);
}

/* Once at a time: what arrives meanwhile must stay in order. */
static void freeze(struct world *w, unsigned number)
{
	if (w->servers[number].frozen_until <= w->now)
		w->servers[number].frozen_until = w->now + between(w, 5 * MS, 120 * MS);
}

/* With one good copy everything can be mended. */
static bool others_damaged(struct world *w, unsigned number, const struct chunk_key *key)
{
	for (unsigned i = 0; i < SERVERS; i++)
		if (i != number && *damage_of(&w->servers[i], key))
			return true;
	return false;
}

/* A copy goes bad: it is to be made good from another one. Where chains do not change, that can
 * only be the one before it. */
static void damage(struct world *w, unsigned number)
{
	struct server *s = &w->servers[number];
	unsigned slot;

	if (s->store.count == 0)
		return;
	slot = (unsigned)chance(w, s->store.count);
	if (w->options.reconfigure && others_damaged(w, number, &s->store.chunks[slot]->key))
		return;
	if (s->store.chunks[slot]->exists &&
	    (w->options.reconfigure || s->store.chunks[slot]->key.partition != number))
		s->damaged[slot] = true;
}

/* Its lease is over, so the others go on without it; it is alive, and what it has sent, and still
 * sends until it hears of that, is of the old epoch. */
static void expel(struct world *w, unsigned number)
{
	if (!w->options.reconfigure || !w->servers[number].alive)
		return;
	trace(w, "server %u is expelled", number);
	w->servers[number].lease_until = w->now;
	take_out(w, number);
}

static void fill_disk(struct world *w, unsigned number)
{
	w->servers[number].no_space_until = w->now + between(w, 5 * MS, 100 * MS);
}

static void something_breaks(struct world *w)
{
	unsigned a = (unsigned)chance(w, SERVERS), b = (unsigned)chance(w, SERVERS);
	uint64_t dice = chance(w, 100);

	w->faults++;
	for (unsigned i = 0; w->options.rough && i < SERVERS; i++)
		if (chance(w, 4) == 0)
			fill_disk(w, i);
	trace(w, "fault %llu (%u, %u)", (unsigned long long)dice, a, b);
	if (dice < 25)
		wire_break(w, a, b);
	else if (dice < 35)
		w->clients[chance(w, CLIENTS)].generation[a]++;
	else if (dice < 60)
		kill_one(w, w->options.power && chance(w, 2) == 0);
	else if (dice < 70)
		kill_all(w, w->options.power && chance(w, 2) == 0);
	else if (dice < 75)
		damage(w, a);
	else if (dice < 80 && chance(w, 2) == 0)
		expel(w, a);
	else if (dice < 80)
		freeze(w, a);
	else if (dice < 87)
		fail_store(w, a);
	else if (dice < 94)
		fill_disk(w, a);
	else
		w->servers[a].lease_until = w->now + (chance(w, 2) == 0 ? 0 : 10 * MS);
}

/* What only one member has in-sync, and damaged, nobody can mend. */
static bool others_whole(struct world *w, unsigned number, const struct chunk_key *key)
{
	if (in_sync_count(&w->configs[key->partition]) < SERVERS)
		return false;
	for (unsigned i = 0; i < SERVERS; i++) {
		const struct model_chunk *chunk = model_chunk(&w->servers[i].store, key);

		if (i != number && chunk->exists && chunk->version == 0)
			return false;
	}
	return true;
}

static void heal(struct world *w)
{
	w->healed = true;
	for (unsigned i = 0; i < SERVERS; i++) {
		w->servers[i].no_space_until = 0;
		w->servers[i].lease_until = NEVER;
	}
	for (unsigned i = 0; i < SERVERS; i++)
		for (unsigned slot = 0; slot < w->servers[i].store.count; slot++)
			if (!others_whole(w, i, &w->servers[i].store.chunks[slot]->key))
				w->servers[i].damaged[slot] = false;
}

/* ---- the world's course ---- */

static int server_of(const struct event *event)
{
	switch (event->kind) {
	case EV_FRAME:
	case EV_ASK:
	case EV_LOST_BY_OTHER:
		return (int)event->b;
	case EV_REPLY:
	case EV_STORE:
	case EV_TICK:
	case EV_LOST_BY_OPENER:
	case EV_CONFIG:
	case EV_SESSIONS:
		return (int)event->a;
	default:
		return -1;
	}
}

/* Is it still to happen, now, at this server? */
static bool takes_place(struct world *w, const struct event *event)
{
	int number = server_of(event);
	const struct server *s = number < 0 ? NULL : &w->servers[number];

	if (event->kind == EV_FREE || (s != NULL && !s->alive))
		return false;
	switch (event->kind) {
	case EV_FRAME:
	case EV_REPLY:
		return w->wires[event->a][event->b].up &&
		       w->wires[event->a][event->b].generation == event->generation;
	case EV_ASK:
	case EV_TELL:
		return w->clients[event->a].generation[event->b] == event->generation;
	case EV_STORE:
	case EV_TICK:
		return s->incarnation == event->generation;
	default:
		return true;
	}
}

static void at_server(struct world *w, struct event *event, unsigned number)
{
	struct server *s = &w->servers[number];

	server_time(w, number);
	switch (event->kind) {
	case EV_FRAME:
		frame_arrived(w, event);
		break;
	case EV_REPLY:
		chain_answer(s->chains[event->header.key.partition],
			     w->wires[event->a][event->b].opener_id, &event->header,
			     event->payload);
		break;
	case EV_ASK:
		client_asks(w, event);
		break;
	case EV_STORE:
		operation_ended(w, event);
		break;
	case EV_TICK:
		chain_tick(s->env);
		schedule(w, w->now + 20 * MS, EV_TICK, number, 0)->generation = s->incarnation;
		break;
	case EV_CONFIG:
		server_hears_sessions(w, number);
		server_configure(w, number);
		break;
	case EV_SESSIONS:
		server_hears_sessions(w, number);
		break;
	default:
		connection_lost(w, event);
		break;
	}
	server_run(w, number);
	equality_check(w, number);
}

static void elsewhere(struct world *w, struct event *event)
{
	switch (event->kind) {
	case EV_TELL:
		client_told(w, event);
		break;
	case EV_CONNECT:
		try_connect(w, event->a, event->b);
		break;
	case EV_ISSUE:
		client_issues(w, event->a);
		break;
	case EV_TIMEOUT:
		client_waited(w, event);
		break;
	case EV_FAULT:
		something_breaks(w);
		break;
	case EV_RESTART:
		if (!w->servers[event->a].alive)
			server_start(w, event->a);
		break;
	case EV_TAKE_OUT:
		if (!w->servers[event->a].alive &&
		    w->servers[event->a].incarnation == event->number)
			take_out(w, event->a);
		break;
	case EV_TAKE_IN:
		(void)take_in(w);
		consider_removal(w);
		break;
	case EV_REMOVE:
		remove_at(w, event->a, event->b);
		break;
	case EV_STORE_BACK:
		store_back(w, event);
		break;
	default:
		abort();
	}
}

static void step(struct world *w)
{
	struct event *event = heap_pop(w);
	int number = server_of(event);

	w->now = event->time;
	w->events++;
	if (number >= 0 && w->servers[number].frozen_until > w->now) {
		event->time = w->servers[number].frozen_until;
		heap_push(w, event);
		return;
	}
	if (takes_place(w, event)) {
		if (number >= 0)
			at_server(w, event, (unsigned)number);
		else
			elsewhere(w, event);
	}
	buf_unref(event->payload);
	free(event);
}

static bool quiet(struct world *w)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (w->clients[i].left > 0)
			return false;
		for (unsigned j = 0; j < OUTSTANDING + CLOSINGS; j++)
			if (w->clients[i].ops[j].busy)
				return false;
	}
	for (unsigned i = 0; i < SERVERS; i++)
		for (unsigned p = 0; p < PARTITIONS; p++) {
			const struct chain *chain = w->servers[i].chains[p];

			if (!w->servers[i].alive || w->servers[i].store_down ||
			    chain_epoch(chain) != w->configs[p].epoch ||
			    in_sync_count(&w->configs[p]) != SERVERS || !chain_is_ready(chain) ||
			    chain_count(chain).pending + chain_count(chain).queued > 0)
				return false;
		}
	for (size_t i = 0; i < w->heap_count; i++)
		if (w->heap[i].event->kind == EV_REMOVE || w->heap[i].event->kind == EV_FAULT ||
		    w->heap[i].event->kind == EV_RESTART ||
		    (w->heap[i].event->kind == EV_STORE &&
		     w->heap[i].event->action == CHAIN_REMOVE))
			return false;
	return true;
}

/* ---- the end ---- */

static void tell_state(struct world *w)
{
	for (unsigned i = 0; i < SERVERS; i++)
		for (unsigned p = 0; p < PARTITIONS && w->servers[i].alive; p++) {
			struct chain_counts c = chain_count(w->servers[i].chains[p]);

			fprintf(stderr,
				"  server %u partition %u epoch %llu link %s ready %d queued %zu "
				"pending %zu held %zu\n",
				i, p, (unsigned long long)chain_epoch(w->servers[i].chains[p]),
				chain_link_name(c.link), chain_is_ready(w->servers[i].chains[p]),
				c.queued, c.pending, c.held);
		}
}

static void compare_copies(struct world *w)
{
	for (unsigned slot = 0; slot < w->servers[0].store.count; slot++) {
		const struct model_chunk *first = w->servers[0].store.chunks[slot];
		unsigned temporary = (unsigned)first->key.file_id;

		if (temporary >= FILE_TEMPORARY && temporary < FILE_TEMPORARY + w->temporary &&
		    first->exists)
			problem(w, "a removed chunk came back");
		for (unsigned i = 1; i < SERVERS; i++) {
			const struct model_chunk *other =
				model_chunk(&w->servers[i].store, &first->key);

			/* Epochs may differ: of an update that was on its way when the chain
			 * changed each member notes the one in which it got it. */
			if (first->exists != other->exists || first->version != other->version ||
			    memcmp(first->blocks, other->blocks, sizeof(first->blocks)) != 0) {
				problem(w, "copies differ in the end");
				trace(w,
				      "chunk %u/%llu: server 0 has %d %llu/%llu, server %u %d "
				      "%llu/%llu",
				      first->key.partition, (unsigned long long)first->key.file_id,
				      first->exists, (unsigned long long)first->epoch,
				      (unsigned long long)first->version, i, other->exists,
				      (unsigned long long)other->epoch,
				      (unsigned long long)other->version);
			}
		}
	}
	for (unsigned i = 1; i < SERVERS; i++)
		for (unsigned slot = 0; slot < w->servers[i].store.count; slot++) {
			const struct model_chunk *chunk = w->servers[i].store.chunks[slot];

			if (chunk->exists &&
			    !model_chunk(&w->servers[0].store, &chunk->key)->exists)
				problem(w, "a copy is there that the others do not have");
		}
}

static void read_everything(struct world *w)
{
	for (unsigned c = 0; c < CLIENTS; c++)
		w->clients[c].left = 0;
	for (uint32_t i = 0; i < PARTITIONS * REGISTERS; i++) {
		struct op *op = &w->clients[i % CLIENTS].ops[i / CLIENTS];

		*op = (struct op){.busy = true,
				  .kind = FRAME_READ,
				  .key = {.pool = POOL,
					  .partition = i % PARTITIONS,
					  .file_id = i / PARTITIONS},
				  .blocks = MODEL_BLOCKS,
				  .begun = w->now};
		op_send(w, i % CLIENTS, i / CLIENTS);
	}
}

static void check_histories(struct world *w)
{
	for (unsigned p = 0; p < PARTITIONS && w->problem == NULL; p++)
		for (unsigned c = 0; c < REGISTERS; c++)
			for (unsigned b = 0; b < MODEL_BLOCKS && !w->mixed[p][c]; b++) {
				struct history *h = &w->histories[p][c][b];
				const char *wrong = w->options.power ? history_durable(h)
								     : history_linearizable(h);

				if (wrong == NULL)
					continue;
				problem(w, wrong);
				if (!w->options.verbose)
					return;
				fprintf(stderr, "  partition %u chunk %u block %u:\n", p, c, b);
				history_print(h);
				return;
			}
}

static void run_until_quiet(struct world *w)
{
	uint64_t deadline = w->now + 20000 * MS;

	while (w->problem == NULL && w->heap_count > 0 && !(w->events % 16 == 0 && quiet(w))) {
		if (w->now > deadline || w->events > EVENTS_MAX) {
			problem(w, "something waits for ever");
			if (w->options.verbose)
				tell_state(w);
			return;
		}
		step(w);
	}
}

static void world_start(struct world *w)
{
	w->random = w->options.seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	w->now = MS;
	for (unsigned p = 0; p < PARTITIONS; p++) {
		struct chain_config *config = &w->configs[p];

		config->epoch = 1;
		config->chunk_size = MODEL_BYTES;
		config->count = SERVERS;
		for (unsigned i = 0; i < SERVERS; i++) {
			config->members[i].target_id = (p + i) % SERVERS + 1;
			config->members[i].server_id = (p + i) % SERVERS + 1;
			config->members[i].state = MEMBER_IN_SYNC;
		}
	}
	world_ops.ops_kept = w->options.narrow ? NARROW : 0;
	for (unsigned i = 0; i < SERVERS; i++) {
		w->servers[i].store.ops_kept = world_ops.ops_kept;
		server_start(w, i);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		w->clients[i].left = OPS_EACH;
		schedule(w, w->now + chance(w, 30 * MS), EV_ISSUE, i, 0);
	}
	for (uint64_t n = chance(w, 25) + (w->options.rough ? chance(w, 50) : 0); n > 0; n--)
		schedule(w, w->now + chance(w, 600 * MS), EV_FAULT, 0, 0);
	schedule(w, w->now + 20 * MS, EV_TAKE_IN, 0, 0);
}

static void world_end(struct world *w)
{
	for (unsigned i = 0; i < SERVERS; i++)
		server_kill(w, i, false);
	if (w->in_flight != 0)
		problem(w, "bytes are still counted as in flight");
	while (w->heap_count > 0) {
		struct event *event = heap_pop(w);

		buf_unref(event->payload);
		free(event);
	}
	free(w->heap);
	cluster_map_unref(w->sessions);
	for (unsigned i = 0; i < SERVERS; i++)
		model_free(&w->servers[i].store);
	for (unsigned p = 0; p < PARTITIONS; p++)
		for (unsigned c = 0; c < REGISTERS; c++)
			for (unsigned b = 0; b < MODEL_BLOCKS; b++)
				free(w->histories[p][c][b].entries);
}

/* NULL, or what went wrong. */
static const char *run_seed(uint64_t seed, bool verbose)
{
	struct world *w = calloc(1, sizeof(*w));
	const char *wrong;

	if (w == NULL)
		abort();
	w->options = (struct options){.seed = seed,
				      .power = seed % 3 == 0,
				      .reconfigure = seed % 3 != 0 && seed % 2 == 0,
				      .slow = seed % 5 == 0 || seed % 7 == 6,
				      .rough = seed % 7 == 6,
				      .narrow = seed / 6 % 2 == 0,
				      .verbose = verbose};
	world_start(w);
	while (w->problem == NULL && w->now < 700 * MS)
		step(w);
	heal(w);
	run_until_quiet(w);
	read_everything(w);
	run_until_quiet(w);
	if (w->problem == NULL)
		compare_copies(w);
	if (w->problem == NULL)
		check_histories(w);
	if (verbose)
		fprintf(stderr,
			"  events %zu faults %zu losses %zu closings %zu looks at rest %zu "
			"simulated %llu ms epoch %llu\n",
			w->events, w->faults, w->losses, w->closings, w->equal_looks,
			(unsigned long long)(w->now / MS), (unsigned long long)w->configs[0].epoch);
	world_end(w);
	wrong = w->problem;
	free(w);
	return wrong;
}

/* ---- planted faults ---- */

static const struct {
	const char *name;
	enum chain_fault fault;
	uint64_t first; /* seed: the fault is rare; 0: any */
} plants[] = {
	{"ack-before-successor", CHAIN_FAULT_ACK_BEFORE_SUCCESSOR, 0},
	{"no-duplicate-check", CHAIN_FAULT_NO_DUPLICATE_CHECK, 0},
	{"commit-out-of-order", CHAIN_FAULT_COMMIT_OUT_OF_ORDER, 0},
	{"no-gap-check", CHAIN_FAULT_NO_GAP_CHECK, 0},
	{"serve-unready", CHAIN_FAULT_SERVE_UNREADY, 0},
	{"forget-behind-cursor", CHAIN_FAULT_FORGET_BEHIND_CURSOR, 0},
	{"resume-unequal", CHAIN_FAULT_RESUME_UNEQUAL, 0},
	{"never-strict", CHAIN_FAULT_NEVER_STRICT, 0},
	{"copy-while-changed", CHAIN_FAULT_COPY_WHILE_CHANGED, 0},
	{"forget-loss", CHAIN_FAULT_FORGET_LOSS, 0},
	{"evict-unanswered", CHAIN_FAULT_EVICT_UNANSWERED, 0},
	{"drop-begun", CHAIN_FAULT_DROP_BEGUN, 0},
	{"forget-altered", CHAIN_FAULT_FORGET_ALTERED, 16600},
};
#define PLANTS (sizeof(plants) / sizeof(plants[0]))

static int find_plants(uint64_t first, uint64_t seeds)
{
	int missed = 0;

	for (size_t i = 0; i < PLANTS; i++) {
		const char *wrong = NULL;
		uint64_t begin = plants[i].first != 0 ? plants[i].first : first, seed = begin;

		chain_planted_fault = plants[i].fault;
		for (; seed < begin + seeds && wrong == NULL; seed++)
			wrong = run_seed(seed, false);
		chain_planted_fault = CHAIN_FAULT_NONE;
		if (wrong == NULL) {
			printf("planted %s: NOT FOUND in %llu seeds\n", plants[i].name,
			       (unsigned long long)seeds);
			missed++;
		} else {
			printf("planted %s: found by seed %llu: %s\n", plants[i].name,
			       (unsigned long long)(seed - 1), wrong);
		}
	}
	return missed;
}

/* Seeds that showed a fault once, of the chain or of the test. */
static const uint64_t kept[] = {
	910047344,  /* nobody whole was left in-sync: the master waited for one for ever */
	268,        /* a predecessor took an answer of an epoch that it had not heard of */
	3652,       /* of a chain that went on with a mixture something was said to be lost */
	3000123706, /* a walk was dropped by what it let go on, and went on itself */
};

static unsigned seed_fails(uint64_t seed, bool verbose, const char *program, const char *plant)
{
	const char *wrong = run_seed(seed, verbose);

	if (wrong == NULL)
		return 0;
	printf("seed %llu: %s; again: %s --seed %llu --verbose%s%s\n", (unsigned long long)seed,
	       wrong, program, (unsigned long long)seed, plant[0] != 0 ? " --plant " : "", plant);
	fflush(stdout);
	return 1;
}

static int usage(void)
{
	fprintf(stderr, "usage: chain_test [--seeds N] [--seed S] [--plant NAME] [--verbose]\n");
	return 64;
}

int main(int argc, char **argv)
{
	uint64_t seeds = 300, first = 1, failed = 0;
	const char *fewer = argc == 1 ? getenv("CATENA_SIM_SEEDS") : NULL;
	bool verbose = false, planted = false;
	const char *plant = "";

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0) {
			verbose = true;
		} else if (i + 1 >= argc) {
			return usage();
		} else if (strcmp(argv[i], "--seeds") == 0) {
			seeds = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--seed") == 0) {
			first = strtoull(argv[++i], NULL, 10);
			seeds = 1;
		} else if (strcmp(argv[i], "--plant") == 0) {
			plant = argv[++i];
			for (size_t p = 0; p < PLANTS; p++)
				if (strcmp(plant, plants[p].name) == 0)
					chain_planted_fault = plants[p].fault;
			planted = chain_planted_fault != CHAIN_FAULT_NONE;
			if (!planted)
				return usage();
		} else {
			return usage();
		}
	}
	if (fewer != NULL)
		seeds = strtoull(fewer, NULL, 10);
	if (verbose)
		log_set_level(LOG_LEVEL_DEBUG);
	else
		(void)log_open("/dev/null"); /* disks that fail are nothing to tell here */
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]) && argc == 1; i++)
		failed += seed_fails(kept[i], verbose, argv[0], "");
	for (uint64_t seed = first; seed < first + seeds; seed++)
		failed += seed_fails(seed, verbose, argv[0], planted ? plant : "");
	printf("%llu seeds from %llu, %llu failed\n", (unsigned long long)seeds,
	       (unsigned long long)first, (unsigned long long)failed);
	if (failed == 0 && !planted && argc == 1 && fewer == NULL)
		failed = (uint64_t)find_plants(1, 3000);
	return failed == 0 ? 0 : 1;
}
