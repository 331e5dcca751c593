/* inode.c - does one inode fit all that other records say of it? */
#include "master/check/inode.h"
#include <string.h>
#include "common/base/bytes.h"

/* Returns a finding about the inode, with its name. */
static struct check_finding finding_of(const struct check_inode *of, enum check_code code)
{
	return (struct check_finding){.code = code,
				      .ino = of->ino,
				      .parent = of->parent,
				      .cookie = of->cookie,
				      .file_id = of->readable ? of->inode.file_id : 0};
}

/* ---- names ---- */

static bool is_at_parent(const struct check_inode *of)
{
	return of->parent == of->inode.parent;
}

/* A directory has one name. That which its '..' knows is taken for it. */
static void take_directory_name(struct check_run *run, struct check_inode *of, uint64_t parent,
				uint64_t cookie)
{
	struct check_finding finding = finding_of(of, CHECK_DIRECTORY_TWICE);

	if (of->ino != ROOT_INO && of->names == 1) {
		of->parent = parent;
		of->cookie = cookie;
		return;
	}
	if (of->ino == ROOT_INO || is_at_parent(of) || parent != of->inode.parent) {
		finding.parent = parent;
		finding.cookie = cookie;
	} else {
		of->parent = parent;
		of->cookie = cookie;
	}
	check_tell(run, finding, "in directory %llu, and elsewhere",
		   (unsigned long long)finding.parent);
}

int check_inode_name(struct check_run *run, struct check_inode *of, const uint8_t *record)
{
	uint64_t parent = get_be64(record + 8), cookie = get_be64(record + 16);
	bool named_directory = record[24] == S_IFDIR >> 12;
	bool is_directory = check_inode_is(of, S_IFDIR);
	uint8_t delta[CHECK_MISTYPED_BYTES];

	of->names++;
	if (is_directory) {
		take_directory_name(run, of, parent, cookie);
	} else if (of->names == 1) {
		of->parent = parent;
		of->cookie = cookie;
	}
	if (!of->typed || record[24] == (of->inode.mode & S_IFMT) >> 12)
		return 0;
	check_tell(run,
		   (struct check_finding){.code = CHECK_ENTRY_TYPE,
					  .ino = of->ino,
					  .parent = parent,
					  .cookie = cookie,
					  .is = record[24],
					  .should = (of->inode.mode & S_IFMT) >> 12},
		   "type %u, the inode's is %u", record[24], (of->inode.mode & S_IFMT) >> 12);
	if (named_directory == is_directory)
		return 0;
	put_be64(delta, parent);
	delta[8] = is_directory ? 1 : 0;
	return check_sorter_add(run, run->sorters.mistyped, delta);
}

static void judge_unnamed(struct check_run *run, const struct check_inode *of)
{
	if (of->names > 0) {
		struct check_finding low = finding_of(of, CHECK_LINK_COUNT_LOW);

		low.should = of->names;
		check_tell(run, low, "it says that it has none, and has %llu",
			   (unsigned long long)of->names);
		if (of->marked)
			check_tell(run, finding_of(of, CHECK_ORPHAN_MARK_STALE), "it has a name");
	} else if (of->opens == 0) {
		check_tell(run, finding_of(of, CHECK_ORPHAN_LEFT), "inode %llu",
			   (unsigned long long)of->ino);
	} else if (!of->marked) {
		check_tell(run, finding_of(of, CHECK_ORPHAN_MARK_MISSING),
			   "inode %llu, open %llu times", (unsigned long long)of->ino,
			   (unsigned long long)of->opens);
	}
}

