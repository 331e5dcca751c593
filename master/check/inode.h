/* inode.h - one inode, with all that other records say of it. Internal to master/check. Pure. */
#ifndef CATENA_MASTER_CHECK_INODE_H
#define CATENA_MASTER_CHECK_INODE_H
#include "master/check/run.h"

struct check_inode {
	uint64_t ino;
	bool readable, typed; /* typed: its mode is one that there is */
	struct inode_record inode;
	/* Its names, and that of them by which it is told. */
	uint64_t names, parent, cookie;
	/* What is in it, if it is a directory. */
	bool has_entries; /* records, deleted ones too */
	uint64_t entries, subdirectories;
	uint8_t entry_flags; /* CHECK_DIR_* */
	uint64_t xattr_bytes;
	bool has_records, has_target, target_ok;
	uint64_t opens;
	bool marked; /* as an orphan */
};

static inline bool check_inode_is(const struct check_inode *of, uint32_t type)
{
	return of->typed && inode_is(&of->inode, type);
}

/* Takes one name of the inode: a record of names. */
int check_inode_name(struct check_run *run, struct check_inode *of, const uint8_t *record);
/* Takes one record of FAMILY_XATTRS. */
void check_inode_xattr(struct check_run *run, struct check_inode *of,
		       const struct check_scan *scan);
/* Reports what does not fit, when all has been taken; sorts what is compared with other inodes. */
int check_inode_judge(struct check_run *run, const struct check_inode *of);
#endif
