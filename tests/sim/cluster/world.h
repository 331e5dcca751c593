/* world.h - a whole cluster on one simulated clock: what there is, chance, and time.
 *
 * Nodes are chunkservers, the master and clients. Whatever takes time is an event; events of a node
 * that is stopped wait until it goes on. The seed decides how long things take and what breaks. */
#ifndef CATENA_TESTS_SIM_CLUSTER_WORLD_H
#define CATENA_TESTS_SIM_CLUSTER_WORLD_H
#include "common/base/duration.h"
#include "tests/lib/chain_equal.h"
#include "tests/lib/chain_history.h"
#include "tests/lib/chain_store.h"
#include "chunkserver/base/chain_faults.h"
#include "chunkserver/chain/chain.h"
#include "chunkserver/worker/client_connections.h"
#include "chunkserver/worker/chain_reports.h"
#include "chunkserver/worker/target_entry.h"
#include "tests/sim/cluster/route.h"
#include "common/cluster/cluster_map.h"
#include "master/chains/manager.h"
#include "master/leases/fences.h"
#include "master/state/state.h"

#define SERVERS_MAX    6u
#define SERVER_IDS_MAX 64u /* accepted stores give new ones */
#define DISKS_EACH     3u
#define DISKS_MAX      (SERVERS_MAX * DISKS_EACH)
#define TARGETS_MAX    64u
#define PARTITIONS_MAX 8u
#define COPIES         3u
#define CLIENTS        3u
#define OUTSTANDING    3u
#define CLOSINGS       16u /* slots of what closes chunks, behind the others */
#define NARROW         4u  /* ids in a short list */
#define POOL           1u
#define NODE_MASTER    SERVERS_MAX
#define NODE_CLIENT    (SERVERS_MAX + 1)
#define NODES          (SERVERS_MAX + 1 + CLIENTS)
#define NOWHERE        NODES
#define FLOORS         4096u
#define REMOVALS_MAX   12u
#define SESSIONS_MAX   64u
#define IMAGES         3u
#define SHOWN_MAX      256u
#define US             1000ull
#define MS             NS_PER_MSEC
#define SEC            NS_PER_SEC

#define FILE_EXACT     0u    /* writes only: histories are checked exactly */
#define FILE_MIXED     100u  /* holes and truncations as well */
#define FILE_TEMPORARY 1000u /* these and above: written, then removed */
#define FILES          2u    /* with histories, in each partition */

enum event_kind {
	EV_MESSAGE,   /* arrives at node over conn */
	EV_CONNECT,   /* node a asks node for a connection */
	EV_CONNECTED, /* node is told that conn stands */
	EV_REFUSED,   /* node is told that node a does not want it, or does not answer */
	EV_CLOSED,    /* node is told that conn is over */
	EV_STORE,     /* an operation of disk a has ended */
	EV_TICK,      /* of a server, client or the master */
	EV_HEARTBEAT, /* of a server */
	EV_PROBE,     /* of the master arrives at server a */
	EV_PROBED,    /* the master is told that nobody listens at server a */
	EV_SYNCED,    /* the master's log is on stable storage up to number */
	EV_ISSUE,     /* a client begins something */
	EV_RETRY,     /* operation a of a client */
	EV_FAULT,
	EV_START,       /* of the process of node a */
	EV_DISK_BACK,   /* disk a works again */
	EV_REMOVAL,     /* the master looks after temporary chunks */
	EV_REMOVE_ASK,  /* remove what is temporary at disk a */
	EV_IMAGE,       /* somebody copies disk a */
	EV_STORE_IMAGE, /* somebody copies the master's store */
	EV_CHECK,
};

