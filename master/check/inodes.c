/* inodes.c - joins the inodes with their names, entries, attributes, opens and marks.
 *
 * All are read in the order of inodes, each once. What is of an inode that does not come is
 * reported when a later one does. */
#include <errno.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/check/inode.h"

struct join {
	struct check_run *run;
	struct check_scan inodes, xattrs, marks;
	struct check_sorted names, directories, opens;
	bool root;
};

static bool is_below(const struct check_sorted *sorted, bool all, uint64_t ino)
{
	return sorted->at != NULL && (all || get_be64(sorted->at) < ino);
}

/* ---- what is of inodes that are not there ---- */

static int names_without_inode(struct join *join, bool all, uint64_t ino)
{
	struct check_run *run = join->run;
	int rc = 0;

	while (rc == 0 && is_below(&join->names, all, ino)) {
		const uint8_t *record = join->names.at;

		check_tell(run,
			   (struct check_finding){.code = CHECK_ENTRY_WITHOUT_INODE,
						  .ino = get_be64(record),
						  .parent = get_be64(record + 8),
						  .cookie = get_be64(record + 16)},
			   "inode %llu", (unsigned long long)get_be64(record));
		rc = check_sorted_step(run, &join->names);
	}
	return rc;
}

static int entries_without_inode(struct join *join, bool all, uint64_t ino)
{
	struct check_run *run = join->run;
	int rc = 0;

	while (rc == 0 && is_below(&join->directories, all, ino)) {
		const uint8_t *record = join->directories.at;
		uint64_t directory = get_be64(record), entries = get_be64(record + 8);
		bool live = entries > 0 || (record[24] & CHECK_DIR_DAMAGED) != 0;

		if (directory != ROOT_INO) /* which has a finding of its own */
			check_tell(
				run,
				(struct check_finding){.code = live ? CHECK_ENTRIES_OF_NO_DIRECTORY
								    : CHECK_DELETED_ENTRIES_LEFT,
						       .ino = directory},
				"inode %llu does not exist, and has %llu",
				(unsigned long long)directory, (unsigned long long)entries);
		rc = check_sorted_step(run, &join->directories);
	}
	return rc;
}

static int opens_without_inode(struct join *join, bool all, uint64_t ino)
{
	struct check_run *run = join->run;
	int rc = 0;

	while (rc == 0 && is_below(&join->opens, all, ino)) {
		const uint8_t *record = join->opens.at;

		check_tell(run,
			   (struct check_finding){.code = CHECK_OPEN_WITHOUT_INODE,
						  .ino = get_be64(record),
						  .session = get_be64(record + 8)},
			   "session %llu, inode %llu", (unsigned long long)get_be64(record + 8),
			   (unsigned long long)get_be64(record));
		rc = check_sorted_step(run, &join->opens);
	}
	return rc;
}

static int xattrs_without_inode(struct join *join, bool all, uint64_t ino)
{
	struct check_scan *xattrs = &join->xattrs;
	struct check_run *run = join->run;
	uint64_t told = UINT64_MAX, of;
	int rc = 0;

	while (rc == 0 && !xattrs->ended && (all || check_scan_number(xattrs) < ino)) {
		of = check_scan_number(xattrs);
		if (of != told)
			check_tell(run,
				   (struct check_finding){.code = CHECK_XATTR_WITHOUT_INODE,
							  .ino = of},
				   "inode %llu", (unsigned long long)of);
		told = of;
		rc = check_scan_step(run, xattrs);
	}
	return rc;
}

/* ---- marks of orphans ---- */

/* Passes over what is no mark of an inode. */
static int next_mark(struct join *join)
{
	struct check_scan *marks = &join->marks;
	char key[CHECK_KEY_TEXT];
	int rc = 0;

	while (rc == 0 && !marks->ended &&
	       (marks->key_size != META_KEY_MAX || marks->value_size != 0)) {
		/* sessions.c has told of those with other keys. */
		if (marks->key_size == META_KEY_MAX)
			check_tell(join->run, (struct check_finding){.code = CHECK_RECORD_DAMAGED},
				   "the mark of a removed file: key %s",
				   check_key_text(marks->key, marks->key_size, key));
		rc = check_scan_step(join->run, marks);
	}
	return rc;
}

