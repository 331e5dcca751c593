/* replay.c - see replay.h. */
#include "master/replay/replay.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/kv/kv.h"
#include "master/kept/directory.h"
#include "master/kept/segment.h"
#include "master/replay/copy.h"
#include "master/replay/print.h"
#include "master/state/state.h"

/* Small, so that a copy needs little room beside its files. */
#define MEMTABLE_BYTES (8u << 20)
#define PATH_BYTES     4096

/* A later checkpoint, of an entry that is still to be applied. */
struct later {
	uint32_t number;
	uint64_t index;
	uint8_t hash[LOG_HASH_BYTES];
};

struct replay {
	const struct replay_options *options;
	int dir_fd;
	struct kept_part *parts;
	size_t count;
	char *error;
	size_t error_size;

	/* of the run at hand */
	char path[PATH_BYTES]; /* of the store */
	struct kv *kv;
	struct state *state;
	struct log_hash *hash;
	uint64_t end; /* the last entry that was kept, of the segments that were read */
	uint8_t end_hash[LOG_HASH_BYTES];
	uint64_t first, applied;
	unsigned in_batch;
	struct later *laters;
	size_t later_count;
	size_t compared; /* checkpoints */

	/* of the entry at hand */
	uint8_t *changes;
	size_t changes_size, changes_capacity;
	bool no_memory;
};

