/* treap.c - a persistent ordered map of byte strings, whose snapshots cost nothing. */
#include "common/kv/treap.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_bytes(const uint8_t *bytes, size_t size)
{
	uint64_t h = 0x9e3779b97f4a7c15ull ^ size;

	for (size_t i = 0; i < size; i++) {
		h = (h ^ bytes[i]) * 0x100000001b3ull;
		h ^= h >> 29;
	}
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

int treap_compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	size_t common = a_size < b_size ? a_size : b_size;
	int order = common == 0 ? 0 : memcmp(a, b, common);

	if (order != 0)
		return order;
	return a_size < b_size ? -1 : a_size > b_size;
}

/* ---- nodes ---- */

/* Its key, and so its priority, and its value are for the caller to fill in. */
static struct treap_node *node_alloc(size_t key_size, size_t value_size)
{
	struct treap_node *node = malloc(sizeof(*node) + key_size + value_size);

	if (node == NULL)
		return NULL;
	atomic_init(&node->refs, 1);
	node->tombstone = false;
	node->left = node->right = NULL;
	node->key_size = key_size;
	node->value_size = value_size;
	return node;
}

struct treap_node *treap_node_new(const void *key, size_t key_size, const void *value,
				  size_t value_size)
{
	struct treap_node *node = node_alloc(key_size, value_size);

	if (node == NULL)
		return NULL;
	if (key_size > 0)
		memcpy(node->bytes, key, key_size);
	if (value_size > 0)
		memcpy(node->bytes + key_size, value, value_size);
	node->priority = hash_bytes(node->bytes, key_size);
	return node;
}

int treap_node_value(const struct treap_node *node, uint8_t **value, size_t *value_size)
{
	uint8_t *copy = malloc(node->value_size == 0 ? 1 : node->value_size);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, node->bytes + node->key_size, node->value_size);
	*value = copy;
	*value_size = node->value_size;
	return 0;
}

struct treap_node *treap_ref(struct treap_node *node)
{
	if (node != NULL)
		atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
	return node;
}

void treap_unref(struct treap_node *node)
{
	struct treap_node *dead = NULL; /* their right trees are left to do; linked by ->left */

	for (;;) {
		struct treap_node *next;

		if (node != NULL &&
		    atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) == 1) {
			next = node->left;
			node->left = dead;
			dead = node;
			node = next;
			continue;
		}
		if (dead == NULL)
			return;
		next = dead->left;
		node = dead->right;
		free(dead);
		dead = next;
	}
}

/* Takes the reference @node; gives one to a node with the same content and no other reference. */
static struct treap_node *node_own(struct treap_node *node)
{
	struct treap_node *copy;

	if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1)
		return node;
	copy = node_alloc(node->key_size, node->value_size);
	if (copy != NULL) {
		memcpy(copy->bytes, node->bytes, node->key_size + node->value_size);
		copy->tombstone = node->tombstone;
		copy->priority = node->priority;
		copy->left = treap_ref(node->left);
		copy->right = treap_ref(node->right);
	}
	treap_unref(node);
	return copy;
}

/* ---- updates: functions take the references they are given, and give one back ---- */

/* Keys below @key to *left, the others to *right. False: out of memory (all references gone). */
static bool split(struct treap_node *node, const uint8_t *key, size_t key_size,
		  struct treap_node **left, struct treap_node **right)
{
	struct treap_node **below = left, **above = right; /* where the next one goes */
	bool ok = true;

	while (node != NULL) {
		node = node_own(node);
		ok = node != NULL;
		if (!ok)
			break;
		if (treap_compare(node->bytes, node->key_size, key, key_size) < 0) {
			*below = node;
			below = &node->right;
			node = node->right;
		} else {
			*above = node;
			above = &node->left;
			node = node->left;
		}
	}
	*below = *above = NULL;
	if (!ok) {
		treap_unref(*left);
		treap_unref(*right);
		*left = *right = NULL;
	}
	return ok;
}

/* All keys of @left are below all of @right. *out is NULL after a failure. */
static bool merge(struct treap_node *left, struct treap_node *right, struct treap_node **out)
{
	struct treap_node **at = out;

	while (left != NULL && right != NULL) {
		bool left_on_top = left->priority > right->priority;
		struct treap_node *top = node_own(left_on_top ? left : right);

		if (top == NULL) {
			*at = NULL;
			treap_unref(left_on_top ? right : left);
			treap_unref(*out);
			*out = NULL;
			return false;
		}
		*at = top;
		if (left_on_top) {
			at = &top->right;
			left = top->right;
		} else {
			at = &top->left;
			right = top->left;
		}
	}
	*at = left != NULL ? left : right;
	return true;
}

