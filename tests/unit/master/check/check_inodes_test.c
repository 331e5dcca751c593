/* check_inodes_test.c - what a check of the master's store says of inodes, attributes, sessions,
 * the removal queue, counters and records of all kinds.
 *
 * Goal: each damage gives exactly its finding; what the state machine leaves gives none.
 * Method: as in check_entries_test.c. */
#include "master/log/command.h"
#include "tests/unit/master/check/check_fixture.h"

/* ---- link counts ---- */

static void an_inode_without_a_name_is_found(void **state)
{
	struct dentry dentry;

	delete_entry(ROOT_INO, find_entry(ROOT_INO, "other", &dentry));
	count_entries(ROOT_INO, -1, 0);
	assert_int_equal(assert_found_one(CHECK_INODE_WITHOUT_ENTRY)->ino, tree.other);
}

static void link_counts_are_compared_with_names(void **state)
{
	const struct check_finding *finding;

	EDIT_INODE(tree.file, i.nlink = 1);
	finding = assert_found_one(CHECK_LINK_COUNT_LOW);
	assert_int_equal(finding->ino, tree.file);
	assert_int_equal(finding->is, 1);
	assert_int_equal(finding->should, 2);
	EDIT_INODE(tree.file, i.nlink = 3);
	assert_found_one(CHECK_LINK_COUNT_HIGH);
	EDIT_INODE(tree.file, i.nlink = 0);
	assert_found_one(CHECK_LINK_COUNT_LOW);
	EDIT_INODE(tree.file, i.nlink = 2);
	EDIT_INODE(tree.c, i.nlink = 0);
	assert_found_one(CHECK_LINK_COUNT_LOW);
}

static void a_removed_file_that_says_it_has_a_name_is_found(void **state)
{
	EDIT_INODE(tree.orphan, i.nlink = 1);
	assert_int_equal(assert_found_one(CHECK_LINK_COUNT_HIGH)->ino, tree.orphan);
}

/* ---- removed files that are open ---- */

static void marks_of_removed_files_are_missing_or_stale(void **state)
{
	delete_meta(META_ORPHAN, tree.orphan);
	assert_int_equal(assert_found_one(CHECK_ORPHAN_MARK_MISSING)->ino, tree.orphan);
	put_meta(META_ORPHAN, tree.orphan, "", 0);
	put_meta(META_ORPHAN, tree.other, "", 0);
	assert_int_equal(assert_found_one(CHECK_ORPHAN_MARK_STALE)->ino, tree.other);
	delete_meta(META_ORPHAN, tree.other);
	put_meta(META_ORPHAN, 999, "", 0);
	assert_int_equal(assert_found_one(CHECK_ORPHAN_MARK_STALE)->ino, 999);
	delete_meta(META_ORPHAN, 999);
	put_meta(META_ORPHAN, ROOT_INO, "", 0);
	assert_int_equal(assert_found_one(CHECK_ORPHAN_MARK_STALE)->ino, ROOT_INO);
}

static void a_removed_file_that_nobody_has_open_is_found(void **state)
{
	uint8_t key[16];

	key_u64_u64(key, tree.f.session, tree.orphan);
	delete_record(FAMILY_OPENS, key, sizeof(key));
	assert_int_equal(assert_found_one(CHECK_ORPHAN_LEFT)->ino, tree.orphan);
}

static void what_is_open_has_a_session_and_an_inode(void **state)
{
	uint8_t key[16], value[4] = {1};

	key_u64_u64(key, 999, tree.other);
	put_record(FAMILY_OPENS, key, sizeof(key), value, sizeof(value));
	assert_int_equal(assert_found_one(CHECK_OPEN_WITHOUT_SESSION)->session, 999);
	assert_int_equal(found.findings[0].ino, tree.other);
	delete_record(FAMILY_OPENS, key, sizeof(key));
	key_u64_u64(key, tree.f.session, 999);
	put_record(FAMILY_OPENS, key, sizeof(key), value, sizeof(value));
	assert_int_equal(assert_found_one(CHECK_OPEN_WITHOUT_INODE)->ino, 999);
	assert_int_equal(found.findings[0].session, tree.f.session);
	value[0] = 0;
	put_record(FAMILY_OPENS, key, sizeof(key), value, sizeof(value));
	assert_found_one(CHECK_RECORD_DAMAGED);
}

