/* blocks.h - what st_blocks says of a file that may have holes.
 *
 * The master knows only whether a file may have holes. One that has none is full up to its size; of
 * the others the chains are asked, when a program looks, which chunks they hold and how much is in
 * each. The answer counts until the inode changes. */
#ifndef CATENA_FS_FILES_BLOCKS_H
#define CATENA_FS_FILES_BLOCKS_H
#include <stdbool.h>

struct task;
struct inode;

/* reply_with_attr() with the true number of blocks, which the chains are asked for unless it is known.
 * When they do not answer within a second the file counts as full. Ends the task. */
void blocks_answer_attr(struct task *task, struct inode *inode, bool cacheable);
#endif
