/* early_answer.c - see early_answer.h. */
#define LOG_MODULE "early"
#include "fs/lease/early_answer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/inodes/inode_apply.h"
#include "fs/flush/opens.h"

#define RANGE_NUMBERS 4096u
#define RANGE_LOW     1024u

/* ---- how many, and when not ---- */

/* Numbers delegated by the master; two ranges, so that the next is there before one ends. */
struct early_range {
	uint64_t ino, file_id;
	uint32_t left;
	uint32_t unsent; /* taken, but their commands are not sent yet */
};

struct early_answers {
	_Atomic uint32_t under_way;
	_Atomic uint64_t paused_until_ns;
	pthread_mutex_t lock; /* of what follows; takes no other but the session's */
	struct early_range ranges[2];
	unsigned current;
	bool asking;
};

int early_answer_create(struct early_answers **out)
{
	struct early_answers *early = calloc(1, sizeof(*early));

	if (early == NULL)
		return -ENOMEM;
	pthread_mutex_init(&early->lock, NULL);
	*out = early;
	return 0;
}

void early_answer_destroy(struct early_answers *early)
{
	if (early == NULL)
		return;
	pthread_mutex_destroy(&early->lock);
	free(early);
}

/* Counts a command and takes a view of the lease, in this order: the return of the lease looks at
 * under_way after the lease has gone. */
static bool begin(struct fs *fs, struct meta_view *view)
{
	struct early_answers *early = fs->early_answers;
	uint64_t paused = atomic_load_explicit(&early->paused_until_ns, memory_order_relaxed);
	bool room = atomic_fetch_add(&early->under_way, 1) < EARLY_ANSWER_MAX;

	*view = fs_view(fs);
	view->grant = meta_grant(fs->meta);
	/* The grant is that of the view only if no other came in between. */
	if (room && !meta_lane_full(fs->meta) && view->sole &&
	    meta_generation(fs->meta) == view->generation &&
	    (paused == 0 || clock_monotonic_ns() >= paused))
		return true;
	atomic_fetch_sub(&early->under_way, 1);
	return false;
}

bool early_answer_idle(struct fs *fs)
{
	return atomic_load(&fs->early_answers->under_way) == 0;
}

static void pause_all(struct fs *fs)
{
	atomic_store(&fs->early_answers->paused_until_ns,
		     clock_monotonic_ns() + EARLY_ANSWER_PAUSE_NS);
}

/* ---- numbers ---- */

static void delegated(void *user, int error, const Catena__Reply *reply)
{
	struct fs *fs = user;
	struct early_answers *early = fs->early_answers;
	const Catena__Delegation *d = error == 0 ? reply->delegation : NULL;

	pthread_mutex_lock(&early->lock);
	early->asking = false;
	if (d != NULL && d->first_ino != 0 && d->first_file_id != 0) {
		struct early_range *range = &early->ranges[!early->current];

		range->ino = d->first_ino;
		range->file_id = d->first_file_id;
		range->left = d->count;
	}
	pthread_mutex_unlock(&early->lock);
	/* For lack of space most likely: what waits for the master hears of it. */
	if (reply != NULL && error != 0)
		pause_all(fs);
}

static void ask(struct fs *fs)
{
	Catena__DelegateReq delegate = CATENA__DELEGATE_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	delegate.count = RANGE_NUMBERS;
	request.op_case = CATENA__REQUEST__OP_DELEGATE;
	request.delegate = &delegate;
	/* They must not be given to others after a power cut. */
	request.durable = true;
	meta_call(fs->meta, &request, delegated, fs);
}

/* Says whether another range is to be asked for. The master remembers two: all numbers of the one
 * that is used up must have been sent before. Locks: the early answers'. */
static bool should_ask(struct early_answers *early)
{
	const struct early_range *now = &early->ranges[early->current];
	const struct early_range *other = &early->ranges[!early->current];

	lock_held(&early->lock);
	if (early->asking || now->left >= RANGE_LOW || other->left > 0 || other->unsent > 0)
		return false;
	early->asking = true;
	return true;
}

bool early_answer_take_number(struct fs *fs, struct early_number *out)
{
	struct early_answers *early = fs->early_answers;
	struct early_range *range;
	bool taken = false, wanted;

	pthread_mutex_lock(&early->lock);
	if (early->ranges[early->current].left == 0 && early->ranges[!early->current].left > 0)
		early->current = !early->current;
	range = &early->ranges[early->current];
	if (range->left > 0) {
		*out = (struct early_number){
			.ino = range->ino++, .file_id = range->file_id++, .range = early->current};
		range->left--;
		range->unsent++;
		taken = true;
	}
	wanted = should_ask(early);
	pthread_mutex_unlock(&early->lock);
	if (wanted)
		ask(fs);
	return taken;
}

