/* attr.h - a request that is answered with the inode's attributes. */
#ifndef CATENA_FS_OPS_ATTR_H
#define CATENA_FS_OPS_ATTR_H
#include "fs/kernel/task.h"

/* Asks the master for the attributes of task->inode and answers with them. */
void attr_answer_fetched(struct task *task);
#endif