/* ---- fields ---- */

static void fields_of_an_inode_are_possible(void **state)
{
	EDIT_INODE(tree.other, i.mode = 0644);
	assert_found_one(CHECK_INODE_TYPE);
	EDIT_INODE(tree.other, i.mode = S_IFREG | 0644 | 1u << 20);
	assert_found_one(CHECK_INODE_TYPE);
	EDIT_INODE(tree.other, i.mode = S_IFREG | 0644; i.flags = 128);
	assert_found_one(CHECK_INODE_FLAGS);
	EDIT_INODE(tree.other, i.flags = INODE_CROWDED);
	assert_found_one(CHECK_INODE_FLAGS);
	EDIT_INODE(tree.other, i.flags = INODE_SPARSE | INODE_HAS_RECORDS);
	assert_sound();
	EDIT_INODE(tree.other, i.pool = 9);
	assert_int_equal(assert_found_one(CHECK_POOL_UNKNOWN)->pool, 9);
	EDIT_INODE(tree.other, i.pool = 1; i.file_id = 0);
	assert_found_one(CHECK_FILE_ID_MISSING);
	EDIT_INODE(tree.symlink, i.file_id = 900);
	EDIT_INODE(tree.other, i.file_id = 901);
	EDIT_COUNTERS(c.next_file_id = 1000);
	assert_found_one(CHECK_INODE_FIELDS);
}

static void a_size_that_the_chunks_do_not_have_is_found(void **state)
{
	EDIT_INODE(tree.file, i.allocated = i.size - 1);
	assert_int_equal(assert_found_one(CHECK_SIZE_ABOVE_ALLOCATED)->ino, tree.file);
	EDIT_COUNTERS(c.bytes -= get_inode(tree.file).size; c.bytes += FILE_BYTES_MAX + 1);
	EDIT_INODE(tree.file, i.allocated = i.size = FILE_BYTES_MAX + 1);
	assert_found_one(CHECK_SIZE_TOO_LARGE);
}

static void a_truncation_that_cannot_be_is_found(void **state)
{
	struct inode_record whole = get_inode(tree.file);

	EDIT_INODE(tree.file, i.trim_session = tree.f.session);
	assert_found_one(CHECK_TRIM);
	put_inode(&whole);
	EDIT_INODE(tree.file, i.trim_from = i.size; i.trim_to = i.allocated + 1;
		   i.trim_session = tree.f.session);
	assert_found_one(CHECK_TRIM);
	EDIT_INODE(tree.file, i.allocated += 1; i.trim_session = 0);
	assert_found_one(CHECK_TRIM);
	EDIT_INODE(tree.file, i.trim_session = tree.f.session; i.trim_from = i.size - 1);
	assert_found_one(CHECK_TRIM);
	EDIT_INODE(tree.file, i.trim_from = i.size);
	assert_sound();
}

/* ---- file ids and the removal queue ---- */

static void a_file_id_that_two_have_is_told_of_both(void **state)
{
	uint64_t file_id = get_inode(tree.file).file_id;

	EDIT_INODE(tree.other, i.file_id = file_id);
	assert_found(2, CHECK_FILE_ID_TWICE, CHECK_FILE_ID_TWICE);
	assert_int_equal(found.findings[0].ino, tree.file);
	assert_int_equal(found.findings[0].other, tree.other);
	assert_int_equal(found.findings[1].ino, tree.other);
	assert_int_equal(found.findings[1].other, tree.file);
	assert_int_equal(found.findings[1].file_id, file_id);
	assert_memory_equal(found.findings[1].name, "other", 5);
	EDIT_INODE(tree.deep, i.file_id = file_id);
	assert_found(3, CHECK_FILE_ID_TWICE, CHECK_FILE_ID_TWICE, CHECK_FILE_ID_TWICE);
}

