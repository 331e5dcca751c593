/* loss.c - see loss.h. */
#define LOG_MODULE "loss"
#include "fs/lease/loss.h"
#include <inttypes.h>
#include <time.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "fs/flush/flush.h"
#include "fs/lease/lease_return.h"
#include "fs/inodes/inode_data.h"
#include "fs/lease/early_answer.h"

/* For so long paths are looked for: each takes a look at every name that is known. */
#define PATHS_NS       NS_PER_SEC
#define PATH_BYTES     1024u
#define ANSWERED_LINES 20 /* a second */

struct loss {
	struct fs *fs;
	uint64_t session;        /* the next one */
	uint64_t paths_until_ns; /* monotonic */
	uint64_t files, bytes;
};

static struct log_rate answered_rate;

void loss_of_answered(void *user, uint64_t ino, uint64_t file_id, uint64_t bytes)
{
	char path[PATH_BYTES] = "?";
	struct fs *fs = user;

	if (!log_rate_ok(&answered_rate, ANSWERED_LINES))
		return;
	if (ino != 0)
		dircache_path(fs->dirs, ino, path, sizeof(path));
	log_error("what was answered and not flushed is lost: all copies have lost their power"
		  " path=\"%s\" ino=%" PRIu64 " file=%016" PRIx64 " bytes=%" PRIu64,
		  path, ino, file_id, bytes);
}

void loss_in_background(void *user, uint64_t ino, int error)
{
	struct fs *fs = user;
	struct inode *inode = inode_table_get(fs->inodes, ino);

	if (inode != NULL)
		inode_tell_failed(inode, error);
	inode_put(fs->inodes, inode);
}

static bool may_have_unsent(const struct inode *inode)
{
	return inode->local.dirty != 0 || inode->data.file != NULL;
}

static void forget_unsent(void *user, struct inode *inode)
{
	struct loss *loss = user;

	pthread_mutex_lock(&inode->lock);
	if (flush_unsaved(inode))
		inode_lose(inode, loss->session);
	else
		inode->local.dirty = 0;
	inode_distrust(inode);
	inode->pages.generation = inode->pages.version = 0;
	pthread_mutex_unlock(&inode->lock);
}

static void report(struct loss *loss, const struct inode *inode, uint64_t bytes)
{
	char path[PATH_BYTES] = "?";

	loss->files++;
	loss->bytes += bytes;
	if (clock_monotonic_ns() < loss->paths_until_ns)
		dircache_path(loss->fs->dirs, inode->ino, path, sizeof(path));
	log_error("what was written and not sent is lost with the session path=\"%s\" ino=%" PRIu64
		  " bytes=%" PRIu64,
		  path, inode->ino, bytes);
}

static bool has_data_or_was_lost(const struct inode *inode)
{
	return inode->data.file != NULL || inode->loss.session != 0;
}

static void end_data(void *user, struct inode *inode)
{
	struct loss *loss = user;
	struct data_file *file = inode_data_find(inode);
	uint64_t bytes = file == NULL ? 0 : data_lose(file);
	bool lost;

	pthread_mutex_lock(&inode->lock);
	if (bytes > 0)
		inode_lose(inode, loss->session);
	lost = inode->loss.session == loss->session;
	pthread_mutex_unlock(&inode->lock);
	if (lost)
		report(loss, inode, bytes);
	inode_data_put(file);
}

/* Calls @each for all wanted inodes, however long memory is short: leaving one out would let
 * something of the old session happen in the new one. */
static void for_each(struct loss *loss, bool (*wanted)(const struct inode *inode),
		     void (*each)(void *user, struct inode *inode))
{
	while (inode_table_each(loss->fs->inodes, wanted, each, loss) != 0) {
		log_error("out of memory: the end of a session waits");
		nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MSEC}, NULL);
	}
}

void loss_of_session(struct fs *fs, uint64_t session_id)
{
	struct loss loss = {
		.fs = fs, .session = session_id, .paths_until_ns = clock_monotonic_ns() + PATHS_NS};

	atomic_store(&fs->session_id, session_id);
	for_each(&loss, may_have_unsent, forget_unsent);
	data_set_session(fs->data, session_id);
	for_each(&loss, has_data_or_was_lost, end_data);
	loss.bytes += data_lose_all(fs->data);
	if (loss.files > 0 || loss.bytes > 0)
		log_error("lost with the session files=%" PRIu64 " bytes=%" PRIu64, loss.files,
			  loss.bytes);
	early_answer_forget_numbers(fs);
	lease_return_register_opens(fs);
	lease_return_session_lost(fs->lease_return);
}
