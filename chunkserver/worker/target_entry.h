/* target_entry.h - from when on a target of this process takes part in chains.
 *
 * A map says what a target was when the map was made. A target that is refused as an older copy of
 * its disk has no number. It may get one while the process runs, once other targets are whole. The
 * map that the process has by then may still name it as a member that has everything. Placed by
 * that map, it would overwrite the others with what it has. So it waits for a map that comes after
 * the registration which gave it its number, and is not older than the version named there. The
 * master sends none before it has decided what becomes of the target.
 *
 * Pure. Thread: one. */
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

/* Takes the number from a registration; 0: the target is refused. The caller
 * judges whether another one than before may be taken. Maps older than @from_version do
 * not know of that. True: the number is new. */
bool target_entry_registered(struct target_entry *entry, uint32_t target_id, uint64_t from_version);
/* Takes a map that has come after the last registration. True: the target has waited for it, and is
 * to be placed by all of it. */
bool target_entry_map(struct target_entry *entry, uint64_t version);
/* True when the target may be placed. */
static inline bool target_entry_is_in(const struct target_entry *entry)
{
	return entry->target_id != 0 && !entry->waits;
}
#endif
