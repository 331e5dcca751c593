/* leases.h - who may cache: sessions of clients, their time, and the lease of a sole client. Pure.
 *
 * While exactly one session exists, its client may hold the exclusive lease on the whole tree. A
 * client that comes is admitted only after that lease is back and its end in the log, or the
 * holder's session is over.
 *
 * Each lease has a generation, which is in the store before the client hears of it: what was
 * answered under a lease counts only while that one lasts. A lease that has run out is still its
 * holder's as long as nobody else wants in: the client may lose it by its own clock without the
 * master's knowing, so the grant is told again, with the same generation, after each renewal. Who
 * still holds it takes no notice.
 *
 * A session that stands in the way of others ends by fence: when it holds the lease, somebody
 * waits, and its time is over (by the master's clock that is lease + margin after the last renewal
 * that was answered; the client counts from when it sent that renewal, so its own end is earlier).
 * Who does not give the lease back within recall_timeout_ns is not renewed any more. A session
 * beside others also ends when its time is over and it has been disconnected for as long as a
 * lease, or silent for session_timeout_ns. One that is alone does not end by itself: it stands in
 * nobody's way, and its client may have slept. Until its end it may renew again, or come back on a
 * new stream.
 *
 * The caller tells what happens, then takes actions from leases_next() until there is none. Times
 * are of one clock that goes on while the machine is suspended. When the caller itself did not look
 * for a while (a stopped process), all leases are lengthened by that while: their renewals may be
 * waiting unread.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_LEASES_LEASES_H
#define CATENA_MASTER_LEASES_LEASES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct leases;

struct leases_options {
	uint64_t lease_ns;           /* what clients are told */
	uint64_t margin_ns;          /* how much later than that is surely over */
	uint64_t session_timeout_ns; /* a connected, silent session lives so long after its lease */
	uint64_t recall_timeout_ns;  /* then renewals of who does not return are not answered */
	uint64_t first_recall;       /* numbers of recalls begin above it: no earlier life's */
	uint32_t sessions_max;       /* with those that wait */
};

enum lease_action_kind {
	LEASE_ACTION_ADMIT, /* id: who waits; answer with leases_admitted() or leases_admit_failed()
			     */
	LEASE_ACTION_GRANT, /* id: session; put the grant into the log, then leases_granted() when
			     * it is durable, or leases_grant_failed() */
	LEASE_ACTION_TELL,  /* id: session: that it holds the lease; number: its generation */
	LEASE_ACTION_RECALL, /* id: session; number: what its return has to repeat */
	LEASE_ACTION_END,    /* id: session; number: generation; put its end into the log, then
			      * leases_ended() or leases_end_failed() */
	LEASE_ACTION_FENCE,  /* id: session; when nothing of it can take effect any more and it is
			      * out of the store, durably: leases_closed(). Else
			      * leases_close_failed() */
};

struct lease_action {
	enum lease_action_kind kind;
	uint64_t id;
	uint64_t number;
};

int leases_create(const struct leases_options *options, struct leases **out);
void leases_destroy(struct leases *leases); /* NULL is allowed */

/* A session that was in the store at start. @fenced: its end had begun. -ENOMEM. */
int leases_restore(struct leases *leases, uint64_t session, bool fenced, uint64_t now_ns);
/* It has the lease, says the store. */
void leases_restore_lease(struct leases *leases, uint64_t session, uint64_t generation);
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
/* Others wait for what @session has: it ends as soon as its time is over, and not only when it has
 * been silent for long. Said again as long as it is so. */
void leases_hurry(struct leases *leases, uint64_t session, uint64_t now_ns);
/* The client gives the lease back. Only the answer to a recall, with its number, counts: a return
 * unasked may have crossed a grant. */
void leases_return(struct leases *leases, uint64_t session, uint64_t number);
void leases_granted(struct leases *leases, uint64_t session, uint64_t generation);
void leases_grant_failed(struct leases *leases, uint64_t session, uint64_t now_ns);
void leases_ended(struct leases *leases, uint64_t session, uint64_t generation);
void leases_end_failed(struct leases *leases, uint64_t session, uint64_t now_ns);
/* The client goes, and something of it may still be on its way: fence it. */
void leases_fence(struct leases *leases, uint64_t session);
/* It is out of the store, durably. */
void leases_closed(struct leases *leases, uint64_t session);
/* Fencing or closing it has failed: try again later. */
void leases_close_failed(struct leases *leases, uint64_t session);

/* What is to be done now; false: nothing. */
bool leases_next(struct leases *leases, uint64_t now_ns, struct lease_action *out);

/* For the status and for tests. */
bool leases_lapsed(const struct leases *leases, uint64_t session, uint64_t now_ns);
uint64_t leases_holder(const struct leases *leases); /* 0: nobody */
size_t leases_count(const struct leases *leases);    /* sessions */
#endif
