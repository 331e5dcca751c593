/* ready.h - how a program tells its starter that it can be used: --ready-fd N.
 *
 * It writes one line to that descriptor and closes it. Nothing comes when the start fails. */
#ifndef CATENA_COMMON_OS_READY_H
#define CATENA_COMMON_OS_READY_H

/* Returns the number of a descriptor, or -EINVAL. */
int ready_fd_parse(const char *text);

/* Writes @text and a newline to @fd and closes it. A failure is only logged. @fd -1: does nothing.
 */
void ready_tell(int fd, const char *text);
#endif