static void judge_links(struct check_run *run, const struct check_inode *of)
{
	uint64_t nlink = of->inode.nlink;
	struct check_finding finding = finding_of(of, CHECK_LINK_COUNT_HIGH);
	bool is_directory = check_inode_is(of, S_IFDIR);

	finding.is = nlink;
	finding.should = of->names;
	if (of->ino == ROOT_INO) {
		if (of->marked)
			check_tell(run, finding_of(of, CHECK_ORPHAN_MARK_STALE),
				   "it is the root directory");
	} else if (nlink == 0) {
		judge_unnamed(run, of);
	} else if (of->names == 0 && of->marked) {
		check_tell(run, finding, "it was removed, and says that it has %llu",
			   (unsigned long long)nlink);
	} else if (of->names == 0) {
		check_tell(run, finding_of(of, CHECK_INODE_WITHOUT_ENTRY), "inode %llu",
			   (unsigned long long)of->ino);
	} else {
		if (of->marked)
			check_tell(run, finding_of(of, CHECK_ORPHAN_MARK_STALE), "it has a name");
		if (of->names > nlink && !is_directory)
			finding.code = CHECK_LINK_COUNT_LOW;
		if (of->names != nlink && !is_directory)
			check_tell(run, finding, "it says %llu, and has %llu",
				   (unsigned long long)nlink, (unsigned long long)of->names);
	}
}

/* ---- directories ---- */

static int add_parent(struct check_run *run, const struct check_inode *of)
{
	uint8_t record[CHECK_PARENT_BYTES];

	put_be64(record, of->ino);
	put_be64(record + 8, of->parent);
	put_be64(record + 16, of->ino);
	return check_sorter_add(run, run->sorters.parents, record);
}

/* The link count may be wrong only because the types of entries are: these are not all known
 * yet. */
static int add_miscounted(struct check_run *run, const struct check_inode *of)
{
	uint8_t record[CHECK_MISCOUNTED_BYTES];

	put_be64(record, of->ino);
	put_be64(record + 8, of->inode.nlink);
	put_be64(record + 16, 2 + of->subdirectories);
	return check_sorter_add(run, run->sorters.miscounted, record);
}

static void judge_entries(struct check_run *run, const struct check_inode *of)
{
	struct check_finding finding = finding_of(of, CHECK_ENTRY_COUNT);

	finding.is = of->inode.entries;
	finding.should = of->entries;
	if (of->inode.nlink == 0 && of->names == 0 && of->entries > 0) {
		finding.code = CHECK_REMOVED_DIRECTORY;
		check_tell(run, finding, "inode %llu has %llu", (unsigned long long)of->ino,
			   (unsigned long long)of->entries);
	} else if (of->entries != of->inode.entries) {
		check_tell(run, finding, "it says %llu, there are %llu",
			   (unsigned long long)of->inode.entries, (unsigned long long)of->entries);
	}
}

static int judge_directory(struct check_run *run, const struct check_inode *of)
{
	bool counted = (of->entry_flags & CHECK_DIR_DAMAGED) == 0;
	uint64_t parent = of->ino == ROOT_INO ? ROOT_INO : of->parent;
	int rc = 0;

	if ((of->ino == ROOT_INO || of->names > 0) && of->inode.parent != parent) {
		struct check_finding finding = finding_of(of, CHECK_PARENT);

		finding.is = of->inode.parent;
		finding.should = parent;
		check_tell(run, finding, "'..' of inode %llu is %llu, its name is in %llu",
			   (unsigned long long)of->ino, (unsigned long long)of->inode.parent,
			   (unsigned long long)parent);
	}
	if (counted)
		judge_entries(run, of);
	if ((of->entry_flags & CHECK_DIR_CROWDED) != 0 && (of->inode.flags & INODE_CROWDED) == 0)
		check_tell(run, finding_of(of, CHECK_CROWDED_FLAG), "inode %llu",
			   (unsigned long long)of->ino);
	if (counted && (of->inode.nlink != 0 || of->ino == ROOT_INO) &&
	    of->inode.nlink != 2 + of->subdirectories)
		rc = add_miscounted(run, of);
	if (rc == 0 && of->ino != ROOT_INO && of->names > 0)
		rc = add_parent(run, of);
	return rc;
}

