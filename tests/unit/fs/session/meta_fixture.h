/* meta_fixture.h - a mount's session with a master of the test's own behind the real RPC layer, in
 * one process, with certificates made here. That master executes nothing; it notes what comes and
 * answers as the test says. Callbacks only note; the test's thread asserts. One file only includes
 * this: it takes the place of clock_gettime(). */
#ifndef CATENA_TESTS_UNIT_FS_SESSION_META_FIXTURE_H
#define CATENA_TESTS_UNIT_FS_SESSION_META_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "fs/session/meta.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

#define PATIENCE (30 * NS_PER_SEC)
#define LEASE_NS (400 * NS_PER_MSEC)
#define IDS_MAX  20000u

/* ---- the master ---- */

struct master {
	pthread_mutex_t lock;
	struct rpc_server *server;
	struct rpc_stream *stream; /* the newest, borrowed while open */
	char address[64];
	/* What it does. */
	bool hold_replies, hold_renews, refuse_sessions, forget_sessions, forget_commands;
	bool lanes;            /* it has them; what is of the lane gets no reply but refusals */
	uint64_t refused_lane; /* this number is refused */
	int error;             /* of all that is answered with a reply, if not 0 */
	uint64_t durable;      /* index; each request is a command of the log */
	uint64_t session, secret, instance, life;
	/* What it saw. */
	uint32_t goodbye; /* the last */
	unsigned opens, resumes, goodbyes, renews, returns;
	uint64_t returned_sequence, answered, commands_told;
	uint64_t unreachable[META_UNREACHABLE_MAX + 1];
	size_t unreachable_count;
	uint64_t ids[IDS_MAX];
	uint32_t ops[IDS_MAX];
	uint64_t numbers[IDS_MAX]; /* of the lane */
	bool asked_durable[IDS_MAX];
	unsigned requests;
};
extern struct master master;

/* For how long the machine has slept: only the boot time counts that. Takes the place of libc's. */
extern _Atomic uint64_t slept_ns;

extern struct ca_files master_files, client_files, admin_files;

void push(struct rpc_stream *stream, const Catena__ClientPush *message);

/* Says up to where all is durable, and nothing else. */
void tell_durable(uint64_t index);
/* The stream breaks, as if the connection did. */
void master_break(void);
void send_lease(bool grant, uint64_t sequence);

/* ---- the mount's side ---- */

extern struct meta *meta;
extern atomic_uint maps, sessions, grants, recalls, losts, done_ok, done_failed, done_absent,
	done_unanswered;

void note_map(void *user, struct cluster_map *map);
void note_session(void *user, uint64_t id);
void note_granted(void *user);
void note_recalled(void *user);
void note_lost(void *user);
extern atomic_uint forgettings;
extern atomic_uint restarts;
void note_restarted(void *user, bool lost);
extern atomic_uint lost_servers;
size_t note_unreachable(void *user, uint64_t *servers, size_t max);
void note_done(void *user, int error, const Catena__Reply *reply);
void call_by(void (*how)(struct meta *meta, Catena__Request *request, meta_done_fn *done,
			 void *user),
	     uint32_t op, atomic_uint *calls);
void call(uint32_t op, atomic_uint *calls);
void call_later(uint32_t op, atomic_uint *calls);
bool wait_for(bool (*holds)(void));
unsigned seen(const unsigned *counter);
int open_meta(uint64_t soft_ns, char *error, size_t size);
int setup(void **state);
int teardown(void **state);
bool one_done(void);
int group_setup(void **state);
int group_teardown(void **state);

#define IN_SESSION(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#endif
