/* treap.h - a persistent ordered map of byte strings, whose snapshots cost nothing.
 *
 * A tree is its root, NULL when it is empty. Nodes count who refers to them and are changed only
 * when that is one; of others an update makes a copy, up to the root. So a second reference to a
 * root (treap_ref()) is a snapshot: what is done to the tree afterwards is not seen in it.
 *
 * Keys are in the order of memcmp(), a shorter one before what it begins. Priorities are a hash of
 * the key, so that equal runs build equal trees. Nothing here recurses: keys that are chosen to
 * make a tree deep make it slow, no more.
 *
 * Errors: an update that finds no memory for a copy returns false, and all of the tree that was
 * referred to through *root is given up: *root is NULL. Who wants to go on keeps a reference to the
 * root before. Without any other reference to the root, or to one the tree had earlier, nothing is
 * copied and no update fails.
 * Thread: a tree is changed by one at a time; snapshots are read and given up by any thread. */
#ifndef CATENA_COMMON_KV_TREAP_H
#define CATENA_COMMON_KV_TREAP_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct treap_node {
	atomic_uint refs;
	bool tombstone; /* says of its key that it is not there; for the owner of the tree to use */
	uint64_t priority;
	/* Counted, once the node is in a tree. Before, ->right is its owner's to use, and is NULL
	 * again when the node goes into a tree or is given up. */
	struct treap_node *left, *right;
	size_t key_size, value_size;
	uint8_t bytes[]; /* key, value */
};

/* Less than, equal to or greater than 0, as @a is before, the same as or behind @b. */
int treap_compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size);

/* Makes a node that is in no tree, with one reference. NULL: out of memory. */
struct treap_node *treap_node_new(const void *key, size_t key_size, const void *value,
				  size_t value_size);
/* Copies the value; *value is malloc()ed. Errors: -ENOMEM. */
int treap_node_value(const struct treap_node *node, uint8_t **value, size_t *value_size);
/* Takes one more reference to the tree below @node, and returns it; NULL is allowed. */
struct treap_node *treap_ref(struct treap_node *node);
/* Gives a reference up; NULL is allowed. */
void treap_unref(struct treap_node *node);

/* Puts @node, whose reference it takes in any case, in the place of the one with its key, if any. */
bool treap_insert(struct treap_node **root, struct treap_node *node);
/* Takes the key out; it need not be there. */
bool treap_remove(struct treap_node **root, const uint8_t *key, size_t key_size);
/* Takes the keys of [start, end) out; the range may be empty or inverted. */
bool treap_remove_range(struct treap_node **root, const uint8_t *start, size_t start_size,
			const uint8_t *end, size_t end_size);

/* The node of this key, or NULL. Like all that follow it lends a node of the tree. */
const struct treap_node *treap_find(const struct treap_node *root, const uint8_t *key,
				    size_t key_size);
/* The last node that is not behind the key, or NULL. */
const struct treap_node *treap_floor(const struct treap_node *root, const uint8_t *key,
				     size_t key_size);

#define TREAP_CURSOR_DEPTH 64

/* Walks a tree in order. Its root must stay referred to until the walk is over. */
struct treap_cursor {
	const struct treap_node *root, *last;
	/* The nodes behind the last one on the way from the root, the next one on top. The first
	 * ones are dropped when there is no room, and looked up again when their turn comes. */
	const struct treap_node *stack[TREAP_CURSOR_DEPTH];
	unsigned depth;
	bool dropped;
};

/* Goes before the first key that is not before @start. */
void treap_cursor_init(struct treap_cursor *cursor, const struct treap_node *root,
		       const uint8_t *start, size_t start_size);
/* Goes on to the next node; NULL: there is none, which later calls say again. */
const struct treap_node *treap_cursor_next(struct treap_cursor *cursor);
#endif
