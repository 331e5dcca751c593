/* namespace_rules.c - what the names of a directory allow; see namespace_rules.h. */
#include "common/cluster/namespace_rules.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool is_dots(const uint8_t *name, size_t size)
{
	return size > 0 && size <= 2 && name[0] == '.' && (size == 1 || name[1] == '.');
}

int namespace_rules_name(const uint8_t *name, size_t size)
{
	if (size > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	if (size == 0 || memchr(name, '/', size) != NULL || memchr(name, '\0', size) != NULL ||
	    is_dots(name, size))
		return -EINVAL;
	return 0;
}

int namespace_rules_new_name(const uint8_t *name, size_t size)
{
	return is_dots(name, size) ? -EEXIST : namespace_rules_name(name, size);
}

int namespace_rules_removed_name(const uint8_t *name, size_t size, bool directory)
{
	if (!is_dots(name, size))
		return namespace_rules_name(name, size);
	if (!directory)
		return -EISDIR;
	return size == 2 ? -ENOTEMPTY : -EINVAL;
}

int namespace_rules_symlink(const uint8_t *target, size_t size)
{
	if (size == 0)
		return -ENOENT;
	if (size > SYMLINK_BYTES_MAX)
		return -ENAMETOOLONG;
	return memchr(target, '\0', size) != NULL ? -EINVAL : 0;
}

uint32_t namespace_rules_new_mode(uint32_t mode)
{
	uint32_t type = (mode & S_IFMT) == 0 ? S_IFREG : mode & S_IFMT;

	switch (type) {
	case S_IFLNK:
		return S_IFLNK | 0777;
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return type | (mode & 07777);
	default:
		return 0;
	}
}

void namespace_rules_new_inode(const struct namespace_rules_request *request,
			       const struct namespace_rules_place *place,
			       struct namespace_rules_inode *out)
{
	*out = (struct namespace_rules_inode){.mode = namespace_rules_new_mode(request->mode),
					      .nlink = 1,
					      .uid = request->uid,
					      .gid = request->gid,
					      .pool = place->parent_pool};
	if (place->parent_mode & S_ISGID) {
		out->gid = place->parent_gid;
		if (S_ISDIR(out->mode))
			out->mode |= S_ISGID;
	}
	if (S_ISREG(out->mode)) {
		out->file_id = place->file_id;
	} else if (S_ISDIR(out->mode)) {
		out->nlink = 2;
		out->size = DIRECTORY_BYTES;
		out->parent = place->parent;
	} else if (S_ISLNK(out->mode)) {
		out->size = request->symlink_bytes;
	} else if (S_ISCHR(out->mode) || S_ISBLK(out->mode)) {
		out->rdev = request->rdev;
	}
}

int namespace_rules_link(uint32_t mode, uint32_t nlink)
{
	if (S_ISDIR(mode))
		return -EPERM;
	return nlink == 0 ? -ENOENT : 0;
}

int namespace_rules_unlink(uint32_t mode, uint64_t entries, bool directory)
{
	if (!directory)
		return S_ISDIR(mode) ? -EISDIR : 0;
	if (!S_ISDIR(mode))
		return -ENOTDIR;
	return entries > 0 ? -ENOTEMPTY : 0;
}

int namespace_rules_replace(uint32_t moved_mode, uint32_t replaced_mode, uint64_t entries)
{
	if (S_ISDIR(moved_mode))
		return namespace_rules_unlink(replaced_mode, entries, true);
	return S_ISDIR(replaced_mode) ? -EISDIR : 0;
}

uint32_t namespace_rules_unprivileged(uint32_t mode)
{
	if (S_ISDIR(mode))
		return mode;
	mode &= ~(uint32_t)S_ISUID;
	return mode & S_IXGRP ? mode & ~(uint32_t)S_ISGID : mode;
}