/* Numbers of EV_FAULT. */
enum fault {
	FAULT_ANY,
	FAULT_STOP,
	FAULT_POWER,
	FAULT_OF_CHANGE,
	FAULT_GIVE_UP,
	FAULT_LAST_GOES_BACK,
	FAULT_LAST_GOES_BACK_SOON, /* and its server is there again at once */
	FAULT_RIGHT_DISK,
	FAULT_SESSION_ENDS,
	FAULT_OLDER_STORE,
	FAULT_SESSION_GOES_ON
};

enum message_kind {
	MSG_FRAME, /* a request, or an answer, by its flags */
	MSG_REGISTER,
	MSG_REGISTERED,
	MSG_HEARTBEAT,
	MSG_RENEW,
	MSG_MAP,
	MSG_REPORT,
	MSG_COMPLAINT, /* of a client about server number */
	MSG_REMOVE,
	MSG_REMOVED,
};

/* What a server says of one disk. */
struct disk_report {
	unsigned disk;
	uint32_t target_id;
	uint64_t life;
	bool full;
	int error;
	char uuid[37];
	struct store_seen seen;
};

struct event {
	uint64_t time;
	struct event *next_free;
	enum event_kind kind;
	enum message_kind message;
	unsigned node, a;
	uint64_t life; /* of node's process; 0: whichever */
	uint64_t conn, number;
	unsigned side; /* MESSAGE, CLOSED: the receiver's */
	enum chain_action_kind action;
	struct chain_work *request;
	struct frame_header header;
	struct buf *payload;
	uint64_t mark;        /* of the store, when a flush began */
	uint64_t map_version; /* REGISTERED: maps older than this do not know of it; HEARTBEAT: of
			       * whose ended sessions nothing is left */
	bool sampled;         /* READ: at the beginning */
	uint64_t master_life, master_chance; /* REGISTERED */
	uint64_t index;                      /* REGISTERED, RENEW: of the master's log, durable */
	struct report report;                /* MSG_REPORT */
	struct cluster_map *map;
	/* As many as there are; what is behind them is undefined. */
	unsigned report_count, unreachable_count;
	struct disk_report reports[DISKS_EACH];
	uint64_t unreachable[SERVERS_MAX];
};

/* Where an event stands in the heap. */
struct place {
	uint64_t time, sequence;
	struct event *event;
};

/* Frames go in order from either side (0: who opened it, 1: the other). */
struct conn {
	unsigned node[2];
	uint64_t life[2];
	bool open[2];     /* as that side believes */
	bool holed[2];    /* what that side sends is lost from now on */
	bool dropped;     /* what was under way when it broke is lost */
	uint64_t last[2]; /* times of delivery of what that side sent */
	uint64_t session; /* of a client, as it said */
};

struct node {
	bool alive, powered;
	uint64_t life; /* grows with each start and end of the process */
	uint64_t frozen_until;
	int64_t drift; /* ppm of its clock */
	uint64_t clock_base;
};

struct image {
	bool there;
	uint64_t life;
	unsigned count; /* in as many of the disk's slots */
	struct model_chunk *chunks;
};

struct disk {
	bool used; /* belongs to a server that is there */
	bool draining;
	unsigned server, number;
	char uuid[37];
	unsigned wipes;
	uint64_t life;      /* processes that began on it */
	uint64_t life_seen; /* by the master, durably */
	bool old;           /* an old copy, and the master has not taken it in since */
	struct model_store store;
	bool damaged[MODEL_CHUNKS];
	struct image image;
	/* The right disk, while an old copy is in its place. */
	struct {
		bool there;
		uint64_t life;
		struct model_store store;
		bool damaged[MODEL_CHUNKS];
	} aside;
	bool given_up; /* not heard when a store was accepted */
	uint64_t full_until;
	/* Of the process. */
	bool down;
	uint64_t life_said, noted_life; /* of the process that was registered last */
	struct target_entry entry;
	struct chain_env *env;
	struct chain *chains[PARTITIONS_MAX];
	struct chain_equal_seen equal[PARTITIONS_MAX];
	struct world *w;
};

