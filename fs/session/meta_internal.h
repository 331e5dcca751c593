/* meta_internal.h - the inside of the session, for meta*.c and their tests. From the ground up:
 * meta_pending.c (unanswered requests), meta_lease.c (the right to cache, by our own clock),
 * meta_session.c (the stream and its handshake), meta_hold.c (pauses in the order), meta_timer.c
 * (what is due), meta.c (calls, opening and closing).
 *
 * There is one stream at a time: a new one is opened only after closed() of the one before. Times
 * are boot time, but for soft timeouts. Locks: all fields are under meta.lock unless they say
 * otherwise; no callback of the user runs under it. */
#ifndef CATENA_FS_SESSION_META_INTERNAL_H
#define CATENA_FS_SESSION_META_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include "fs/session/meta.h"
#include "fs/session/meta_arena.h"
#include "fs/session/meta_pending.h"

#define META_PROTOCOL          1u
#define META_PATH              "/catena.Master/Session"
#define META_ANSWERED_EVERY    64u
#define META_RESEND_BYTES      (512u << 10)
#define META_CONNECT_NS        (5 * NS_PER_SEC)
#define META_RETRY_MIN_NS      (20 * NS_PER_MSEC)
#define META_RETRY_MAX_NS      (500 * NS_PER_MSEC)
#define META_GOODBYE_NS        (3 * NS_PER_SEC)
#define META_GOODBYE_CLEAN     1u
#define META_GOODBYE_DIRTY     2u
#define META_SOFT_TICK_NS      (100 * NS_PER_MSEC)
#define META_RENEWS_REMEMBERED 32u
#define META_LEASE_LOOK_NS     (100 * NS_PER_MSEC) /* a lease that slept away is noticed so soon */
#define META_LATER_NS          NS_PER_MSEC
#define META_LATER_BYTES       (32u << 10)
#define META_LATER_COUNT       64u

enum meta_stream_state {
	META_STREAM_DOWN,    /* the next attempt is due at retry_at_ns */
	META_STREAM_OPENING, /* stream started, SessionOpen sent */
	META_STREAM_UP,      /* requests go out */
	META_STREAM_CLOSING, /* rpc_stream_close() was called, closed() has not come */
	META_STREAM_ENDED    /* meta_close() */
};

struct meta_renew_sent {
	uint64_t sequence, at_ns;
};

/* The lease on the whole tree, by our clock (meta_lease.c). */
struct meta_lease {
	atomic_bool sole; /* granted, neither recalled nor lost */
	atomic_uint_fast64_t until_ns;
	atomic_uint_fast64_t generation;
	atomic_uint_fast64_t grant; /* sequence of the last one */
	bool held;                  /* the master believes that we have it: something to return */
	uint64_t sequence;          /* of the grant or recall to answer */
	uint64_t length_ns;
	uint64_t renew_sequence;
	uint64_t renew_due_ns;
	struct meta_renew_sent sent[META_RENEWS_REMEMBERED];
};

struct meta_hold {
	struct meta_hold *next;
	void (*go)(void *user);
	void *user;
	uint64_t begun_ns;
	bool released, overdue;
	struct meta_pending_list waiting; /* called after it, and before the next */
};

struct meta {
	struct meta_options options; /* strings are copies */
	char *masters, *mount_name;
	struct rpc_client *client;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* stream_state, or something is due earlier */
	pthread_t timer;
	bool timer_started;

	enum meta_stream_state stream_state;
	struct rpc_stream *stream;
	uint64_t opened_ns; /* when the SessionOpen under way was sent */
	uint64_t heard_ns;  /* last message of the master */
	uint64_t retry_at_ns, retry_wait_ns;
	int stream_error;  /* of the last stream */
	char message[256]; /* what the master said when it refused us; "" */
	bool refused;      /* for good: no use in trying again while mounting */

