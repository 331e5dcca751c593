/* names.c - nodes, the entries of directories, now and at their last sync, and the power cut. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>
#include "tests/lossyfs/lossy.h"
#include "tests/lib/random.h"

#define OPS_MAX 1000u

static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

/* ---- nodes ---- */

static struct lossy_node *node_new(struct lossy *fs, mode_t mode)
{
	struct lossy_node *node = must(calloc(1, sizeof(*node)));

	node->attr.st_ino = ++fs->last_ino;
	node->attr.st_mode = mode;
	node->attr.st_blksize = LOSSY_BLOCK;
	clock_gettime(CLOCK_REALTIME, &node->attr.st_mtim);
	node->attr.st_atim = node->attr.st_ctim = node->attr.st_mtim;
	node->fd = -1;
	node->refs = 1;
	DL_APPEND(fs->nodes, node);
	return node;
}

static void entries_free(struct lossy *fs, struct lossy_entry **entries)
{
	struct lossy_entry *entry, *next;

	HASH_ITER(hh, *entries, entry, next)
	{
		struct lossy_node *node = entry->node;

		HASH_DEL(*entries, entry);
		free(entry->name);
		free(entry);
		lossy_unref(fs, node, 1);
	}
}

void lossy_unref(struct lossy *fs, struct lossy_node *node, uint64_t count)
{
	if (node->refs < count)
		abort();
	node->refs -= count;
	if (node->refs > 0)
		return;
	node->refs = 1; /* while its entries go */
	entries_free(fs, &node->now);
	entries_free(fs, &node->synced);
	lossy_forget_undo(node);
	if (node->fd >= 0)
		close(node->fd);
	free(node->text);
	DL_DELETE(fs->nodes, node);
	free(node);
}

struct stat lossy_stat(const struct lossy_node *node)
{
	struct stat attr = node->attr, backing;

	if (S_ISREG(attr.st_mode)) {
		attr.st_size = node->size;
		if (fstat(node->fd, &backing) == 0)
			attr.st_blocks = backing.st_blocks;
	} else if (S_ISLNK(attr.st_mode)) {
		attr.st_size = (off_t)strlen(node->text);
	}
	return attr;
}

/* ---- entries ---- */

static struct lossy_entry *entry_find(struct lossy_entry *entries, const char *name)
{
	struct lossy_entry *entry;

	HASH_FIND_STR(entries, name, entry);
	return entry;
}

static void entry_set(struct lossy *fs, struct lossy_entry **entries, const char *name,
		      struct lossy_node *node)
{
	struct lossy_entry *entry = entry_find(*entries, name);
	struct lossy_node *old = entry != NULL ? entry->node : NULL;

	if (node != NULL)
		node->refs++;
	if (entry != NULL && node == NULL) {
		HASH_DEL(*entries, entry);
		free(entry->name);
		free(entry);
	} else if (entry != NULL) {
		entry->node = node;
	} else if (node != NULL) {
		entry = must(calloc(1, sizeof(*entry)));
		entry->name = must(strdup(name));
		entry->node = node;
		HASH_ADD_KEYPTR(hh, *entries, entry->name, strlen(entry->name), entry);
	}
	if (old != NULL)
		lossy_unref(fs, old, 1);
}

struct lossy_node *lossy_find(struct lossy_node *dir, const char *name)
{
	struct lossy_entry *entry = entry_find(dir->now, name);

	return entry != NULL ? entry->node : NULL;
}

/* ---- operations ---- */

static struct lossy_op *op_new(void)
{
	return must(calloc(1, sizeof(struct lossy_op)));
}

static void op_add(struct lossy_op *op, struct lossy_node *dir, const char *name,
		   struct lossy_node *after)
{
	op->change[op->count++] =
		(struct lossy_change){.dir = dir, .name = must(strdup(name)), .after = after};
	dir->refs++;
	if (after != NULL)
		after->refs++;
}

static void op_free(struct lossy *fs, struct lossy_op *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		free(op->change[i].name);
		if (op->change[i].after != NULL)
			lossy_unref(fs, op->change[i].after, 1);
		lossy_unref(fs, op->change[i].dir, 1);
	}
	free(op);
}

