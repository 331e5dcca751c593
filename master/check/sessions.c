/* sessions.c - the records of sessions: themselves, what they have open, their replies, lanes,
 * rights and the tree lease; and all other records of FAMILY_META that are not the map's.
 *
 * A right to append may outlive its file, and what a session was about to trim may outlive the
 * session: the state machine leaves both. */
#include <errno.h>
#include <string.h>
#include "catena.pb-c.h"
#include "common/base/bytes.h"
#include "common/cluster/unpack.h"
#include "master/check/run.h"
#include "master/records/sessions.h"

static void tell_damaged(struct check_run *run, const struct check_scan *scan, const char *what)
{
	char key[CHECK_KEY_TEXT];

	check_tell(run, (struct check_finding){.code = CHECK_RECORD_DAMAGED}, "%s: key %s", what,
		   check_key_text(scan->key, scan->key_size, key));
}

static void tell_unknown(struct check_run *run, const struct check_scan *scan)
{
	char key[CHECK_KEY_TEXT];

	check_tell(run, (struct check_finding){.code = CHECK_RECORD_UNKNOWN}, "key %s",
		   check_key_text(scan->key, scan->key_size, key));
}

/* ---- the records of FAMILY_META ---- */

static bool delegation_ok(struct check_run *run, const struct delegation *d)
{
	if (d->count == 0)
		return true;
	if (d->count > DELEGATION_MAX || d->first_ino == 0 || d->first_file_id == 0 ||
	    !id_has_room(d->first_ino, d->count) || !id_has_room(d->first_file_id, d->count))
		return false;
	check_highest_note(&run->highest.ino, d->first_ino + d->count - 1);
	check_highest_note(&run->highest.file_id, d->first_file_id + d->count - 1);
	return true;
}

static bool session_ok(struct check_run *run, const struct check_scan *scan)
{
	uint64_t id = get_be64(scan->key + 1);
	struct session_record record;
	bool ok = session_decode(scan->value, scan->value_size, &record);

	if (id_is_ours(id))
		check_highest_note(&run->highest.session, id);
	for (unsigned i = 0; ok && i < DELEGATIONS; i++)
		ok = delegation_ok(run, &record.delegations[i]);
	return ok && id != 0 && id_is_ours(id);
}

static bool lane_ok(struct check_run *run, const struct check_scan *scan)
{
	uint64_t session = get_be64(scan->key + 1), done;

	if (!check_numbers_have(&run->store.sessions, session))
		check_tell(run,
			   (struct check_finding){.code = CHECK_LANE_WITHOUT_SESSION,
						  .session = session},
			   "session %llu", (unsigned long long)session);
	return meta_decode_lane(scan->value, scan->value_size, &done);
}

static bool append_ok(struct check_run *run, const struct check_scan *scan)
{
	uint64_t ino = get_be64(scan->key + 1), session;

	if (!meta_decode_append(scan->value, scan->value_size, &session))
		return false;
	if (!check_numbers_have(&run->store.sessions, session))
		check_tell(run,
			   (struct check_finding){.code = CHECK_APPEND_WITHOUT_SESSION,
						  .ino = ino,
						  .session = session},
			   "session %llu, for inode %llu", (unsigned long long)session,
			   (unsigned long long)ino);
	return true;
}

/* While a session has the lease, no other is let in. */
static bool lease_ok(struct check_run *run, const struct check_scan *scan)
{
	const struct check_numbers *sessions = &run->store.sessions;
	struct tree_lease lease;

	if (!meta_decode_lease(scan->value, scan->value_size, &lease))
		return false;
	if (lease.session == 0)
		return true;
	if (!check_numbers_have(sessions, lease.session))
		check_tell(
			run,
			(struct check_finding){.code = CHECK_TREE_LEASE, .session = lease.session},
			"session %llu does not exist", (unsigned long long)lease.session);
	else if (sessions->count > 1)
		check_tell(
			run,
			(struct check_finding){.code = CHECK_TREE_LEASE, .session = lease.session},
			"session %llu has it, and there are %zu sessions",
			(unsigned long long)lease.session, sessions->count);
	return true;
}

static bool life_ok(const struct check_scan *scan)
{
	struct state_life life;

	return meta_decode_life(get_be64(scan->key + 1), scan->value, scan->value_size, &life);
}

static bool ended_ok(struct check_run *run, const struct check_scan *scan)
{
	uint64_t id = get_be64(scan->key + 1);

	if (id_is_ours(id))
		check_highest_note(&run->highest.session, id);
	return id_is_ours(id) && meta_decode_flag(scan->value, scan->value_size);
}

static bool accepted_ok(const struct check_scan *scan)
{
	struct meta_accepted accepted;

	return meta_decode_accepted(scan->value, scan->value_size, &accepted);
}

static bool given_up_ok(const struct check_scan *scan)
{
	struct state_seen seen;

	return scan->key_size == META_GIVEN_UP_KEY_BYTES &&
	       meta_decode_seen(scan->value, scan->value_size, &seen);
}

/* True of a record with an id for which there is only one place. */
static bool is_single(const struct check_scan *scan)
{
	return get_be64(scan->key + 1) == 0;
}

