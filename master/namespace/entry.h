/* entry.h - what all changes of directory entries have in common. */
#ifndef CATENA_MASTER_NAMESPACE_ENTRY_H
#define CATENA_MASTER_NAMESPACE_ENTRY_H
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>
#include "master/records/txn.h"

/* Takes a directory into the transaction that may get entries. -ENOENT: it is gone; -ENOTDIR. */
int entry_directory(struct txn *txn, uint64_t ino, struct inode_record **out);
/* Marks @directory as changed now, with so many entries more. */
void entry_directory_changed(struct txn *txn, struct inode_record *directory,
			     int64_t entries_delta);
/* Fills an entry. @type: DT_*. */
void entry_fill(struct dentry *dentry, const ProtobufCBinaryData *name, uint64_t ino, uint8_t type);
/* Frees an inode whose nlink has become 0, or makes it an orphan while it is open. */
void entry_last_gone(struct txn *txn, struct inode_record *inode);
/* Forgets that the inode is an orphan. */
void entry_orphan_gone(struct txn *txn, uint64_t ino);
#endif
