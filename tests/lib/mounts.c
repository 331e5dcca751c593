/* mounts.c - see mounts.h. */
#include "tests/lib/mounts.h"
#include <errno.h>
#include <mntent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

static void let_go_of_others(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	const struct mntent *entry;

	if (mounts == NULL)
		return;
	while ((entry = getmntent(mounts)) != NULL)
		if (strcmp(entry->mnt_type, "fuse.catena") == 0)
			umount2(entry->mnt_dir, MNT_DETACH);
	endmntent(mounts);
}

int mounts_own(void)
{
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -errno;
	let_go_of_others();
	return 0;
}