static int take_mark(struct join *join)
{
	int rc = check_scan_step(join->run, &join->marks);

	join->run->tally.marks++;
	return rc == 0 ? next_mark(join) : rc;
}

static int marks_without_inode(struct join *join, bool all, uint64_t ino)
{
	struct check_scan *marks = &join->marks;
	int rc = 0;

	while (rc == 0 && !marks->ended && (all || get_be64(marks->key + 1) < ino)) {
		check_tell(join->run,
			   (struct check_finding){.code = CHECK_ORPHAN_MARK_STALE,
						  .ino = get_be64(marks->key + 1)},
			   "inode %llu does not exist",
			   (unsigned long long)get_be64(marks->key + 1));
		rc = take_mark(join);
	}
	return rc;
}

/* Reports what is of inodes below @ino, or of @all that are left. */
static int without_inode(struct join *join, bool all, uint64_t ino)
{
	int rc = names_without_inode(join, all, ino);

	if (rc == 0)
		rc = entries_without_inode(join, all, ino);
	if (rc == 0)
		rc = opens_without_inode(join, all, ino);
	if (rc == 0)
		rc = xattrs_without_inode(join, all, ino);
	return rc == 0 ? marks_without_inode(join, all, ino) : rc;
}

/* ---- what is of the inode at hand ---- */

static bool is_typed(uint32_t mode)
{
	return namespace_rules_new_mode(mode & S_IFMT) != 0 && (mode & S_IFMT) != 0 &&
	       (mode & ~(uint32_t)(S_IFMT | 07777)) == 0;
}

static bool is_of(const struct check_sorted *sorted, uint64_t ino)
{
	return sorted->at != NULL && get_be64(sorted->at) == ino;
}

static int gather_sorted(struct join *join, struct check_inode *of)
{
	struct check_run *run = join->run;
	int rc = 0;

	while (rc == 0 && is_of(&join->names, of->ino)) {
		rc = check_inode_name(run, of, join->names.at);
		if (rc == 0)
			rc = check_sorted_step(run, &join->names);
	}
	while (rc == 0 && is_of(&join->opens, of->ino)) {
		of->opens += get_be32(join->opens.at + 16);
		rc = check_sorted_step(run, &join->opens);
	}
	if (rc == 0 && is_of(&join->directories, of->ino)) {
		of->has_entries = true;
		of->entries = get_be64(join->directories.at + 8);
		of->subdirectories = get_be64(join->directories.at + 16);
		of->entry_flags = join->directories.at[24];
		rc = check_sorted_step(run, &join->directories);
	}
	return rc;
}

static int gather(struct join *join, struct check_inode *of)
{
	int rc = gather_sorted(join, of);

	while (rc == 0 && !join->xattrs.ended && check_scan_number(&join->xattrs) == of->ino) {
		check_inode_xattr(join->run, of, &join->xattrs);
		rc = check_scan_step(join->run, &join->xattrs);
	}
	if (rc == 0 && !join->marks.ended && get_be64(join->marks.key + 1) == of->ino) {
		of->marked = true;
		rc = take_mark(join);
	}
	return rc;
}

static int check_one(struct join *join)
{
	const struct check_scan *scan = &join->inodes;
	struct check_run *run = join->run;
	struct check_inode of = {.ino = check_scan_number(scan)};
	char key[CHECK_KEY_TEXT];
	int rc;

	if (scan->key_size != 8) {
		check_tell(run, (struct check_finding){.code = CHECK_RECORD_UNKNOWN},
			   "among the inodes, key %s",
			   check_key_text(scan->key, scan->key_size, key));
		return 0;
	}
	rc = without_inode(join, false, of.ino);
	if (rc != 0)
		return rc;
	run->tally.inodes++;
	run->result->inodes++;
	of.readable = of.ino != 0 && id_is_ours(of.ino) &&
		      value_decode_inode(of.ino, scan->value, scan->value_size, &of.inode);
	if (!of.readable)
		memset(&of.inode, 0, sizeof(of.inode));
	of.typed = of.readable && is_typed(of.inode.mode);
	if (id_is_ours(of.ino))
		check_highest_note(&run->highest.ino, of.ino);
	rc = gather(join, &of);
	if (of.ino == ROOT_INO)
		join->root = !of.typed || check_inode_is(&of, S_IFDIR);
	return rc == 0 ? check_inode_judge(run, &of) : rc;
}