static void put_removal(uint64_t sequence, uint32_t pool, uint64_t file_id, uint64_t size)
{
	uint8_t key[8], value[META_REMOVAL_BYTES];

	key_u64(key, sequence);
	meta_encode_removal(&(struct state_removal){.pool = pool, .file_id = file_id, .size = size},
			    value);
	put_record(FAMILY_REMOVALS, key, sizeof(key), value, sizeof(value));
}

static void the_removal_of_a_living_file_is_found(void **state)
{
	uint64_t sequence = get_counters().next_removal;

	put_removal(sequence, 1, get_inode(tree.file).file_id, 4096);
	EDIT_COUNTERS(c.removals++; c.next_removal++);
	assert_int_equal(assert_found_one(CHECK_REMOVAL_OF_LIVE_FILE)->ino, tree.file);
	assert_int_equal(found.findings[0].other, sequence);
	assert_int_equal(found.findings[0].file_id, get_inode(tree.file).file_id);
	/* Removed and open is living. */
	put_removal(sequence, 1, get_inode(tree.orphan).file_id, 4096);
	assert_int_equal(assert_found_one(CHECK_REMOVAL_OF_LIVE_FILE)->ino, tree.orphan);
}

static void entries_of_the_removal_queue_are_possible(void **state)
{
	uint64_t sequence = get_counters().next_removal - 1;
	uint64_t file_id = get_counters().next_file_id - 1;
	uint8_t key[8];

	put_removal(sequence, 1, 0, 4096);
	assert_int_equal(assert_found_one(CHECK_REMOVAL)->other, sequence);
	put_removal(sequence, 1, file_id, 0);
	assert_found_one(CHECK_REMOVAL);
	put_removal(sequence, 1, file_id, FILE_BYTES_MAX + 1);
	assert_found_one(CHECK_REMOVAL);
	put_removal(sequence, 7, file_id, 4096);
	assert_int_equal(assert_found_one(CHECK_POOL_UNKNOWN)->pool, 7);
	key_u64(key, sequence);
	put_record(FAMILY_REMOVALS, key, sizeof(key), "?", 1);
	assert_found_one(CHECK_RECORD_DAMAGED);
	/* Which file it was of, nobody knows. */
	delete_record(FAMILY_REMOVALS, key, sizeof(key));
	assert_int_equal(assert_found_one(CHECK_COUNTER)->should, 0);
}

/* ---- attributes ---- */

static void attributes_belong_to_an_inode_that_counts_them(void **state)
{
	uint8_t key[XATTR_KEY_MAX + 1];

	put_record(FAMILY_XATTRS, key, key_xattr(key, 999, "user.x", 6), "v", 1);
	put_record(FAMILY_XATTRS, key, key_xattr(key, 999, "user.y", 6), "v", 1);
	assert_int_equal(assert_found_one(CHECK_XATTR_WITHOUT_INODE)->ino, 999);
	delete_record(FAMILY_XATTRS, key, 14);
	delete_record(FAMILY_XATTRS, key, key_xattr(key, 999, "user.x", 6));
	EDIT_INODE(tree.file, i.xattr_bytes++);
	assert_int_equal(assert_found_one(CHECK_XATTR_BYTES)->ino, tree.file);
	EDIT_INODE(tree.file, i.xattr_bytes--; i.flags &= (uint8_t)~INODE_HAS_RECORDS);
	assert_int_equal(assert_found_one(CHECK_XATTR_FLAG)->ino, tree.file);
	EDIT_INODE(tree.file, i.flags |= INODE_HAS_RECORDS; i.xattr_bytes += 3);
	put_record(FAMILY_XATTRS, key, key_xattr(key, tree.file, "a\0", 2), "v", 1);
	assert_found_one(CHECK_XATTR_INVALID);
	delete_record(FAMILY_XATTRS, key, 10);
	EDIT_INODE(tree.file, i.xattr_bytes -= 3);
	put_record(FAMILY_XATTRS, key, key_xattr(key, tree.file, "", 0), "", 0);
	assert_found_one(CHECK_XATTR_INVALID);
}

