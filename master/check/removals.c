/* removals.c - the removal queue, and that no two have one file id.
 *
 * A file's id leaves its inode in the batch that queues it, and none is given twice. So the ids of
 * all inodes and of the queue are different. */
#include <errno.h>
#include "common/base/bytes.h"
#include "master/check/run.h"

static int check_removal(struct check_run *run, const struct check_scan *scan)
{
	uint8_t record[CHECK_FILE_ID_BYTES] = {0};
	struct check_finding finding = {.code = CHECK_REMOVAL};
	struct state_removal removal;
	char key[CHECK_KEY_TEXT];

	run->tally.removals += scan->key_size == 8 ? 1 : 0;
	if (!meta_decode_removal(scan->key, scan->key_size, scan->value, scan->value_size,
				 &removal)) {
		check_tell(run, (struct check_finding){.code = CHECK_RECORD_DAMAGED},
			   "the removal queue: key %s",
			   check_key_text(scan->key, scan->key_size, key));
		return 0;
	}
	finding.other = removal.sequence;
	finding.file_id = removal.file_id;
	finding.pool = removal.pool;
	check_highest_note(&run->highest.removal, removal.sequence);
	if (removal.file_id == 0 || removal.size == 0 || removal.size > FILE_BYTES_MAX)
		check_tell(run, finding, "entry %llu: file id %llu, %llu bytes",
			   (unsigned long long)removal.sequence,
			   (unsigned long long)removal.file_id, (unsigned long long)removal.size);
	if (!check_numbers_have(&run->store.pools, removal.pool)) {
		finding.code = CHECK_POOL_UNKNOWN;
		check_tell(run, finding, "entry %llu of the removal queue: pool %u",
			   (unsigned long long)removal.sequence, removal.pool);
	}
	if (removal.file_id == 0)
		return 0;
	check_highest_note(&run->highest.file_id, removal.file_id);
	put_be64(record, removal.file_id);
	record[8] = CHECK_FILE_ID_REMOVAL;
	put_be64(record + 9, removal.sequence);
	return check_sorter_add(run, run->sorters.file_ids, record);
}

int check_removals(struct check_run *run)
{
	struct check_scan scan;
	int rc = check_scan_open(run, FAMILY_REMOVALS, 0, "removals", &scan);

	while (rc == 0 && !scan.ended) {
		check_run_progress(run, scan.what, run->tally.removals,
				   run->store.counters.removals);
		rc = check_removal(run, &scan);
		if (rc == 0)
			rc = check_scan_step(run, &scan);
	}
	check_scan_close(&scan);
	return rc;
}

/* ---- file ids ---- */

/* The inode that has a file id first. */
struct holder {
	uint64_t file_id, ino, parent, cookie;
	bool told;
};

static void tell_twice(struct check_run *run, const struct holder *holder, uint64_t other)
{
	check_tell(run,
		   (struct check_finding){.code = CHECK_FILE_ID_TWICE,
					  .ino = holder->ino,
					  .other = other,
					  .parent = holder->parent,
					  .cookie = holder->cookie,
					  .file_id = holder->file_id},
		   "inode %llu has the file id %llu, as inode %llu has",
		   (unsigned long long)holder->ino, (unsigned long long)holder->file_id,
		   (unsigned long long)other);
}

static void check_file_id(struct check_run *run, struct holder *first, const uint8_t *record)
{
	struct holder now = {.file_id = get_be64(record),
			     .ino = get_be64(record + 9),
			     .parent = get_be64(record + 17),
			     .cookie = get_be64(record + 25)};
	bool again = first->file_id == now.file_id;

	if (record[8] == CHECK_FILE_ID_REMOVAL) {
		if (again)
			check_tell(run,
				   (struct check_finding){.code = CHECK_REMOVAL_OF_LIVE_FILE,
							  .ino = first->ino,
							  .other = now.ino,
							  .parent = first->parent,
							  .cookie = first->cookie,
							  .file_id = now.file_id},
				   "inode %llu, entry %llu of the queue",
				   (unsigned long long)first->ino, (unsigned long long)now.ino);
		return;
	}
	if (!again) {
		*first = now;
		return;
	}
	if (!first->told)
		tell_twice(run, first, now.ino);
	first->told = true;
	tell_twice(run, &now, first->ino);
}

int check_file_ids(struct check_run *run)
{
	struct holder first = {0}; /* no file has the id 0 */
	struct check_sorted ids;
	uint64_t done = 0;
	int rc = check_sorted_begin(run, run->sorters.file_ids, &ids);

	while (rc == 0 && ids.at != NULL) {
		check_run_progress(run, "file ids", done++, sorter_count(run->sorters.file_ids));
		check_file_id(run, &first, ids.at);
		rc = check_sorted_step(run, &ids);
	}
	sorter_free(run->sorters.file_ids);
	run->sorters.file_ids = NULL;
	return rc;
}
