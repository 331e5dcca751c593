/* dentry.c - names: lookup, create, link, unlink, readdir. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/state/internal.h"

#define READDIR_LIMIT_DEFAULT 1024u
/* Upper bounds of what a packed entry takes beside its name. */
#define ENTRY_BYTES 48u
#define ATTR_BYTES  224u

int txn_directory(struct txn *txn, uint64_t ino, struct inode **out)
{
	int rc = txn_inode(txn, ino, out);

	if (rc == -ESTALE)
		return -ENOENT;
	if (rc != 0)
		return rc;
	if (!inode_is(*out, S_IFDIR))
		return -ENOTDIR;
	/* Removed, though somebody still has it open. */
	return (*out)->nlink == 0 ? -ENOENT : 0;
}

void directory_changed(struct txn *txn, struct inode *directory, int64_t entries_delta)
{
	txn_touch(txn, directory);
	directory->entries += (uint64_t)entries_delta;
	directory->mtime = directory->ctime = txn->time;
}

static void put_orphan(struct txn *txn, uint64_t ino)
{
	uint8_t key[META_KEY_MAX];

	kv_batch_put(txn->batch, FAMILY_META, key, key_meta(key, META_ORPHAN, ino), "", 0);
	txn->counters.orphans++;
}

void orphan_gone(struct txn *txn, uint64_t ino)
{
	uint8_t key[META_KEY_MAX];

	kv_batch_delete(txn->batch, FAMILY_META, key, key_meta(key, META_ORPHAN, ino));
	txn->counters.orphans--;
}

void inode_unlinked(struct txn *txn, struct inode *inode)
{
	if (state_open_total(txn->state, inode->ino) > 0)
		put_orphan(txn, inode->ino);
	else
		txn_inode_free(txn, inode);
}

/* "." of any inode, by its number alone: for those who hold a file handle and know no name of it.
 * -ESTALE: it is gone. */
static int lookup_itself(struct txn *txn, uint64_t ino, struct reply_room *room)
{
	struct inode *inode;
	int rc = txn_inode(txn, ino, &inode);

	if (rc == 0)
		reply_attr(&room->attr, inode, &room->reply.attr);
	return rc;
}

int op_lookup(struct txn *txn, const Catena__LookupReq *req, struct reply_room *room)
{
	const ProtobufCBinaryData *name = &req->name;
	struct inode *directory, *inode;
	struct dentry dentry;
	uint64_t ino;
	int rc;

	if (name->len == 1 && name->data[0] == '.')
		return lookup_itself(txn, req->parent, room);
	rc = txn_directory(txn, req->parent, &directory);
	if (rc != 0)
		return rc;
	if (name->len == 2 && memcmp(name->data, "..", 2) == 0) {
		ino = directory->parent;
	} else {
		rc = namespace_rules_name(name->data, name->len);
		if (rc == 0)
			rc = txn_dentry_find(txn, directory, name->data, name->len, NULL, &dentry);
		if (rc != 0)
			return rc;
		ino = dentry.ino;
	}
	rc = txn_inode(txn, ino, &inode);
	if (rc == 0)
		reply_attr(&room->attr, inode, &room->reply.attr);
	return rc == -ESTALE ? -EIO : rc; /* an entry without inode is damage */
}

/* ---- create ---- */

static int create_check(const Catena__CreateReq *req, uint32_t *mode)
{
	int rc = namespace_rules_new_name(req->name.data, req->name.len);

	if (rc != 0)
		return rc;
	*mode = namespace_rules_new_mode(req->mode);
	if (*mode == 0)
		return -EINVAL;
	return S_ISLNK(*mode) ? namespace_rules_symlink(req->symlink.data, req->symlink.len) : 0;
}

