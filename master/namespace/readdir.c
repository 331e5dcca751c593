/* readdir.c - listing a directory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/namespace/namespace.h"
#include "master/records/core.h"

#define READDIR_LIMIT_DEFAULT 1024u
#define READDIR_LIMIT_MAX     4096u
#define READDIR_BYTES_MAX     (512u << 10)
/* Upper bounds of what a packed entry takes beside its name. */
#define ENTRY_BYTES 48u
#define ATTR_BYTES  224u

/* One block of memory for a whole answer. */
struct directory_listing {
	Catena__DirEntry **pointers;
	Catena__DirEntry *entries;
	Catena__Attr *attrs;
	uint8_t *names;
	size_t count, limit, names_used, bytes;
	bool plus;
};

static int listing_begin(struct directory_listing *list, const Catena__ReaddirReq *req,
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

static bool listing_has_room(const struct directory_listing *list, size_t name_size)
{
	size_t entry = name_size + ENTRY_BYTES + (list->plus ? ATTR_BYTES : 0);

	return list->count < list->limit && list->bytes + entry <= READDIR_BYTES_MAX;
}

static int listing_add(struct txn *txn, struct directory_listing *list, uint64_t cookie,
		       const struct dentry *dentry)
{
	static const Catena__DirEntry empty = CATENA__DIR_ENTRY__INIT;
	Catena__DirEntry *entry = &list->entries[list->count];
	struct inode_record inode;
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
static int list_entries(struct txn *txn, struct kv_iter *iter, struct directory_listing *list,
			bool *eof)
{
	const uint8_t *key, *value;
	size_t key_size, size;
	struct dentry dentry;
	int rc;

	*eof = false;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		if (key_size != 16 || !value_decode_dentry(value, size, &dentry))
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

int namespace_readdir(struct txn *txn, const Catena__ReaddirReq *req, struct reply_room *room)
{
	uint8_t start[16], end[16];
	struct inode_record *directory;
	struct kv_iter *iter;
	struct directory_listing list;
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
