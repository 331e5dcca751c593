/* replica.h - a second state machine, which gets the commands of the first one as encoded entries, in
 * batches, and is started again at random.
 *
 * What depends on more than the log (the clock, the order of a hash table, a counter that is only in
 * memory, what was read at the proposal) makes the two differ: in a result, in a reply, in a record, or
 * in how an entry comes to it. So the hash of each entry is compared (master/log/log_hash.h), and now
 * and then all records are. */
#ifndef CATENA_TESTS_SIM_NAMESPACE_REPLICA_H
#define CATENA_TESTS_SIM_NAMESPACE_REPLICA_H
#include "master/log/command.h"
#include "tests/lib/state_fixture.h"

struct replica;

/* Begins with a copy of @first's store, and listens to its changes from here on: after @first's state
 * was opened again, there must be a new replica. */
struct replica *replica_new(const struct fixture *first);
void replica_free(struct replica *replica);
/* Takes an entry that the first one has applied as @index, with what came of it: @status, and
 * @result's session, generation and reply. */
void replica_take(struct replica *replica, uint64_t index, const struct log_command *command,
		  int status, const struct command_result *result);
/* Applies all that was taken, in batches of @random's length; between them it starts again now and
 * then. Fails the test when anything differs from the first one. */
void replica_catch_up(struct replica *replica, const struct fixture *first, uint64_t *random);
#endif