/* The name is taken. open(O_CREAT) without O_EXCL takes what is there, if it is a file. */
static int create_existing(struct txn *txn, const Catena__CreateReq *req, uint32_t mode,
			   const struct inode *directory, uint64_t ino, struct reply_room *room)
{
	struct inode *inode;
	int rc;

	if (req->exclusive || !S_ISREG(mode))
		return -EEXIST;
	rc = txn_inode(txn, ino, &inode);
	if (rc != 0)
		return rc == -ESTALE ? -EIO : rc;
	if (inode_is(inode, S_IFDIR))
		return -EISDIR;
	/* A link or special file that came since the client looked: let it look again. */
	if (!inode_is(inode, S_IFREG))
		return -ESTALE;
	if (req->open)
		rc = txn_open_more(txn, ino);
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	return rc;
}

static void put_symlink(struct txn *txn, struct inode *inode, const ProtobufCBinaryData *target)
{
	uint8_t key[XATTR_KEY_MAX];

	kv_batch_put(txn->batch, FAMILY_XATTRS, key, key_xattr(key, inode->ino, "", 1),
		     target->data, target->len);
	inode->flags |= INODE_HAS_RECORDS;
}

static void fill_new(struct txn *txn, const Catena__CreateReq *req, const struct inode *directory,
		     uint64_t file_id, struct inode *inode)
{
	const struct namespace_rules_request request = {.mode = req->mode,
							.uid = req->uid,
							.gid = req->gid,
							.rdev = req->rdev,
							.symlink_bytes = req->symlink.len};
	const struct namespace_rules_place place = {.parent = directory->ino,
						    .parent_mode = directory->mode,
						    .parent_gid = directory->gid,
						    .parent_pool = directory->pool,
						    .file_id = file_id};
	struct namespace_rules_inode new;

	namespace_rules_new_inode(&request, &place, &new);
	inode->mode = new.mode;
	inode->nlink = new.nlink;
	inode->uid = new.uid;
	inode->gid = new.gid;
	inode->rdev = new.rdev;
	inode->pool = new.pool;
	inode->size = new.size;
	inode->file_id = new.file_id;
	inode->parent = new.parent;
	inode->atime = inode->mtime = inode->ctime = txn->time;
	if (S_ISLNK(new.mode))
		put_symlink(txn, inode, &req->symlink);
}

static void dentry_name(struct dentry *dentry, const ProtobufCBinaryData *name,
			const struct inode *inode)
{
	dentry->ino = inode->ino;
	dentry->type = (uint8_t)((inode->mode & S_IFMT) >> 12);
	dentry->name_size = (uint8_t)name->len;
	memcpy(dentry->name, name->data, name->len);
}

int op_create(struct txn *txn, const Catena__CreateReq *req, struct reply_room *room)
{
	struct inode *directory, *inode;
	struct dentry dentry;
	uint64_t cookie, file_id = 0;
	uint32_t mode;
	int rc = txn_directory(txn, req->parent, &directory);

	if (rc == 0)
		rc = create_check(req, &mode);
	if (rc == 0 && req->ino != 0) {
		file_id = session_delegated(txn->session, req->ino);
		rc = file_id == 0 ? -EINVAL : 0;
	}
	if (rc != 0)
		return rc;
	rc = txn_dentry_find(txn, directory, req->name.data, req->name.len, &cookie, &dentry);
	if (rc == 0)
		return create_existing(txn, req, mode, directory, dentry.ino, room);
	if (rc != -ENOENT)
		return rc;
	if (cookie == 0)
		return -ENOSPC;
	if (S_ISDIR(mode) && directory->nlink == UINT32_MAX)
		return -EMLINK;
	rc = txn_inode_new(txn, req->ino, &inode);
	if (rc != 0)
		return rc;
	if (S_ISREG(mode) && file_id == 0)
		file_id = txn->counters.next_file_id++;
	fill_new(txn, req, directory, file_id, inode);
	dentry_name(&dentry, &req->name, inode);
	rc = txn_dentry_put(txn, directory, cookie, &dentry);
	if (rc != 0)
		return rc;
	directory_changed(txn, directory, 1);
	if (S_ISDIR(mode))
		directory->nlink++;
	if (req->open && S_ISREG(mode))
		txn_open_count(txn, inode->ino, 1);
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	return 0;
}

