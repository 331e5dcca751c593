/* reply.h - the reply to a request under construction. */
#ifndef CATENA_MASTER_NAMESPACE_REPLY_H
#define CATENA_MASTER_NAMESPACE_REPLY_H
#include <stddef.h>
#include <stdint.h>
#include "catena.pb-c.h"
#include "master/records/values.h"

/* A reply and room for what it points to. */
struct reply_room {
	Catena__Reply reply;
	Catena__Attr attr, parent_attr, new_parent_attr, moved;
	Catena__Statfs statfs;
	Catena__Delegation delegation;
	void *owned; /* free()d after packing */
};

void reply_attr(Catena__Attr *out, const struct inode_record *inode, Catena__Attr **place);

void reply_begin(struct reply_room *room, uint64_t id);
/* Encodes the reply to malloc()ed memory, and frees what the room owns. -ENOMEM. */
int reply_pack(struct reply_room *room, uint8_t **out, size_t *size);
/* Encodes a reply of nothing but -@rc. */
int reply_error(uint64_t id, int rc, uint8_t **out, size_t *size);
#endif