static void judge_no_directory(struct check_run *run, const struct check_inode *of)
{
	bool live = of->entries > 0 || (of->entry_flags & CHECK_DIR_DAMAGED) != 0;

	if (of->has_entries)
		check_tell(run,
			   finding_of(of, live ? CHECK_ENTRIES_OF_NO_DIRECTORY
					       : CHECK_DELETED_ENTRIES_LEFT),
			   "inode %llu is no directory, and has %llu", (unsigned long long)of->ino,
			   (unsigned long long)of->entries);
}

/* ---- files ---- */

static int add_file_id(struct check_run *run, const struct check_inode *of)
{
	uint8_t record[CHECK_FILE_ID_BYTES];

	check_highest_note(&run->highest.file_id, of->inode.file_id);
	put_be64(record, of->inode.file_id);
	record[8] = CHECK_FILE_ID_INODE;
	put_be64(record + 9, of->ino);
	put_be64(record + 17, of->parent);
	put_be64(record + 25, of->cookie);
	return check_sorter_add(run, run->sorters.file_ids, record);
}

static bool trim_ok(const struct inode_record *inode)
{
	if (inode->trim_to == 0)
		return inode->trim_session == 0 && inode->trim_from == 0;
	return inode->trim_session != 0 && inode->trim_from < inode->trim_to &&
	       inode->size <= inode->trim_from && inode->trim_to <= inode->allocated;
}

static int judge_file(struct check_run *run, const struct check_inode *of)
{
	const struct inode_record *inode = &of->inode;
	struct check_finding finding = finding_of(of, CHECK_SIZE_TOO_LARGE);

	finding.is = inode->size;
	finding.should = inode->allocated;
	run->tally.bytes += inode->size;
	if (inode->size > FILE_BYTES_MAX || inode->allocated > FILE_BYTES_MAX) {
		check_tell(run, finding, "%llu bytes, chunks up to %llu",
			   (unsigned long long)inode->size, (unsigned long long)inode->allocated);
	} else if (inode->size > inode->allocated) {
		finding.code = CHECK_SIZE_ABOVE_ALLOCATED;
		check_tell(run, finding, "%llu bytes, chunks up to %llu",
			   (unsigned long long)inode->size, (unsigned long long)inode->allocated);
	}
	if (!trim_ok(inode))
		check_tell(run, finding_of(of, CHECK_TRIM),
			   "from %llu to %llu for session %llu, of %llu bytes",
			   (unsigned long long)inode->trim_from, (unsigned long long)inode->trim_to,
			   (unsigned long long)inode->trim_session,
			   (unsigned long long)inode->size);
	else if (inode->trim_to != 0 &&
		 !check_numbers_have(&run->store.sessions, inode->trim_session))
		check_tell(run, finding_of(of, CHECK_TRIM_LEFT), "from %llu to %llu",
			   (unsigned long long)inode->trim_from,
			   (unsigned long long)inode->trim_to);
	if (inode->file_id != 0)
		return add_file_id(run, of);
	check_tell(run, finding_of(of, CHECK_FILE_ID_MISSING), "inode %llu",
		   (unsigned long long)of->ino);
	return 0;
}

static void judge_no_file(struct check_run *run, const struct check_inode *of)
{
	const struct inode_record *inode = &of->inode;

	if (inode->file_id != 0 || inode->allocated != 0 || inode->trim_from != 0 ||
	    inode->trim_to != 0 || inode->trim_session != 0)
		check_tell(run, finding_of(of, CHECK_INODE_FIELDS), "inode %llu",
			   (unsigned long long)of->ino);
}

/* ---- attributes and symbolic links ---- */

/* The target of a symbolic link is kept as an attribute that has a zero byte for a name. */
static bool is_target(const struct check_scan *scan)
{
	return scan->key_size == 9 && scan->key[8] == 0;
}