static int begin(struct join *join)
{
	struct check_run *run = join->run;
	struct check_sorters *sorters = &run->sorters;
	int rc = check_sorter_make(run, CHECK_FILE_ID_BYTES, &sorters->file_ids);

	if (rc == 0)
		rc = check_sorter_make(run, CHECK_PARENT_BYTES, &sorters->parents);
	if (rc == 0)
		rc = check_sorter_make(run, CHECK_MISCOUNTED_BYTES, &sorters->miscounted);
	if (rc == 0)
		rc = check_sorter_make(run, CHECK_MISTYPED_BYTES, &sorters->mistyped);
	if (rc == 0)
		rc = check_sorted_begin(run, sorters->names, &join->names);
	if (rc == 0)
		rc = check_sorted_begin(run, sorters->directories, &join->directories);
	if (rc == 0)
		rc = check_sorted_begin(run, sorters->opens, &join->opens);
	if (rc == 0)
		rc = check_scan_open(run, FAMILY_XATTRS, 0, "attributes", &join->xattrs);
	if (rc == 0)
		rc = check_scan_open(run, FAMILY_META, META_ORPHAN, "removed files", &join->marks);
	if (rc == 0)
		rc = next_mark(join);
	return rc == 0 ? check_scan_open(run, FAMILY_INODES, 0, "inodes", &join->inodes) : rc;
}

/* Frees what nobody reads any more. */
static void end(struct join *join)
{
	struct check_sorters *sorters = &join->run->sorters;

	check_scan_close(&join->inodes);
	check_scan_close(&join->xattrs);
	check_scan_close(&join->marks);
	sorter_free(sorters->names);
	sorter_free(sorters->directories);
	sorter_free(sorters->opens);
	sorters->names = sorters->directories = sorters->opens = NULL;
}

int check_inodes(struct check_run *run)
{
	struct join join = {.run = run};
	int rc = begin(&join);

	while (rc == 0 && !join.inodes.ended) {
		check_run_progress(run, join.inodes.what, run->result->inodes,
				   run->store.counters.inodes);
		rc = check_one(&join);
		if (rc == 0)
			rc = check_scan_step(run, &join.inodes);
	}
	if (rc == 0)
		rc = without_inode(&join, true, 0);
	if (rc == 0 && !join.root)
		check_tell(run, (struct check_finding){.code = CHECK_ROOT_MISSING, .ino = ROOT_INO},
			   "inode %u", ROOT_INO);
	end(&join);
	return rc;
}

/* ---- link counts of directories ---- */

int check_subdirectories(struct check_run *run)
{
	struct check_sorted miscounted = {0}, mistyped = {0};
	int rc = check_sorted_begin(run, run->sorters.miscounted, &miscounted);

	if (rc == 0)
		rc = check_sorted_begin(run, run->sorters.mistyped, &mistyped);
	while (rc == 0 && miscounted.at != NULL) {
		uint64_t ino = get_be64(miscounted.at), is = get_be64(miscounted.at + 8);
		uint64_t should = get_be64(miscounted.at + 16);

		while (rc == 0 && is_below(&mistyped, false, ino))
			rc = check_sorted_step(run, &mistyped);
		while (rc == 0 && is_of(&mistyped, ino)) {
			should += mistyped.at[8] == 1 ? 1 : UINT64_MAX;
			rc = check_sorted_step(run, &mistyped);
		}
		if (rc == 0 && is != should)
			check_tell(run,
				   (struct check_finding){.code = CHECK_SUBDIRECTORY_COUNT,
							  .ino = ino,
							  .is = is,
							  .should = should},
				   "inode %llu says %llu, it should be %llu",
				   (unsigned long long)ino, (unsigned long long)is,
				   (unsigned long long)should);
		if (rc == 0)
			rc = check_sorted_step(run, &miscounted);
	}
	return rc;
}
