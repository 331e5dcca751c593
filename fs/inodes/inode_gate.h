/* inode_gate.h - one truncation, punch or settling of a trim at a time on an inode; writes wait
 * for it.
 *
 * The kernel orders these by itself, except after a program was interrupted: then the next
 * operation comes while the one before is still under way. Nothing blocks: who cannot go on is
 * queued, and its function is called when it can (by whoever leaves). */
#ifndef CATENA_FS_INODES_INODE_GATE_H
#define CATENA_FS_INODES_INODE_GATE_H
#include <stdbool.h>

struct inode;

struct inode_gate_entry {
	struct inode_gate_entry *next;
	void (*go)(struct inode_gate_entry *entry);
	bool exclusive;
};

/* Enters alone. True: entered, go on; inode_gate_leave() must follow. False: @go will be called,
 * entered. */
bool inode_gate_enter(struct inode *inode, struct inode_gate_entry *entry,
		      void (*go)(struct inode_gate_entry *entry));
void inode_gate_leave(struct inode *inode);
/* Waits until the gate is free, and keeps nothing out. True: go on. False: @go will be called. */
bool inode_gate_pass(struct inode *inode, struct inode_gate_entry *entry,
		     void (*go)(struct inode_gate_entry *entry));
#endif
