/* request_privileges.c - see request_privileges.h. */
#include "fs/kernel/request_privileges.h"
#include <linux/fuse.h>

static _Thread_local bool asked;

/* The argument behind the header; NULL: the request is too short to have it. */
static const void *argument(const struct fuse_in_header *in, size_t size, size_t argument_size)
{
	return size >= sizeof(*in) + argument_size ? in + 1 : NULL;
}

static bool says_so(const struct fuse_in_header *in, size_t size)
{
	const struct fuse_write_in *write;
	const struct fuse_setattr_in *setattr;
	const struct fuse_create_in *create;

	switch (in->opcode) {
	case FUSE_WRITE:
		write = argument(in, size, sizeof(*write));
		return write != NULL && (write->write_flags & FUSE_WRITE_KILL_SUIDGID);
	case FUSE_SETATTR:
		setattr = argument(in, size, sizeof(*setattr));
		return setattr != NULL && (setattr->valid & FATTR_KILL_SUIDGID);
	case FUSE_CREATE:
		create = argument(in, size, sizeof(*create));
		return create != NULL && (create->open_flags & FUSE_OPEN_KILL_SUIDGID);
	case FUSE_FALLOCATE:
		/* Not said. Who may keep the bits (CAP_FSETID) is root, as a rule. */
		return in->uid != 0;
	default:
		return false;
	}
}

void request_privileges_note(const void *request, size_t size)
{
	asked = size >= sizeof(struct fuse_in_header) && says_so(request, size);
}

bool request_privileges_drop(void)
{
	return asked;
}
