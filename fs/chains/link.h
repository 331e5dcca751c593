/* link.h - the connection to one worker of one server: made when somebody needs it, watched, and
 * made again.
 *
 * A request that is given to a link belongs to it until chains_request_answered() or
 * chains_request_lost(), or until somebody takes it out.
 *
 * Thread: any, unless a function says otherwise. Locks: none held by the caller, unless a function
 * says otherwise. */
#ifndef CATENA_FS_CHAINS_LINK_H
#define CATENA_FS_CHAINS_LINK_H
#include <pthread.h>
#include "fs/chains/request.h"
#include "fs/chains/transport.h"

struct chains_client;

#define CHAINS_LINK_NO_SLOT UINT32_MAX

enum chains_link_state {
	CHAINS_LINK_IDLE,       /* no connection: none is wanted, or the next try is not due */
	CHAINS_LINK_CONNECTING, /* until HELLO has been answered */
	CHAINS_LINK_UP,
};

/* The place of a request that was sent. Its number and generation make the id on the wire, so that
 * an answer that comes too late finds nothing. */
struct chains_link_slot {
	struct chains_request *request; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

/* Never freed before the client. Without a lock named, a field never changes or is atomic. */
struct chains_link {
	struct chains_client *client;
	struct chains_link *bucket_next, *all_next; /* set before it is published */
	uint64_t server_id;
	uint32_t worker;
	unsigned loop;

	/* The rest is under this. */
	pthread_mutex_t lock;
	enum chains_link_state state; /* changed on the loop's thread only */
	bool reset;                   /* the loop is to close the connection */
	void *conn;                   /* with the loop's reference */
	uint64_t not_before;          /* the next try */
	uint64_t failed_ns;           /* the last try that failed */
	unsigned failures;            /* in a row */
	bool recheck;                 /* requests may have come with an old map */
	uint64_t hedge_ns;            /* watch.c looks again then */
	struct chains_link_slot *slots;
	uint32_t slot_count, free_slot;
	struct chains_request *waiting, **waiting_end; /* for the connection */
	uint64_t quiet_since;                          /* the peer has said nothing since then */
	bool pinged;
	uint64_t pinged_ns;
	char address[MAP_NAME_MAX]; /* of the connection */

	atomic_uint under_way; /* in slots */
	atomic_bool down;      /* could not be reached last time */
	atomic_bool silent;    /* has not answered for CHAINS_HEDGE_NS */
};

/* Finds the link; with @make, makes it. NULL: there is none, or no memory. */
struct chains_link *chains_link_get(struct chains_client *client, uint64_t server_id,
				    uint32_t worker, bool make);
/* Sends the request, which the link owns from then on. */
void chains_link_send(struct chains_link *link, struct chains_request *request);
/* Has the loop close the connection. What is under way is lost, and tried again. */
void chains_link_reset(struct chains_link *link);
/* Does what is due. Thread: the loop's. */
void chains_link_tick(struct chains_link *link, uint64_t now);
/* Takes out the requests that began before @start_ns; they are linked by next. */
struct chains_request *chains_link_take_old(struct chains_link *link, uint64_t start_ns);
/* Takes out all requests that @take wants; they are the caller's then. Locks: the link's. */
struct chains_request *
chains_link_take(struct chains_link *link,
		 bool (*take)(struct chains_request *request, const void *arg), const void *arg);
#endif
