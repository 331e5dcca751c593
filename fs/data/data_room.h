/* data_room.h - how much memory reads and writes may take, also while some chains are stuck.
 *
 * Thread: any. Locks: any, but data_room_tick() wants none. */
#ifndef CATENA_FS_DATA_DATA_ROOM_H
#define CATENA_FS_DATA_DATA_ROOM_H
#include "fs/data/data.h"

enum data_room {
	DATA_ROOM,  /* there is some */
	DATA_HELD,  /* its chain, which is stuck, has its part: others may go on */
	DATA_FULL,  /* its chain, which works, has its part: others may go on */
	DATA_SHORT, /* no chain gets any */
};
/* Says whether @length bytes may be accepted for the chain of @slot. */
enum data_room data_write_room(struct data *data, uint32_t slot, uint32_t length);
/* Says whether @length bytes may be read. A read of a stuck chain takes no memory before it is
 * answered, and must not stand in the way of others. */
bool data_read_room(struct data *data, uint32_t slot, uint32_t length);
/* Returns the bytes of the reads' memory that are not with stuck chains. */
size_t data_read_used(struct data *data);
/* Looks again at writes and reads that wait: time alone makes a chain stuck. */
void data_room_tick(struct data *data, uint64_t now);
#endif
