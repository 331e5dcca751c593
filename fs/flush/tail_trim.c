/* tail_trim.c - see tail_trim.h. */
#define LOG_MODULE "trim"
#include "fs/flush/tail_trim.h"
#include <errno.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/flush/housekeeper.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/inode_data.h"
#include "fs/inodes/inode_gate.h"

#define RETRY_NS (100 * NS_PER_MSEC)

bool tail_trim_in_the_way(const struct inode *inode, uint64_t end)
{
	lock_held(&inode->lock);
	return attr_trim_pending(&inode->attr) && end > inode->attr.trim_from;
}

/* ---- punching what is said to be punched ---- */

struct tail_punch {
	struct fs *fs;
	struct inode *inode;
	struct data_file *file;
	uint64_t from, to;
	uint64_t session;                /* whose trim it is */
	uint64_t second_from, second_to; /* when something in the middle is ours to keep */
	uint64_t truncate_seq, truncations;
	bool until_durable;      /* @done only then */
	tail_trim_done_fn *done; /* NULL: was called */
	void *user;
};

static void punch_told(struct tail_punch *punch, int error)
{
	tail_trim_done_fn *done = punch->done;

	punch->done = NULL;
	if (done != NULL)
		done(punch->user, error);
}

static void punch_end(struct tail_punch *punch, int error)
{
	punch_told(punch, error);
	inode_data_put(punch->file);
	inode_put(punch->fs->inodes, punch->inode);
	free(punch);
}

struct trim_report {
	struct fs *fs;
	struct inode *inode;
	uint64_t generation;
};

static void report_done(void *user, int error, const Catena__Reply *reply)
{
	struct trim_report *report = user;

	inode_change_end(report->fs, report->inode, reply != NULL);
	if (error == 0)
		inode_apply(report->fs, report->inode, reply->attr, report->generation);
	inode_put(report->fs->inodes, report->inode);
	free(report);
}

/* Tells the master that the trim is done. Nothing waits for the answer: later commands come after
 * it. */
static void tell_done(struct fs *fs, struct inode *inode, uint64_t from, uint64_t truncations)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct trim_report *report = malloc(sizeof(*report));

	if (report == NULL)
		return; /* it stays pending, and is done once more when it is in the way */
	*report = (struct trim_report){.fs = fs,
				       .inode = inode_ref(fs->inodes, inode),
				       .generation = meta_generation(fs->meta)};
	setattr.ino = inode->ino;
	setattr.mask = CATENA__SET_MASK__SET_TRIM_DONE;
	setattr.size = from;
	setattr.truncations = truncations;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	inode_change_begin(inode);
	meta_call(fs->meta, &request, report_done, report);
}

/* The bytes are gone from the disks of all copies, so the master may forget that there was
 * something to do: power can go now. */
static void punch_durable(void *user, int error)
{
	struct tail_punch *punch = user;
	struct inode *inode = punch->inode;
	bool current;

	if (error == 0) {
		pthread_mutex_lock(&inode->lock);
		/* Another truncation since then has a trim of its own. */
		current = inode->local.truncate_seq == punch->truncate_seq &&
			  inode->attr.trim_from == punch->from;
		/* Known here at once; the master's answer says the same with a newer version. */
		if (current)
			inode->attr.trim_from = inode->attr.trim_to = 0;
		pthread_mutex_unlock(&inode->lock);
		if (current)
			tell_done(punch->fs, inode, punch->from, punch->truncations);
	} else {
		/* Whatever was written before is in this, too. */
		inode_tell_failed(inode, error);
	}
	punch_end(punch, error);
}

