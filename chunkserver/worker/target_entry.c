#include "chunkserver/worker/target_entry.h"
#include "chunkserver/base/chain_faults.h"
#include "common/base/expects.h"

bool target_entry_registered(struct target_entry *entry, uint32_t target_id, uint64_t from_version)
{
	if (entry->target_id == target_id)
		return false;
	entry->target_id = target_id;
	entry->from_version = from_version;
	entry->waits = target_id != 0 && !FAULTY(PLACE_BY_OLD_MAP);
	return true;
}

bool target_entry_map(struct target_entry *entry, uint64_t version)
{
	if (!entry->waits || version < entry->from_version)
		return false;
	expects(entry->target_id != 0);
	entry->waits = false;
	return true;
}
