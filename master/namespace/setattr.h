/* setattr.h - the size of a file, as other requests set it. */
#ifndef CATENA_MASTER_NAMESPACE_SETATTR_H
#define CATENA_MASTER_NAMESPACE_SETATTR_H
#include <stdint.h>
#include "master/records/txn.h"

/* The truncation of SET_SIZE and of open. */
int setattr_truncate(struct txn *txn, struct inode_record *inode, uint64_t size);
#endif
