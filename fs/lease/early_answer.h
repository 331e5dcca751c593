/* early_answer.h - commands that are answered before the master has: what the sole client may.
 *
 * While the lease is held, nobody else can change the tree, so the outcome of most commands is
 * known when they are sent. Then the program is answered at once, and the master's answer is only
 * awaited in the background. The master executes a session's requests in the order sent, so what
 * comes later (a lookup, a sync, the return of the lease) finds the command done; and an unanswered
 * command is sent again after a broken stream like every other. New inodes get numbers that were
 * delegated to the session in advance; room for their records was promised with them.
 *
 * What is lost when this process dies is what was not sent yet: as with data, fsync() says when
 * something is safe. Should the master refuse a command all the same (its store has failed, the
 * session is lost), what was answered is undone here, fsync() of the file and of its directory says
 * so, and for EARLY_ANSWER_PAUSE_NS everything waits for the master again, so that programs hear of it.
 *
 * What a command does to inodes is done here at once, their version included, so that they stay
 * exact; answers to older commands, which come later, are recognised by the version. An inode that
 * something else changes at the same time is not foreseen: then the command waits for the master.
 *
 * Threading: a command is made and sent in a handler; its answer is applied on the RPC thread. */
#ifndef CATENA_FS_LEASE_EARLY_ANSWER_H
#define CATENA_FS_LEASE_EARLY_ANSWER_H
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/inodes/fs.h"

/* More than so many are not answered early: the master is behind, and programs shall feel it. */
#define EARLY_ANSWER_MAX      512
#define EARLY_ANSWER_PAUSE_NS (5 * NS_PER_SEC)

struct early_answers;

int early_answer_create(struct early_answers **out);
void early_answer_destroy(struct early_answers *early); /* NULL is allowed */

/* Nothing that was answered is still to be done. Once it is true after the lease has gone, it stays
 * so until the next. */
bool early_answer_idle(struct fs *fs);

/* A number for a new inode. False: there is none now; more are asked for in any case when they get
 * few. Each that was taken is given to early_answer_sent() when its command was sent (or will not be). */
struct early_number {
	uint64_t ino, file_id;
	unsigned range;
};
bool early_answer_take_number(struct fs *fs, struct early_number *out);
void early_answer_number_sent(struct fs *fs, const struct early_number *number);
/* Another session has begun, to which the numbers do not belong. */
void early_answer_forget_numbers(struct fs *fs);
/* The lease was granted: numbers will be wanted. */
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
	struct dircache_change changes[2];
	int change_count;
	const char *what; /* for the log */
	char names[2][256];
};

/* NULL: now everything waits for the master. */
struct early_command *early_answer_start(struct fs *fs, const char *what);
/* The command changes @inode; what of it can be known is changed now. False: too much is under way
 * with it. @nlink_change: of its links. */
bool early_answer_change(struct early_command *command, enum early_role role, struct inode *inode,
			 int nlink_change);
/* The command sets these times of @inode (SET_ATIME, SET_MTIME in @mask), of any type. False: as
 * above. */
bool early_answer_set_times(struct early_command *command, struct inode *inode, uint32_t mask,
			    int64_t atime, int64_t mtime);
/* A new inode, as it is going to be. */
void early_answer_made(struct early_command *command, struct inode *inode);
/* Afterwards the name is @ino, or DIRCACHE_GONE. */
void early_answer_name(struct early_command *command, uint64_t parent, const char *name,
		       uint64_t ino);
/* It will not be sent; nothing has happened. NULL is allowed. */
void early_answer_cancel(struct early_command *command);
/* Sends it; its end comes by itself. */
void early_answer_send(struct early_command *command, Catena__Request *request);
#endif