static void a_symbolic_link_has_a_target(void **state)
{
	uint8_t key[XATTR_KEY_MAX];
	size_t size = key_xattr(key, tree.symlink, "", 1);

	put_record(FAMILY_XATTRS, key, size, "targe", 5);
	assert_int_equal(assert_found_one(CHECK_SYMLINK_TARGET)->ino, tree.symlink);
	put_record(FAMILY_XATTRS, key, size, "tar\0et", 6);
	assert_found_one(CHECK_SYMLINK_TARGET);
	delete_record(FAMILY_XATTRS, key, size);
	assert_int_equal(assert_found_one(CHECK_SYMLINK_WITHOUT_TARGET)->ino, tree.symlink);
	put_record(FAMILY_XATTRS, key, size, "target", 6);
	assert_sound();
	put_record(FAMILY_XATTRS, key, key_xattr(key, tree.file, "", 1), "target", 6);
	assert_int_equal(assert_found_one(CHECK_TARGET_OF_NO_SYMLINK)->ino, tree.file);
}

/* ---- sessions ---- */

static void records_of_sessions_that_do_not_exist_are_found(void **state)
{
	uint8_t value[META_APPEND_BYTES], lane[META_LANE_BYTES], key[16], lease[META_LEASE_BYTES];
	Catena__Reply reply = CATENA__REPLY__INIT;
	uint8_t packed[64];

	meta_encode_append(999, value);
	put_meta(META_APPEND, tree.other, value, sizeof(value));
	assert_int_equal(assert_found_one(CHECK_APPEND_WITHOUT_SESSION)->session, 999);
	delete_meta(META_APPEND, tree.other);
	meta_encode_lane(1, lane);
	put_meta(META_LANE, 999, lane, sizeof(lane));
	assert_int_equal(assert_found_one(CHECK_LANE_WITHOUT_SESSION)->session, 999);
	delete_meta(META_LANE, 999);
	reply.id = 5;
	key_u64_u64(key, 999, 5);
	put_record(FAMILY_REPLIES, key, sizeof(key), packed, catena__reply__pack(&reply, packed));
	key_u64_u64(key, 999, 6);
	reply.id = 6;
	put_record(FAMILY_REPLIES, key, sizeof(key), packed, catena__reply__pack(&reply, packed));
	assert_int_equal(assert_found_one(CHECK_REPLY_WITHOUT_SESSION)->session, 999);
	reply.id = 7; /* another's */
	put_record(FAMILY_REPLIES, key, sizeof(key), packed, catena__reply__pack(&reply, packed));
	assert_found(2, CHECK_REPLY_WITHOUT_SESSION, CHECK_RECORD_DAMAGED);
	delete_record(FAMILY_REPLIES, key, sizeof(key));
	key_u64_u64(key, 999, 5);
	delete_record(FAMILY_REPLIES, key, sizeof(key));
	meta_encode_lease(&(struct tree_lease){.generation = 3, .session = 999}, lease);
	put_meta(META_LEASE, 0, lease, sizeof(lease));
	assert_int_equal(assert_found_one(CHECK_TREE_LEASE)->session, 999);
}

static void the_holder_of_the_tree_lease_is_alone(void **state)
{
	struct fixture *f = &tree.f;
	uint8_t lease[META_LEASE_BYTES];
	uint64_t generation;

	assert_int_equal(state_apply_lease_grant(f->state, ++f->index, f->session, &generation), 0);
	assert_sound();
	assert_int_equal(state_apply_lease_end(f->state, ++f->index, f->session, generation), 0);
	assert_int_equal(session_open_as(f->state, ++f->index, 8, 1, "m", "n"), 0);
	assert_sound();
	meta_encode_lease(&(struct tree_lease){.generation = 3, .session = 8}, lease);
	put_meta(META_LEASE, 0, lease, sizeof(lease));
	assert_int_equal(assert_found_one(CHECK_TREE_LEASE)->session, 8);
}

