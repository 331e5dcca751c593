/* inode_gate.c - see inode_gate.h. */
#include "fs/inodes/inode_gate.h"
#include <stddef.h>
#include "common/os/lock.h"
#include "common/base/expects.h"
#include "fs/inodes/inode.h"

static void queue(struct inode *inode, struct inode_gate_entry *entry)
{
	entry->next = NULL;
	if (inode->gate.tail != NULL)
		inode->gate.tail->next = entry;
	else
		inode->gate.head = entry;
	inode->gate.tail = entry;
}

static bool wait_or_go(struct inode *inode, struct inode_gate_entry *entry, bool exclusive,
		       void (*go)(struct inode_gate_entry *entry))
{
	bool free;

	entry->go = go;
	entry->exclusive = exclusive;
	pthread_mutex_lock(&inode->lock);
	free = !inode->gate.busy;
	if (!free)
		queue(inode, entry);
	else if (exclusive)
		inode->gate.busy = true;
	pthread_mutex_unlock(&inode->lock);
	return free;
}

bool inode_gate_enter(struct inode *inode, struct inode_gate_entry *entry,
		      void (*go)(struct inode_gate_entry *entry))
{
	return wait_or_go(inode, entry, true, go);
}

bool inode_gate_pass(struct inode *inode, struct inode_gate_entry *entry,
		     void (*go)(struct inode_gate_entry *entry))
{
	return wait_or_go(inode, entry, false, go);
}

/* Those in front that only pass, and the first that wants to be alone: it is in at once. */
static struct inode_gate_entry *take_next(struct inode *inode)
{
	struct inode_gate_entry *first = inode->gate.head, *last = first;

	lock_held(&inode->lock);
	if (first == NULL) {
		inode->gate.busy = false;
		return NULL;
	}
	while (!last->exclusive && last->next != NULL)
		last = last->next;
	inode->gate.head = last->next;
	if (inode->gate.head == NULL)
		inode->gate.tail = NULL;
	inode->gate.busy = last->exclusive;
	last->next = NULL;
	return first;
}

void inode_gate_leave(struct inode *inode)
{
	struct inode_gate_entry *entry, *next;

	pthread_mutex_lock(&inode->lock);
	expects(inode->gate.busy);
	entry = take_next(inode);
	pthread_mutex_unlock(&inode->lock);
	for (; entry != NULL; entry = next) {
		next = entry->next; /* the entry may be gone when its function returns */
		entry->go(entry);
	}
}
