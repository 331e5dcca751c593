/* target_entry.h - from when on a target of this process takes part in chains.
 *
 * By a map a target is what it was when the map was made. One that is refused as an older copy of
 * its disk has no number; it gets one while the process runs, when others have become whole. In the
 * map that the process has by then it may still be a member that has everything: placed by it, it
 * would overwrite the others with what it has. So it waits for a map that has come after the
 * registration which gave it its number, and that is not older than the one named there: the master
 * sends none before it is decided what becomes of the target.
 *
 * Pure. Threading: one thread. */
#ifndef CATENA_CHUNKSERVER_WORKER_TARGET_ENTRY_H
#define CATENA_CHUNKSERVER_WORKER_TARGET_ENTRY_H
#include <stdbool.h>
#include <stdint.h>

/* All zero: not registered yet. */
struct target_entry {
	uint32_t target_id; /* 0: none */
	bool waits;         /* for a map */
	uint64_t from_version;
};

/* The master has registered the target as @target_id (0: it is refused); maps older than
 * @from_version do not know of that. True: the number is another one than before. */
bool target_entry_registered(struct target_entry *entry, uint32_t target_id, uint64_t from_version);
/* A map has come after all that was said before. True: the target has waited for it, and is to be
 * placed by all of it. */
bool target_entry_map(struct target_entry *entry, uint64_t version);
/* It may be placed. */
static inline bool target_entry_is_in(const struct target_entry *entry)
{
	return entry->target_id != 0 && !entry->waits;
}
#endif