/* ---- link and unlink ---- */

int op_link(struct txn *txn, const Catena__LinkReq *req, struct reply_room *room)
{
	struct inode *directory, *inode;
	struct dentry dentry;
	uint64_t cookie;
	int rc = txn_directory(txn, req->parent, &directory);

	if (rc == 0)
		rc = namespace_rules_name(req->name.data, req->name.len);
	if (rc == 0)
		rc = txn_inode(txn, req->ino, &inode);
	if (rc == 0)
		rc = namespace_rules_link(inode->mode, inode->nlink);
	if (rc != 0)
		return rc;
	rc = txn_dentry_find(txn, directory, req->name.data, req->name.len, &cookie, &dentry);
	if (rc != -ENOENT)
		return rc == 0 ? -EEXIST : rc;
	if (inode->nlink >= LINKS_MAX)
		return -EMLINK;
	if (cookie == 0)
		return -ENOSPC;
	dentry_name(&dentry, &req->name, inode);
	rc = txn_dentry_put(txn, directory, cookie, &dentry);
	if (rc != 0)
		return rc;
	directory_changed(txn, directory, 1);
	txn_touch(txn, inode);
	inode->nlink++;
	inode->ctime = txn->time;
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	return 0;
}

int op_unlink(struct txn *txn, const Catena__UnlinkReq *req, struct reply_room *room)
{
	struct inode *directory, *inode;
	struct dentry dentry;
	uint64_t cookie;
	int rc = txn_directory(txn, req->parent, &directory);

	if (rc == 0)
		rc = namespace_rules_removed_name(req->name.data, req->name.len, req->directory);
	if (rc == 0)
		rc = txn_dentry_find(txn, directory, req->name.data, req->name.len, &cookie,
				     &dentry);
	if (rc != 0)
		return rc;
	rc = txn_inode(txn, dentry.ino, &inode);
	if (rc != 0)
		return rc == -ESTALE ? -EIO : rc;
	rc = namespace_rules_unlink(inode->mode, inode->entries, req->directory);
	if (rc == 0)
		rc = txn_dentry_delete(txn, directory, cookie);
	if (rc != 0)
		return rc;
	directory_changed(txn, directory, -1);
	txn_touch(txn, inode);
	inode->ctime = txn->time;
	if (req->directory) {
		directory->nlink--;
		inode->nlink = 0;
	} else {
		inode->nlink--;
	}
	reply_attr(&room->attr, inode, &room->reply.attr);
	reply_attr(&room->parent_attr, directory, &room->reply.parent_attr);
	if (inode->nlink == 0)
		inode_unlinked(txn, inode);
	return 0;
}

/* ---- readdir ---- */

/* One block of memory for a whole answer. */
struct listing {
	Catena__DirEntry **pointers;
	Catena__DirEntry *entries;
	Catena__Attr *attrs;
	uint8_t *names;
	size_t count, limit, names_used, bytes;
	bool plus;
};

static int listing_begin(struct listing *list, const Catena__ReaddirReq *req,
			 struct reply_room *room)
{
	size_t names;
	uint8_t *block;

	memset(list, 0, sizeof(*list));
	list->plus = req->plus;
	list->limit = req->limit == 0 ? READDIR_LIMIT_DEFAULT : req->limit;
	if (list->limit > READDIR_LIMIT_MAX)
		list->limit = READDIR_LIMIT_MAX;
	names = list->limit * NAME_BYTES_MAX;
	if (names > READDIR_BYTES_MAX)
		names = READDIR_BYTES_MAX;
	block = malloc(list->limit * (sizeof(*list->pointers) + sizeof(*list->entries) +
				      (list->plus ? sizeof(*list->attrs) : 0)) +
		       names);
	if (block == NULL)
		return -ENOMEM;
	room->owned = block;
	list->pointers = (Catena__DirEntry **)block;
	list->entries = (Catena__DirEntry *)(list->pointers + list->limit);
	list->attrs = (Catena__Attr *)(list->entries + list->limit);
	list->names = list->plus ? (uint8_t *)(list->attrs + list->limit) : (uint8_t *)list->attrs;
	return 0;
}

