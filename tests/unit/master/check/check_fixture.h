/* check_fixture.h - a small tree made by the state machine, whose records are then edited one by
 * one, and what a check says of it. */
#ifndef CATENA_TESTS_UNIT_MASTER_CHECK_CHECK_FIXTURE_H
#define CATENA_TESTS_UNIT_MASTER_CHECK_CHECK_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/check/check.h"
#include "tests/lib/state_fixture.h"

/* The tree:
 *
 *	/a/			directory
 *	/a/b/			directory
 *	/a/b/deep		file
 *	/a/file, /link		one file of 3 MiB, with an attribute
 *	/c/			directory
 *	/other			file
 *	/symlink		to "target"
 *
 * and a file and a directory without name that the session has open, and one file's chunks in the
 * removal queue. */
struct check_tree {
	struct fixture f;
	uint64_t a, b, deep, file, c, other, symlink, orphan, removed;
};
extern struct check_tree tree;

/* cmocka's; the names have hashes of their own. */
int check_tree_setup(void **state);
/* The same, but all names of a directory share one hash's places. */
int check_tree_setup_crowded(void **state);
int check_tree_teardown(void **state);

/* ---- what is found ---- */

#define FOUND_MAX 64
struct check_found {
	struct check_finding findings[FOUND_MAX];
	unsigned count;
	struct check_result result;
	int rc;
};
extern struct check_found found;

/* Where checks sort; NULL, as from the start: in memory. */
extern struct sorter_supply *check_sorters;

/* Runs a check over the store as it is. */
void check_now(void);
/* Expects that a check sees everything and finds nothing. */
void assert_sound(void);
/* Expects that a check finds these, in any order, and no more. */
void assert_found(unsigned count, ...);
/* Expects one finding; returns it. */
const struct check_finding *assert_found_one(enum check_code code);

/* ---- editing records ---- */

void put_record(enum family family, const void *key, size_t key_size, const void *value,
		size_t size);
void delete_record(enum family family, const void *key, size_t key_size);
void put_meta(enum meta_tag tag, uint64_t id, const void *value, size_t size);
void delete_meta(enum meta_tag tag, uint64_t id);
struct inode_record get_inode(uint64_t ino);
void put_inode(const struct inode_record *inode);
void delete_inode(uint64_t ino);
struct counters get_counters(void);
void put_counters(const struct counters *counters);

/* Finds an entry; returns its cookie. */
uint64_t find_entry(uint64_t parent, const char *name, struct dentry *dentry);
void put_entry(uint64_t parent, uint64_t cookie, const struct dentry *dentry);
void delete_entry(uint64_t parent, uint64_t cookie);
/* The first place of a name. */
uint64_t place_of(const char *name);
struct dentry entry_of(const char *name, uint64_t ino, uint8_t type);
/* Adds to a directory's numbers of entries and subdirectories. */
void count_entries(uint64_t parent, int entries, int subdirectories);

/* Edits a field of a record: EDIT_INODE(tree.file, i.nlink = 7). */
#define EDIT_INODE(ino_, edit_)                                                                    \
	do {                                                                                       \
		struct inode_record i = get_inode(ino_);                                           \
		edit_;                                                                             \
		put_inode(&i);                                                                     \
	} while (0)
#define EDIT_COUNTERS(edit_)                                                                       \
	do {                                                                                       \
		struct counters c = get_counters();                                                \
		edit_;                                                                             \
		put_counters(&c);                                                                  \
	} while (0)
#endif
