/* entries.c - the entries of directories: can each name be found, and only once?
 *
 * A name is in the first place of its hash that was free, of DENTRY_SLOTS that follow each other,
 * and a look-up ends at the first place that is empty. So those that are taken, deleted ones too,
 * have no gap; this walks all places in their order. What each name leads to is sorted, for the
 * inodes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/check/run.h"

/* The places of one hash. */
struct places {
	uint64_t first; /* their first cookie */
	unsigned next;  /* behind the last one that is taken */
	bool gap;
	unsigned count; /* names */
	uint8_t sizes[DENTRY_SLOTS];
	uint8_t names[DENTRY_SLOTS][NAME_BYTES_MAX];
};

struct walk {
	struct check_run *run;
	bool begun;
	uint64_t directory, entries, subdirectories;
	uint8_t flags;
	struct places places;
};

static int end_directory(struct walk *walk)
{
	uint8_t record[CHECK_DIRECTORY_BYTES];

	if (!walk->begun)
		return 0;
	put_be64(record, walk->directory);
	put_be64(record + 8, walk->entries);
	put_be64(record + 16, walk->subdirectories);
	record[24] = walk->flags;
	return check_sorter_add(walk->run, walk->run->sorters.directories, record);
}

static int begin_directory(struct walk *walk, uint64_t directory)
{
	int rc;

	if (walk->begun && walk->directory == directory)
		return 0;
	rc = end_directory(walk);
	walk->begun = true;
	walk->directory = directory;
	walk->entries = walk->subdirectories = 0;
	walk->flags = 0;
	walk->places.count = walk->places.next = 0;
	walk->places.first = UINT64_MAX; /* no cookie's: the lowest bits are 0 */
	return rc;
}

/* Takes down that the place @cookie is taken. */
static void take_place(struct walk *walk, uint64_t cookie)
{
	struct places *places = &walk->places;
	unsigned slot = (unsigned)(cookie & (DENTRY_SLOTS - 1));

	if (places->first != cookie - slot) {
		places->first = cookie - slot;
		places->next = places->count = 0;
		places->gap = false;
	}
	places->gap = places->gap || slot != places->next;
	places->next = slot + 1;
	if (slot != 0)
		walk->flags |= CHECK_DIR_CROWDED;
}

/* True when one of the places before has the name. */
static bool is_again(const struct places *places, const struct dentry *dentry)
{
	for (unsigned i = 0; i < places->count; i++)
		if (places->sizes[i] == dentry->name_size &&
		    memcmp(places->names[i], dentry->name, dentry->name_size) == 0)
			return true;
	return false;
}

/* 1: a look-up finds another entry of this name; 0: none; else -errno. */
static int look_up(struct check_run *run, uint64_t directory, uint64_t first,
		   const struct dentry *name)
{
	for (uint64_t slot = first; slot < first + DENTRY_SLOTS; slot++) {
		struct dentry dentry;
		uint8_t key[16], *value;
		bool same;
		size_t size;
		int rc;

		key_u64_u64(key, directory, slot);
		rc = kv_get(run->kv, FAMILY_DENTRIES, key, sizeof(key), &value, &size);
		if (rc == -ENOENT)
			return 0;
		if (rc != 0)
			return check_run_failed(run, rc, "an entry");
		same = value_decode_dentry(value, size, &dentry) &&
		       dentry.name_size == name->name_size &&
		       memcmp(dentry.name, name->name, name->name_size) == 0;
		free(value);
		if (same)
			return 1;
	}
	return 0;
}