static bool listing_has_room(const struct listing *list, size_t name_size)
{
	size_t entry = name_size + ENTRY_BYTES + (list->plus ? ATTR_BYTES : 0);

	return list->count < list->limit && list->bytes + entry <= READDIR_BYTES_MAX;
}

static int listing_add(struct txn *txn, struct listing *list, uint64_t cookie,
		       const struct dentry *dentry)
{
	static const Catena__DirEntry empty = CATENA__DIR_ENTRY__INIT;
	Catena__DirEntry *entry = &list->entries[list->count];
	struct inode inode;
	int rc;

	*entry = empty;
	entry->ino = dentry->ino;
	entry->type = dentry->type;
	entry->cookie = cookie;
	entry->name.data = list->names + list->names_used;
	entry->name.len = dentry->name_size;
	if (list->plus) {
		rc = txn_read_inode(txn, dentry->ino, &inode);
		if (txn->store_error != 0)
			return rc;
		if (rc == 0)
			reply_attr(&list->attrs[list->count], &inode, &entry->attr);
	}
	memcpy(entry->name.data, dentry->name, dentry->name_size);
	list->pointers[list->count++] = entry;
	list->names_used += dentry->name_size;
	list->bytes += dentry->name_size + ENTRY_BYTES + (list->plus ? ATTR_BYTES : 0);
	return 0;
}

/* *eof: the last entry was reached. */
static int list_entries(struct txn *txn, struct kv_iter *iter, struct listing *list, bool *eof)
{
	const uint8_t *key, *value;
	size_t key_size, size;
	struct dentry dentry;
	int rc;

	*eof = false;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		if (key_size != 16 || !dentry_decode(value, size, &dentry))
			return txn_failed(txn, -EUCLEAN);
		if (dentry.ino == 0)
			continue;
		if (!listing_has_room(list, dentry.name_size))
			return 0;
		rc = listing_add(txn, list, get_be64(key + 8), &dentry);
		if (rc != 0)
			return rc;
	}
	if (rc < 0)
		return txn_failed(txn, rc);
	*eof = true;
	return 0;
}

int op_readdir(struct txn *txn, const Catena__ReaddirReq *req, struct reply_room *room)
{
	uint8_t start[16], end[16];
	struct inode *directory;
	struct kv_iter *iter;
	struct listing list;
	bool eof;
	int rc = txn_inode(txn, req->ino, &directory);

	if (rc != 0)
		return rc;
	if (!inode_is(directory, S_IFDIR))
		return -ENOTDIR;
	if (directory->nlink == 0)
		return -ENOENT; /* removed, and without "." and ".." too */
	if (req->cookie == UINT64_MAX) {
		room->reply.eof = true;
		return 0;
	}
	rc = listing_begin(&list, req, room);
	if (rc != 0)
		return txn_failed(txn, rc);
	key_u64_u64(start, directory->ino, req->cookie + 1);
	key_u64_u64(end, directory->ino + 1, 0);
	rc = kv_iter_open(txn->state->kv, FAMILY_DENTRIES, start, sizeof(start), end, sizeof(end),
			  &iter);
	if (rc != 0)
		return txn_failed(txn, rc);
	rc = list_entries(txn, iter, &list, &eof);
	kv_iter_free(iter);
	if (rc != 0)
		return rc;
	room->reply.entries = list.pointers;
	room->reply.n_entries = list.count;
	room->reply.eof = eof;
	return 0;
}
