/* finding.c - the table of all that a check of the master's store may find. */
#include "master/check/finding.h"

/* What nothing mends yet. */
#define REPORT "nothing mends it yet: keep a copy of the master's store, and report it"

static const struct check_kind kinds[] = {
	{CHECK_RECORD_DAMAGED, CHECK_ERROR, "a record of the master's store cannot be read",
	 "restore the master's store"},
	{CHECK_INODE_DAMAGED, CHECK_LOSS, "an inode cannot be read",
	 "restore the master's store; the data is still in the chunks of its file id"},
	{CHECK_ENTRY_DAMAGED, CHECK_LOSS, "an entry of a directory cannot be read",
	 "restore the master's store: what it named may have no other name"},
	{CHECK_RECORD_UNKNOWN, CHECK_WARNING, "a record is of no kind that this program knows",
	 "check with the version of catena-master that wrote the store"},
	{CHECK_RECORD_MISSING, CHECK_ERROR, "a record that each store has is missing",
	 "restore the master's store"},

	{CHECK_ENTRY_WITHOUT_INODE, CHECK_LOSS, "a name leads to no inode",
	 "the file is gone: restore it under another name"},
	{CHECK_ENTRY_TYPE, CHECK_ERROR, "an entry has another type than its inode", REPORT},
	{CHECK_ENTRY_MISPLACED, CHECK_ERROR,
	 "a name is listed and cannot be opened: it is in the place of another", REPORT},
	{CHECK_ENTRY_BEHIND_GAP, CHECK_ERROR,
	 "a name is listed and cannot be opened: a place before it is empty", REPORT},
	{CHECK_NAME_TWICE, CHECK_ERROR, "a directory has a name twice: only the first is opened",
	 REPORT},
	{CHECK_NAME_INVALID, CHECK_ERROR, "a name has bytes that no name may have", REPORT},
	{CHECK_ENTRIES_OF_NO_DIRECTORY, CHECK_ERROR, "names are in a directory that is none",
	 REPORT},
	{CHECK_DELETED_ENTRIES_LEFT, CHECK_WARNING,
	 "deleted entries of a directory that is gone take space", REPORT},

	{CHECK_ROOT_MISSING, CHECK_LOSS, "there is no root directory",
	 "restore the master's store"},
	{CHECK_DIRECTORY_TWICE, CHECK_ERROR, "a directory has more than one name",
	 "choose the name that stays"},
	{CHECK_DIRECTORY_LOOP, CHECK_ERROR,
	 "directories contain each other, and nothing leads to them", REPORT},
	{CHECK_PARENT, CHECK_ERROR, "a directory's '..' is not where its name is", REPORT},
	{CHECK_ENTRY_COUNT, CHECK_ERROR, "a directory has another number of entries than it says",
	 REPORT},
	{CHECK_SUBDIRECTORY_COUNT, CHECK_WARNING,
	 "a directory's link count does not fit its subdirectories", REPORT},
	{CHECK_REMOVED_DIRECTORY, CHECK_ERROR, "a removed directory has entries", REPORT},
	{CHECK_CROWDED_FLAG, CHECK_ERROR,
	 "a directory does not say that names share places: removals may hide other names", REPORT},

	{CHECK_INODE_WITHOUT_ENTRY, CHECK_ERROR, "an inode has no name", REPORT},
	{CHECK_LINK_COUNT_LOW, CHECK_LOSS,
	 "a file has more names than it says: it may be removed while it has one", REPORT},
	{CHECK_LINK_COUNT_HIGH, CHECK_WARNING,
	 "a file has fewer names than it says: it is not removed with its last one", REPORT},
	{CHECK_INODE_TYPE, CHECK_ERROR, "an inode has no type, or a mode that there is not",
	 "restore the master's store"},
	{CHECK_INODE_FLAGS, CHECK_WARNING, "an inode has flags that do not fit it", REPORT},
	{CHECK_SIZE_ABOVE_ALLOCATED, CHECK_ERROR,
	 "a file is longer than the range in which it has chunks", REPORT},
	{CHECK_SIZE_TOO_LARGE, CHECK_ERROR, "a file is longer than any can be",
	 "restore the master's store, or truncate it"},
	{CHECK_TRIM, CHECK_ERROR, "what a truncation has left to do is not possible", REPORT},
	{CHECK_POOL_UNKNOWN, CHECK_ERROR,
	 "the pool of an inode or of removed chunks does not exist", "restore the master's store"},
	{CHECK_INODE_FIELDS, CHECK_WARNING, "an inode that is no file has what only files have",
	 REPORT},
	{CHECK_FILE_ID_MISSING, CHECK_LOSS, "a file does not say where its chunks are",
	 "restore the master's store"},
	{CHECK_FILE_ID_TWICE, CHECK_LOSS, "two files have the same chunks",
	 "copy both, compare, and remove the one that is wrong"},
	{CHECK_REMOVAL_OF_LIVE_FILE, CHECK_LOSS, "the chunks of a living file are being removed",
	 "leave the master stopped, keep a copy of its store, and report it"},
	{CHECK_REMOVAL, CHECK_WARNING, "an entry of the removal queue says what cannot be", REPORT},
	{CHECK_TRIM_LEFT, CHECK_INFORMATION,
	 "a truncation's session is gone before its end; the next writer ends it", "nothing"},

	{CHECK_XATTR_WITHOUT_INODE, CHECK_WARNING, "attributes belong to no inode", REPORT},
	{CHECK_XATTR_BYTES, CHECK_WARNING, "an inode has more or fewer attributes than it says",
	 REPORT},
	{CHECK_XATTR_FLAG, CHECK_WARNING,
	 "an inode does not say that it has attributes: they are not removed with it", REPORT},
	{CHECK_SYMLINK_WITHOUT_TARGET, CHECK_LOSS, "a symbolic link has no target",
	 "make it anew, or restore the master's store"},
	{CHECK_SYMLINK_TARGET, CHECK_ERROR,
	 "a symbolic link's target is not one, or of another size", "look at it, and make it anew"},
	{CHECK_TARGET_OF_NO_SYMLINK, CHECK_WARNING, "what is no symbolic link has a target",
	 REPORT},
	{CHECK_XATTR_INVALID, CHECK_ERROR, "an attribute has a name or size that none may have",
	 REPORT},

	{CHECK_OPEN_WITHOUT_SESSION, CHECK_ERROR,
	 "a file is open for a session that does not exist", REPORT},
	{CHECK_OPEN_WITHOUT_INODE, CHECK_WARNING, "a session has open what does not exist", REPORT},
	{CHECK_REPLY_WITHOUT_SESSION, CHECK_ERROR,
	 "replies are kept for a session that does not exist", REPORT},
	{CHECK_LANE_WITHOUT_SESSION, CHECK_ERROR,
	 "there is a lane of a session that does not exist", REPORT},
	{CHECK_APPEND_WITHOUT_SESSION, CHECK_ERROR,
	 "a session that does not exist has the right to append", REPORT},
	{CHECK_TREE_LEASE, CHECK_ERROR,
	 "the lease on the tree is a session's that does not exist or is not alone", REPORT},
	{CHECK_ORPHAN_MARK_MISSING, CHECK_WARNING, "a removed file that is open is not counted so",
	 REPORT},
	{CHECK_ORPHAN_MARK_STALE, CHECK_ERROR,
	 "what has a name, or is not there, counts as removed", REPORT},
	{CHECK_ORPHAN_LEFT, CHECK_WARNING, "a removed file that nobody has open takes space",
	 REPORT},

	{CHECK_COUNTER, CHECK_WARNING, "a counter of the master is wrong", REPORT},
	{CHECK_NEXT_NUMBER_LOW, CHECK_LOSS, "a number that is taken would be given out once more",
	 "leave the master stopped, keep a copy of its store, and report it"},

	{CHECK_CHAIN_OF_NO_PARTITION, CHECK_WARNING, "there is a chain of a partition that is none",
	 REPORT},
	{CHECK_CHAIN_MISSING, CHECK_LOSS,
	 "a partition has no chain, though others of its pool have", "restore the master's store"},
	{CHECK_MEMBER_UNKNOWN, CHECK_ERROR, "a chain has a member that is not known", REPORT},
	{CHECK_MEMBER_TWICE, CHECK_ERROR, "a chain has one target more than once", REPORT},
	{CHECK_DOMAIN_TWICE, CHECK_WARNING,
	 "two copies of a partition are in one failure domain, and may go together",
	 "add servers in other domains, or correct the labels"},
	{CHECK_PARTITION_WITHOUT_IN_SYNC, CHECK_LOSS, "a partition has no copy that is in-sync",
	 "bring its targets back; see --accept-data-loss in catena-master(8)"},
	{CHECK_FEWER_COPIES, CHECK_WARNING, "a partition has fewer copies than its pool wants",
	 "bring servers back, or add some, and wait for the repair"},
	{CHECK_CHAIN_SHAPE, CHECK_ERROR, "a chain is of no form that the master makes",
	 "restore the master's store"},
	{CHECK_EPOCH, CHECK_ERROR, "a chain's epoch is not possible", "restore the master's store"},
	{CHECK_TARGET_TWICE, CHECK_ERROR, "two targets have one identity",
	 "take out the target that is a copy"},
	{CHECK_TARGET_WITHOUT_SERVER, CHECK_ERROR, "a target is at a server that is not known",
	 "start its chunkserver, which registers it"},
	{CHECK_SERVER_TWICE, CHECK_ERROR, "two servers have one name",
	 "restore the master's store"},
	{CHECK_POOL, CHECK_ERROR, "a pool has settings that cannot be",
	 "restore the master's store"},
	{CHECK_MAP_VERSION, CHECK_ERROR,
	 "the cluster map or the log is older than a start of the master that came before",
	 "restore the master's store"},
};

const struct check_kind *check_kind_of(unsigned code)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (kinds[i].code == code)
			return &kinds[i];
	return NULL;
}

const struct check_kind *check_kind_at(size_t i)
{
	return i < sizeof(kinds) / sizeof(*kinds) ? &kinds[i] : NULL;
}

const char *check_severity_name(enum check_severity severity)
{
	static const char *const names[CHECK_SEVERITIES] = {
		[CHECK_INFORMATION] = "information",
		[CHECK_WARNING] = "warning",
		[CHECK_ERROR] = "error",
		[CHECK_LOSS] = "loss",
	};

	return severity < CHECK_SEVERITIES ? names[severity] : "unknown";
}