/* The way to another chunkserver, or to the master. */
struct way {
	bool wanted, connecting, up, pinged;
	uint64_t conn, heard, retry_at, retry_ns, quiet_since;
};

#define SENT_KEPT 64u
struct server {
	bool there;  /* since the beginning, or joined */
	uint64_t id; /* as the master said to this process; 0: not registered */
	struct way out[SERVERS_MAX];
	struct way master;
	bool registered;
	uint64_t sequence, sent[SENT_KEPT], lease_until; /* by its own clock */
	uint64_t lease_ns, index_noted;
	struct cluster_map *map;
	struct chain_reports *reports; /* of its chains, to the master */
	uint64_t in_flight;
	struct client_connections clients;
	uint64_t fence_version; /* the highest map of whose ended sessions nothing was left */
};

enum op_state { OP_IDLE, OP_RETRY, OP_WAITING, OP_SENT };
struct op {
	enum op_state state;
	struct route_request route;
	bool durable, failed;
	bool closing, lingers; /* as chain_request's */
	unsigned sends;
	uint32_t first, blocks;
	uint64_t value, op_id, begun, attempt, epoch;
	unsigned server, attempts;
	uint32_t target_id;
	size_t entries[MODEL_BLOCKS]; /* in the histories, of an update */
};

struct client {
	uint64_t session, next_session; /* 0: not known yet */
	bool waits;                     /* for it: the session is over */
	uint64_t last_op_id;
	struct op ops[OUTSTANDING + CLOSINGS];
	struct way to[SERVERS_MAX];
	struct way master;
	struct cluster_map *map;
	uint64_t map_of;                  /* start of the master whose it is */
	uint64_t down_since[SERVERS_MAX]; /* 0: it could be reached */
};

struct removal_job {
	bool over;
	unsigned temporary, count, done; /* so many have answered */
	uint32_t targets[CHAIN_MEMBERS_MAX];
	uint64_t epoch;    /* of the chain that was asked */
	uint64_t asked_at; /* 0: not yet */
};

struct master {
	struct kv *kv;
	struct state *state;
	struct chain_manager *manager;
	struct fences *fences;     /* NULL: nothing of that in this world */
	uint64_t opening[CLIENTS]; /* not durable yet */
	uint64_t applied, durable, starts, changes;
	bool flushing;
	bool heard, behind; /* may serve; its store is older than what a target has seen */
	uint64_t begun;
	struct cluster_map *state_map, *map; /* what is in the state; what is published */
	uint64_t last_tick;
	/* Servers that have to have a map of this version first. */
	uint64_t fenced[SERVERS_MAX], fence_version;
	unsigned fenced_count;
	struct cluster_map *fence_map;
	uint64_t planned_index; /* 0: no plan is in the log */
	struct {
		uint64_t conn; /* of its registered stream; 0: none */
		uint64_t heard;
		uint64_t waiting; /* index of its registration, not yet durable */
		uint64_t wait_conn;
		uint64_t unanswered; /* its last heartbeat, when it was not answered */
		struct event said;   /* then */
	} streams[SERVERS_MAX];
	uint64_t clients[CLIENTS];
	struct removal_job jobs[REMOVALS_MAX];
	unsigned job_count;
};

/* What the checks know of one copy of one partition. */
struct copy {
	bool in_sync, syncing;             /* by the last chain that became durable */
	bool continuous;                   /* the same process since it became that */
	bool lost;                         /* power was cut since then */
	bool lost_before, replaced_before; /* until it was to be made equal */
	bool replaced;                     /* by an empty disk, or an old copy of it, since then */
};