static void op_keep(struct lossy *fs, struct lossy_op *op)
{
	for (unsigned i = 0; i < op->count; i++)
		entry_set(fs, &op->change[i].dir->synced, op->change[i].name, op->change[i].after);
	DL_DELETE(fs->ops, op);
	fs->op_count--;
	op_free(fs, op);
}

/* Done now; to be kept later: by a sync, or when there are many, as every filesystem does. */
static void op_do(struct lossy *fs, struct lossy_op *op)
{
	if (fs->op_count >= OPS_MAX && !fs->lies)
		op_keep(fs, fs->ops);
	DL_APPEND(fs->ops, op);
	fs->op_count++;
	for (unsigned i = 0; i < op->count; i++) {
		struct lossy_change *change = &op->change[i];

		entry_set(fs, &change->dir->now, change->name, change->after);
		if (change->after != NULL && S_ISDIR(change->after->attr.st_mode))
			change->after->parent = change->dir;
		clock_gettime(CLOCK_REALTIME, &change->dir->attr.st_mtim);
	}
}

static bool share_a_name(const struct lossy_op *a, const struct lossy_op *b)
{
	for (unsigned i = 0; i < a->count; i++) {
		for (unsigned j = 0; j < b->count; j++) {
			if (a->change[i].dir == b->change[j].dir &&
			    strcmp(a->change[i].name, b->change[j].name) == 0)
				return true;
		}
	}
	return false;
}