/* The record at hand, with a key of META_KEY_MAX bytes. */
static void check_meta(struct check_run *run, const struct check_scan *scan)
{
	const struct {
		uint8_t tag;
		bool single, (*ok)(struct check_run *run, const struct check_scan *scan);
		const char *what;
	} kinds[] = {
		{META_SESSION, false, session_ok, "a session"},
		{META_LANE, false, lane_ok, "a lane"},
		{META_APPEND, false, append_ok, "a right to append"},
		{META_ENDED, false, ended_ok, "a fenced session"},
		{META_LEASE, true, lease_ok, "the tree lease"},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (scan->key[0] != kinds[i].tag)
			continue;
		if (kinds[i].single && !is_single(scan))
			tell_unknown(run, scan);
		else if (!kinds[i].ok(run, scan))
			tell_damaged(run, scan, kinds[i].what);
		return;
	}
	switch (scan->key[0]) {
	case META_SUPER: /* store.c has these */
	case META_COUNTERS:
	case META_LEVEL:
		if (!is_single(scan))
			tell_unknown(run, scan);
		return;
	case META_ORPHAN: /* inodes.c */
	case META_POOL:   /* check_map() */
	case META_CHAIN:
	case META_SERVER:
	case META_TARGET:
	case META_RECOVERY:
	case META_FENCE:
		return;
	case META_OWED:
		if (!is_single(scan))
			tell_unknown(run, scan);
		else if (!meta_decode_flag(scan->value, scan->value_size))
			tell_damaged(run, scan, "that chains may be owed");
		return;
	case META_LIFE:
		if (!life_ok(scan))
			tell_damaged(run, scan, "a life of the master");
		return;
	case META_ACCEPTED:
		if (!is_single(scan))
			tell_unknown(run, scan);
		else if (!accepted_ok(scan))
			tell_damaged(run, scan, "the acceptance");
		return;
	default:
		tell_unknown(run, scan);
	}
}

static int check_all_meta(struct check_run *run)
{
	struct check_scan scan;
	int rc = check_scan_open(run, FAMILY_META, 0, "sessions", &scan);

	while (rc == 0 && !scan.ended) {
		check_run_progress(run, scan.what, 0, 0);
		if (scan.key_size > 0 && scan.key[0] == META_GIVEN_UP) {
			if (!given_up_ok(&scan))
				tell_damaged(run, &scan, "what a target had seen");
		} else if (scan.key_size != META_KEY_MAX) {
			tell_unknown(run, &scan);
		} else {
			check_meta(run, &scan);
		}
		rc = check_scan_step(run, &scan);
	}
	check_scan_close(&scan);
	return rc;
}

/* ---- what sessions have open ---- */

/* What a session that does not exist has open is open all the same until it is repaired. */
static int check_open(struct check_run *run, const struct check_scan *scan)
{
	uint8_t record[CHECK_OPEN_BYTES];
	uint64_t session, ino;

	if (scan->key_size != 16 || scan->value_size != 4 || get_le32(scan->value) == 0) {
		tell_damaged(run, scan, "what a session has open");
		return 0;
	}
	session = get_be64(scan->key);
	ino = get_be64(scan->key + 8);
	if (!check_numbers_have(&run->store.sessions, session))
		check_tell(run,
			   (struct check_finding){.code = CHECK_OPEN_WITHOUT_SESSION,
						  .ino = ino,
						  .session = session},
			   "session %llu, inode %llu", (unsigned long long)session,
			   (unsigned long long)ino);
	put_be64(record, ino);
	put_be64(record + 8, session);
	put_be32(record + 16, get_le32(scan->value));
	return check_sorter_add(run, run->sorters.opens, record);
}

static int check_opens(struct check_run *run)
{
	struct check_scan scan;
	int rc = check_sorter_make(run, CHECK_OPEN_BYTES, &run->sorters.opens);

	if (rc == 0)
		rc = check_scan_open(run, FAMILY_OPENS, 0, "open files", &scan);
	else
		return rc;
	while (rc == 0 && !scan.ended) {
		check_run_progress(run, scan.what, 0, 0);
		rc = check_open(run, &scan);
		if (rc == 0)
			rc = check_scan_step(run, &scan);
	}
	check_scan_close(&scan);
	return rc;
}

/* ---- replies ---- */

/* *ok: it can be read, and is of the request of its key. */
static int read_reply(struct check_run *run, const struct check_scan *scan, bool *ok)
{
	struct unpack unpack;
	ProtobufCAllocator *allocator = unpack_begin(&unpack);
	Catena__Reply *reply = catena__reply__unpack(allocator, scan->value_size, scan->value);

	*ok = reply != NULL && reply->id == get_be64(scan->key + 8);
	if (reply != NULL)
		catena__reply__free_unpacked(reply, allocator);
	else if (unpack.no_memory)
		return check_run_failed(run, -ENOMEM, "a reply");
	return 0;
}

static int check_replies(struct check_run *run)
{
	uint64_t session, told = 0;
	struct check_scan scan;
	bool ok;
	int rc = check_scan_open(run, FAMILY_REPLIES, 0, "replies", &scan);

	while (rc == 0 && !scan.ended) {
		check_run_progress(run, scan.what, 0, 0);
		ok = false;
		if (scan.key_size == 16)
			rc = read_reply(run, &scan, &ok);
		if (rc != 0)
			break;
		session = check_scan_number(&scan);
		if (!ok) {
			tell_damaged(run, &scan, "a reply");
		} else if (session != told && !check_numbers_have(&run->store.sessions, session)) {
			check_tell(run,
				   (struct check_finding){.code = CHECK_REPLY_WITHOUT_SESSION,
							  .session = session},
				   "session %llu", (unsigned long long)session);
			told = session;
		}
		rc = check_scan_step(run, &scan);
	}
	check_scan_close(&scan);
	return rc;
}

int check_sessions(struct check_run *run)
{
	int rc = check_all_meta(run);

	if (rc == 0)
		rc = check_opens(run);
	return rc == 0 ? check_replies(run) : rc;
}
