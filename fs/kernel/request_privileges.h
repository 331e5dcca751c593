/* request_privileges.h - whether the request in hand takes the file's setuid and setgid bits away.
 *
 * The kernel leaves the bits to us (FUSE_HANDLE_KILLPRIV_V2, linux/fuse.h): with a request it says
 * whether its sender may keep them. libfuse does not pass that on, so it is read from the request
 * itself, before libfuse gets it.
 *
 * Thread: what is noted counts for the thread that reads and handles the request. */
#ifndef CATENA_FS_KERNEL_REQUEST_PRIVILEGES_H
#define CATENA_FS_KERNEL_REQUEST_PRIVILEGES_H
#include <stdbool.h>
#include <stddef.h>

/* This thread is going to handle the kernel's @request of @size bytes, as it was read. */
void request_privileges_note(const void *request, size_t size);
/* True: the request in hand takes the bits away. In its handler. */
bool request_privileges_drop(void);
#endif