/* What is left of a tree in which an update found no memory at *@at. */
static bool give_up(struct treap_node **root, struct treap_node **at)
{
	*at = NULL;
	treap_unref(*root);
	*root = NULL;
	return false;
}

bool treap_insert(struct treap_node **root, struct treap_node *node)
{
	struct treap_node **at = root, *old;

	/* One with the same key has the same priority, so it is met before any lower one. */
	while (*at != NULL && (*at)->priority >= node->priority) {
		int order =
			treap_compare(node->bytes, node->key_size, (*at)->bytes, (*at)->key_size);

		if (order == 0) {
			old = *at;
			node->left = treap_ref(old->left);
			node->right = treap_ref(old->right);
			*at = node;
			treap_unref(old);
			return true;
		}
		*at = node_own(*at);
		if (*at == NULL) {
			treap_unref(node);
			return give_up(root, at);
		}
		at = order < 0 ? &(*at)->left : &(*at)->right;
	}
	old = *at;
	node->left = node->right = NULL;
	if (!split(old, node->bytes, node->key_size, &node->left, &node->right)) {
		treap_unref(node);
		return give_up(root, at);
	}
	*at = node;
	return true;
}

bool treap_remove(struct treap_node **root, const uint8_t *key, size_t key_size)
{
	struct treap_node **at = root, *left, *right;

	if (treap_find(*root, key, key_size) == NULL)
		return true;
	for (;;) {
		struct treap_node *node = *at;
		int order = treap_compare(key, key_size, node->bytes, node->key_size);

		if (order == 0)
			break;
		*at = node_own(node);
		if (*at == NULL)
			return give_up(root, at);
		at = order < 0 ? &(*at)->left : &(*at)->right;
	}
	left = treap_ref((*at)->left);
	right = treap_ref((*at)->right);
	treap_unref(*at);
	*at = NULL;
	return merge(left, right, at) || give_up(root, at);
}

bool treap_remove_range(struct treap_node **root, const uint8_t *start, size_t start_size,
			const uint8_t *end, size_t end_size)
{
	struct treap_node *left, *middle, *right, *tree = *root;

	if (treap_compare(start, start_size, end, end_size) >= 0)
		return true;
	*root = NULL;
	if (!split(tree, start, start_size, &left, &middle))
		return false;
	if (!split(middle, end, end_size, &middle, &right)) {
		treap_unref(left);
		return false;
	}
	treap_unref(middle);
	return merge(left, right, root);
}

/* ---- reads ---- */

const struct treap_node *treap_find(const struct treap_node *root, const uint8_t *key,
				    size_t key_size)
{
	while (root != NULL) {
		int order = treap_compare(key, key_size, root->bytes, root->key_size);

		if (order == 0)
			return root;
		root = order < 0 ? root->left : root->right;
	}
	return NULL;
}

const struct treap_node *treap_floor(const struct treap_node *root, const uint8_t *key,
				     size_t key_size)
{
	const struct treap_node *best = NULL;

	while (root != NULL) {
		if (treap_compare(root->bytes, root->key_size, key, key_size) <= 0) {
			best = root;
			root = root->right;
		} else {
			root = root->left;
		}
	}
	return best;
}

static void cursor_push(struct treap_cursor *cursor, const struct treap_node *node)
{
	if (cursor->depth == TREAP_CURSOR_DEPTH) {
		cursor->depth--;
		memmove(cursor->stack, cursor->stack + 1, cursor->depth * sizeof(cursor->stack[0]));
		cursor->dropped = true;
	}
	cursor->stack[cursor->depth++] = node;
}

/* Fills the stack for the first key that is not before @key, or (@behind) behind it. */
static void cursor_seek(struct treap_cursor *cursor, const uint8_t *key, size_t key_size,
			bool behind)
{
	const struct treap_node *node = cursor->root;

	cursor->depth = 0;
	cursor->dropped = false;
	while (node != NULL) {
		int order = treap_compare(node->bytes, node->key_size, key, key_size);

		if (order > 0 || (order == 0 && !behind)) {
			cursor_push(cursor, node);
			node = node->left;
		} else {
			node = node->right;
		}
	}
}

void treap_cursor_init(struct treap_cursor *cursor, const struct treap_node *root,
		       const uint8_t *start, size_t start_size)
{
	cursor->root = root;
	cursor->last = NULL;
	cursor_seek(cursor, start, start_size, false);
}

const struct treap_node *treap_cursor_next(struct treap_cursor *cursor)
{
	const struct treap_node *node;

	if (cursor->depth == 0 && cursor->dropped)
		cursor_seek(cursor, cursor->last->bytes, cursor->last->key_size, true);
	if (cursor->depth == 0)
		return NULL;
	node = cursor->stack[--cursor->depth];
	cursor->last = node;
	for (const struct treap_node *next = node->right; next != NULL; next = next->left)
		cursor_push(cursor, next);
	return node;
}
