/* sim.h - the master's state machine of a run, and what its clients have sent and were told.
 *
 * One run at a time. Everything is drawn from the run's seed; what differs from the model, or from
 * the replica, fails the test. */
#ifndef CATENA_TESTS_SIM_NAMESPACE_SIM_H
#define CATENA_TESTS_SIM_NAMESPACE_SIM_H
#include "tests/lib/state_fixture.h"
#include "tests/sim/namespace/model.h"
#include "tests/sim/namespace/replica.h"

#define SIM_LOG_MAX 400

/* Numbers that were delegated to a session. */
struct numbers {
	uint64_t ino, file_id;
	uint32_t left;
};

/* A request whose answer the client has not confirmed: it may be sent again. */
struct sent {
	uint64_t session, id;
	uint8_t *request, *reply;
	size_t request_size, reply_size;
};

struct sim {
	uint64_t seed, random;
	struct fixture f;
	struct replica *replica;
	struct model model;
	uint64_t sessions[MODEL_SESSIONS], request_ids[MODEL_SESSIONS];
	uint64_t durable_ids[MODEL_SESSIONS], answered[MODEL_SESSIONS];
	uint64_t lanes[MODEL_SESSIONS]; /* the last number of each lane */
	struct numbers numbers[MODEL_SESSIONS];
	bool by_lane; /* the last request: its reply has no attributes */
	struct sent log[SIM_LOG_MAX];
	int log_count;
	unsigned untold;       /* commands since the replica was compared, at most */
	unsigned answers[200]; /* by errno: that all of them are met */
};
extern struct sim sim;

/* ---- what is drawn; an inode is its slot in the model ---- */

uint64_t sim_draw(uint64_t below);
const char *sim_draw_name(void);
int sim_draw_inode(void);
int sim_draw_of_type(uint32_t type);
int sim_draw_directory(void);

/* ---- sending, flushing, crashing ---- */

/* The session will not repeat its requests up to @id. */
void sim_forget_sent(uint64_t session, uint64_t id);
/* Makes all that was applied durable. */
void sim_catchup_store(void);
/* The client says what it has received, as far as that is durable. */
void sim_say_answered(int who);
/* Takes what is not durable; what was sent since is sent again, mostly to another life of the
 * master, which gives out other numbers. */
void sim_power_cut(void);
/* One that was answered comes once more, before or behind what came after it. */
void sim_repeat_one(void);
/* A command that the master proposes by itself; returns what came of it. */
int sim_command(const struct log_command *command, struct command_result *result);
/* A request of client @who; the answer must be @expected. */
void sim_ask(int who, Catena__Request *request, int expected);
/* Takes the next number that was delegated to client @who; asks for more when there are none. */
void sim_take_number(int who, uint64_t *ino, uint64_t *file_id);

/* ---- comparing ---- */

/* The replica has all that the first state machine has, and in the same form. */
void sim_compare_replica(void);
/* Attributes of the last reply, if it can have any. */
void sim_assert_attr(const Catena__Attr *attr, const struct model_inode *inode);
/* All that the master says is as the model has it. */
void sim_compare_everything(void);
#endif