static int fail(struct replay *r, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int fail(struct replay *r, int rc, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(r->error, r->error_size, format, arguments);
	va_end(arguments);
	return rc;
}

/* ---- stores ---- */

static int open_copy(struct replay *r, uint32_t number, const char *as, char path[PATH_BYTES],
		     struct kv **kv, struct state **state)
{
	struct kv_options options = {.path = path,
				     .families = records_families,
				     .family_count = records_family_count,
				     .memtable_bytes = MEMTABLE_BYTES};
	char name[KEPT_NAME_MAX], detail[256] = "";
	int rc;

	kept_store_name(number, name);
	if ((size_t)snprintf(path, PATH_BYTES, "%s/%s", r->options->work, as) >= PATH_BYTES)
		return fail(r, -ENAMETOOLONG, "%s is too long", r->options->work);
	copy_remove(path);
	rc = copy_directory(r->dir_fd, name, path);
	if (rc != 0)
		return fail(r, rc, "%s cannot be copied to %s: %s", name, path, strerror(-rc));
	rc = kv_open(&options, kv, detail, sizeof(detail));
	if (rc == 0)
		rc = state_open(*kv, state, detail, sizeof(detail));
	if (rc != 0)
		return fail(r, rc, "%s cannot be opened: %s", name,
			    detail[0] != '\0' ? detail : strerror(-rc));
	return 0;
}

/* What a later checkpoint says, in its turn. */
static int read_later(struct replay *r, uint32_t number)
{
	struct later *bigger = realloc(r->laters, (r->later_count + 1) * sizeof(*bigger));
	struct kv *kv = NULL;
	struct state *state = NULL;
	char path[PATH_BYTES] = "";
	int rc;

	if (bigger == NULL)
		return fail(r, -ENOMEM, "out of memory");
	r->laters = bigger;
	rc = open_copy(r, number, "later", path, &kv, &state);
	if (rc == 0) {
		bigger += r->later_count;
		*bigger = (struct later){.number = number, .index = state_applied_index(state)};
		rc = log_hash_store(kv, records_family_count, bigger->hash);
		if (rc != 0)
			(void)fail(r, rc, "checkpoint %u cannot be read: %s", number,
				   strerror(-rc));
		else if (bigger->index < r->applied)
			rc = fail(r, -EBADMSG,
				  "checkpoint %u is of entry %" PRIu64 ", before its segment",
				  number, bigger->index);
		else
			r->later_count++;
	}
	state_close(state);
	kv_close(kv);
	copy_remove(path);
	return rc;
}

/* ---- one entry ---- */

static void take_changes(void *user, const struct kv_batch *batch)
{
	struct replay *r = user;
	size_t size;
	const uint8_t *bytes = kv_batch_bytes(batch, &size);

	log_hash_changes(r->hash, batch);
	if (size > r->changes_capacity - r->changes_size) {
		size_t capacity = 2 * (r->changes_size + size);
		uint8_t *bigger = realloc(r->changes, capacity);

		if (bigger == NULL) {
			r->no_memory = true;
			return;
		}
		r->changes = bigger;
		r->changes_capacity = capacity;
	}
	memcpy(r->changes + r->changes_size, bytes, size);
	r->changes_size += size;
}

static int say_difference(struct replay *r, const struct kept_item *item,
			  const struct log_trace *trace)
{
	FILE *out = r->options->out;
	bool more = true;

	fprintf(out, "entry %" PRIu64 " differs:\n", item->index);
	if (item->trace.result != trace->result) {
		fprintf(out, "- its result was %s, and is %s here\n",
			item->trace.result == 0 ? "success" : strerror(-item->trace.result),
			trace->result == 0 ? "success" : strerror(-trace->result));
		more = false;
	}
	if (item->trace.answer_crc != trace->answer_crc) {
		fprintf(out, "- its answer was another than here\n");
		more = false;
	}
	if (item->trace.changes_crc != trace->changes_crc) {
		fprintf(out, "- it changed the store in another way than here\n");
		more = false;
	}
	if (more)
		fprintf(out, "- its bytes are not those that the master applied\n");
	if (!r->options->print) {
		print_entry(out, item->index, item->entry, item->entry_size);
		fputc('\n', out);
	}
	fprintf(out, "its changes here:\n");
	print_changes(out, r->changes, r->changes_size);
	return 1;
}

static int compare_item(struct replay *r, const struct kept_item *item, int result,
			const struct command_result *given)
{
	FILE *out = r->options->out;
	struct log_trace trace;
	int rc = log_hash_end(r->hash, result, given, &trace);

	if (rc != 0 || r->no_memory)
		return fail(r, -ENOMEM, "out of memory");
	if (r->options->print)
		fprintf(out, " -> %s\n", result == 0 ? "done" : strerror(-result));
	if (!item->ended) {
		fprintf(out,
			"entry %" PRIu64 " has no result: the master ended with it, or took it "
			"back; here: %s\n",
			item->index, result == 0 ? "done" : strerror(-result));
		return 0;
	}
	return memcmp(trace.hash, item->trace.hash, LOG_HASH_BYTES) == 0
		       ? 0
		       : say_difference(r, item, &trace);
}

static int apply_item(struct replay *r, const struct kept_item *item)
{
	struct command_result given = {0};
	struct entry *entry;
	int rc = entry_decode(item->entry, item->entry_size, &entry), result;

	if (rc == 0 && entry->index != item->index) {
		entry_free(entry);
		rc = -EBADMSG;
	}
	if (rc != 0)
		return fail(r, rc, "entry %" PRIu64 " cannot be read: %s", item->index,
			    rc == -EPROTONOSUPPORT ? "it is of a later version" : strerror(-rc));
	if (r->options->print)
		print_entry(r->options->out, item->index, item->entry, item->entry_size);
	if (r->options->at != NULL)
		r->options->at(item->index);
	r->changes_size = 0;
	log_hash_begin(r->hash, item->entry, item->entry_size);
	result = command_apply(r->state, item->index, &entry->command, &given);
	if (command_has_failed(result)) {
		log_hash_end(r->hash, result, &given, &(struct log_trace){0});
		rc = fail(r, result, "the store fails at entry %" PRIu64 ": %s", item->index,
			  strerror(-result));
	} else {
		rc = compare_item(r, item, result, &given);
		r->applied = item->index;
	}
	free(given.answer.reply);
	entry_free(entry);
	return rc;
}

/* ---- batches ---- */

static int end_batch(struct replay *r)
{
	int rc;

	if (r->in_batch == 0)
		return 0;
	r->in_batch = 0;
	rc = state_batch_commit(r->state);
	return rc == 0 ? 0 : fail(r, rc, "the store fails: %s", strerror(-rc));
}

static int compare_store(struct replay *r, struct later *later)
{
	uint8_t hash[LOG_HASH_BYTES];
	int rc = end_batch(r);

	if (rc != 0)
		return rc;
	rc = log_hash_store(r->kv, records_family_count, hash);
	if (rc != 0)
		return fail(r, rc, "the store cannot be read: %s", strerror(-rc));
	r->compared++;
	if (memcmp(hash, later->hash, LOG_HASH_BYTES) == 0) {
		later->index = 0; /* not once more */
		return 0;
	}
	fprintf(r->options->out,
		"checkpoint %u, of entry %" PRIu64 ", has other records than the entries before "
		"make\n",
		later->number, later->index);
	return 1;
}

/* Compares with the checkpoints of the entry that was applied last. */
static int compare_stores(struct replay *r)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->later_count; i++)
		if (r->laters[i].index == r->applied)
			rc = compare_store(r, &r->laters[i]);
	return rc;
}

static int apply_in_batch(struct replay *r, const struct kept_item *item)
{
	int rc;

	if (r->in_batch++ == 0)
		state_batch_begin(r->state);
	rc = apply_item(r, item);
	if (rc != 0) {
		state_batch_abandon(r->state);
		r->in_batch = 0;
		return rc;
	}
	if (r->in_batch >= r->options->batch)
		rc = end_batch(r);
	return rc == 0 ? compare_stores(r) : rc;
}