void early_answer_number_sent(struct fs *fs, const struct early_number *number)
{
	pthread_mutex_lock(&fs->early_answers->lock);
	expects(fs->early_answers->ranges[number->range].unsent > 0);
	fs->early_answers->ranges[number->range].unsent--;
	pthread_mutex_unlock(&fs->early_answers->lock);
}

void early_answer_forget_numbers(struct fs *fs)
{
	pthread_mutex_lock(&fs->early_answers->lock);
	fs->early_answers->ranges[0].left = fs->early_answers->ranges[1].left = 0;
	pthread_mutex_unlock(&fs->early_answers->lock);
}

void early_answer_want_numbers(struct fs *fs)
{
	bool wanted;

	pthread_mutex_lock(&fs->early_answers->lock);
	wanted = should_ask(fs->early_answers);
	pthread_mutex_unlock(&fs->early_answers->lock);
	if (wanted)
		ask(fs);
}

/* ---- commands ---- */

struct early_command *early_answer_start(struct fs *fs, const char *what)
{
	struct early_command *command;
	struct meta_view view;

	if (!begin(fs, &view))
		return NULL;
	command = calloc(1, sizeof(*command));
	if (command == NULL) {
		atomic_fetch_sub(&fs->early_answers->under_way, 1);
		return NULL;
	}
	command->fs = fs;
	command->view = view;
	command->time = clock_realtime_ns();
	command->what = what;
	return command;
}

static void finish(struct early_command *command)
{
	struct fs *fs = command->fs;
	uint32_t under_way;

	for (int role = 0; role < EARLY_ROLES; role++) {
		struct inode *inode = command->inodes[role];

		if (inode == NULL)
			continue;
		opens_release(fs, inode);
		inode_put(fs->inodes, inode);
	}
	free(command);
	under_way = atomic_fetch_sub(&fs->early_answers->under_way, 1);
	expects(under_way > 0);
}

/* Says whether the inode's next state is known: it is exact, and only commands answered early
 * change it. Locks: the inode's. */
static bool foreseeable(const struct early_command *command, const struct inode *inode)
{
	lock_held(&inode->lock);
	return inode->known && inode->attr_generation == command->view.generation &&
	       inode_up_to_date(inode) && inode->attr.nlink > 0;
}

bool early_answer_set_times(struct early_command *command, struct inode *inode, uint32_t mask,
			    int64_t atime, int64_t mtime)
{
	bool sure;

	pthread_mutex_lock(&inode->lock);
	sure = foreseeable(command, inode);
	if (sure) {
		inode->commands.under_way++;
		inode->commands.answered_early++;
		inode->attr.version++;
		inode->attr.ctime = command->time;
		if (mask & CATENA__SET_MASK__SET_ATIME) {
			inode->attr.atime = atime;
			inode->local.dirty &= ~(uint32_t)INODE_DIRTY_ATIME;
		}
		if (mask & CATENA__SET_MASK__SET_MTIME) {
			inode->attr.mtime = mtime;
			inode_mtime_set(inode, false);
		}
	}
	pthread_mutex_unlock(&inode->lock);
	if (sure)
		command->inodes[EARLY_SET] = inode_ref(command->fs->inodes, inode);
	return sure;
}

bool early_answer_change(struct early_command *command, enum early_role role, struct inode *inode,
			 int nlink_change)
{
	bool sure, gone = false;

	pthread_mutex_lock(&inode->lock);
	sure = foreseeable(command, inode);
	if (role == EARLY_PARENT || role == EARLY_NEW_PARENT)
		sure = sure && S_ISDIR(inode->attr.mode);
	else /* only the master sees that no directory is moved into itself, or removed with names
	      */
		sure = sure && !S_ISDIR(inode->attr.mode);
	if (sure) {
		inode->commands.under_way++;
		inode->commands.answered_early++;
		inode->attr.version++;
		inode->attr.nlink += (uint32_t)nlink_change;
		gone = inode->attr.nlink == 0;
		inode->attr.ctime = command->time;
		if (S_ISDIR(inode->attr.mode))
			inode->attr.mtime = command->time;
	}
	pthread_mutex_unlock(&inode->lock);
	if (!sure)
		return false;
	command->inodes[role] = inode_ref(command->fs->inodes, inode);
	command->nlink_changes[role] = nlink_change;
	if (role == EARLY_VICTIM)
		command->victim_gone = gone;
	return true;
}

