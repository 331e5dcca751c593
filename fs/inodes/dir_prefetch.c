/* dir_prefetch.c - see dir_prefetch.h. */
#include "fs/inodes/dir_prefetch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/inodes/inode_apply.h"
#include "common/cluster/namespace_rules.h"

/* 1 and 2 are "." and "..", see ops/dir.c. */
#define COOKIE_MIN 3u

int dir_prefetch_check(const Catena__Reply *reply, uint64_t from, size_t *name_bytes)
{
	*name_bytes = 0;
	for (size_t i = 0; i < reply->n_entries; i++) {
		const Catena__DirEntry *entry = reply->entries[i];

		if (entry->name.len == 0 || entry->name.len > NAME_BYTES_MAX || entry->ino == 0 ||
		    memchr(entry->name.data, '\0', entry->name.len) != NULL ||
		    entry->cookie <= from || entry->cookie < COOKIE_MIN ||
		    entry->cookie > INT64_MAX)
			return -EIO;
		from = entry->cookie;
		*name_bytes += entry->name.len + 1;
	}
	return reply->n_entries == 0 && !reply->eof ? -EIO : 0;
}

struct fetch {
	struct fs *fs;
	uint64_t generation, parent;
	struct dircache_fetch at;
};

/* False: what was listed is not to be kept any more. */
static bool learn(const struct fetch *fetch, const Catena__DirEntry *entry)
{
	struct fs *fs = fetch->fs;
	char name[NAME_BYTES_MAX + 1];
	struct inode *inode = NULL;

	memcpy(name, entry->name.data, entry->name.len);
	name[entry->name.len] = '\0';
	if (entry->attr != NULL && entry->attr->ino == entry->ino)
		inode = inode_apply_get(fs, entry->attr, fetch->generation);
	inode_put(fs->inodes, inode);
	return dircache_add(fs->dirs, fetch->generation, fetch->at.token, fetch->parent, name,
			    entry->ino);
}

static void send_fetch(struct fetch *fetch);

static void fetched(void *user, int error, const Catena__Reply *reply)
{
	struct fetch *fetch = user;
	struct dircache *dirs = fetch->fs->dirs;
	uint64_t last = fetch->at.cookie;
	bool more = false, whole = false;
	size_t name_bytes;

	if (error == 0)
		error = dir_prefetch_check(reply, fetch->at.cookie, &name_bytes);
	for (size_t i = 0; error == 0 && i < reply->n_entries; i++) {
		last = reply->entries[i]->cookie;
		if (!learn(fetch, reply->entries[i]))
			error = -ESTALE;
	}
	whole = error == 0 && reply->eof;
	if (error == 0)
		more = dircache_fetch_next(dirs, fetch->generation, fetch->parent, &fetch->at, last,
					   (uint32_t)reply->n_entries, whole);
	else
		dircache_fetch_end(dirs, fetch->generation, fetch->parent);
	if (more)
		send_fetch(fetch);
	else
		free(fetch);
}

static void send_fetch(struct fetch *fetch)
{
	Catena__ReaddirReq readdir = CATENA__READDIR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	readdir.ino = fetch->parent;
	readdir.cookie = fetch->at.cookie;
	readdir.limit = DIR_PREFETCH_BATCH;
	readdir.plus = true;
	request.op_case = CATENA__REQUEST__OP_READDIR;
	request.readdir = &readdir;
	meta_call(fetch->fs->meta, &request, fetched, fetch);
}

void dir_prefetch_missed(struct fs *fs, uint64_t generation, uint64_t parent)
{
	struct dircache_fetch at;
	struct fetch *fetch;

	if (!dircache_fetch_begin(fs->dirs, generation, parent, &at))
		return;
	fetch = malloc(sizeof(*fetch));
	if (fetch == NULL) {
		dircache_fetch_end(fs->dirs, generation, parent);
		return;
	}
	*fetch = (struct fetch){.fs = fs, .generation = generation, .parent = parent, .at = at};
	send_fetch(fetch);
}