/* Applies the entries with which a master has ended, and undoes them, as they were. */
static int attempt(struct replay *r, const struct kept_item *items, size_t count)
{
	uint64_t applied = r->applied;
	uint8_t hash[LOG_HASH_BYTES];
	int rc = end_batch(r);

	if (rc != 0)
		return rc;
	log_hash_last(r->hash, hash);
	state_batch_begin(r->state);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = apply_item(r, &items[i]);
	state_batch_abandon(r->state);
	log_hash_continue(r->hash, hash);
	r->applied = applied;
	return rc;
}

/* The attempts that came after the last entry. */
static int apply_attempts(struct replay *r, const struct kept_segment *segment, size_t *at)
{
	int rc = 0;

	while (rc == 0 && *at < segment->attempt_count &&
	       segment->attempts[*at].index <= r->applied + 1) {
		const struct kept_item *first = &segment->attempts[*at];
		size_t count = 1;

		while (*at + count < segment->attempt_count && first[count - 1].ended)
			count++;
		*at += count;
		if (first->index == r->applied + 1)
			rc = attempt(r, first, count);
	}
	return rc;
}

/* ---- segments ---- */

/* Checks that the segment goes on where the one before ended. */
static int check_head(struct replay *r, uint32_t number, const struct kept_segment *segment,
		      bool first)
{
	if (segment->head.instance != state_instance(r->state))
		return fail(r, -EXDEV, "segment %u and the checkpoint are of different stores",
			    number);
	if (!first && (segment->head.index != r->end ||
		       memcmp(segment->head.hash, r->end_hash, LOG_HASH_BYTES) != 0))
		return fail(r, -EBADMSG,
			    "segment %u does not go on where the one before ends, with entry "
			    "%" PRIu64,
			    number, r->end);
	if (segment->head.level > STATE_LEVEL)
		return fail(
			r, -EPROTONOSUPPORT,
			"segment %u is of level %u, of a later version: this one knows up to %u",
			number, segment->head.level, STATE_LEVEL);
	return 0;
}

/* The level is never lowered, so a later checkpoint may have a higher one. */
static int compare_level(struct replay *r, uint32_t number, const struct kept_segment *segment)
{
	uint32_t level = state_level(r->state);

	if (segment->head.level == level ||
	    (segment->head.level < level && r->applied > segment->head.index))
		return 0;
	fprintf(r->options->out,
		"segment %u began at level %u, and the entries before it make level %u\n", number,
		segment->head.level, level);
	return 1;
}

/* The hash to go on with: that of the entry which the checkpoint has. */
static void take_hash(struct replay *r, const struct kept_segment *segment)
{
	size_t at = (size_t)(r->first - segment->head.index);

	if (r->first < segment->head.index || at > segment->count)
		return;
	log_hash_continue(r->hash,
			  at == 0 ? segment->head.hash : segment->items[at - 1].trace.hash);
}

static int apply_items(struct replay *r, const struct kept_segment *segment)
{
	size_t attempts = 0;
	int rc = apply_attempts(r, segment, &attempts);

	for (size_t i = 0; rc == 0 && i < segment->count; i++) {
		if (segment->items[i].index <= r->first)
			continue;
		rc = apply_in_batch(r, &segment->items[i]);
		if (rc == 0)
			rc = apply_attempts(r, segment, &attempts);
	}
	return rc;
}

static int apply_segment(struct replay *r, const struct kept_part *part,
			 const struct kept_segment *segment, bool first)
{
	int rc = check_head(r, part->number, segment, first);

	if (rc != 0)
		return rc;
	if (first && r->first < segment->head.index)
		return fail(r, -EBADMSG,
			    "the checkpoint is of entry %" PRIu64 ", before its segment %u",
			    r->first, part->number);
	take_hash(r, segment);
	if (!first && part->has_store)
		rc = read_later(r, part->number);
	if (rc == 0) /* it may be of the entry before the segment */
		rc = compare_stores(r);
	if (rc == 0)
		rc = compare_level(r, part->number, segment);
	if (rc == 0)
		rc = apply_items(r, segment);
	r->end = kept_segment_last(segment, r->end_hash);
	if (rc == 0 && segment->undone != 0)
		fprintf(r->options->out, "segment %u has %zu entries besides that were undone\n",
			part->number, segment->undone);
	return rc;
}

static int read_segment(struct replay *r, const struct kept_part *part, bool last,
			struct kept_segment *segment)
{
	char name[KEPT_NAME_MAX];
	size_t at = 0;
	int rc;