static void punched(void *user, int error)
{
	struct tail_punch *punch = user;
	struct inode *inode = punch->inode;

	if (error == 0 && punch->second_to > punch->second_from) {
		uint64_t from = punch->second_from, to = punch->second_to;

		punch->second_from = punch->second_to = 0;
		data_punch_within(punch->file, punch->session, from, to, punched, punch);
		return;
	}
	if (error != 0) {
		punch_end(punch, error);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	inode->data.durable = false;
	pthread_mutex_unlock(&inode->lock);
	if (!punch->until_durable)
		punch_told(punch, 0);
	data_flush(punch->file, true, punch_durable, punch);
}

void tail_trim_punch(struct fs *fs, struct inode *inode, uint64_t local_end, bool until_durable,
		     tail_trim_done_fn *done, void *user)
{
	struct tail_punch *punch = calloc(1, sizeof(*punch));
	int rc = -ENOMEM;

	if (punch == NULL)
		goto failed;
	punch->file = inode_data_get(fs, inode, &rc);
	if (punch->file == NULL)
		goto failed;
	punch->fs = fs;
	punch->inode = inode_ref(fs->inodes, inode);
	punch->until_durable = until_durable;
	punch->done = done;
	punch->user = user;
	pthread_mutex_lock(&inode->lock);
	punch->truncate_seq = inode->local.truncate_seq;
	punch->truncations = inode->attr.truncations;
	punch->from = inode->attr.trim_from;
	punch->session = inode->attr.trim_session;
	punch->to = inode->attr.trim_to > local_end ? inode->attr.trim_to : local_end;
	/* Writes of ours behind the trim, made while we did not know of it, are not what it is
	 * about. */
	if (local_end == 0 && (inode->local.dirty & INODE_DIRTY_SIZE) &&
	    inode->local.size > punch->from && inode->local.low < punch->to) {
		punch->second_from = inode->local.size;
		punch->second_to = punch->to;
		punch->to = inode->local.low > punch->from ? inode->local.low : punch->from;
	}
	pthread_mutex_unlock(&inode->lock);
	if (punch->to > punch->from)
		data_punch_within(punch->file, punch->session, punch->from, punch->to, punched,
				  punch);
	else
		punched(punch, 0);
	return;

failed:
	free(punch);
	done(user, rc);
}

/* ---- settling ---- */

struct tail_settle {
	struct inode_gate_entry gate;
	struct housekeeper_later later;
	struct fs *fs;
	struct inode *inode;
	uint64_t generation, changes;
	bool asked; /* the master has said what is durable */
	tail_trim_done_fn *done;
	void *user;
};

static void settle_end(void *user, int error)
{
	struct tail_settle *settle = user;

	inode_gate_leave(settle->inode);
	settle->done(settle->user, error);
	inode_put(settle->fs->inodes, settle->inode);
	free(settle);
}

static void settle_look(struct tail_settle *settle);

static void settle_again(struct housekeeper_later *later)
{
	settle_look((struct tail_settle *)((char *)later - offsetof(struct tail_settle, later)));
}

static void taken(void *user, int error, const Catena__Reply *reply)
{
	struct tail_settle *settle = user;

	if (error == 0)
		inode_change_flushed(settle->fs, settle->inode, settle->changes);
	else
		inode_change_end(settle->fs, settle->inode, reply != NULL);
	if (reply != NULL)
		inode_apply(settle->fs, settle->inode, reply->attr, settle->generation);
	settle->asked = true;
	if (error == -EBUSY) /* its session lives, and will finish it */
		housekeeper_later(settle->fs->housekeeper, &settle->later, RETRY_NS, settle_again);
	else if (error != 0)
		settle_end(settle, error);
	else
		settle_look(settle);
}

/* Takes the trim over from a session that is gone. Of our own, this asks what is durable of it. */
static void take(struct tail_settle *settle)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	setattr.ino = settle->inode->ino;
	setattr.mask = CATENA__SET_MASK__SET_TRIM_TAKE;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	request.durable = true;
	settle->changes = atomic_load(&settle->fs->changes);
	settle->generation = meta_generation(settle->fs->meta);
	inode_change_begin(settle->inode);
	meta_call(settle->fs->meta, &request, taken, settle);
}

static void settle_look(struct tail_settle *settle)
{
	struct inode *inode = settle->inode;
	uint64_t known = atomic_load(&settle->fs->changes_flushed);
	bool pending, ours, durable;

	pthread_mutex_lock(&inode->lock);
	pending = attr_trim_pending(&inode->attr);
	ours = inode->attr.trim_session == meta_session_id(settle->fs->meta);
	durable = settle->asked || (inode->changes.own <= known && inode->changes.others <= known);
	pthread_mutex_unlock(&inode->lock);
	if (!pending)
		settle_end(settle, 0);
	else if (ours && durable)
		tail_trim_punch(settle->fs, inode, 0, true, settle_end, settle);
	else
		take(settle);
}

static void settle_entered(struct inode_gate_entry *entry)
{
	settle_look((struct tail_settle *)((char *)entry - offsetof(struct tail_settle, gate)));
}

void tail_trim_settle(struct fs *fs, struct inode *inode, tail_trim_done_fn *done, void *user)
{
	struct tail_settle *settle = calloc(1, sizeof(*settle));

	if (settle == NULL) {
		done(user, -ENOMEM);
		return;
	}
	settle->fs = fs;
	settle->inode = inode_ref(fs->inodes, inode);
	settle->done = done;
	settle->user = user;
	if (inode_gate_enter(inode, &settle->gate, settle_entered))
		settle_look(settle);
}
