/* keeper.h - keeps what the log of commands does: writes each entry and what came of it to segments
 * beside the store, and makes checkpoints of the store to begin with (directory.h).
 *
 * An entry is written before it is applied, what came of it before its batch goes to the store: so
 * after the end of the process the kept log has all that the store has, and an entry that ended the
 * process. Nothing is synced: a power cut may take some of it.
 *
 * What is kept makes one run as long as there is no gap in it. A keeper that begins goes on with the
 * last run when that has just what the store has: entries that the store does not have are marked as
 * undone. Otherwise it begins a run, with a checkpoint. So it does after a failure; a disk that is
 * nearly full ends the keeping, too, and what was kept gives way to the store.
 *
 * Locks: command_keeper's functions with the state lock held; the others without. */
#ifndef CATENA_MASTER_KEPT_KEEPER_H
#define CATENA_MASTER_KEPT_KEEPER_H
#include "common/kv/kv.h"
#include "master/log/command_log.h"
#include "master/state/state.h"

struct keeper;

struct keeper_options {
	const char *path;    /* of the kept log's directory, which is made; copied */
	struct kv *kv;       /* borrowed */
	struct state *state; /* borrowed; shows its changes to the keeper from here on */
	uint64_t bytes;      /* of entries, to be kept at least when there are as many */
};

/* Begins, before the state's next entry. What fails later is logged, and tried again after a minute.
 * Errors: -errno of the directory and what is in it, -ENOMEM, -EAGAIN. */
int keeper_open(const struct keeper_options *options, struct keeper **out);
/* No call may be under way. NULL is allowed. */
void keeper_close(struct keeper *keeper);
/* What is to be told of the entries. */
const struct command_keeper *keeper_interface(const struct keeper *keeper);
#endif