	uint64_t session_id, session_secret;
	uint64_t instance; /* of the cluster; 0: no master has told it yet */
	uint64_t life;     /* of the master; 0: none has told it yet */
	uint32_t default_pool;
	struct meta_pending_ring pending;
	uint64_t answered_told;
	/* The highest id of a command that was answered without error and is not kept. */
	uint64_t command_done;
	bool lanes;       /* the master has them */
	atomic_bool full; /* see meta_pending_full() */
	/* Encoded requests that wait for company; void when the stream breaks, as pending has
	 * all. */
	uint8_t later[META_LATER_BYTES];
	uint32_t later_size, later_count;
	uint64_t later_due_ns;
	struct meta_hold *holds, *last_hold; /* in order */
	bool passing;                        /* a thread passes those that are released */
	struct meta_lease lease;

	struct meta_arena arena; /* RPC thread only */
};

/* ---- meta_session.c ---- */
/* Starts a stream. Locks: the session's. */
void meta_session_connect(struct meta *meta, uint64_t timeout_ns);
/* Gives the stream up; the timer opens a new one. Locks: the session's. */
void meta_session_break(struct meta *meta, const char *why);
/* Sends one encoded ClientBatch behind what waits, when the stream is up. Locks: the session's. */
void meta_session_send(struct meta *meta, const void *data, size_t size);
/* Does the same, but may let it wait for company (meta_call_later()). Locks: the session's. */
void meta_session_queue(struct meta *meta, const void *data, size_t size);
/* Sends what waits for company. Locks: the session's. */
void meta_session_send_later(struct meta *meta);
/* Gives @pending its id, and keeps it for as long as it may have to be sent again. -ENOMEM. Locks:
 * the session's. */
int meta_session_add(struct meta *meta, struct meta_pending *pending);
/* Gives @pending, which has its id, to @send (meta_session_send or meta_session_queue). Now and
 * then the message also says up to where everything is answered. Locks: the session's. */
void meta_session_send_pending(struct meta *meta, struct meta_pending *pending,
			       void (*send)(struct meta *meta, const void *data, size_t size));

/* Takes out of the holds what waits behind them, and adds it to @ended: all of it, or only what
 * must not be done in another session. Locks: the session's. */
void meta_session_end_held(struct meta *meta, bool all, struct meta_pending_list *ended);

/* ---- meta_lease.c. Locks: the session's ---- */
/* Begins without a lease, in generation 1. */
void meta_lease_init(struct meta_lease *lease);
/* The session is alive, or alive again, for @length_ns from @sent_ns. */
void meta_lease_session(struct meta_lease *lease, uint64_t length_ns, uint64_t sent_ns);
uint64_t meta_lease_renew_begin(struct meta_lease *lease, uint64_t now_ns);
void meta_lease_renewed(struct meta_lease *lease, uint64_t sequence, uint64_t now_ns);
/* Take a grant or a recall. True: it is news to the user. */
bool meta_lease_grant(struct meta_lease *lease, uint64_t sequence, uint64_t now_ns);
bool meta_lease_recall(struct meta_lease *lease, uint64_t sequence);
/* Drops the lease. True: it was held until now. */
bool meta_lease_drop(struct meta_lease *lease);
/* Begins a generation: from here on answers count even if they are older than what was known. */
void meta_lease_restarted(struct meta_lease *lease);
/* Drops a lease that has run out by @now_ns. True: the user must be told. */
bool meta_lease_expired(struct meta_lease *lease, uint64_t now_ns);

/* ---- meta_hold.c. Locks: the session's ---- */
/* Puts @pending behind the last hold. False: nothing is held, and it is to be sent. */
bool meta_hold_wait(struct meta *meta, struct meta_pending *pending);
/* Lets the rest go on where a hold takes too long. The lock may be free meanwhile. */
void meta_hold_expire_all(struct meta *meta, uint64_t now_ns, struct meta_pending_list *ended);

/* ---- meta_timer.c ---- */
void *meta_timer_run(void *meta);
#endif
