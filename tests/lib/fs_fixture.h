/* fs_fixture.h - the filesystem's operations without kernel, network and disks.
 *
 * The master is its real state machine on the memory twin of the store; the chunkservers are bytes
 * in memory; the kernel is the test. Answers of the master and of the data layer can be held back
 * and given in any order. It defines meta_*(), data_*() and the replies of libfuse. */
#ifndef CATENA_TESTS_LIB_FS_FIXTURE_H
#define CATENA_TESTS_LIB_FS_FIXTURE_H
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/kv/kv.h"
#include "common/os/log.h"
#include "fs/flush/flush.h"
#include "fs/flush/housekeeper.h"
#include "fs/ops/ops.h"
#include "fs/lease/lease_return.h"
#include "master/state/state.h"
#include "tests/lib/fs_data_fixture.h"
#include "tests/lib/fs_events.h"
#include "tests/lib/fs_master_fixture.h"
#include "fs/mount/filesystem.h"
#include "fs/lease/leave.h"
#include "fs/kernel/root_wait.h"
#include "fs/kernel/page_drops.h"
#include "fs/lease/early_answer.h"

#define SESSION 7u

/* ---- the kernel ---- */

struct fuse_req {
	unsigned answers;
	int error;
	struct fuse_entry_param entry;
	struct stat attr;
	double timeout;
	struct fuse_file_info fi;
	size_t size;
	char bytes[8192];
	fuse_interrupt_func_t interrupt;
	void *interrupt_data;
};

extern struct fuse_ctx context;

void answered(fuse_req_t req, int error);
/* What the kernel does before it drops pages. */
extern void (*on_pages)(void);

/* ---- programs ---- */

extern struct fuse_req last;

fuse_req_t fresh(void);
uint64_t do_mkdir(uint64_t parent, const char *name);

/* A new file, open; its handle in last.fi. */
uint64_t do_create(uint64_t parent, const char *name, struct fuse_file_info *fi);
int do_open(uint64_t ino, int flags, struct fuse_file_info *fi);
int do_write(uint64_t ino, struct fuse_file_info *fi, const char *text, off_t offset);
int do_close(uint64_t ino, struct fuse_file_info *fi);
int do_truncate(uint64_t ino, off_t size);
off_t do_size(uint64_t ino);
uint64_t fs_inode_file_id(uint64_t ino);

/* The housekeeping thread's work, at a time to come. */
void later(uint64_t seconds);
int fixture_setup(void **state);
int fixture_teardown(void **state);
#endif
