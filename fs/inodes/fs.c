/* fs.c - the mounted filesystem's shared parts: see fs.h. */
#define LOG_MODULE "fs"
#include "fs/inodes/fs.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "fs/flush/flush.h"
#include "fs/flush/housekeeper.h"
#include "fs/lease/loss.h"
#include "fs/kernel/page_drops.h"
#include "fs/lease/lease_return.h"
#include "fs/flush/fsync.h"

static struct log_rate noise;

/* ---- life ---- */

static void on_interrupted(void *user)
{
	struct fs *fs = user;

	housekeeper_wake(fs->housekeeper);
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

struct asking {
	uint64_t file_id;
	data_gone_fn *answer;
	void *arg;
};

/* The master forgets an inode or a file id before it has chunks removed, so it knows by now. */
static void told_gone(void *user, int error, const Catena__Reply *reply)
{
	struct asking *asking = user;
	bool gone = false;

	if (error == 0 && reply->attr != NULL)
		gone = reply->attr->file_id != asking->file_id;
	else if (error == -ESTALE && reply != NULL)
		gone = true;
	asking->answer(asking->arg, gone);
	free(asking);
}

static void ask_gone(void *user, uint64_t ino, uint64_t file_id, data_gone_fn *answer, void *arg)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct asking *asking = malloc(sizeof(*asking));
	struct fs *fs = user;

	if (asking == NULL || fs->meta == NULL || atomic_load(&fs->leaving)) {
		free(asking);
		answer(arg, false);
		return;
	}
	*asking = (struct asking){.file_id = file_id, .answer = answer, .arg = arg};
	getattr.ino = ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	meta_call(fs->meta, &request, told_gone, asking);
}

int fs_create(const struct fs_settings *settings, struct fs **out, char *error, size_t error_size)
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
	early_answer_init(&fs->early_answers);
	root_wait_init(&fs->root_wait);
	fs->atime = settings->atime;
	fs->atime_directories = settings->atime_directories;
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
	fs_destroy(fs);
	return rc;
}

void fs_destroy(struct fs *fs)
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
	early_answer_destroy(&fs->early_answers);
	root_wait_destroy(&fs->root_wait);
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
	return inode->opens > 0 && atomic_load(&inode->pages_read);
}