	kept_entries_name(part->number, name);
	rc = kept_segment_read(r->dir_fd, name, segment, &at);
	if (rc == -EBADMSG)
		return fail(r, rc, "%s is damaged at %zu", name, at);
	if (rc != 0)
		return fail(r, rc, "%s cannot be read: %s", name,
			    rc == -EPROTONOSUPPORT ? "it is of a later version" : strerror(-rc));
	if (segment->torn == 0)
		return 0;
	if (!last)
		return fail(r, -EBADMSG, "%s is damaged at %zu: its end is missing", name,
			    segment->size);
	fprintf(r->options->out, "%s ends with %zu bytes of a record that was cut off\n", name,
		segment->torn);
	return 0;
}

/* ---- runs ---- */

static void end_run(struct replay *r)
{
	log_hash_free(r->hash);
	state_close(r->state);
	kv_close(r->kv);
	free(r->laters);
	r->hash = NULL;
	r->state = NULL;
	r->kv = NULL;
	r->laters = NULL;
	r->later_count = r->compared = 0;
	r->in_batch = 0;
}

static int begin_run(struct replay *r, uint32_t number)
{
	int rc = open_copy(r, number, "store", r->path, &r->kv, &r->state);

	if (rc != 0)
		return rc;
	if (log_hash_new(&r->hash) != 0)
		return fail(r, -ENOMEM, "out of memory");
	state_listen(r->state, take_changes, r);
	r->first = r->applied = state_applied_index(r->state);
	fprintf(r->options->out, "checkpoint %u of %s, entry %" PRIu64 "\n", number,
		state_cluster(r->state), r->first);
	return 0;
}

/* True when the part begins a run. A segment that cannot be read does not: that is told in its turn. */
static bool begins(struct replay *r, size_t i)
{
	struct kept_segment segment;
	char name[KEPT_NAME_MAX];
	size_t at;
	bool yes;

	if (i == 0)
		return true;
	kept_entries_name(r->parts[i].number, name);
	yes = kept_segment_read(r->dir_fd, name, &segment, &at) == 0 && segment.size != 0 &&
	      segment.head.begins;
	kept_segment_free(&segment);
	return yes;
}

static int apply_run(struct replay *r, size_t from, size_t end)
{
	struct kept_segment segment;
	int rc = begin_run(r, r->parts[from].number);

	for (size_t i = from; rc == 0 && i < end; i++) {
		if (i > from && r->parts[i].number != r->parts[i - 1].number + 1)
			return fail(r, -EBADMSG, "segments are missing behind %u",
				    r->parts[i - 1].number);
		rc = read_segment(r, &r->parts[i], i + 1 == end, &segment);
		if (rc == 0 && segment.size != 0)
			rc = apply_segment(r, &r->parts[i], &segment, i == from);
		kept_segment_free(&segment);
	}
	if (rc == 0)
		rc = end_batch(r);
	if (rc == 0 && r->applied == r->first)
		fprintf(r->options->out, "no entries are behind it\n");
	else if (rc == 0)
		fprintf(r->options->out,
			"entries %" PRIu64 " to %" PRIu64 " are equal, and so are the records of "
			"%zu later checkpoints\n",
			r->first + 1, r->applied, r->compared);
	return rc;
}

static int apply_runs(struct replay *r)
{
	size_t runs = 0;
	int rc = 0;

	for (size_t from = 0, end; rc == 0 && from < r->count; from = end) {
		size_t start = from;

		for (end = from + 1; end < r->count && !begins(r, end);)
			end++;
		while (start < end && !r->parts[start].has_store)
			start++;
		if (start > from)
			fprintf(r->options->out,
				"parts %u to %u cannot be applied: they have no "
				"checkpoint\n",
				r->parts[from].number, r->parts[start - 1].number);
		if (start == end)
			continue;
		runs++;
		rc = apply_run(r, start, end);
		end_run(r);
		if (rc == 0)
			copy_remove(r->path);
	}
	if (rc == 0 && runs == 0)
		rc = fail(r, -ENOENT, "there is nothing to apply: no checkpoint with its entries");
	return rc;
}

/* A checkpoint whose segment is missing says nothing. */
static void drop_without_entries(struct replay *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++)
		if (r->parts[i].has_entries)
			r->parts[kept++] = r->parts[i];
	r->count = kept;
}

int replay(const struct replay_options *options, char *error, size_t error_size)
{
	struct replay r = {.options = options, .error = error, .error_size = error_size};
	int rc;

	error[0] = '\0';
	r.dir_fd = open(options->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r.dir_fd < 0)
		return fail(&r, -errno, "%s: %s", options->path, strerror(errno));
	rc = kept_list(r.dir_fd, &r.parts, &r.count);
	if (rc == 0) {
		drop_without_entries(&r);
		rc = apply_runs(&r);
	} else {
		(void)fail(&r, rc, "%s: %s", options->path, strerror(-rc));
	}
	free(r.parts);
	free(r.changes);
	close(r.dir_fd);
	return rc;
}
