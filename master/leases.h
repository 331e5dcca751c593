/* leases.h - who may cache: sessions of clients, their time, and the lease of a sole client. Pure.
 *
 * While exactly one session exists, its client may hold the exclusive lease on the whole tree. A
 * client that comes is admitted only after that lease is back, or has surely run out: by the
 * master's clock that is lease + margin after the last renewal that was answered (the client counts
 * from when it sent that renewal, so its own end is earlier).
 *
 * The session table of the store says who may hold: a lease is granted only while the stored number
 * of sessions is one, durably. So after a restart of the master a single stored session may hold
 * the lease, and of several none does.
 *
 * A client may lose the lease by its own clock without the master's knowing. So the grant is told
 * again, with the same sequence, after each renewal: who still holds it takes no notice.
 *
 * A session whose lease has run out still exists: its client may renew again (without what it held)
 * or come back on a new stream. It is expired when it has been disconnected for as long as a lease,
 * or silent for session_timeout_ns.
 *
 * The caller tells what happens, then takes actions from leases_next() until there is none. Times
 * are of one monotonic clock. When the caller itself did not look for a while (a stopped process),
 * all leases are lengthened by that while: their renewals may be waiting unread.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_LEASES_H
#define CATENA_MASTER_LEASES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct leases;

struct leases_options {
	uint64_t lease_ns;           /* what clients are told */
	uint64_t margin_ns;          /* how much later than that is surely over */
	uint64_t session_timeout_ns; /* a connected, silent session lives so long after its lease */
	uint64_t recall_timeout_ns;  /* then renewals of who does not return are not answered */
	uint32_t sessions_max;       /* with those that wait */
};

enum lease_action_kind {
	LEASE_ACTION_ADMIT, /* id: who waits; answer with leases_admitted() or leases_admit_failed()
			     */
	LEASE_ACTION_GRANT, /* id: session */
	LEASE_ACTION_RECALL, /* id: session */
	LEASE_ACTION_EXPIRE, /* id: session; close it durably, then leases_closed() */
};

struct lease_action {
	enum lease_action_kind kind;
	uint64_t id;
	uint64_t sequence; /* of this grant or recall */
};

int leases_create(const struct leases_options *options, struct leases **out);
void leases_destroy(struct leases *leases); /* NULL is allowed */

/* A session that was in the store at start. -ENOMEM. */
int leases_restore(struct leases *leases, uint64_t session, uint64_t now_ns);
/* Somebody asks for a new session; @waiter is unique among those that wait. -EUSERS, -ENOMEM. */
int leases_arrive(struct leases *leases, uint64_t waiter);
/* It does not wait any more (also while its admission is under way: then the caller closes what it
 * has made of it). */
void leases_depart(struct leases *leases, uint64_t waiter);
/* The session is durable. @connected: its client is still there. -ENOMEM (then as failed). */
int leases_admitted(struct leases *leases, uint64_t session, bool connected, uint64_t now_ns);
void leases_admit_failed(struct leases *leases);
/* The client is there again, on a new stream; what it held, it has dropped. */
void leases_resume(struct leases *leases, uint64_t session, uint64_t now_ns);
void leases_disconnect(struct leases *leases, uint64_t session, uint64_t now_ns);
/* True: answer this renewal. */
bool leases_renew(struct leases *leases, uint64_t session, uint64_t now_ns);
/* The client gives the lease back. Only the answer to a recall, with its sequence, counts: a return
 * unasked may have crossed a grant. */
void leases_return(struct leases *leases, uint64_t session, uint64_t sequence);
/* It is out of the store, durably. */
void leases_closed(struct leases *leases, uint64_t session);
/* Closing it in the store has failed: try again later. */
void leases_close_failed(struct leases *leases, uint64_t session);

/* What is to be done now; false: nothing. */
bool leases_next(struct leases *leases, uint64_t now_ns, struct lease_action *out);

/* For the status and for tests. */
bool leases_lapsed(const struct leases *leases, uint64_t session, uint64_t now_ns);
uint64_t leases_holder(const struct leases *leases); /* 0: nobody */
size_t leases_count(const struct leases *leases);    /* sessions */
#endif
