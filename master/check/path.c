/* path.c - the path of a directory, found by its parents. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/check/check.h"
#include "master/records/values.h"

#define ENTRIES_MAX (1u << 20) /* looked at for one path */

struct climb {
	struct kv *kv;
	char *out;
	size_t at; /* the path so far is from here to the end, which it has */
	size_t entries;
};

/* Puts "/" and @name before the path. */
static int put_name(struct climb *climb, const uint8_t *name, size_t size)
{
	if (climb->at < size + 1)
		return -ENAMETOOLONG;
	climb->at -= size;
	memcpy(climb->out + climb->at, name, size);
	climb->out[--climb->at] = '/';
	return 0;
}

static int read_inode(struct kv *kv, uint64_t ino, struct inode_record *inode)
{
	uint8_t key[8], *value;
	size_t size;
	int rc;

	key_u64(key, ino);
	rc = kv_get(kv, FAMILY_INODES, key, sizeof(key), &value, &size);
	if (rc != 0)
		return rc;
	rc = value_decode_inode(ino, value, size, inode) ? 0 : -ENOENT;
	free(value);
	if (rc == 0 && !inode_is(inode, S_IFDIR))
		rc = -ENOTDIR;
	return rc;
}

/* Finds the name of @ino in the directory @parent, and puts it before the path. */
static int put_name_of(struct climb *climb, uint64_t parent, uint64_t ino)
{
	const uint8_t *key, *value;
	size_t key_size, size;
	uint8_t start[16], end[16];
	struct dentry dentry;
	struct kv_iter *iter;
	bool found = false;
	int rc;

	key_u64_u64(start, parent, 0);
	key_u64_u64(end, parent + 1, 0);
	rc = kv_iter_open(climb->kv, FAMILY_DENTRIES, start, sizeof(start), end, sizeof(end),
			  &iter);
	if (rc != 0)
		return rc;
	while (!found && (rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		if (climb->entries++ == ENTRIES_MAX) {
			rc = -E2BIG;
			break;
		}
		found = value_decode_dentry(value, size, &dentry) && dentry.ino == ino;
	}
	kv_iter_free(iter);
	if (found)
		return put_name(climb, dentry.name, dentry.name_size);
	return rc == 0 ? -ENOENT : rc;
}

/* Puts the names of directory @ino and of those above it before the path. A loop ends when there is
 * no room any more. */
static int climb_up(struct climb *climb, uint64_t ino)
{
	struct inode_record inode;
	int rc;

	for (uint64_t here = ino; here != ROOT_INO; here = inode.parent) {
		rc = read_inode(climb->kv, here, &inode);
		if (rc == 0)
			rc = inode.parent == ino || inode.parent == here
				     ? -ELOOP
				     : put_name_of(climb, inode.parent, here);
		if (rc != 0)
			return rc;
	}
	if (climb->out[climb->at] == '\0' && climb->at > 0)
		climb->out[--climb->at] = '/'; /* the root itself */
	return 0;
}

static int finish(struct climb *climb, size_t size, int rc)
{
	if (rc == 0)
		memmove(climb->out, climb->out + climb->at, size - climb->at);
	else
		climb->out[0] = '\0';
	return rc;
}

int check_path(struct kv *kv, uint64_t ino, char *out, size_t size)
{
	struct climb climb = {.kv = kv, .out = out, .at = size - 1};

	if (size < 2)
		return -ENAMETOOLONG;
	out[size - 1] = '\0';
	return finish(&climb, size, climb_up(&climb, ino));
}

int check_finding_path(struct kv *kv, const struct check_finding *finding, char *out, size_t size)
{
	struct climb climb = {.kv = kv, .out = out, .at = size - 1};
	int rc;

	if (finding->name_size == 0)
		return finding->ino == 0 ? -ENOENT : check_path(kv, finding->ino, out, size);
	if (size < 2)
		return -ENAMETOOLONG;
	out[size - 1] = '\0';
	rc = put_name(&climb, finding->name, finding->name_size);
	if (rc == 0)
		rc = climb_up(&climb, finding->parent);
	return finish(&climb, size, rc);
}
