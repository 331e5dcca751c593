/* leases.h - sessions of clients, their time, and the tree lease of a sole client. Pure.
 *
 * While exactly one session exists, its client may hold the exclusive lease on the whole tree. A
 * client that comes is admitted only when that lease is back and its end is in the log, or when the
 * holder's session is over.
 *
 * Grant. Each lease has a generation, which is in the store before the client hears of it. What was
 * answered under a lease counts only while that lease lasts. A client may lose its lease by its own
 * clock without the master's knowing; while nobody waits, the lease stays its holder's. So each
 * renewal is followed by the grant again, with the same generation; a client that still holds the
 * lease ignores it.
 *
 * Recall. When a client waits, the holder is sent a recall with a number, and again after each
 * resume. Only a return with that number counts, since a return unasked may have crossed a grant.
 * Then the end goes into the log, and the next client is admitted. A holder that does not return
 * within recall_timeout_ns is not renewed any more.
 *
 * Fence. A session that stands in the way of others ends by fence:
 * - when it holds the lease, a client waits, and its time is over. By the master's clock that is
 *   lease + margin after the last renewal that was answered; the client counts from when it sent
 *   that renewal, so its own end is earlier;
 * - when it is beside others, its time is over, and it has been disconnected for as long as a
 *   lease, or silent for session_timeout_ns.
 *
 * A session that is alone does not end by itself: it stands in nobody's way, and its client may
 * have slept. Until its end a session may renew again, or come back on a new stream.
 *
 * Failures. A command that the log refused is tried again after a second. Times are of one clock
 * that goes on while the machine is suspended. When the caller itself did not look for a while (a
 * stopped process), all leases are lengthened by that while: their renewals may be waiting unread.
 *
 * Use: the caller tells what happens, then takes actions from leases_next() until there is none.
 * Locks: one caller at a time. */
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
	uint64_t recall_timeout_ns;  /* then a holder that does not return is not renewed */
	uint64_t first_recall; /* numbers of recalls begin above it, and above any earlier life's */
	uint32_t sessions_max; /* with those that wait */
};

enum lease_action_kind {
	LEASE_ACTION_ADMIT,  /* id: the waiter; then leases_admitted() or leases_admit_failed()
			     */
	LEASE_ACTION_GRANT,  /* id: session; put the grant into the log, then leases_granted() when
			     * it is durable, or leases_grant_failed() */
	LEASE_ACTION_TELL,   /* id: session: that it holds the lease; number: its generation */
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

/* Takes in a session that was in the store at start. @fenced: its end had begun. -ENOMEM. */
int leases_restore(struct leases *leases, uint64_t session, bool fenced, uint64_t now_ns);
/* Takes in the holder of the lease, as the store says. */
void leases_restore_lease(struct leases *leases, uint64_t session, uint64_t generation);
/* A client asks for a new session; @waiter is unique among those that wait. -EUSERS, -ENOMEM. */
int leases_arrive(struct leases *leases, uint64_t waiter);
/* The client does not wait any more. If its admission is under way, the caller closes the session
 * that comes of it. */
void leases_depart(struct leases *leases, uint64_t waiter);
/* The session is durable. @connected: its client is still there. -ENOMEM (then as failed). */
int leases_admitted(struct leases *leases, uint64_t session, bool connected, uint64_t now_ns);
void leases_admit_failed(struct leases *leases);
/* The client is there again, on a new stream; what it held, it has dropped. */
void leases_resume(struct leases *leases, uint64_t session, uint64_t now_ns);
void leases_disconnect(struct leases *leases, uint64_t session, uint64_t now_ns);
/* True: answer this renewal. */
bool leases_renew(struct leases *leases, uint64_t session, uint64_t now_ns);
/* Clients wait for something that @session has: it ends as soon as its time is over, and not only
 * when it has been silent for long. The caller repeats this as long as it is so. */
void leases_hurry(struct leases *leases, uint64_t session, uint64_t now_ns);
/* The client gives the lease back, with the number of the recall. */
void leases_return(struct leases *leases, uint64_t session, uint64_t number);
void leases_granted(struct leases *leases, uint64_t session, uint64_t generation);
void leases_grant_failed(struct leases *leases, uint64_t session, uint64_t now_ns);
void leases_ended(struct leases *leases, uint64_t session, uint64_t generation);
void leases_end_failed(struct leases *leases, uint64_t session, uint64_t now_ns);
/* The client goes, and something of it may still be on its way: its session is fenced. */
void leases_fence(struct leases *leases, uint64_t session);
/* The session is out of the store, durably. */
void leases_closed(struct leases *leases, uint64_t session);
/* Fencing or closing the session has failed: it is tried again. */
void leases_close_failed(struct leases *leases, uint64_t session);

/* Takes the next action; false: there is none now. */
bool leases_next(struct leases *leases, uint64_t now_ns, struct lease_action *out);

/* For the status and for tests. */
bool leases_lapsed(const struct leases *leases, uint64_t session, uint64_t now_ns);
uint64_t leases_holder(const struct leases *leases); /* 0: nobody */
size_t leases_count(const struct leases *leases);    /* sessions */
#endif
