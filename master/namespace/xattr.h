/* xattr.h - extended attributes, as other requests change them. */
#ifndef CATENA_MASTER_NAMESPACE_XATTR_H
#define CATENA_MASTER_NAMESPACE_XATTR_H
#include "master/records/txn.h"

/* Removes the inode's "security.capability", if it has one. -errno as all reads of the store. */
int xattr_drop_capabilities(struct txn *txn, struct inode_record *inode);
#endif
