/* rename.c - rename, over what is there, or in exchange with it. */
#include <errno.h>
#include <string.h>
#include "master/namespace/entry.h"
#include "master/namespace/namespace.h"
#include "master/records/core.h"

#define DEPTH_MAX 1000000u /* of directories; more is a loop, which is damage */

struct renaming {
	struct inode_record *from_dir, *to_dir;
	struct inode_record *moved, *target; /* target NULL: the new name is free */
	uint64_t from_cookie, to_cookie;
	struct dentry from, to;
	bool exchange;
};

/* 1: directory @ancestor is @ino or above it. */
static int is_above(struct txn *txn, uint64_t ancestor, uint64_t ino)
{
	struct inode_record inode;
	int rc;

	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		if (ino == ancestor)
			return 1;
		if (ino == ROOT_INO)
			return 0;
		rc = txn_read_inode(txn, ino, &inode);
		if (rc != 0)
			return rc == -ESTALE ? txn_failed(txn, -EUCLEAN) : rc;
		ino = inode.parent;
	}
	return txn_failed(txn, -EUCLEAN); /* a loop */
}

static int find_entry(struct txn *txn, struct inode_record *directory,
		      const ProtobufCBinaryData *name, uint64_t *cookie, struct dentry *dentry,
		      struct inode_record **inode)
{
	int rc = txn_dentry_find(txn, directory, name->data, name->len, cookie, dentry);

	return rc == 0 ? txn_inode_named(txn, dentry->ino, inode) : rc;
}

static int find_all(struct txn *txn, const Catena__RenameReq *req, struct renaming *r)
{
	int rc = entry_directory(txn, req->parent, &r->from_dir);

	if (rc == 0)
		rc = entry_directory(txn, req->new_parent, &r->to_dir);
	if (rc == 0)
		rc = namespace_rules_name(req->name.data, req->name.len);
	if (rc == 0)
		rc = namespace_rules_name(req->new_name.data, req->new_name.len);
	if (rc == 0)
		rc = find_entry(txn, r->from_dir, &req->name, &r->from_cookie, &r->from, &r->moved);
	if (rc != 0)
		return rc;
	rc = find_entry(txn, r->to_dir, &req->new_name, &r->to_cookie, &r->to, &r->target);
	if (rc == 0)
		return 0;
	r->target = NULL;
	if (rc != -ENOENT || r->exchange)
		return rc;
	return r->to_cookie == 0 ? -ENOSPC : 0;
}

/* May these entries change places, or the one take the other's? */
static int check_fit(struct txn *txn, const struct renaming *r)
{
	bool moved_dir = inode_is(r->moved, S_IFDIR);
	bool target_dir = r->target != NULL && inode_is(r->target, S_IFDIR);
	int rc = 0;

	if (r->from_dir != r->to_dir && moved_dir)
		rc = is_above(txn, r->moved->ino, r->to_dir->ino);
	if (rc == 0 && r->from_dir != r->to_dir && target_dir && r->exchange)
		rc = is_above(txn, r->target->ino, r->from_dir->ino);
	if (rc != 0)
		return rc > 0 ? -EINVAL : rc;
	if (r->exchange || r->target == NULL)
		return 0;
	return namespace_rules_replace(r->moved->mode, r->target->mode, r->target->entries);
}

static int check_links(const struct renaming *r)
{
	bool gains = inode_is(r->moved, S_IFDIR) && r->from_dir != r->to_dir;

	return gains && r->to_dir->nlink == UINT32_MAX ? -EMLINK : 0;
}

static void changed_now(struct txn *txn, struct inode_record *inode)
{
	txn_touch(txn, inode);
	inode->ctime = txn->time;
}

/* A directory has another parent now. */
static void reparent(struct inode_record *inode, struct inode_record *from, struct inode_record *to)
{
	if (!inode_is(inode, S_IFDIR) || from == to)
		return;
	inode->parent = to->ino;
	from->nlink--;
	to->nlink++;
}

static int do_exchange(struct txn *txn, const Catena__RenameReq *req, struct renaming *r)
{
	struct dentry at_from, at_to;
	int rc;

	entry_fill(&at_from, &req->name, r->to.ino, r->to.type);
	entry_fill(&at_to, &req->new_name, r->from.ino, r->from.type);
	rc = txn_dentry_put(txn, r->from_dir, r->from_cookie, &at_from);
	if (rc == 0)
		rc = txn_dentry_put(txn, r->to_dir, r->to_cookie, &at_to);
	if (rc != 0)
		return rc;
	entry_directory_changed(txn, r->from_dir, 0);
	entry_directory_changed(txn, r->to_dir, 0);
	changed_now(txn, r->moved);
	changed_now(txn, r->target);
	reparent(r->moved, r->from_dir, r->to_dir);
	reparent(r->target, r->to_dir, r->from_dir);
	return 0;
}

static int do_rename(struct txn *txn, const Catena__RenameReq *req, struct renaming *r)
{
	struct dentry at_to;
	int rc;

	entry_fill(&at_to, &req->new_name, r->from.ino, r->from.type);
	/* First the new entry: if it is in a slot behind the old one, the old one's stays taken. */
	rc = txn_dentry_put(txn, r->to_dir, r->to_cookie, &at_to);
	if (rc == 0)
		rc = txn_dentry_delete(txn, r->from_dir, r->from_cookie);
	if (rc != 0)
		return rc;
	entry_directory_changed(txn, r->from_dir, -1);
	entry_directory_changed(txn, r->to_dir, r->target == NULL ? 1 : 0);
	changed_now(txn, r->moved);
	reparent(r->moved, r->from_dir, r->to_dir);
	if (r->target == NULL)
		return 0;
	changed_now(txn, r->target);
	if (inode_is(r->target, S_IFDIR)) {
		r->to_dir->nlink--;
		r->target->nlink = 0;
	} else {
		r->target->nlink--;
	}
	return 0;
}

int namespace_rename(struct txn *txn, const Catena__RenameReq *req, struct reply_room *room)
{
	const uint32_t known = RENAME_FLAG_NOREPLACE | RENAME_FLAG_EXCHANGE;
	struct renaming r = {.exchange = (req->flags & RENAME_FLAG_EXCHANGE) != 0};
	bool same;
	int rc;

	if ((req->flags & ~known) != 0 || req->flags == known)
		return -EINVAL;
	rc = find_all(txn, req, &r);
	if (rc != 0)
		return rc;
	if (r.target != NULL && (req->flags & RENAME_FLAG_NOREPLACE))
		return -EEXIST;
	/* Two names of one file: POSIX wants nothing to happen. */
	same = r.moved == r.target;
	if (!same) {
		rc = check_fit(txn, &r);
		if (rc == 0)
			rc = check_links(&r);
		if (rc == 0)
			rc = r.exchange ? do_exchange(txn, req, &r) : do_rename(txn, req, &r);
		if (rc != 0)
			return rc;
	}
	reply_attr(&room->moved, r.moved, &room->reply.moved);
	reply_attr(&room->parent_attr, r.from_dir, &room->reply.parent_attr);
	if (r.to_dir != r.from_dir)
		reply_attr(&room->new_parent_attr, r.to_dir, &room->reply.new_parent_attr);
	if (r.target != NULL && !same) {
		reply_attr(&room->attr, r.target, &room->reply.attr);
		if (r.target->nlink == 0)
			entry_last_gone(txn, r.target);
	}
	return 0;
}
