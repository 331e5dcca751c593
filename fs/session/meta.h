/* meta.h - the mount's session with the master: requests, pushes, and the lease.
 *
 * Requests are sent at once and pipelined; the answers come in any order. The master executes one
 * session's requests in the order sent. When the stream breaks, the session is resumed on another.
 * Every unanswered request is sent again with its id, which the master recognises: each takes
 * effect once. So are commands that were answered and may not be durable, if nobody else can have
 * done anything since (meta_pending.h).
 *
 * A session that cannot be resumed is over: another client may have got what it could use, and
 * nothing of it happens any more. Unanswered requests that change something end with -EIO. Those
 * that only ask are asked again in the next session.
 *
 * The lease. "Sole" means that this mount is the only client. It may then cache names, attributes
 * and data without asking. The kernel may keep them for at most META_KERNEL_TIMEOUT_MS, and never
 * beyond the lease's end. Opens, closes and updates of sizes may come late. When another client
 * comes the master recalls the lease. The mount writes back, forgets, waits until the kernel's
 * timeouts have run out, and returns it (lease_return.h). The right also ends by our own clock
 * (boot time) when the session could not be renewed for the lease's length.
 *
 * Thread: meta_call() and its sisters from any; callbacks on the RPC thread. Those that say that
 * there is no answer may also come in the call, on the session's timer thread (soft timeout, lost
 * lease), or on the thread of meta_close(). A callback may call meta_call(). Locks: none held by
 * the caller, and none during a callback. */
#ifndef CATENA_FS_SESSION_META_H
#define CATENA_FS_SESSION_META_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "catena.pb-c.h"
#include "common/base/duration.h"
#include "common/cluster/cluster_map.h"
#include "common/rpc/rpc.h"

struct meta;

struct meta_callbacks {
	void (*map)(void *user, struct cluster_map *map); /* borrowed: ref it to keep it */
	/* A new session has begun; a resumed one is not new. The one before is over. Its
	 * unanswered requests end after this call, and nothing is sent in the new one before it
	 * returns. */
	void (*session)(void *user, uint64_t session_id);
	/* The lease was granted, is recalled, or was lost by time. After a recall the user calls
	 * meta_lease_return() when everything is written back and forgotten. */
	void (*granted)(void *user);
	void (*recalled)(void *user);
	void (*lost)(void *user);
	/* Names at most @max servers that the map calls online and that cannot be reached from
	 * here; the master decides with that. Called before each renewal. May be NULL. Thread: the
	 * timer's. */
	size_t (*unreachable)(void *user, uint64_t *servers, size_t max);
	/* The master is another process than before. What the former one had answered, to any
	 * client, and not flushed, may be lost with its power. @lost: commands of this session are
	 * lost, or it is over and that is not known. Comes before session(), and before anything is
	 * sent again. May be NULL. */
	void (*restarted)(void *user, bool lost);
};

struct meta_options {
	const char *masters; /* host:port */
	struct tls_files tls;
	const char *mount_name;
	uint64_t soft_timeout_ns; /* 0: wait for ever (interruptibly); else -EIO after so long */
	struct meta_callbacks callbacks;
	void *user;
};

/* Connects; waits at most @timeout_ns for the session. One line in @error. */
int meta_open(const struct meta_options *options, uint64_t timeout_ns, struct meta **out,
	      char *error, size_t error_size);
/* Says goodbye; unanswered calls end with -EIO. @clean: nothing of the session is under way or
 * still to be sent to chunkservers, so that the master may end it without making sure of that. */
void meta_close(struct meta *meta, bool clean);

/* Sends @request, which is borrowed during the call only. Its id is filled in here, and its time
 * when it is 0. @done is called once, with @error 0 or -errno (the reply's, or -EIO) and @reply
 * borrowed; NULL: the master did not answer. @done may be NULL when the answer does not matter. */
typedef void meta_done_fn(void *user, int error, const Catena__Reply *reply);
void meta_call(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user);
/* Does the same only while @session is the session, else ends with -EIO: for what would be wrong in
 * another. @now: like meta_call_now(). */
void meta_call_within(struct meta *meta, uint64_t session, bool now, Catena__Request *request,
		      meta_done_fn *done, void *user);
/* Sends a command of the lane: one for whose answer no program waits. It keeps its place in the
 * order, but is sent with the next request that is waited for, with enough of its kind, or after
 * META_LATER_NS: a message costs much more than a request in it. When it is done, done() gets error
 * 0 and no reply. Until it is durable it is kept, and sent again in a resumed session. */
void meta_call_later(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user);
/* Says whether the lane has so much that is not durable that programs should wait. */
bool meta_lane_full(const struct meta *meta);

/* Makes a pause in the order. What is called after meta_hold() is sent after meta_hold_release(),
 * and after those held earlier. Then @go is called first, and its meta_call_now() goes in front. So
 * a command can wait for what must be known before it, while programs and later commands go on.
 *
 * After META_HOLD_MAX_NS the rest no longer waits: the file's machines may be dead. NULL: out of
 * memory. @go comes once, on the thread that releases this hold or one before it. A hold is not
 * released after meta_close(). */
#define META_HOLD_MAX_NS (5 * NS_PER_SEC)
struct meta_hold;
struct meta_hold *meta_hold(struct meta *meta, void (*go)(void *user), void *user);
void meta_hold_release(struct meta *meta, struct meta_hold *hold);
/* Sends a request that does not wait for what is held. No command under way may be about its
 * inodes. */
void meta_call_now(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user);

/* Says whether the lease is held now, by our clock. */
bool meta_sole(const struct meta *meta);
/* Returns how long the lease will be held without another renewal; 0: it is not held. */
uint64_t meta_lease_left_ns(const struct meta *meta);
/* Grows with each grant and each loss. A cached thing is valid while its generation is this one and
 * meta_sole() says yes. */
uint64_t meta_generation(const struct meta *meta);
/* Returns the number that the master gave the lease that is held, or was held last, for
 * Request.lease_generation. It belongs to a meta_generation() that is the same before and after. */
uint64_t meta_grant(const struct meta *meta);
void meta_lease_return(struct meta *meta);
/* Says whether the master was heard of within the lease's length. */
bool meta_reachable(const struct meta *meta);
uint64_t meta_session_id(const struct meta *meta);
/* Returns the cluster's instance: while it is the same, inode numbers mean the same inodes. */
uint64_t meta_instance(const struct meta *meta);
uint32_t meta_default_pool(const struct meta *meta);
#define META_KERNEL_TIMEOUT_MS 1000
#define META_UNREACHABLE_MAX   64u
#endif
