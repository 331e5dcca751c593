/* meta.h - the mount's session with the master: requests, pushes, leases.
 *
 * Requests are sent at once and pipelined; the answers come in any order. When the stream breaks
 * the session is resumed and every unanswered request is sent again with its id, which the master
 * recognises: exactly once. The master executes one session's requests in the order sent.
 *
 * A session that cannot be resumed is over: somebody else may have got what it could use, and
 * nothing of it happens any more. Requests that change something and have no answer end with -EIO;
 * those that only ask are asked again in the next session.
 *
 * The lease. "sole" means that this mount is the only client: it may cache names, attributes and
 * data without asking (and let the kernel, for at most META_KERNEL_TIMEOUT and never beyond the
 * lease's end), and may be lazy with
 * opens, closes and size updates. When another client comes the master recalls the lease; the
 * mount writes back, forgets, waits until the kernel's timeouts have run out, and returns it. The
 * right also ends by our own clock (boot time) when the session could not be renewed for lease_ns.
 *
 * Threading: meta_call() and friends from any thread; callbacks on the RPC thread. Only those that
 * say that there is no answer may come elsewhere: in the call, on the session's timer thread (soft
 * timeout, lost lease), or on the caller's of meta_close(). A callback may call meta_call(). */
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
	/* A new one (not on resume). The one before is over; what was asked of the master in it and
	 * has no answer ends after this call, and nothing is sent in the new one before it returns.
	 */
	void (*session)(void *user, uint64_t session_id);
	/* The sole lease was granted / must go / was lost by time. For a recall the user calls
	 * meta_lease_return() when all is written back and forgotten. */
	void (*granted)(void *user);
	void (*recalled)(void *user);
	void (*lost)(void *user);
	/* Before each renewal, on the timer's thread: at most @max servers that the map calls
	 * online and that cannot be reached from here. The master decides with that. May be NULL.
	 */
	size_t (*unreachable)(void *user, uint64_t *servers, size_t max);
	/* The master is another process than the one before, and may have lost with its power what
	 * that had answered, to anybody, and not synced. @lost: commands of this session are, or it
	 * is over and nobody knows. Comes before session(), and before anything is sent again. May
	 * be NULL. */
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

/* Sends @request (its id is filled in here, and its time when it is 0; borrowed only during the
 * call). @done once:
 * @error 0 or -errno (the reply's, or -EIO); @reply borrowed, NULL when the master did not answer.
 * @done may be NULL for requests whose answer does not matter. */
typedef void meta_done_fn(void *user, int error, const Catena__Reply *reply);
void meta_call(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user);
/* The same, but only while @session is the session; else -EIO. For what would be wrong in another.
 */
void meta_call_within(struct meta *meta, uint64_t session, bool now, Catena__Request *request,
		      meta_done_fn *done, void *user);
/* The same for one that nobody waits for: it keeps its place in the order, but is sent with the
 * next that somebody waits for, with enough of its kind, or after META_LATER_NS. A message costs
 * much more than a request in it. */
void meta_call_later(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user);

/* Pauses in the order. What is called after meta_hold() is not sent before meta_hold_release(), nor
 * before those held earlier; then @go is called first, and what that calls with meta_call_now()
 * goes in front. So what must be known before a command can be waited for while programs, and later
 * commands, go on. After META_HOLD_MAX_NS the rest no longer waits: the file's machines may be
 * dead, and others are not to wait for them. NULL: out of memory. @go comes once, on the thread
 * that releases this one or one before it. Not released after meta_close(). */
#define META_HOLD_MAX_NS (5 * NS_PER_SEC)
struct meta_hold;
struct meta_hold *meta_hold(struct meta *meta, void (*go)(void *user), void *user);
void meta_hold_release(struct meta *meta, struct meta_hold *hold);
/* A call that does not wait for what is held: of inodes that no command under way is about. */
void meta_call_now(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user);

bool meta_sole(const struct meta *meta); /* the lease is held, by our clock, now */
/* How long it will be held without another renewal; 0: it is not. */
uint64_t meta_lease_left_ns(const struct meta *meta);
uint64_t meta_generation(const struct meta *meta); /* grows with each grant and loss: a cached thing
						    * is valid while its generation is this one and
						    * meta_sole() */
/* The generation that the master gave the lease that is held, or was held last: its number for
 * Request.lease_generation. It belongs to a meta_generation() that is the same before and after. */
uint64_t meta_grant(const struct meta *meta);
void meta_lease_return(struct meta *meta);
/* The master has been heard of lately. */
bool meta_reachable(const struct meta *meta);
uint64_t meta_session_id(const struct meta *meta);
/* The cluster's, which stays the same as long as its inode numbers mean the same inodes. */
uint64_t meta_instance(const struct meta *meta);
uint32_t meta_default_pool(const struct meta *meta);
#define META_KERNEL_TIMEOUT_MS 1000
#define META_UNREACHABLE_MAX   64u
#endif
