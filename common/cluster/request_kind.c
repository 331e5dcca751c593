#include "common/cluster/request_kind.h"

/* XattrReq.op */
enum { XATTR_SET = 2, XATTR_REMOVE = 4 };

bool request_kind_is_command(const Catena__Request *request)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_SETATTR:
	case CATENA__REQUEST__OP_CREATE:
	case CATENA__REQUEST__OP_LINK:
	case CATENA__REQUEST__OP_UNLINK:
	case CATENA__REQUEST__OP_RENAME:
	case CATENA__REQUEST__OP_OPEN:
	case CATENA__REQUEST__OP_CLOSE:
	case CATENA__REQUEST__OP_DELEGATE:
	case CATENA__REQUEST__OP_APPEND:
		return true;
	case CATENA__REQUEST__OP_XATTR:
		return request->xattr->op == XATTR_SET || request->xattr->op == XATTR_REMOVE;
	default:
		return false;
	}
}

bool request_kind_takes_numbers(const Catena__Request *request)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_CREATE:
		return request->create->ino == 0;
	case CATENA__REQUEST__OP_SETATTR: /* a file that is cut to nothing is another file */
		return (request->setattr->mask & CATENA__SET_MASK__SET_SIZE) != 0 &&
		       request->setattr->size == 0 && request->setattr->new_file_id == 0;
	case CATENA__REQUEST__OP_OPEN:
		return request->open->truncate;
	case CATENA__REQUEST__OP_DELEGATE:
		return true;
	default:
		return false;
	}
}
