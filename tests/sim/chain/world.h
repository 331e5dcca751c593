/* world.h - three chunkservers, their wires, clients and a master, on one simulated clock.
 *
 * Everything that takes time is an event; the seed decides how long it takes and what breaks. */
#ifndef CATENA_TESTS_SIM_CHAIN_WORLD_H
#define CATENA_TESTS_SIM_CHAIN_WORLD_H
#include "common/base/duration.h"
#include "tests/lib/chain_equal.h"
#include "tests/lib/chain_history.h"
#include "tests/lib/chain_store.h"

#define SERVERS      3
#define PARTITIONS   2
#define CLIENTS      3
#define REGISTERS    2u /* chunks of each partition with exact checks */
#define OUTSTANDING  3
#define CLOSINGS     16 /* slots of what closes chunks, behind the others */
#define SESSIONS_MAX 1024u
#define NARROW       4u /* ids in a short list */
#define POOL         1u
#define US           1000ull
#define MS           NS_PER_MSEC

enum event_kind {
	EV_FREE,
	EV_FRAME,   /* a -> b over their wire: a request */
	EV_REPLY,   /* b's answer to a */
	EV_ASK,     /* client a -> server b */
	EV_TELL,    /* server b -> client a */
	EV_STORE,   /* an operation of a's store has ended */
	EV_TICK,    /* of server a */
	EV_CONNECT, /* a tries to reach b */
	EV_LOST_BY_OPENER,
	EV_LOST_BY_OTHER,
	EV_ISSUE,   /* client a begins something */
	EV_TIMEOUT, /* client a has waited for op b */
	EV_FAULT,
	EV_RESTART,    /* server a */
	EV_CONFIG,     /* server a hears of the chains */
	EV_TAKE_OUT,   /* the master gives up server a */
	EV_TAKE_IN,    /* the master looks who is in sync */
	EV_REMOVE,     /* of the temporary chunk b at server a */
	EV_STORE_BACK, /* server a's disk works again */
	EV_SESSIONS,   /* server a hears which sessions are over */
};

struct event {
	uint64_t time;
	enum event_kind kind;
	unsigned a, b;
	uint64_t generation; /* of the wire, or incarnation of the server */
	uint64_t number;
	enum chain_action_kind action; /* EV_STORE */
	struct chain_work *request;
	struct frame_header header;
	struct buf *payload;
	uint64_t mark; /* of the store, when a flush began */
};

/* Where an event stands in the heap. */
struct place {
	uint64_t time, sequence;
	struct event *event;
};

struct wire {
	bool up;
	uint64_t generation, opener_id, other_id;
	uint64_t last[2]; /* delivery times: in order */
};

struct server {
	bool alive, store_down;
	uint64_t incarnation, frozen_until, lease_until, no_space_until;
	struct chain_env *env;
	struct chain *chains[PARTITIONS];
	struct model_store store;
	struct chain_equal_seen equal[PARTITIONS];
	bool damaged[MODEL_CHUNKS]; /* by slot: cannot be read or changed in part */
};

struct op {
	bool busy;
	uint8_t kind;
	bool durable;
	struct chunk_key key;
	uint32_t first, blocks;
	uint64_t value, client_id, op_id, begun, ended, attempt;
	unsigned asked_tail, sends;
	bool failed;
	bool closing, lingers; /* as chain_request's */
	uint64_t covers,
		covers_epoch;         /* what it says must be there: of a flush; the oldest epoch */
	size_t entries[MODEL_BLOCKS]; /* in the histories, of a write */
};

struct client {
	uint64_t last_op_id;
	unsigned session; /* a new one when something was given up */
	unsigned left;    /* ops still to be begun */
	struct op ops[OUTSTANDING + CLOSINGS];
	struct {
		uint64_t version, epoch; /* answered last and not known to be durable; 0: nothing */
	} known[PARTITIONS][REGISTERS];
	uint64_t generation[SERVERS], last[SERVERS][2];
};

struct options {
	uint64_t seed;
	bool power, reconfigure, verbose;
	bool narrow; /* lists of ids are short */
	bool slow;   /* disks; and clients give up */
	bool rough;  /* more breaks, and disks are full again and again */
};

/* The last one of a partition. */
struct report {
	enum chain_report kind;
	uint64_t epoch;
	uint32_t target;
};

struct world {
	struct options options;
	uint64_t random, now, sequence, ids, values;
	struct place *heap;
	size_t heap_count, heap_size;
	struct server servers[SERVERS];
	struct wire wires[SERVERS][SERVERS];
	struct client clients[CLIENTS];
	struct chain_config configs[PARTITIONS]; /* the master's */
	struct report reports[PARTITIONS];
	bool mixed[PARTITIONS][REGISTERS]; /* went on with a copy that has parts of another */
	struct {
		unsigned done;             /* members that have removed it */
		struct chain_config chain; /* when the removal began */
	} removals[MODEL_CHUNKS];          /* of temporary chunks */
	uint64_t in_flight;
	struct cluster_map *sessions; /* says which are over; NULL: none is */
	uint64_t over[SESSIONS_MAX];
	unsigned over_count;
	bool healed;
	unsigned temporary; /* current temporary chunk */
	unsigned temporary_ops;
	uint64_t temporary_idle; /* since when nothing of it is under way */
	struct history histories[PARTITIONS][REGISTERS][MODEL_BLOCKS];
	const char *problem;
	size_t events, faults, losses; /* losses that clients were told of */
	size_t closings, equal_looks;
};

void problem(struct world *w, const char *what);
void __attribute__((format(printf, 2, 3))) trace(const struct world *w, const char *format, ...);

/* ---- chance and time ---- */

uint64_t chance(struct world *w, uint64_t below);
uint64_t between(struct world *w, uint64_t low, uint64_t high);
uint64_t latency(struct world *w);
void heap_push(struct world *w, struct event *event);

/* The gap goes down to a leaf, and the last one up from there: it nearly always belongs low. */
struct event *heap_pop(struct world *w);
struct event *schedule(struct world *w, uint64_t time, enum event_kind kind, unsigned a,
		       unsigned b);
#endif
