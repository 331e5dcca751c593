/* history_log.h - the log of what programs did to a shared directory and what they were told, written
 * by history.c and judged by linearizable.c. One line for each end of an operation:
 *
 *   B WORKER NUMBER NS KIND OBJECT OTHER VALUE     it begins
 *   E WORKER NUMBER NS RESULT VALUE                it has returned
 *
 * NS is CLOCK_MONOTONIC. RESULT is 0 or an errno, VALUE what was read. Whatever changes something
 * has been synced (fsync of the file, or of the directory) before it counts as returned. */
#ifndef CATENA_TESTS_FAULT_HISTORY_LOG_H
#define CATENA_TESTS_FAULT_HISTORY_LOG_H

#define REGISTERS 3 /* files r0, r1, ...: one number each, 0 at first */
#define NAMES     3 /* entries n0, n1, ...: an inode number each, 0: absent, as at first */

enum kind {
	WRITE = 'w',   /* VALUE to register OBJECT */
	READ = 'r',    /* register OBJECT */
	LINK = 'l',    /* inode VALUE gets the name OBJECT, if that is absent (else EEXIST) */
	REPLACE = 'p', /* inode VALUE gets the name OBJECT, whatever it was */
	UNLINK = 'u',  /* name OBJECT (or ENOENT) */
	MOVE = 'm',    /* name OBJECT becomes OTHER, whatever that was (or ENOENT) */
	TAKE = 't',    /* name OBJECT goes, and which inode it was is looked at (or ENOENT) */
	LOOK = 's',    /* name OBJECT: its inode, or ENOENT */
};
#endif