void check_inode_xattr(struct check_run *run, struct check_inode *of, const struct check_scan *scan)
{
	size_t name = scan->key_size < 8 ? 0 : scan->key_size - 8;

	of->has_records = true;
	if (is_target(scan)) {
		of->has_target = true;
		of->target_ok = scan->value_size == of->inode.size &&
				namespace_rules_symlink(scan->value, scan->value_size) == 0;
		return;
	}
	of->xattr_bytes += name + scan->value_size;
	if (of->readable &&
	    (name == 0 || name > XATTR_NAME_BYTES_MAX || scan->value_size > XATTR_BYTES_MAX ||
	     memchr(scan->key + 8, '\0', name) != NULL))
		check_tell(run, finding_of(of, CHECK_XATTR_INVALID),
			   "a name of %zu bytes, a value of %zu", name, scan->value_size);
}

static void judge_xattrs(struct check_run *run, const struct check_inode *of)
{
	if (of->xattr_bytes != of->inode.xattr_bytes) {
		struct check_finding finding = finding_of(of, CHECK_XATTR_BYTES);

		finding.is = of->inode.xattr_bytes;
		finding.should = of->xattr_bytes;
		check_tell(run, finding, "it says %llu bytes, there are %llu",
			   (unsigned long long)finding.is, (unsigned long long)finding.should);
	}
	if (of->has_records && (of->inode.flags & INODE_HAS_RECORDS) == 0)
		check_tell(run, finding_of(of, CHECK_XATTR_FLAG), "inode %llu",
			   (unsigned long long)of->ino);
	if (!check_inode_is(of, S_IFLNK)) {
		if (of->has_target)
			check_tell(run, finding_of(of, CHECK_TARGET_OF_NO_SYMLINK), "inode %llu",
				   (unsigned long long)of->ino);
	} else if (!of->has_target) {
		check_tell(run, finding_of(of, CHECK_SYMLINK_WITHOUT_TARGET), "inode %llu",
			   (unsigned long long)of->ino);
	} else if (!of->target_ok) {
		check_tell(run, finding_of(of, CHECK_SYMLINK_TARGET), "inode %llu",
			   (unsigned long long)of->ino);
	}
}

/* ---- all together ---- */

static void judge_fields(struct check_run *run, const struct check_inode *of)
{
	uint8_t fits = INODE_HAS_RECORDS;

	if (check_inode_is(of, S_IFDIR))
		fits |= INODE_CROWDED;
	if (check_inode_is(of, S_IFREG))
		fits |= INODE_SPARSE;
	if ((of->inode.flags & ~fits) != 0)
		check_tell(run, finding_of(of, CHECK_INODE_FLAGS), "flags %x", of->inode.flags);
	if (!check_numbers_have(&run->store.pools, of->inode.pool)) {
		struct check_finding finding = finding_of(of, CHECK_POOL_UNKNOWN);

		finding.pool = of->inode.pool;
		check_tell(run, finding, "pool %u", of->inode.pool);
	}
}

int check_inode_judge(struct check_run *run, const struct check_inode *of)
{
	int rc = 0;

	if (!of->readable) {
		run->tally.bytes_unknown = true;
		check_tell(run, finding_of(of, CHECK_INODE_DAMAGED), "inode %llu",
			   (unsigned long long)of->ino);
		return 0;
	}
	run->tally.unnamed += of->inode.nlink == 0 ? 1 : 0;
	if (!of->typed) {
		run->tally.bytes_unknown = true;
		check_tell(run, finding_of(of, CHECK_INODE_TYPE), "mode %o", of->inode.mode);
		return 0;
	}
	judge_fields(run, of);
	judge_xattrs(run, of);
	judge_links(run, of);
	if (check_inode_is(of, S_IFREG))
		rc = judge_file(run, of);
	else
		judge_no_file(run, of);
	if (rc != 0)
		return rc;
	if (check_inode_is(of, S_IFDIR))
		return judge_directory(run, of);
	judge_no_directory(run, of);
	return 0;
}