/* ---- counters ---- */

static void counters_are_compared_with_what_there_is(void **state)
{
	struct counters whole = get_counters();
	const struct check_finding *finding;

	EDIT_COUNTERS(c.inodes++);
	finding = assert_found_one(CHECK_COUNTER);
	assert_int_equal(finding->is, whole.inodes + 1);
	assert_int_equal(finding->should, whole.inodes);
	put_counters(&whole);
	EDIT_COUNTERS(c.bytes--);
	assert_found_one(CHECK_COUNTER);
	put_counters(&whole);
	EDIT_COUNTERS(c.orphans++);
	assert_found_one(CHECK_COUNTER);
	put_counters(&whole);
	EDIT_COUNTERS(c.removals++);
	assert_found_one(CHECK_COUNTER);
}

static void a_next_number_that_is_taken_is_found(void **state)
{
	struct counters whole = get_counters();

	EDIT_COUNTERS(c.next_ino = tree.removed);
	assert_int_equal(assert_found_one(CHECK_NEXT_NUMBER_LOW)->is, tree.removed);
	put_counters(&whole);
	EDIT_COUNTERS(c.next_file_id--);
	assert_found_one(CHECK_NEXT_NUMBER_LOW);
	put_counters(&whole);
	EDIT_COUNTERS(c.next_session = tree.f.session);
	assert_found_one(CHECK_NEXT_NUMBER_LOW);
	put_counters(&whole);
	EDIT_COUNTERS(c.next_removal--);
	assert_found_one(CHECK_NEXT_NUMBER_LOW);
}

static void numbers_that_are_delegated_are_taken(void **state)
{
	struct fixture *f = &tree.f;
	FIXTURE_REQUEST(DelegateReq, DELEGATE_REQ, DELEGATE);

	request.delegate = &req;
	req.count = 10;
	assert_int_equal(fixture_send(f, &request), 0);
	assert_sound();
	EDIT_COUNTERS(c.next_ino--);
	assert_found_one(CHECK_NEXT_NUMBER_LOW);
	EDIT_COUNTERS(c.next_ino++; c.next_file_id--);
	assert_found_one(CHECK_NEXT_NUMBER_LOW);
}

/* ---- records ---- */

static void an_inode_that_cannot_be_read_is_one_finding(void **state)
{
	static const uint64_t *const inos[] = {&tree.other,   &tree.file,   &tree.a,
					       &tree.symlink, &tree.orphan, &tree.removed};

	for (unsigned n = 0; n < sizeof(inos) / sizeof(*inos); n++) {
		struct inode_record whole = get_inode(*inos[n]);
		uint8_t key[8];

		key_u64(key, *inos[n]);
		put_record(FAMILY_INODES, key, sizeof(key), "?", 1);
		assert_int_equal(assert_found_one(CHECK_INODE_DAMAGED)->ino, *inos[n]);
		put_inode(&whole);
	}
	put_record(FAMILY_INODES, "12345", 5, "", 0);
	assert_found_one(CHECK_RECORD_UNKNOWN);
}

