/* disk.h - a target's directory: what its db, its files and its threads share.
 *
 * Whatever changes in struct disk is atomic or under the mutex of its part. The instance, the life
 * and what is remembered of masters belong to one thread each (seen.h, open.h). */
#ifndef CATENA_CHUNKSERVER_DISK_DISK_H
#define CATENA_CHUNKSERVER_DISK_DISK_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/record/seen.h"
#include "common/kv/kv.h"

struct flush_wait;
struct periodic_thread;
struct seen_chain;

/* Space as the filesystem last told it, and what is on its way there (space.h). */
struct disk_space {
	uint64_t reserve;
	atomic_uint_fast64_t capacity, used, available; /* as statvfs() said at asked_ns */
	atomic_uint_fast64_t asked_ns, written_since, promised;
};

/* The thread that flushes the db's log (log_flush.h). */
struct disk_log_flush {
	pthread_t thread;
	bool thread_runs;
	pthread_mutex_t mutex; /* all below */
	pthread_cond_t cond;
	struct flush_wait *head, **tail;
	bool soon; /* though nothing waits */
	bool stop;
};

/* Proof, beside the db, of up to where the disk was flushed (witness.h). Under its mutex but for
 * opening and closing. */
struct witness {
	int fd;          /* -1: it is not kept */
	unsigned slot;   /* of the file, to be written next */
	uint64_t mark;   /* the last number used */
	uint64_t put;    /* the last one that kv has accepted */
	uint64_t seq;    /* its batch */
	uint64_t told;   /* the last one in the file, */
	uint64_t life;   /* and the life there; 0: none */
	bool lives_lost; /* there is damage, and nothing says which lives were used */
	struct periodic_thread *thread;
	pthread_mutex_t mutex;
};

struct disk {
	char *path;
	int root_fd, chunks_fd, lock_fd;
	char uuid[37];
	char cluster[64];
	uint64_t instance;      /* of the cluster; 0: of none yet. Changed by disk_adopt() alone */
	struct store_seen seen; /* as written; see seen.h */
	struct seen_chain *seen_chains;
	uint64_t life;
	struct kv *kv;
	bool kv_borrowed;
	bool same_boot;        /* the machine has not gone down since the target was last open */
	bool was_clean;        /* the target was closed, or is new */
	atomic_bool no_direct; /* the filesystem does not have O_DIRECT */

	/* Something flushed is missing, and the master has not drawn its conclusions; durably in
	 * kv. */
	atomic_bool damaged;
	atomic_int down;        /* -errno, or 0 */
	atomic_bool leftovers;  /* a file may have no record: look for it at the next open */
	atomic_bool poisoned;   /* a flush failed: nothing here is certain until the next open */
	atomic_uint generation; /* of kv: grows when what views hold in memory must be read again */

	/* Batches written to kv, and how many of them are certainly on stable storage. */
	atomic_uint_fast64_t written_seq, flushed_seq;

	struct disk_space space;
	struct disk_log_flush log_flush;
	struct witness witness;
};
#endif
