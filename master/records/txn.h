/* txn.h - what one command reads and changes.
 *
 * One command is one transaction: what it reads comes from its own changes, then the caches, then
 * the store; what it changes stays in struct txn until txn_commit() has written everything as one
 * batch. Only then are caches and tables told. So a failed write leaves memory as the store is. */
#ifndef CATENA_MASTER_RECORDS_TXN_H
#define CATENA_MASTER_RECORDS_TXN_H
#include <stdbool.h>
#include <stdint.h>
#include "common/kv/kv.h"
#include "master/records/appends.h"
#include "master/records/sessions.h"
#include "master/records/values.h"

struct state;

#define TXN_INODES_MAX   8
#define TXN_DENTRIES_MAX 8

struct txn_inode {
	struct inode_record inode, before;
	bool changed, freed;
};

struct txn_dentry {
	uint64_t parent, cookie;
	bool present; /* else deleted */
	struct dentry dentry;
};

struct txn_open {
	struct session *session;
	uint64_t ino;
	uint32_t count;
};

struct txn {
	struct state *state;
	struct session *session; /* NULL: a command of the master itself */
	int64_t time;
	int store_error; /* the store failed: the command is neither done nor refused */
	bool damaged;    /* it has met a damaged record: what it would do is not known */
	struct counters counters;
	struct kv_batch *batch;
	struct txn_inode inodes[TXN_INODES_MAX];
	unsigned inode_count;
	struct txn_dentry dentries[TXN_DENTRIES_MAX];
	unsigned dentry_count;
	struct txn_open open;
	bool open_changed;
	struct append_change append;
	struct delegation delegation; /* count 0: none is made */
};

/* Empties the state's only transaction, and hands it out. */
struct txn *txn_begin(struct state *state, struct session *session, int64_t time);
/* Forgets the changes, as if the command had done nothing. */
void txn_reset(struct txn *txn);
/* Writes the changes and the applied index as one batch; then memory follows. When the write fails,
 * memory is read anew before anything else (core_ready()). */
int txn_commit(struct txn *txn, uint64_t index);
/* Takes down that the store failed inside a command, and returns the error. A damaged record is
 * noted, and -EIO: the command is given up. */
int txn_failed(struct txn *txn, int rc);

/* Takes an inode into the transaction, to read and change; it lives as long. -ESTALE: there is
 * none. -EIO: damaged. */
int txn_inode(struct txn *txn, uint64_t ino, struct inode_record **out);
/* The same of the inode that an entry names: that there is none is damage, and -EIO. */
int txn_inode_named(struct txn *txn, uint64_t ino, struct inode_record **out);
/* Marks an inode as changed, before its first change: its version grows. */
void txn_touch(struct txn *txn, struct inode_record *inode);
/* The same for a change on which no copy of the inode depends: its version stays. */
void txn_touch_quietly(struct txn *txn, struct inode_record *inode);
/* Makes an inode with the number @ino or (0) the next; the caller fills it. -EEXIST. -ENOSPC: no
 * numbers are left. */
int txn_inode_new(struct txn *txn, uint64_t ino, struct inode_record **out);
/* Removes the inode and its xattrs, and queues its chunks for removal. */
void txn_inode_free(struct txn *txn, struct inode_record *inode);
/* The same for an inode that is not of the transaction and whose size counts as @counted so far;
 * the caller drops it from the cache. */
void txn_free_records(struct txn *txn, const struct inode_record *inode, uint64_t counted);
/* Reads an inode as it was before the transaction. */
int txn_read_inode(struct txn *txn, uint64_t ino, struct inode_record *out);
/* Queues chunks for removal. */
void txn_remove_chunks(struct txn *txn, uint32_t pool, uint64_t file_id, uint64_t size);

/* Finds an entry by name: *cookie is its slot. -ENOENT; then *cookie (if not NULL) is the slot for
 * a new one, or 0 when all slots of the name's hash are taken. */
int txn_dentry_find(struct txn *txn, const struct inode_record *parent, const uint8_t *name,
		    size_t size, uint64_t *cookie, struct dentry *out);
/* Each changes only the entry. Of the directory's inode, put may set INODE_CROWDED. */
int txn_dentry_put(struct txn *txn, struct inode_record *parent, uint64_t cookie,
		   const struct dentry *dentry);
int txn_dentry_delete(struct txn *txn, const struct inode_record *parent, uint64_t cookie);

/* Counts one more open of the transaction's session. -ENFILE. */
int txn_open_more(struct txn *txn, uint64_t ino);
/* Sets how often the transaction's session has the inode open. */
void txn_open_count(struct txn *txn, uint64_t ino, uint32_t count);

/* Gives back the right to append, if the transaction's session has it. */
void txn_append_release(struct txn *txn, uint64_t ino);
/* True when another session than the transaction's has the right. */
bool txn_append_elsewhere(const struct txn *txn, uint64_t ino);
#endif
