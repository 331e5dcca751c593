/* xattr.c - extended attributes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "common/base/bytes.h"
#include "master/namespace/namespace.h"
#include "master/namespace/xattr.h"
#include "master/records/core.h"

static int check_xattr_name(const ProtobufCBinaryData *name)
{
	if (name->len > XATTR_NAME_BYTES_MAX)
		return -ERANGE;
	if (name->len == 0 || memchr(name->data, '\0', name->len) != NULL)
		return -EINVAL;
	return 0;
}

/* -ENODATA; *value is malloc()ed. */
static int get_value(struct txn *txn, const struct inode_record *inode,
		     const ProtobufCBinaryData *name, uint8_t **value, size_t *size)
{
	uint8_t key[XATTR_KEY_MAX];
	int rc;

	if (inode->xattr_bytes == 0)
		return -ENODATA;
	rc = kv_get(txn->state->kv, FAMILY_XATTRS, key,
		    key_xattr(key, inode->ino, name->data, name->len), value, size);
	if (rc == -ENOENT)
		return -ENODATA;
	return rc == 0 ? 0 : txn_failed(txn, rc);
}

static int xattr_get(struct txn *txn, const struct inode_record *inode, const Catena__XattrReq *req,
		     struct reply_room *room)
{
	uint8_t *value;
	size_t size;
	int rc = get_value(txn, inode, &req->name, &value, &size);

	if (rc != 0)
		return rc;
	room->owned = value;
	room->reply.data.data = value;
	room->reply.data.len = size;
	return 0;
}

/* The old value's size; 0 with *exists false. */
static int old_size(struct txn *txn, const struct inode_record *inode, const Catena__XattrReq *req,
		    bool *exists, size_t *size)
{
	uint8_t *value;
	int rc = get_value(txn, inode, &req->name, &value, size);

	*exists = rc == 0;
	if (rc == 0) {
		free(value);
		return 0;
	}
	*size = 0;
	return rc == -ENODATA ? 0 : rc;
}

static int xattr_set(struct txn *txn, struct inode_record *inode, const Catena__XattrReq *req,
		     struct reply_room *room)
{
	uint8_t key[XATTR_KEY_MAX];
	uint64_t total;
	size_t before;
	bool exists;
	int rc;

	if (req->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if (req->value.len > XATTR_BYTES_MAX)
		return -E2BIG;
	rc = old_size(txn, inode, req, &exists, &before);
	if (rc != 0)
		return rc;
	if (exists && (req->flags & XATTR_CREATE))
		return -EEXIST;
	if (!exists && (req->flags & XATTR_REPLACE))
		return -ENODATA;
	total = inode->xattr_bytes + req->value.len - before + (exists ? 0 : req->name.len);
	if (total > XATTR_TOTAL_MAX)
		return -ENOSPC;
	kv_batch_put(txn->batch, FAMILY_XATTRS, key,
		     key_xattr(key, inode->ino, req->name.data, req->name.len), req->value.data,
		     req->value.len);
	txn_touch(txn, inode);
	inode->flags |= INODE_HAS_RECORDS;
	inode->xattr_bytes = (uint32_t)total;
	inode->ctime = txn->time;
	reply_attr(&room->attr, inode, &room->reply.attr);
	return 0;
}

static int xattr_remove(struct txn *txn, struct inode_record *inode, const Catena__XattrReq *req,
			struct reply_room *room)
{
	uint8_t key[XATTR_KEY_MAX];
	size_t before;
	bool exists;
	int rc = old_size(txn, inode, req, &exists, &before);

	if (rc != 0)
		return rc;
	if (!exists)
		return -ENODATA;
	kv_batch_delete(txn->batch, FAMILY_XATTRS, key,
			key_xattr(key, inode->ino, req->name.data, req->name.len));
	txn_touch(txn, inode);
	inode->xattr_bytes -= (uint32_t)(before + req->name.len);
	inode->ctime = txn->time;
	reply_attr(&room->attr, inode, &room->reply.attr);
	return 0;
}

int xattr_drop_capabilities(struct txn *txn, struct inode_record *inode)
{
	static const char name[] = "security.capability";
	const Catena__XattrReq req = {
		.name = {.data = (uint8_t *)(uintptr_t)name, .len = sizeof(name) - 1}};
	uint8_t key[XATTR_KEY_MAX];
	size_t before;
	bool exists;
	int rc = old_size(txn, inode, &req, &exists, &before);

	if (rc != 0 || !exists)
		return rc;
	kv_batch_delete(txn->batch, FAMILY_XATTRS, key,
			key_xattr(key, inode->ino, req.name.data, req.name.len));
	txn_touch(txn, inode);
	inode->xattr_bytes -= (uint32_t)(before + req.name.len);
	inode->ctime = txn->time;
	return 0;
}

/* Names, each with its zero byte. */
static int collect_names(struct txn *txn, struct kv_iter *iter, uint8_t *names, size_t room,
			 size_t *used)
{
	const uint8_t *key;
	size_t size;
	int rc;

	*used = 0;
	while ((rc = kv_iter_next(iter, &key, &size, NULL, NULL)) == 1) {
		if (size <= 8 || size - 8 + 1 > room - *used)
			return txn_failed(txn, -EUCLEAN);
		memcpy(names + *used, key + 8, size - 8);
		*used += size - 8;
		names[(*used)++] = '\0';
	}
	return rc == 0 ? 0 : txn_failed(txn, rc);
}

static int xattr_list(struct txn *txn, const struct inode_record *inode, struct reply_room *room)
{
	/* Each name has at least one byte, so with the zeros it is at most twice as much. */
	size_t size = 2 * (size_t)inode->xattr_bytes + 1;
	static const uint8_t first = 1; /* above the key of a symlink's target */
	uint8_t start[9], end[8];
	struct kv_iter *iter;
	uint8_t *names;
	int rc;

	if (inode->xattr_bytes == 0)
		return 0;
	names = malloc(size);
	if (names == NULL)
		return txn_failed(txn, -ENOMEM);
	room->owned = names;
	key_u64(start, inode->ino);
	start[8] = first;
	key_u64(end, inode->ino + 1);
	rc = kv_iter_open(txn->state->kv, FAMILY_XATTRS, start, sizeof(start), end, sizeof(end),
			  &iter);
	if (rc != 0)
		return txn_failed(txn, rc);
	rc = collect_names(txn, iter, names, size, &room->reply.data.len);
	kv_iter_free(iter);
	room->reply.data.data = names;
	return rc;
}

int namespace_xattr(struct txn *txn, const Catena__XattrReq *req, struct reply_room *room)
{
	struct inode_record *inode;
	int rc = txn_inode(txn, req->ino, &inode);

	if (rc == 0 && req->op != XATTR_OP_LIST)
		rc = check_xattr_name(&req->name);
	if (rc != 0)
		return rc;
	switch (req->op) {
	case XATTR_OP_GET:
		return xattr_get(txn, inode, req, room);
	case XATTR_OP_SET:
		return xattr_set(txn, inode, req, room);
	case XATTR_OP_LIST:
		return xattr_list(txn, inode, room);
	case XATTR_OP_REMOVE:
		return xattr_remove(txn, inode, req, room);
	default:
		return -EINVAL;
	}
}
