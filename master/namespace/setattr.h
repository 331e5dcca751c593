/* setattr.h - the size of a file, as other requests set it. */
#ifndef CATENA_MASTER_NAMESPACE_SETATTR_H
#define CATENA_MASTER_NAMESPACE_SETATTR_H
#include <stdint.h>
#include "master/records/txn.h"

/* The truncation of SET_SIZE and of open. @file_id: that the file gets when @size is 0; 0: the next
 * one. -EINVAL: it was not delegated, or went to an inode. */
int setattr_truncate(struct txn *txn, struct inode_record *inode, uint64_t size, uint64_t file_id);
#endif
