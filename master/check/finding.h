/* finding.h - what a check of the master's store may find: codes, how bad each is, what to do.
 * Pure.
 *
 * Codes are printed as CF-1042. A number is never used again, nor does it change its meaning:
 * administrators look for it. The table in finding.c has all of them. */
#ifndef CATENA_MASTER_CHECK_FINDING_H
#define CATENA_MASTER_CHECK_FINDING_H
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/namespace_rules.h"

enum check_severity {
	CHECK_INFORMATION, /* nothing is wrong */
	CHECK_WARNING,     /* something is not as it should be, and does no harm to files */
	CHECK_ERROR,       /* some operations fail or do wrong; nothing is lost yet */
	CHECK_LOSS,        /* names or data are lost, or are going to be */
	CHECK_SEVERITIES
};

enum check_code {
	/* Records. */
	CHECK_RECORD_DAMAGED = 1001,
	CHECK_INODE_DAMAGED = 1002,
	CHECK_ENTRY_DAMAGED = 1003,
	CHECK_RECORD_UNKNOWN = 1004,
	CHECK_RECORD_MISSING = 1005,
	/* Entries of directories. */
	CHECK_ENTRY_WITHOUT_INODE = 1011,
	CHECK_ENTRY_TYPE = 1012,
	CHECK_ENTRY_MISPLACED = 1013,
	CHECK_ENTRY_BEHIND_GAP = 1014,
	CHECK_NAME_TWICE = 1015,
	CHECK_NAME_INVALID = 1016,
	CHECK_ENTRIES_OF_NO_DIRECTORY = 1017,
	CHECK_DELETED_ENTRIES_LEFT = 1018,
	/* Directories. */
	CHECK_ROOT_MISSING = 1021,
	CHECK_DIRECTORY_TWICE = 1022,
	CHECK_DIRECTORY_LOOP = 1023,
	CHECK_PARENT = 1024,
	CHECK_ENTRY_COUNT = 1025,
	CHECK_SUBDIRECTORY_COUNT = 1026,
	CHECK_REMOVED_DIRECTORY = 1027,
	CHECK_CROWDED_FLAG = 1028,
	/* Inodes. */
	CHECK_INODE_WITHOUT_ENTRY = 1031,
	CHECK_LINK_COUNT_LOW = 1032,
	CHECK_LINK_COUNT_HIGH = 1033,
	CHECK_INODE_TYPE = 1034,
	CHECK_INODE_FLAGS = 1035,
	CHECK_SIZE_ABOVE_ALLOCATED = 1036,
	CHECK_SIZE_TOO_LARGE = 1037,
	CHECK_TRIM = 1038,
	CHECK_POOL_UNKNOWN = 1039,
	CHECK_INODE_FIELDS = 1040,
	CHECK_FILE_ID_MISSING = 1041,
	CHECK_FILE_ID_TWICE = 1042,
	CHECK_REMOVAL_OF_LIVE_FILE = 1043,
	CHECK_REMOVAL = 1044,
	CHECK_TRIM_LEFT = 1048,
	/* Extended attributes and symbolic links. */
	CHECK_XATTR_WITHOUT_INODE = 1051,
	CHECK_XATTR_BYTES = 1052,
	CHECK_XATTR_FLAG = 1053,
	CHECK_SYMLINK_WITHOUT_TARGET = 1054,
	CHECK_SYMLINK_TARGET = 1055,
	CHECK_TARGET_OF_NO_SYMLINK = 1056,
	CHECK_XATTR_INVALID = 1057,
	/* Sessions, and what they have open. */
	CHECK_OPEN_WITHOUT_SESSION = 1061,
	CHECK_OPEN_WITHOUT_INODE = 1062,
	CHECK_REPLY_WITHOUT_SESSION = 1064,
	CHECK_LANE_WITHOUT_SESSION = 1066,
	CHECK_APPEND_WITHOUT_SESSION = 1067,
	CHECK_TREE_LEASE = 1068,
	CHECK_ORPHAN_MARK_MISSING = 1071,
	CHECK_ORPHAN_MARK_STALE = 1072,
	CHECK_ORPHAN_LEFT = 1073,
	/* Counters. */
	CHECK_COUNTER = 1081,
	CHECK_NEXT_NUMBER_LOW = 1082,
	/* The cluster map. */
	CHECK_CHAIN_OF_NO_PARTITION = 2001,
	CHECK_CHAIN_MISSING = 2002,
	CHECK_MEMBER_UNKNOWN = 2003,
	CHECK_MEMBER_TWICE = 2004,
	CHECK_DOMAIN_TWICE = 2005,
	CHECK_PARTITION_WITHOUT_IN_SYNC = 2006,
	CHECK_FEWER_COPIES = 2007,
	CHECK_CHAIN_SHAPE = 2008,
	CHECK_EPOCH = 2009,
	CHECK_TARGET_TWICE = 2010,
	CHECK_TARGET_WITHOUT_SERVER = 2011,
	CHECK_SERVER_TWICE = 2012,
	CHECK_POOL = 2013,
	CHECK_MAP_VERSION = 2014,
};

/* One kind of finding. */
struct check_kind {
	enum check_code code;
	enum check_severity severity;
	const char *title;  /* one line, what is so */
	const char *advice; /* one line, what to do */
};

/* Returns the kind of a code; NULL: there is none. */
const struct check_kind *check_kind_of(unsigned code);
/* Returns the kinds one after another, for lists; NULL: no more. */
const struct check_kind *check_kind_at(size_t i);
/* Returns "information", "warning", "error" or "loss". */
const char *check_severity_name(enum check_severity severity);

/* One thing that was found. A field that says nothing here is 0. */
struct check_finding {
	enum check_code code;
	enum check_severity severity;
	uint64_t ino;            /* the inode that it is about */
	uint64_t other;          /* another inode, a removal's sequence, a server */
	uint64_t parent, cookie; /* an entry of the inode, or the one that it is about */
	uint8_t name_size;       /* of that entry; 0: it is not known */
	uint8_t name[NAME_BYTES_MAX];
	uint64_t file_id, session;
	uint32_t pool, partition, target;
	uint64_t is, should; /* where numbers differ */
	char text[200];      /* one line: what is so here */
};
#endif
