/* kv_overlay.h - a store in front of a store: the writes of a turn are collected in memory, seen by
 * all reads, and written as one batch.
 *
 * The overlay is used through kv.h, like the store behind it, its base. Outside of a turn every
 * call goes through to the base. Within a turn:
 *
 * kv_get(), iterators: see the base as if all that was collected had been written to it. While the
 *	base is down they fail with its error.
 * kv_write(): collects the batch, all of it or nothing; it must not be durable. Errors: -ENOMEM, or
 *	the base's while it is down.
 * kv_recover(): abandons the turn, then recovers the base.
 * kv_flush(), kv_checkpoint(), kv_compact(), kv_compact_stop(), kv_space_low(), kv_is_down(): are
 *	about the base alone. What is collected is in no flush and in no checkpoint, and takes no space
 *	on the disk until it is committed.
 *
 * An iterator is of the moment it was opened, as kv.h has it: it stays valid and sees nothing of
 * what is collected, committed or abandoned later. It must be freed before kv_recover() and before
 * the overlay is closed.
 *
 * Durability: a turn is atomic once it is committed, as one batch is. Before, it is lost with the
 * process. kv_flush() makes durable what was committed before.
 *
 * Thread: the overlay belongs to an owner who has one lock around all calls but those that are
 * about the base alone, and kv_iter_next() and kv_iter_free(), for which kv.h holds. Who reads
 * without that lock reads the base, and sees whole turns only; nobody else writes to the base
 * within a turn. */
#ifndef CATENA_COMMON_KV_KV_OVERLAY_H
#define CATENA_COMMON_KV_KV_OVERLAY_H
#include "common/kv/kv.h"

/* Makes an overlay in front of @base, which is borrowed until kv_close(*out); that frees the
 * overlay alone, with what is collected in it. Errors: -ENOMEM. */
int kv_overlay_open(struct kv *base, struct kv **out);
/* Begins a turn: from here on kv_write() collects. Expects that no turn is open. */
void kv_overlay_begin(struct kv *overlay);
/* Shows each batch to @listen once kv_write() has taken it, in a turn or outside of one, as it was
 * given, before turns make less of it. The batch is borrowed for the call. NULL, as from the start:
 * to nobody. */
void kv_overlay_listen(struct kv *overlay, void (*listen)(void *user, const struct kv_batch *batch),
		       void *user);
/* Ends the turn that is open, and writes all of it to the base by one kv_write() that is not
 * durable; when nothing was collected, none. Errors: the base's, and -ENOMEM, which leaves the base
 * up; what was collected is dropped. */
int kv_overlay_commit(struct kv *overlay);
/* Ends the turn that is open, and drops what was collected. */
void kv_overlay_abandon(struct kv *overlay);
bool kv_overlay_is_open(const struct kv *overlay);
/* Returns the bytes of keys and values that were collected in the turn, those that later ones have
 * replaced too, so that a turn can be ended when it grows large. 0 outside of a turn. */
size_t kv_overlay_size(const struct kv *overlay);
#endif
