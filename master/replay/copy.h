/* copy.h - copies of checkpoints, to open them. */
#ifndef CATENA_MASTER_REPLAY_COPY_H
#define CATENA_MASTER_REPLAY_COPY_H

/* Copies the files of the directory @from, which is @name in @dir_fd, to the new directory @to. What
 * is in subdirectories is left out. Errors: -errno. */
int copy_directory(int dir_fd, const char *name, const char *to);
/* Removes a directory of files. That there is none is fine. */
void copy_remove(const char *path);
#endif
