/* store.c - what all parts of a check go by, and the counters at its end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/check/run.h"

/* Reads the record of @tag that a store has once. -ENOENT; *value is malloc()ed. */
static int read_single(struct check_run *run, enum meta_tag tag, const char *what, uint8_t **value,
		       size_t *size)
{
	uint8_t key[META_KEY_MAX];
	int rc = kv_get(run->kv, FAMILY_META, key, key_meta(key, tag, 0), value, size);

	return rc == 0 || rc == -ENOENT ? rc : check_run_failed(run, rc, what);
}

static int read_super(struct check_run *run, bool *there)
{
	uint8_t *value;
	size_t size;
	int rc = read_single(run, META_SUPER, "the store's head", &value, &size);

	*there = rc == 0;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	run->store.has_super = meta_decode_super(value, size, &run->store.super);
	free(value);
	if (!run->store.has_super)
		check_tell(run, (struct check_finding){.code = CHECK_RECORD_DAMAGED},
			   "the store's head, with the key of the names' hash");
	return 0;
}

static int read_counters(struct check_run *run, bool *there)
{
	uint8_t *value;
	size_t size;
	int rc = read_single(run, META_COUNTERS, "the counters", &value, &size);

	*there = rc == 0;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	run->store.has_counters = value_decode_counters(value, size, &run->store.counters);
	free(value);
	if (!run->store.has_counters) {
		memset(&run->store.counters, 0, sizeof(run->store.counters));
		check_tell(run, (struct check_finding){.code = CHECK_RECORD_DAMAGED},
			   "the counters, with the next numbers");
	}
	return 0;
}

static int read_level(struct check_run *run)
{
	uint32_t level = 0;
	uint8_t *value;
	size_t size;
	int rc = read_single(run, META_LEVEL, "the level", &value, &size);

	if (rc != 0)
		return rc == -ENOENT ? 0 : rc; /* from before levels */
	if (!meta_decode_level(value, size, &level))
		check_tell(run, (struct check_finding){.code = CHECK_RECORD_DAMAGED}, "the level");
	free(value);
	return level <= STATE_LEVEL
		       ? 0
		       : check_run_failed(run, -EPROTONOSUPPORT, "a store of a later level");
}

/* Collects the ids of records of one tag: 8 bytes of the key, or the first 4. */
static int read_ids(struct check_run *run, enum meta_tag tag, const char *what, bool half,
		    struct check_numbers *numbers)
{
	struct check_scan scan;
	int rc = check_scan_open(run, FAMILY_META, (uint8_t)tag, what, &scan);

	while (rc == 0 && !scan.ended) {
		if (scan.key_size == META_KEY_MAX)
			rc = check_numbers_add(numbers, half ? get_be32(scan.key + 1)
							     : get_be64(scan.key + 1));
		if (rc != 0)
			check_run_failed(run, rc, what);
		else
			rc = check_scan_step(run, &scan);
	}
	check_scan_close(&scan);
	return rc;
}

int check_store_read(struct check_run *run)
{
	bool super = false, counters = false;
	int rc = read_super(run, &super);

	if (rc == 0)
		rc = read_counters(run, &counters);
	if (rc == 0 && !super && !counters)
		rc = check_run_failed(run, -ENOENT, "a master's store");
	if (rc == 0)
		rc = read_level(run);
	if (rc == 0 && !super)
		check_tell(run, (struct check_finding){.code = CHECK_RECORD_MISSING},
			   "the store's head, with the key of the names' hash");
	if (rc == 0 && !counters)
		check_tell(run, (struct check_finding){.code = CHECK_RECORD_MISSING},
			   "the counters, with the next numbers");
	if (rc == 0)
		rc = read_ids(run, META_SESSION, "sessions", false, &run->store.sessions);
	if (rc == 0)
		rc = read_ids(run, META_POOL, "pools", true, &run->store.pools);
	run->result->sessions = run->store.sessions.count;
	return rc;
}

/* ---- counters ---- */

static void compare(struct check_run *run, const char *what, uint64_t is, uint64_t should)
{
	if (is != should)
		check_tell(
			run,
			(struct check_finding){.code = CHECK_COUNTER, .is = is, .should = should},
			"%s: counted as %llu, there are %llu", what, (unsigned long long)is,
			(unsigned long long)should);
}

void check_next_number(struct check_run *run, const char *what, uint64_t next, uint64_t highest)
{
	if (highest != 0 && highest >= next)
		check_tell(run,
			   (struct check_finding){.code = CHECK_NEXT_NUMBER_LOW,
						  .is = next,
						  .should = highest + 1},
			   "%s: the next is %llu, %llu is taken", what, (unsigned long long)next,
			   (unsigned long long)highest);
}

void check_counters(struct check_run *run)
{
	const struct counters *is = &run->store.counters;
	const struct check_tally *tally = &run->tally;

	if (!run->store.has_counters)
		return;
	compare(run, "inodes", is->inodes, tally->inodes);
	compare(run, "removals", is->removals, tally->removals);
	if (!tally->bytes_unknown)
		compare(run, "bytes", is->bytes, tally->bytes);
	/* A mark that is missing or stale is a finding of its own, and leaves one of these
	 * right. */
	if (is->orphans != tally->unnamed)
		compare(run, "removed files that are open", is->orphans, tally->marks);
	check_next_number(run, "inodes", is->next_ino, run->highest.ino);
	check_next_number(run, "files", is->next_file_id, run->highest.file_id);
	check_next_number(run, "sessions", is->next_session, run->highest.session);
	check_next_number(run, "removals", is->next_removal, run->highest.removal);
}