/* Checks whether the name at @cookie is found there. */
static int check_place(struct walk *walk, uint64_t cookie, const struct dentry *dentry)
{
	struct check_run *run = walk->run;
	struct places *places = &walk->places;
	struct check_finding finding = {
		.ino = dentry->ino, .parent = walk->directory, .cookie = cookie};
	uint64_t first = places->first;
	int rc;

	if (run->store.has_super)
		first = key_name_cookie(run->store.super.name_key, run->name_mask, dentry->name,
					dentry->name_size);
	if (first != places->first) {
		rc = look_up(run, walk->directory, first, dentry);
		if (rc < 0)
			return rc;
		finding.code = rc == 1 ? CHECK_NAME_TWICE : CHECK_ENTRY_MISPLACED;
		check_tell(run, finding, "its hash is that of cookie %llx",
			   (unsigned long long)first);
		return 0;
	}
	if (is_again(places, dentry)) {
		finding.code = CHECK_NAME_TWICE;
		check_tell(run, finding, "in place %u of its hash, and before",
			   (unsigned)(cookie - first));
		return 0;
	}
	if (places->gap) {
		finding.code = CHECK_ENTRY_BEHIND_GAP;
		check_tell(run, finding, "in place %u of its hash", (unsigned)(cookie - first));
		return 0;
	}
	places->sizes[places->count] = dentry->name_size;
	memcpy(places->names[places->count++], dentry->name, dentry->name_size);
	return 0;
}

static int check_live(struct walk *walk, uint64_t cookie, const struct dentry *dentry)
{
	struct check_run *run = walk->run;
	uint8_t record[CHECK_NAME_BYTES];
	int rc;

	walk->entries++;
	walk->subdirectories += dentry->type == S_IFDIR >> 12 ? 1 : 0;
	if (namespace_rules_name(dentry->name, dentry->name_size) != 0)
		check_tell(run,
			   (struct check_finding){.code = CHECK_NAME_INVALID,
						  .ino = dentry->ino,
						  .parent = walk->directory,
						  .cookie = cookie},
			   "%u bytes", dentry->name_size);
	rc = check_place(walk, cookie, dentry);
	if (rc != 0)
		return rc;
	put_be64(record, dentry->ino);
	put_be64(record + 8, walk->directory);
	put_be64(record + 16, cookie);
	record[24] = dentry->type;
	return check_sorter_add(run, run->sorters.names, record);
}

static int check_entry(struct walk *walk, const struct check_scan *scan)
{
	struct check_run *run = walk->run;
	struct dentry dentry;
	uint64_t cookie;
	int rc = begin_directory(walk, check_scan_number(scan));

	if (rc != 0)
		return rc;
	run->result->entries++;
	if (scan->key_size != 16) {
		char key[CHECK_KEY_TEXT];

		walk->flags |= CHECK_DIR_DAMAGED;
		check_tell(run,
			   (struct check_finding){.code = CHECK_ENTRY_DAMAGED,
						  .parent = walk->directory},
			   "key %s", check_key_text(scan->key, scan->key_size, key));
		return 0;
	}
	cookie = get_be64(scan->key + 8);
	take_place(walk, cookie);
	if (!value_decode_dentry(scan->value, scan->value_size, &dentry)) {
		walk->flags |= CHECK_DIR_DAMAGED;
		check_tell(run,
			   (struct check_finding){.code = CHECK_ENTRY_DAMAGED,
						  .parent = walk->directory,
						  .cookie = cookie},
			   "cookie %llx of directory %llu", (unsigned long long)cookie,
			   (unsigned long long)walk->directory);
		return 0;
	}
	if (dentry.ino == 0) {
		walk->flags |= CHECK_DIR_CROWDED;
		return 0;
	}
	return check_live(walk, cookie, &dentry);
}

int check_entries(struct check_run *run)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	struct check_scan scan = {0};
	int rc;

	if (walk == NULL)
		return check_run_failed(run, -ENOMEM, "entries");
	walk->run = run;
	rc = check_sorter_make(run, CHECK_NAME_BYTES, &run->sorters.names);
	if (rc == 0)
		rc = check_sorter_make(run, CHECK_DIRECTORY_BYTES, &run->sorters.directories);
	if (rc == 0)
		rc = check_scan_open(run, FAMILY_DENTRIES, 0, "entries", &scan);
	while (rc == 0 && !scan.ended) {
		/* There is about one for each inode. */
		check_run_progress(run, scan.what, run->result->entries,
				   run->store.counters.inodes);
		rc = check_entry(walk, &scan);
		if (rc == 0)
			rc = check_scan_step(run, &scan);
	}
	if (rc == 0)
		rc = end_directory(walk);
	check_scan_close(&scan);
	free(walk);
	return rc;
}