struct partition {
	uint32_t targets[CHAIN_MEMBERS_MAX];
	uint64_t epoch;
	unsigned count;
	bool exposed;   /* unflushed data may have been lost, rightly */
	bool accepted;  /* any data may have been lost: an administrator has said so */
	uint32_t alone; /* target that is all of its chain, which is accepted and not published yet
			 */
	bool forgotten; /* what was done by its latest chains, which nobody has gone by */
	struct history histories[FILES][MODEL_BLOCKS];
	uint64_t acked[FILES]; /* highest version that a client was told of */
	struct copy copies[TARGETS_MAX];
	/* What was told to anybody, as sums of chains. */
	struct {
		uint64_t epoch;
		uint32_t sum;
	} shown[SHOWN_MAX];
	size_t shown_count;
};

struct options {
	uint64_t seed;
	bool verbose;
	bool power, old_disks, loss, damage;
	bool several; /* disks of servers */
	bool fences;  /* sessions of clients are ended */
	bool older;   /* older copies of the master's store are put back */
	bool narrow;  /* lists of ids are short */
	unsigned servers, partitions;
};

/* What the checks know of a session. */
struct session_seen {
	uint64_t id; /* 0: free */
	bool fenced;
	bool open, begun; /* in the state; its fence, in this life of the master */
	bool given_up;    /* with the store that knew it */
	uint64_t over_at; /* nothing of it may take effect from then on; 0: it may */
};

struct world {
	struct options options;
	struct session_seen sessions[SESSIONS_MAX];
	/* Updates whose clients have given them up, of sessions that were not closed then. */
	struct {
		uint64_t session;
		struct op op;
	} * lost;
	size_t lost_count, lost_size, fences;
	struct chain_manager_options manager_options;
	uint64_t random, now, sequence, ids, values;
	struct place *heap;
	struct event *free_events;
	size_t heap_count, heap_size;
	struct node nodes[NODES];
	uint64_t cut_until[NODES][NODES];
	struct conn *conns;
	size_t conn_count, conn_size;
	struct server servers[SERVERS_MAX];
	struct disk disks[DISKS_MAX];
	struct client clients[CLIENTS];
	struct master master;
	struct partition partitions[PARTITIONS_MAX];
	unsigned server_of[SERVER_IDS_MAX]; /* by id; SERVERS_MAX: none */
	uint64_t id_of[SERVERS_MAX];        /* once it was registered */
	unsigned disk_of[TARGETS_MAX];      /* by target id; DISKS_MAX: none */
	uint64_t floors[FLOORS];
	bool healed, ending;
	struct kv *images[IMAGES]; /* of the master's store; NULL: none */
	/* Another master, started on a copy of the store of the one that runs. */
	struct {
		struct kv *kv;
		struct state *state; /* NULL: none, or it is behind */
	} twin;
	struct kv *original; /* the one that was put back last, as it was */
	uint64_t accept_from, behind_since, put_back, accepted;
	bool to_be_accepted, clash;
	bool ends_lost;          /* of sessions, with a store that nobody who is here knows of */
	const struct disk *last; /* that others have been left behind by; NULL: none */
	uint64_t healed_at, busy_until;
	unsigned temporary; /* current temporary chunk */
	unsigned temporary_ops;
	uint64_t temporary_idle; /* since when nothing of it is under way */
	const char *problem;
	size_t events, faults, changes, done, equal_looks;
};

void __attribute__((format(printf, 2, 3))) trace(const struct world *w, const char *format, ...);
void problem(struct world *w, const char *what);
struct session_seen *session_of(struct world *w, uint64_t id);

/* ---- chance ---- */

uint64_t chance(struct world *w, uint64_t below);
uint64_t between(struct world *w, uint64_t low, uint64_t high);
uint64_t latency(struct world *w);

/* ---- time ---- */

/* What the node's own clock says. */
uint64_t local(const struct world *w, unsigned node);
void heap_push(struct world *w, struct event *event);

/* The gap goes down to a leaf, and the last one up from there: it nearly always belongs low. */
struct event *heap_pop(struct world *w);

/* At @node, to its present process if @node is one that can die. */
struct event *schedule(struct world *w, uint64_t time, enum event_kind kind, unsigned node);
void event_free(struct world *w, struct event *event);
#endif