/* Each record of FAMILY_META that the checks of names go by, cut to one byte. */
static void records_that_cannot_be_read_are_told_once(void **state)
{
	static const struct {
		enum meta_tag tag;
		uint64_t id;
	} records[] = {{META_SUPER, 0},
		       {META_COUNTERS, 0},
		       {META_SESSION, FIXTURE_SESSION},
		       {META_LANE, FIXTURE_SESSION},
		       {META_LEVEL, 0},
		       {META_APPEND, 9},
		       {META_LEASE, 0},
		       {META_ENDED, 3},
		       {META_OWED, 0},
		       {META_LIFE, 3},
		       {META_ACCEPTED, 0},
		       {META_ORPHAN, 99},
		       {META_GIVEN_UP, 9}};

	for (unsigned n = 0; n < sizeof(records) / sizeof(*records); n++) {
		uint8_t key[META_KEY_MAX], *value = NULL;
		size_t key_size = key_meta(key, records[n].tag, records[n].id), size;
		int rc = kv_get(tree.f.kv, FAMILY_META, key, key_size, &value, &size);

		put_record(FAMILY_META, key, key_size, "\x7f", 1);
		assert_found_one(CHECK_RECORD_DAMAGED);
		if (rc == 0)
			put_record(FAMILY_META, key, key_size, value, size);
		else
			delete_record(FAMILY_META, key, key_size);
		free(rc == 0 ? value : NULL);
	}
	assert_sound();
}

static void records_of_no_kind_are_told(void **state)
{
	put_meta((enum meta_tag)'z', 1, "", 0);
	assert_found_one(CHECK_RECORD_UNKNOWN);
	put_meta(META_COUNTERS, 1, "", 0);
	assert_found(2, CHECK_RECORD_UNKNOWN, CHECK_RECORD_UNKNOWN);
	put_record(FAMILY_META, "s", 1, "", 0);
	assert_found(3, CHECK_RECORD_UNKNOWN, CHECK_RECORD_UNKNOWN, CHECK_RECORD_UNKNOWN);
}

static void records_that_each_store_has_are_missed(void **state)
{
	delete_meta(META_COUNTERS, 0);
	assert_found_one(CHECK_RECORD_MISSING);
	delete_meta(META_SUPER, 0);
	check_now();
	assert_int_equal(found.rc, -ENOENT);
}

static void a_store_of_a_later_level_is_not_judged(void **state)
{
	uint8_t level[META_LEVEL_BYTES];

	meta_encode_level(STATE_LEVEL + 1, level);
	put_meta(META_LEVEL, 0, level, sizeof(level));
	check_now();
	assert_int_equal(found.rc, -EPROTONOSUPPORT);
	assert_string_not_equal(found.result.error, "");
}

/* ---- what the state machine leaves ---- */

static void a_right_to_append_may_outlive_its_file(void **state)
{
	struct fixture *f = &tree.f;
	FIXTURE_REQUEST(AppendReq, APPEND_REQ, APPEND);

	request.append = &req;
	req.ino = tree.other;
	assert_int_equal(fixture_send(f, &request), 0);
	assert_int_equal(do_unlink(f, ROOT_INO, "other"), 0);
	assert_int_equal(do_getattr(f, tree.other), -ESTALE);
	assert_int_equal(state_append_holder(f->state, tree.other), f->session);
	assert_sound();
}

static void take_information(void *user, const struct check_finding *finding)
{
	assert_int_equal(finding->code, CHECK_TRIM_LEFT);
	assert_int_equal(finding->severity, CHECK_INFORMATION);
	*(uint64_t *)user = finding->ino;
}

static void a_truncation_may_outlive_its_session(void **state)
{
	const struct check_options options = {.information = true};
	struct fixture *f = &tree.f;
	struct check_result result;
	uint64_t ino = 0;

	assert_int_equal(do_size(f, tree.file, CATENA__SET_MASK__SET_SIZE, 4096, 0), 0);
	assert_int_not_equal(get_inode(tree.file).trim_to, 0);
	assert_sound();
	assert_int_equal(state_apply_session_close(f->state, ++f->index, f->session, NULL, 0), 0);
	assert_sound();
	assert_int_equal(check_namespace(f->kv, &options, take_information, &ino, &result), 0);
	assert_int_equal(ino, tree.file);
	assert_int_equal(result.found[CHECK_INFORMATION], 1);
}

/* A removed file whose record cannot be read is left by the end of its session. */
static void a_damaged_file_that_is_left_is_one_finding(void **state)
{
	struct fixture *f = &tree.f;
	uint8_t key[8];

	key_u64(key, tree.orphan);
	put_record(FAMILY_INODES, key, sizeof(key), "?", 1);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(
		state_apply_session_close(f->state, ++f->index, f->session, &tree.orphan, 1), 0);
	assert_int_equal(assert_found_one(CHECK_INODE_DAMAGED)->ino, tree.orphan);
}