void early_answer_made(struct early_command *command, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->commands.under_way++;
	inode->commands.answered_early++;
	pthread_mutex_unlock(&inode->lock);
	command->inodes[EARLY_MADE] = inode_ref(command->fs->inodes, inode);
}

void early_answer_name(struct early_command *command, uint64_t parent, const char *name,
		       uint64_t ino)
{
	int i = command->change_count++;

	expects(i < 2 && strlen(name) < sizeof(command->names[i]));
	memcpy(command->names[i], name, strlen(name) + 1);
	command->changes[i] =
		(struct dircache_change){.parent = parent, .name = command->names[i], .ino = ino};
}

void early_answer_cancel(struct early_command *command)
{
	if (command == NULL)
		return;
	for (int role = 0; role < EARLY_ROLES; role++) {
		struct inode *inode = command->inodes[role];

		if (inode == NULL)
			continue;
		pthread_mutex_lock(&inode->lock);
		expects(inode->commands.answered_early > 0 &&
			inode->commands.under_way >= inode->commands.answered_early);
		inode->commands.under_way--;
		inode->commands.answered_early--;
		inode->attr.nlink -= (uint32_t)command->nlink_changes[role];
		inode->attr.version--;
		inode_distrust(inode);
		pthread_mutex_unlock(&inode->lock);
	}
	finish(command);
}

static void undo_names(struct early_command *command)
{
	for (int i = 0; i < command->change_count; i++)
		command->changes[i].ino = DIRCACHE_CHANGED;
	dircache_change_begin(command->fs->dirs, command->view.generation, command->changes,
			      command->change_count);
	dircache_change_end(command->fs->dirs, command->view.generation, command->changes,
			    command->change_count);
}

/* Undoes a command that the master did not execute. @lost: its session is over, and no answer
 * came. */
static void refused(struct early_command *command, int error, bool lost)
{
	static struct log_rate rate;

	pause_all(command->fs);
	if (log_rate_ok(&rate, 5))
		log_error("what was answered to a program could not be done what=%s name=\"%s\" "
			  "error=\"%s\"",
			  command->what, command->names[0], strerror(-error));
	undo_names(command);
	for (int role = 0; role < EARLY_ROLES; role++) {
		struct inode *inode = command->inodes[role];

		if (inode == NULL)
			continue;
		pthread_mutex_lock(&inode->lock);
		/* What is written to it now would be nobody's. */
		if (role == EARLY_MADE && lost)
			inode_lose(inode, atomic_load(&command->fs->session_id));
		else
			inode_writeback_failed(inode, error);
		inode_distrust(inode);
		pthread_mutex_unlock(&inode->lock);
	}
}

static void confirmed(void *user, int error, const Catena__Reply *reply)
{
	struct early_command *command = user;

	if (error != 0)
		refused(command, error, reply == NULL);
	else if (command->inodes[EARLY_VICTIM] != NULL)
		opens_name_gone(command->fs, command->inodes[EARLY_VICTIM], command->victim_gone);
	for (int role = 0; role < EARLY_ROLES; role++) {
		struct inode *inode = command->inodes[role];

		if (inode == NULL)
			continue;
		pthread_mutex_lock(&inode->lock);
		expects(inode->commands.answered_early > 0 &&
			inode->commands.under_way >= inode->commands.answered_early);
		inode->commands.answered_early--;
		pthread_mutex_unlock(&inode->lock);
		inode_change_end(command->fs, inode, error == 0);
	}
	finish(command);
}

void early_answer_send(struct early_command *command, Catena__Request *request)
{
	struct fs *fs = command->fs;
	uint64_t generation = command->view.generation;
	struct dircache_change changes[2];
	int count = command->change_count;
	char names[2][256];

	/* The command may be over when it has been sent. */
	memcpy(names, command->names, sizeof(names));
	for (int i = 0; i < count; i++) {
		changes[i] = command->changes[i];
		changes[i].name = names[i];
	}
	request->time = command->time;
	request->lease_generation = command->view.grant;
	/* What was asked of the master before it has done this must not be taken for true, so the
	 * names change from before the sending until after it. */
	dircache_change_begin(fs->dirs, generation, changes, count);
	meta_call_later(fs->meta, request, confirmed, command);
	dircache_change_end(fs->dirs, generation, changes, count);
}