static void drop_pages(void *user, struct inode *inode)
{
	struct fs *fs = user;
	struct data_file *file = fs_data_if_open(inode);

	if (file != NULL)
		data_invalidate(file);
	fs_data_put(file);
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

const struct meta_callbacks fs_meta_callbacks = {
	.map = on_map,
	.session = on_session,
	.granted = on_granted,
	.recalled = on_recalled,
	.lost = on_lost,
	.restarted = on_restarted,
	.unreachable = unreachable,
};

/* ---- inodes ---- */

int fs_apply(struct fs *fs, struct inode *inode, const Catena__Attr *message, uint64_t generation)
{
	struct data_file *file = NULL, *changed = NULL;
	uint64_t file_id = 0, old_id = 0;
	struct attr attr;
	struct meta_view view;
	bool elsewhere;

	if (message == NULL)
		return 0;
	if (attr_decode(message, &attr) != 0 || attr.ino != inode->ino) {
		if (log_rate_ok(&noise, 2))
			log_error("the master sent a senseless inode ino=%llu expected=%llu",
				  (unsigned long long)message->ino, (unsigned long long)inode->ino);
		return -EIO;
	}
	view = fs_view(fs);
	pthread_mutex_lock(&inode->lock);
	if (inode->known && inode->data == NULL && !inode->synced)
		old_id = inode->attr.file_id;
	/* Only what was exact has changed by nobody else's doing. */
	elsewhere = !inode->known || (attr.version > inode->attr.version &&
				      !inode_exact(inode, view.sole, view.generation));
	if (elsewhere)
		inode->learned = atomic_fetch_add(&fs->changes, 1) + 1;
	if (elsewhere && inode->known) {
		if (attr.size != inode_size(inode))
			inode->size_from_elsewhere = true;
		if (inode->data != NULL)
			changed = data_file_ref(inode->data);
	}
	inode_apply(inode, &attr, generation);
	if (old_id == inode->attr.file_id)
		old_id = 0;
	if (inode->data != NULL && inode->data_file_id != inode->attr.file_id) {
		/* Truncated to 0: what was written before, here, is gone with the old file. What
		 * was written after, without knowing, went there too: its program must hear. */
		file = data_file_ref(inode->data);
		file_id = inode->data_file_id = inode->attr.file_id;
		if (inode->dirty & INODE_DIRTY_SIZE)
			inode_writeback_failed(inode, -EIO);
		inode_update_forget(inode, false);
	}
	pthread_mutex_unlock(&inode->lock);
	/* What was read ahead is of an earlier version, and zeros behind its end. */
	if (changed != NULL)
		data_invalidate(changed);
	fs_data_put(changed);
	if (file != NULL) {
		data_file_replace(file, file_id);
		fs_data_put(file);
	}
	if (old_id != 0)
		fs_discard(fs, attr.pool, old_id);
	return 0;
}

void fs_discard(struct fs *fs, uint32_t pool, uint64_t file_id)
{
	struct data_file *file;

	if (data_file_get(fs->data, pool, file_id, &file) != 0)
		return;
	data_file_discard(file);
	data_file_put(file);
}

struct inode *fs_inode_of(struct fs *fs, const Catena__Attr *message, uint64_t generation)
{
	struct inode *inode;

	if (message == NULL || message->ino == 0)
		return NULL;
	inode = inode_table_get(fs->inodes, message->ino);
	if (inode != NULL && fs_apply(fs, inode, message, generation) != 0) {
		inode_put(fs->inodes, inode);
		return NULL;
	}
	return inode;
}

void fs_change_begin(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->changing++;
	pthread_mutex_unlock(&inode->lock);
}

void fs_change_end(struct fs *fs, struct inode *inode, bool answered)
{
	uint64_t change = atomic_fetch_add(&fs->changes, 1) + 1;

	pthread_mutex_lock(&inode->lock);
	inode->changing--;
	inode->last_change = change;
	if (!answered)
		inode_distrust(inode);
	pthread_mutex_unlock(&inode->lock);
}

void fs_change_synced(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->changing--;
	pthread_mutex_unlock(&inode->lock);
}

struct data_file *fs_data_if_open(struct inode *inode)
{
	struct data_file *file = NULL;

	pthread_mutex_lock(&inode->lock);
	if (inode->data != NULL)
		file = data_file_ref(inode->data);
	pthread_mutex_unlock(&inode->lock);
	return file;
}

struct data_file *fs_data(struct fs *fs, struct inode *inode, int *error)
{
	struct data_file *file = NULL;
	int rc = 0;

	pthread_mutex_lock(&inode->lock);
	if (inode->data == NULL) {
		if (!inode->known || !attr_is_regular(&inode->attr))
			rc = -EIO;
		else
			rc = data_file_get(fs->data, inode->attr.pool, inode->attr.file_id,
					   &inode->data);
		if (rc == 0)
			data_file_set_ino(inode->data, inode->ino);
		if (rc == 0)
			inode->data_file_id = inode->attr.file_id;
		else
			inode->data = NULL;
	}
	if (rc == 0)
		file = data_file_ref(inode->data);
	pthread_mutex_unlock(&inode->lock);
	*error = rc;
	return file;
}

/* ---- opens that the master counts ---- */

static void send_close(struct fs *fs, uint64_t ino, uint32_t count)
{
	Catena__CloseReq close = CATENA__CLOSE_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	close.ino = ino;
	close.count = count;
	request.op_case = CATENA__REQUEST__OP_CLOSE;
	request.close = &close;
	meta_call_later(fs->meta, &request, NULL, NULL);
}

struct registering {
	struct fs *fs;
	struct inode *inode;
	uint64_t generation;
};

static void registered(void *user, int error, const Catena__Reply *reply)
{
	struct registering *r = user;

	if (error == 0) {
		pthread_mutex_lock(&r->inode->lock);
		r->inode->registered++;
		pthread_mutex_unlock(&r->inode->lock);
		fs_apply(r->fs, r->inode, reply->attr, r->generation);
	} else if (reply != NULL && log_rate_ok(&noise, 2)) {
		log_warn("an open file is unknown to the master ino=%llu error=\"%s\"",
			 (unsigned long long)r->inode->ino, strerror(-error));
	}
	fs_unused(r->fs, r->inode); /* it may have been closed meanwhile */
	inode_put(r->fs->inodes, r->inode);
	free(r);
}

void fs_register(struct fs *fs, struct inode *inode)
{
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct registering *r = malloc(sizeof(*r));

	open.ino = inode->ino;
	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	if (r == NULL) {
		log_error("out of memory: an open file is not registered");
		return;
	}
	*r = (struct registering){.fs = fs,
				  .inode = inode_ref(fs->inodes, inode),
				  .generation = meta_generation(fs->meta)};
	meta_call_later(fs->meta, &request, registered, r);
}

void fs_unused(struct fs *fs, struct inode *inode)
{
	struct data_file *file = NULL;
	uint32_t count = 0;
	bool orphan = false;

	pthread_mutex_lock(&inode->lock);
	if (inode->opens == 0 && inode->changing == 0) {
		orphan = inode->known && inode->attr.nlink == 0 &&
			 (inode->data != NULL || inode->registered > 0);
		inode->removed |= orphan;
		if (!orphan && inode->data != NULL && !inode->listed && inode->dirty == 0 &&
		    !data_dirty(inode->data)) {
			file = inode->data;
			inode->data = NULL;
		}
		if (!orphan) {
			count = inode->registered;
			inode->registered = 0;
		}
	}
	pthread_mutex_unlock(&inode->lock);
	fs_data_put(file);
	if (count > 0)
		send_close(fs, inode->ino, count);
	if (orphan)
		flush_orphan(fs, inode);
}