static void sessions_that_were_fenced_leave_nothing_to_be_found(void **state)
{
	struct fixture *f = &tree.f;

	assert_int_equal(session_open_as(f->state, ++f->index, 8, 1, "m", "n"), 0);
	assert_int_equal(state_apply_session_fence(f->state, ++f->index, 8), 0);
	assert_int_equal(state_apply_fences_owed(f->state, ++f->index, true), 0);
	assert_sound();
	assert_int_equal(state_apply_session_close(f->state, ++f->index, 8, NULL, 0), 0);
	assert_sound();
}

static void what_an_accepted_store_has_is_sound(void **state)
{
	struct state_accept accept = {.chance = UINT64_C(77) << 40};
	const struct state_start start = {.instance = 1, .chance = 5};
	struct fixture *f = &tree.f;

	assert_int_equal(state_apply_start(f->state, ++f->index, &start, STATE_ID_GAP), 0);
	assert_sound();
	assert_int_equal(fixture_accept(f, &accept), 0);
	assert_sound();
}

/* ---- codes ---- */

static void each_code_is_in_the_table_once(void **state)
{
	const struct check_kind *kind;

	for (size_t i = 0; (kind = check_kind_at(i)) != NULL; i++) {
		assert_ptr_equal(check_kind_of(kind->code), kind);
		assert_true(kind->title[0] != '\0' && kind->advice[0] != '\0');
		assert_true(i == 0 || check_kind_at(i - 1)->code < kind->code);
		assert_string_not_equal(check_severity_name(kind->severity), "unknown");
	}
	assert_null(check_kind_of(1));
	assert_string_equal(check_severity_name(CHECK_SEVERITIES), "unknown");
}

#define TEST(function_)                                                                            \
	cmocka_unit_test_setup_teardown(function_, check_tree_setup, check_tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_inode_without_a_name_is_found),
		TEST(link_counts_are_compared_with_names),
		TEST(a_removed_file_that_says_it_has_a_name_is_found),
		TEST(marks_of_removed_files_are_missing_or_stale),
		TEST(a_removed_file_that_nobody_has_open_is_found),
		TEST(what_is_open_has_a_session_and_an_inode),
		TEST(fields_of_an_inode_are_possible),
		TEST(a_size_that_the_chunks_do_not_have_is_found),
		TEST(a_truncation_that_cannot_be_is_found),
		TEST(a_file_id_that_two_have_is_told_of_both),
		TEST(the_removal_of_a_living_file_is_found),
		TEST(entries_of_the_removal_queue_are_possible),
		TEST(attributes_belong_to_an_inode_that_counts_them),
		TEST(a_symbolic_link_has_a_target),
		TEST(records_of_sessions_that_do_not_exist_are_found),
		TEST(the_holder_of_the_tree_lease_is_alone),
		TEST(counters_are_compared_with_what_there_is),
		TEST(a_next_number_that_is_taken_is_found),
		TEST(numbers_that_are_delegated_are_taken),
		TEST(an_inode_that_cannot_be_read_is_one_finding),
		TEST(records_that_cannot_be_read_are_told_once),
		TEST(records_of_no_kind_are_told),
		TEST(records_that_each_store_has_are_missed),
		TEST(a_store_of_a_later_level_is_not_judged),
		TEST(a_right_to_append_may_outlive_its_file),
		TEST(a_truncation_may_outlive_its_session),
		TEST(a_damaged_file_that_is_left_is_one_finding),
		TEST(sessions_that_were_fenced_leave_nothing_to_be_found),
		TEST(what_an_accepted_store_has_is_sound),
		cmocka_unit_test(each_code_is_in_the_table_once),
	};

	return cmocka_run_group_tests_name("check of inodes", tests, NULL, NULL);
}
