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

/* The state's only transaction, empty. */
struct txn *txn_begin(struct state *state, struct session *session, int64_t time);
/* Forgets the changes, as if the command had done nothing. */
void txn_reset(struct txn *txn);
/* Writes the changes and the applied index as one batch; then tells the memory. */
int txn_commit(struct txn *txn, uint64_t index);
/* For failures of the store inside a command: remembers it, returns it. */
int txn_failed(struct txn *txn, int rc);

/* An inode to read and change; it lives as long as the transaction. -ESTALE: there is none.
 * -EIO: damaged. */
int txn_inode(struct txn *txn, uint64_t ino, struct inode_record **out);
/* To be called before the first change of an inode. */
void txn_touch(struct txn *txn, struct inode_record *inode);
/* The same, but what changes is nothing that anybody's copies of it depend on: its version stays.
 */
void txn_touch_quietly(struct txn *txn, struct inode_record *inode);
/* A new inode, with the number @ino or (0) the next; type and fields are the caller's. -EEXIST. */
int txn_inode_new(struct txn *txn, uint64_t ino, struct inode_record **out);
/* The inode, its xattrs and its data go. */
void txn_inode_free(struct txn *txn, struct inode_record *inode);
/* The same for an inode that is not of the transaction and whose size counts as @counted so far;
 * the caller drops it from the cache. */
void txn_free_records(struct txn *txn, const struct inode_record *inode, uint64_t counted);
/* Only to read, and not from the changes of the transaction. */
int txn_read_inode(struct txn *txn, uint64_t ino, struct inode_record *out);
/* Queues chunks for removal. */
void txn_remove_chunks(struct txn *txn, uint32_t pool, uint64_t file_id, uint64_t size);

/* An entry by name: *cookie is its slot. -ENOENT; then *cookie (if not NULL) is the slot for a new
 * one, or 0 when all slots of the name's hash are taken. */
int txn_dentry_find(struct txn *txn, const struct inode_record *parent, const uint8_t *name,
		    size_t size, uint64_t *cookie, struct dentry *out);
/* Changes only the entry, not the directory's inode. */
int txn_dentry_put(struct txn *txn, struct inode_record *parent, uint64_t cookie,
		   const struct dentry *dentry);
int txn_dentry_delete(struct txn *txn, const struct inode_record *parent, uint64_t cookie);

/* One more open of the transaction's session. -ENFILE. */
int txn_open_more(struct txn *txn, uint64_t ino);
void txn_open_count(struct txn *txn, uint64_t ino, uint32_t count);

/* The transaction's session gives the right to append back, if it has it. */
void txn_append_release(struct txn *txn, uint64_t ino);
/* Another session than the transaction's has the right. */
bool txn_append_elsewhere(const struct txn *txn, uint64_t ino);
#endif