int lossy_make(struct lossy *fs, struct lossy_node *dir, const char *name, mode_t mode,
	       const char *text, struct lossy_node **out)
{
	struct lossy_op *op;
	struct lossy_node *node;
	int fd = -1;

	if (lossy_find(dir, name) != NULL)
		return -EEXIST;
	if (S_ISREG(mode)) {
		fd = openat(fs->backing, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
	} else if (!S_ISDIR(mode) && !S_ISLNK(mode)) {
		return -EPERM;
	}
	node = node_new(fs, mode);
	node->fd = fd;
	node->text = text != NULL ? must(strdup(text)) : NULL;
	node->attr.st_nlink = S_ISDIR(mode) ? 2 : 1;
	op = op_new();
	op_add(op, dir, name, node);
	op_do(fs, op);
	*out = node;
	lossy_unref(fs, node, 1); /* node_new()'s; the entry has its own */
	return 0;
}

int lossy_link(struct lossy *fs, struct lossy_node *node, struct lossy_node *dir, const char *name)
{
	struct lossy_op *op;

	if (lossy_find(dir, name) != NULL)
		return -EEXIST;
	if (S_ISDIR(node->attr.st_mode))
		return -EPERM;
	node->attr.st_nlink++;
	op = op_new();
	op_add(op, dir, name, node);
	op_do(fs, op);
	return 0;
}

/* The name loses its node, which may be left without any. */
static void drop_link(struct lossy_node *node)
{
	node->attr.st_nlink -= S_ISDIR(node->attr.st_mode) ? 2 : 1;
}

int lossy_remove(struct lossy *fs, struct lossy_node *dir, const char *name, bool directory)
{
	struct lossy_node *node = lossy_find(dir, name);
	struct lossy_op *op;

	if (node == NULL)
		return -ENOENT;
	if (directory != S_ISDIR(node->attr.st_mode))
		return directory ? -ENOTDIR : -EISDIR;
	if (directory && HASH_COUNT(node->now) > 0)
		return -ENOTEMPTY;
	drop_link(node);
	op = op_new();
	op_add(op, dir, name, NULL);
	op_do(fs, op);
	return 0;
}

static int may_replace(const struct lossy_node *moved, const struct lossy_node *victim)
{
	bool directory = S_ISDIR(victim->attr.st_mode);

	if (S_ISDIR(moved->attr.st_mode) != directory)
		return directory ? -EISDIR : -ENOTDIR;
	return directory && HASH_COUNT(victim->now) > 0 ? -ENOTEMPTY : 0;
}

int lossy_rename(struct lossy *fs, struct lossy_node *from, const char *name, struct lossy_node *to,
		 const char *new_name, unsigned flags)
{
	struct lossy_node *node = lossy_find(from, name), *victim = lossy_find(to, new_name);
	bool exchange = (flags & RENAME_EXCHANGE) != 0;
	struct lossy_op *op;
	int rc;

	if (node == NULL || (exchange && victim == NULL))
		return -ENOENT;
	if ((flags & ~(unsigned)(RENAME_EXCHANGE | RENAME_NOREPLACE)) != 0)
		return -EINVAL;
	if (victim == node)
		return 0;
	if (victim != NULL && !exchange) {
		if ((flags & RENAME_NOREPLACE) != 0)
			return -EEXIST;
		rc = may_replace(node, victim);
		if (rc != 0)
			return rc;
		drop_link(victim);
	}
	op = op_new();
	op_add(op, from, name, exchange ? victim : NULL);
	op_add(op, to, new_name, node);
	op_do(fs, op);
	return 0;
}

void lossy_sync_dir(struct lossy *fs, struct lossy_node *dir)
{
	struct lossy_op *op, *later, *next;

	if (fs->lies || fs->ops == NULL)
		return;
	DL_FOREACH(fs->ops, op)
	{
		op->marked =
			op->change[0].dir == dir || (op->count > 1 && op->change[1].dir == dir);
	}
	/* Before them, what they build on: the other half of a rename has a directory of its own.
	 */
	for (later = fs->ops->prev; later != fs->ops; later = later->prev) {
		for (op = later->prev; later->marked; op = op->prev) {
			op->marked = op->marked || share_a_name(op, later);
			if (op == fs->ops)
				break;
		}
	}
	DL_FOREACH_SAFE(fs->ops, op, next)
	{
		if (op->marked)
			op_keep(fs, op);
	}
}

/* ---- the cut ---- */

enum cut_mode { CUT_NOTHING, CUT_ALL, CUT_END, CUT_RANDOM, CUT_MODES };

static void cut_ops(struct lossy *fs, uint64_t *random)
{
	enum cut_mode mode = (enum cut_mode)(random_u64(random) % CUT_MODES);
	struct lossy_op *op, *next, *lost = NULL, *other;
	unsigned count = 0, at = 0, end;

	DL_COUNT(fs->ops, op, count);
	end = count == 0 ? 0 : (unsigned)(random_u64(random) % (count + 1));
	DL_FOREACH_SAFE(fs->ops, op, next)
	{
		bool keep = mode == CUT_NOTHING || (mode == CUT_END && at < end) ||
			    (mode == CUT_RANDOM && random_u64(random) % 2 == 0);

		at++;
		DL_FOREACH(lost, other)
		{
			keep = keep && !share_a_name(op, other);
		}
		if (keep) {
			op_keep(fs, op);
		} else {
			DL_DELETE(fs->ops, op);
			fs->op_count--;
			DL_APPEND(lost, op);
		}
	}
	DL_FOREACH_SAFE(lost, op, next)
	{
		DL_DELETE(lost, op);
		op_free(fs, op);
	}
}

/* What is synced is all there is; links are counted anew. */
static void adopt(struct lossy *fs, struct lossy_node *dir)
{
	struct lossy_entry *entry, *next;

	entries_free(fs, &dir->now);
	dir->attr.st_nlink = 2;
	HASH_ITER(hh, dir->synced, entry, next)
	{
		entry_set(fs, &dir->now, entry->name, entry->node);
		if (S_ISDIR(entry->node->attr.st_mode)) {
			entry->node->parent = dir;
			adopt(fs, entry->node);
		} else {
			entry->node->attr.st_nlink++;
		}
	}
}

void lossy_cut(struct lossy *fs, uint64_t seed)
{
	static const unsigned percents[] = {0, 100, 100, 50, 10, 90};
	uint64_t random = seed;
	unsigned percent = percents[random_u64(&random) % (sizeof(percents) / sizeof(percents[0]))];
	struct lossy_node *node;

	cut_ops(fs, &random);
	DL_FOREACH(fs->nodes, node)
	{
		node->attr.st_nlink = 0;
		if (S_ISREG(node->attr.st_mode))
			lossy_cut_file(node, &random, percent);
	}
	fs->root->refs++;
	adopt(fs, fs->root);
	lossy_unref(fs, fs->root, 1);
}

int lossy_open(const char *backing, struct lossy *fs)
{
	fs->backing = open(backing, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fs->backing < 0)
		return -errno;
	fs->root = node_new(fs, S_IFDIR | 0755);
	fs->root->attr.st_nlink = 2;
	fs->root->parent = fs->root;
	return 0;
}
