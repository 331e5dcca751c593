/* model.h - a namespace as simple as can be: arrays, searched from end to end.
 *
 * It says what each operation must answer. It shares no code with the master's state, and its order
 * of checks is written down anew from what Linux and POSIX say. */
#ifndef CATENA_TESTS_SIM_NAMESPACE_MODEL_H
#define CATENA_TESTS_SIM_NAMESPACE_MODEL_H
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MODEL_INODES   600
#define MODEL_ENTRIES  600
#define MODEL_SESSIONS 3
#define MODEL_NAME     24

struct model_inode {
	bool used;    /* the slot was given out; slots are never used again */
	bool exists;  /* has a name or is open */
	uint64_t ino; /* the state's */
	uint32_t type, nlink;
	uint64_t size;
	int parent; /* of directories */
	uint32_t opens[MODEL_SESSIONS];
	bool trim;
	uint64_t trim_from;
	int trim_session; /* -1: one that is gone */
	uint64_t truncations;
};

struct model_entry {
	bool used;
	int parent, child;
	char name[MODEL_NAME];
};

struct model {
	int inode_count;
	struct model_inode inodes[MODEL_INODES];
	struct model_entry entries[MODEL_ENTRIES];
};

void model_init(struct model *m);
struct model_entry *model_find(struct model *m, int parent, const char *name);
int model_entry_count(const struct model *m, int parent);

/* A directory that takes entries. */
int model_directory(const struct model *m, int dir);

/* 0, or what it must be refused with. *slot: the inode made or found. */
int model_create(struct model *m, int session, int parent, const char *name, uint32_t type,
		 bool open, bool exclusive, int *slot);
int model_link(struct model *m, int target, int parent, const char *name);
int model_unlink(struct model *m, int parent, const char *name, bool directory);
int model_rename(struct model *m, int from, const char *name, int to, const char *new_name,
		 uint32_t flags);
int model_open(struct model *m, int session, int slot, bool truncate);
void model_close(struct model *m, int session, int slot, uint32_t count);
int model_set_size(struct model *m, int session, int slot, uint64_t size);

/* Of what was written when the file had been truncated @truncations times. */
int model_grow(struct model *m, int session, int slot, uint64_t size, uint64_t truncations);
int model_trim(struct model *m, int session, int slot, bool take, uint64_t truncations);
void model_session_end(struct model *m, int session);
#endif
