/* entry_gen.h - commands of the master's log made by chance or to a pattern, for tests of their
 * encoding: they keep the bounds of entries, and mean nothing to a state. */
#ifndef CATENA_TESTS_LIB_ENTRY_GEN_H
#define CATENA_TESTS_LIB_ENTRY_GEN_H
#include <stdbool.h>
#include <stdint.h>
#include "master/log/command.h"
#include "tests/lib/fuzz.h"

#define ENTRY_GEN_KINDS (COMMAND_REFUSED + 1)
#define ENTRY_GEN_MOST  12 /* items of a list */

/* What the command made last points to. */
struct entry_gen {
	uint64_t random; /* 0: to a pattern: no field has its default, no two numbers are equal */
	uint64_t number;
	Catena__Request request;
	max_align_t op[32];
	uint8_t bytes[16][40];
	unsigned bytes_used;
	char texts[2][200];
	struct map_server server;
	struct state_registration registration;
	struct state_registered_target targets[ENTRY_GEN_MOST];
	struct chain_change changes[ENTRY_GEN_MOST];
	struct chain_life lives[ENTRY_GEN_MOST];
	uint64_t numbers[ENTRY_GEN_MOST];
	uint32_t drained[ENTRY_GEN_MOST];
	struct state_accept accept;
	struct state_accepted_target accepted[ENTRY_GEN_MOST];
	struct state_accept_seen seen[ENTRY_GEN_MOST];
};

void entry_gen(struct entry_gen *gen, enum command_kind kind, struct log_command *out);
/* Fills the request with the operation of this field of Request; false: that is none. */
bool entry_gen_request(struct entry_gen *gen, uint32_t op_case);
/* True when all fields that count for the kind are equal. */
bool entry_gen_equal(const struct log_command *a, const struct log_command *b);
#endif
