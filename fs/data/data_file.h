/* data_file.h - lives of the files that have data here, and the sending of what is dirty in one.
 *
 * Whoever changes what a file has to do gathers under the file's lock what follows from it, and
 * runs that after the lock: data_file_gather(), data_file_run().
 *
 * Thread: any. Locks: none held by the caller, unless a function says otherwise. */
#ifndef CATENA_FS_DATA_DATA_FILE_H
#define CATENA_FS_DATA_DATA_FILE_H
#include "fs/data/data_internal.h"

/* Takes a reference that keeps the file alive, and is no user of it. Locks: any. */
void data_file_hold(struct data_file *file);
/* Gives such a reference back. */
void data_file_drop(struct data_file *file);
/* Names the file's chunk. Locks: the file's, or none while the id cannot change. */
struct chunk_key data_file_key(const struct data_file *file, uint32_t index);

/* Finds what is to be sent and told now. Locks: the file's. */
void data_file_gather(struct data_file *file, struct data_work *work);
/* Sends and tells it. The caller has a reference. */
void data_file_run(struct data_file *file, struct data_work *work);
/* Sends everything dirty, now and until nothing is. */
void data_file_send_all(struct data_file *file);

/* Makes the file's work belong to the present session; unanswered work of another is lost. True:
 * @session is the present one (0: any). Gather and run must follow. Locks: the file's. */
bool data_file_enter_session(struct data_file *file, uint64_t session);
/* Tells the owner that @bytes of the file were answered and are lost. */
void data_tell_lost(struct data_file *file, uint64_t file_id, uint64_t bytes);

/* Lists all files, with a reference to each; *out is malloc()ed. Errors: -ENOMEM. */
int data_files_collect(struct data *data, struct data_file ***out, size_t *count);
/* Flushes closed files that have lingered for long enough at @now. Thread: a data loop's. */
void data_linger_tick(struct data *data, uint64_t now);
/* Frees whatever is left, after the chains' client has stopped. */
void data_files_destroy(struct data *data);
#endif
