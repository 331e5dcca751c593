/* dir_prefetch.h - entries of directories as the master sends them, and directories that are read
 * before a program asks.
 *
 * A program that looks up many names of one directory one by one (a build, a backup, anything cold)
 * would ask the master for each. After a few such look-ups the directory is listed, with
 * attributes, beside them; once it is known whole, no name of it is asked for, those that do not
 * exist neither. How much is listed follows how much was looked up, so a huge directory of which
 * one name is wanted is not. Only while the lease is held: otherwise nothing may be kept. */
#ifndef CATENA_FS_INODES_DIR_PREFETCH_H
#define CATENA_FS_INODES_DIR_PREFETCH_H
#include <stddef.h>
#include <stdint.h>
#include "fs/inodes/fs.h"

#define DIR_PREFETCH_BATCH 1000u

/* Checks that the entries of @reply are behind cookie @from, in order, and make sense. *name_bytes
 * is the size of all names, with a NUL each. Errors: -EIO. */
int dir_prefetch_check(const Catena__Reply *reply, uint64_t from, size_t *name_bytes);
/* Notes that a look-up in @parent under @generation had to be asked of the master. Lists more of
 * the directory when that is worth it. */
void dir_prefetch_missed(struct fs *fs, uint64_t generation, uint64_t parent);
#endif
