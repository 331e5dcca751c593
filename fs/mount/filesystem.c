/* filesystem.c - see filesystem.h. */
#define LOG_MODULE "fs"
#include "fs/mount/filesystem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "fs/flush/flush.h"
#include "fs/flush/fsync.h"
#include "fs/flush/housekeeper.h"
#include "fs/inodes/inode_data.h"
#include "fs/kernel/page_drops.h"
#include "fs/kernel/root_wait.h"
#include "fs/kernel/task.h"
#include "fs/lease/lease_return.h"
#include "fs/lease/loss.h"
#include "fs/lease/early_answer.h"

/* ---- life ---- */

static void wake_housekeeper(struct fs *fs)
{
	housekeeper_wake(fs->housekeeper);
}

static void on_interrupted(void *user)
{
	wake_housekeeper(user);
}

/* What the housekeeper looks after. */
static bool on_tick(void *user, uint64_t now_ns)
{
	struct fs *fs = user;
	bool more = flush_list_tick(fs, now_ns);

	more |= task_tick(fs->tasks, now_ns);
	more |= root_wait_tick(fs, now_ns);
	return more;
}

/* ---- data that the copies do not have any more ---- */

struct gone_request {
	uint64_t file_id;
	data_gone_fn *answer;
	void *arg;
};

/* The master forgets an inode or a file id before it has chunks removed, so it knows by now. */
static void told_gone(void *user, int error, const Catena__Reply *reply)
{
	struct gone_request *asked = user;
	bool gone = false;

	if (error == 0 && reply->attr != NULL)
		gone = reply->attr->file_id != asked->file_id;
	else if (error == -ESTALE && reply != NULL)
		gone = true;
	asked->answer(asked->arg, gone);
	free(asked);
}

static void ask_gone(void *user, uint64_t ino, uint64_t file_id, data_gone_fn *answer, void *arg)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct gone_request *asked = malloc(sizeof(*asked));
	struct fs *fs = user;

	if (asked == NULL || fs->meta == NULL || atomic_load(&fs->leaving)) {
		free(asked);
		answer(arg, false);
		return;
	}
	*asked = (struct gone_request){.file_id = file_id, .answer = answer, .arg = arg};
	getattr.ino = ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	meta_call(fs->meta, &request, told_gone, asked);
}

int filesystem_create(const struct filesystem_settings *settings, struct fs **out, char *error,
		      size_t error_size)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	struct data_options data = settings->data;
	int rc = -ENOMEM;

	if (fs == NULL)
		goto failed;
	data.ask_gone = ask_gone;
	data.lost = loss_of_answered;
	data.failed = loss_in_background;
	data.user = fs;
	fs->atime = settings->atime;
	fs->atime_directories = settings->atime_directories;
	rc = early_answer_create(&fs->early_answers);
	if (rc == 0)
		rc = root_wait_create(wake_housekeeper, &fs->root_wait);
	if (rc == 0)
		rc = inode_table_create(INODE_CACHE_LIMIT, &fs->inodes);
	if (rc == 0)
		rc = dircache_create(DIRCACHE_LIMIT, &fs->dirs);
	if (rc == 0)
		rc = task_table_create(on_interrupted, fs, &fs->tasks);
	if (rc == 0)
		rc = flush_list_create(&fs->flush_list);
	if (rc == 0)
		rc = housekeeper_create(on_tick, fs, &fs->housekeeper);
	if (rc == 0)
		rc = lease_return_create(fs, &fs->lease_return);
	if (rc == 0)
		rc = page_drops_create(fs, &fs->page_drops);
	if (rc != 0)
		goto failed;
	rc = data_open(&data, &fs->data, error, error_size);
	if (rc != 0)
		goto failed_told;
	*out = fs;
	return 0;

failed:
	snprintf(error, error_size, "%s", strerror(-rc));
failed_told:
	filesystem_destroy(fs);
	return rc;
}

void filesystem_destroy(struct fs *fs)
{
	if (fs == NULL)
		return;
	lease_return_destroy(fs->lease_return);
	page_drops_destroy(fs->page_drops);
	housekeeper_destroy(fs->housekeeper);
	flush_list_destroy(fs->flush_list);
	inode_table_destroy(fs->inodes);
	if (fs->data != NULL)
		data_close(fs->data, NS_PER_SEC);
	task_table_destroy(fs->tasks);
	dircache_destroy(fs->dirs);
	early_answer_destroy(fs->early_answers);
	root_wait_destroy(fs->root_wait);
	free(fs);
}

/* ---- what the session says ---- */

static void on_map(void *user, struct cluster_map *map)
{
	struct fs *fs = user;

	data_set_map(fs->data, map);
}

static void on_session(void *user, uint64_t session_id)
{
	struct fs *fs = user;

	if (atomic_load(&fs->session_id) != 0) {
		loss_of_session(fs, session_id);
		return;
	}
	atomic_store(&fs->session_id, session_id);
	data_set_session(fs->data, session_id);
}

static bool has_pages(const struct inode *inode)
{
	return inode->opens.handles > 0 && atomic_load(&inode->pages.filled);
}

static void drop_pages(void *user, struct inode *inode)
{
	struct fs *fs = user;
	struct data_file *file = inode_data_find(inode);

	if (file != NULL)
		data_invalidate(file);
	inode_data_put(file);
	page_drops_ino(fs->page_drops, inode->ino, 0);
}

/* Others may have written last what open files' pages do not have: nobody asks any more from now
 * on. */
static void on_granted(void *user)
{
	struct fs *fs = user;

	if (inode_table_each(fs->inodes, has_pages, drop_pages, fs) != 0)
		log_error("out of memory: open files may show old pages");

	log_info("sole client: caching");
	if (fs->meta != NULL) /* else the first create asks */
		early_answer_want_numbers(fs);
}

static void on_recalled(void *user)
{
	struct fs *fs = user;

	log_info("the lease is recalled");
	lease_return_begin(fs->lease_return, true);
}

static void on_lost(void *user)
{
	struct fs *fs = user;

	lease_return_begin(fs->lease_return, false);
}

static void on_restarted(void *user, bool lost)
{
	struct fs *fs = user;

	if (fs->meta == NULL)
		return;
	data_other_master(fs->data);
	fsync_restarted(fs, lost);
	if (lost)
		lease_return_register_again(fs);
}

static size_t unreachable(void *user, uint64_t *servers, size_t max)
{
	struct fs *fs = user;

	return data_unreachable(fs->data, servers, max);
}

const struct meta_callbacks filesystem_meta_callbacks = {
	.map = on_map,
	.session = on_session,
	.granted = on_granted,
	.recalled = on_recalled,
	.lost = on_lost,
	.restarted = on_restarted,
	.unreachable = unreachable,
};
