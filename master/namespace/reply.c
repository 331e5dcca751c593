/* reply.c - replies; see reply.h. */
#include "master/namespace/reply.h"
#include <errno.h>
#include <stdlib.h>

void reply_attr(Catena__Attr *out, const struct inode_record *inode, Catena__Attr **place)
{
	static const Catena__Attr empty = CATENA__ATTR__INIT;

	*out = empty;
	out->ino = inode->ino;
	out->mode = inode->mode;
	out->nlink = inode->nlink;
	out->uid = inode->uid;
	out->gid = inode->gid;
	out->size = inode->size;
	out->atime = inode->atime;
	out->mtime = inode->mtime;
	out->ctime = inode->ctime;
	out->rdev = inode->rdev;
	out->file_id = inode->file_id;
	out->pool = inode->pool;
	out->version = inode->version;
	out->allocated = inode->allocated;
	out->parent = inode->parent;
	out->trim_from = inode->trim_from;
	out->trim_to = inode->trim_to;
	out->trim_session = inode->trim_session;
	out->truncations = inode->truncations;
	out->truncated_at = inode->truncated_at;
	out->sparse = (inode->flags & INODE_SPARSE) != 0;
	*place = out;
}

void reply_begin(struct reply_room *room, uint64_t id)
{
	static const Catena__Reply empty = CATENA__REPLY__INIT;

	room->reply = empty;
	room->reply.id = id;
	room->owned = NULL;
}

int reply_pack(struct reply_room *room, uint8_t **out, size_t *size)
{
	size_t packed = catena__reply__get_packed_size(&room->reply);
	uint8_t *data = malloc(packed == 0 ? 1 : packed);

	if (data != NULL) {
		catena__reply__pack(&room->reply, data);
		*out = data;
		*size = packed;
	}
	free(room->owned);
	room->owned = NULL;
	return data == NULL ? -ENOMEM : 0;
}

int reply_error(uint64_t id, int rc, uint8_t **out, size_t *size)
{
	struct reply_room room;

	reply_begin(&room, id);
	room.reply.error = -rc;
	return reply_pack(&room, out, size);
}
