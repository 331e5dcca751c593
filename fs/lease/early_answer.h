/* early_answer.h - answers commands before the master has, while this mount is the sole client.
 *
 * While the lease is held no other client can change the tree. So the outcome of most commands is
 * known when they are sent. The story of a create:
 *
 * 1. early_answer_start() looks that the lease is held and that the master is not behind.
 * 2. early_answer_change() and its sisters do to the inodes what the command will do, versions
 *    included. early_answer_take_number() gives the new inode a number that was delegated before;
 *    room for its record was promised with it.
 * 3. early_answer_send() sends the command, and the handler answers the program.
 * 4. The command is in the session's lane: the master executes a session's requests in the order
 *    sent. A later look-up, an fsync, or the return of the lease finds it done.
 * 5. The master says on the RPC thread up to where the lane is done. It sends no attributes: what is
 *    known here is what they would be. The programs' order on each inode is that of the lane, as the
 *    kernel lets one change of it in at a time.
 *
 * Failures. Something else changes an inode at the same time: nothing is foreseen, and the command
 * waits for the master. The stream breaks, or the master's machine loses its power: the command is
 * sent again until it is durable. This
 * process dies: what was not sent yet is lost; as with data, fsync() says when something is safe.
 * The master refuses the command all the same (its store has failed) or the session is over: what
 * was answered is undone here, and fsync() of the file and of its directory says so. Then
 * everything waits for the master for EARLY_ANSWER_PAUSE_NS, so that programs hear of it.
 *
 * Thread: a handler's makes and sends a command; the RPC thread applies its answer. Locks: none
 * held by the caller. */
#ifndef CATENA_FS_LEASE_EARLY_ANSWER_H
#define CATENA_FS_LEASE_EARLY_ANSWER_H
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/inodes/fs.h"

/* More than so many that are not done are not answered early: the master is behind, and programs shall
 * feel it. What is done and not durable has bounds of its own (meta_lane_full()). */
#define EARLY_ANSWER_MAX      512
#define EARLY_ANSWER_PAUSE_NS (5 * NS_PER_SEC)

struct early_answers;

int early_answer_create(struct early_answers **out);
void early_answer_destroy(struct early_answers *early); /* NULL is allowed */

/* Says whether everything that was answered early is done. Once true after the lease has gone, it
 * stays true until the next lease. */
bool early_answer_idle(struct fs *fs);

/* The number and file id of a new inode, out of a range that the master delegated. */
struct early_number {
	uint64_t ino, file_id;
	unsigned range;
};
/* Takes a number, and asks the master for more when few are left. False: there is none now. Each
 * number taken is given to early_answer_number_sent() once, when its command was sent or will not
 * be. */
bool early_answer_take_number(struct fs *fs, struct early_number *out);
void early_answer_number_sent(struct fs *fs, const struct early_number *number);
/* Drops all numbers: another session has begun, to which they do not belong. */
void early_answer_forget_numbers(struct fs *fs);
/* Asks for numbers, because the lease was granted. */
void early_answer_want_numbers(struct fs *fs);

/* What an inode is to a command. */
enum early_role {
	EARLY_PARENT,
	EARLY_NEW_PARENT, /* of a rename to another directory */
	EARLY_MOVED,
	EARLY_VICTIM, /* loses a name */
	EARLY_MADE,
	EARLY_SET, /* its attributes are set */
	EARLY_ROLES
};

struct early_command {
	struct fs *fs;
	struct meta_view view;             /* under which everything is foreseen */
	int64_t time;                      /* of the request */
	struct inode *inodes[EARLY_ROLES]; /* references, or NULL */
	int nlink_changes[EARLY_ROLES];
	bool victim_gone; /* the victim has no other name */
	struct dircache_change changes[2];
	int change_count;
	const char *what; /* for the log */
	char names[2][256];
};

/* Begins a command. NULL: it must wait for the master. @what names it in the log, and is kept. */
struct early_command *early_answer_start(struct fs *fs, const char *what);
/* Does to @inode what the command will: its version, times, and @nlink_change links more. False: it
 * cannot be foreseen, because something else changes the inode. */
bool early_answer_change(struct early_command *command, enum early_role role, struct inode *inode,
			 int nlink_change);
/* Sets those times of @inode that @mask names (SET_ATIME, SET_MTIME). False: as above. */
bool early_answer_set_times(struct early_command *command, struct inode *inode, uint32_t mask,
			    int64_t atime, int64_t mtime);
/* Adds the inode that the command makes; the caller has filled it. */
void early_answer_made(struct early_command *command, struct inode *inode);
/* Adds a name that the command changes, at most two; afterwards it is @ino, or DIRCACHE_GONE. */
void early_answer_name(struct early_command *command, uint64_t parent, const char *name,
		       uint64_t ino);
/* Ends a command that is not sent, and undoes what was done to its inodes. NULL is allowed. */
void early_answer_cancel(struct early_command *command);
/* Sends the command, which belongs to its answer from then on. */
void early_answer_send(struct early_command *command, Catena__Request *request);
#endif
