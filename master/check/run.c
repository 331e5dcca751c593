/* run.c - what the parts of a check share; see run.h. */
#include "master/check/run.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/expects.h"

#define STEPS_BETWEEN 4096u /* records between two words about progress */

void check_run_init(struct check_run *run, struct kv *kv, const struct check_options *options,
		    check_report_fn *report, void *user, struct check_result *result)
{
	static const struct check_options none;

	*run = (struct check_run){.kv = kv,
				  .options = options != NULL ? options : &none,
				  .report = report,
				  .user = user,
				  .result = result};
	memset(result, 0, sizeof(*result));
	sorter_memory_init(&run->memory, 0);
	run->supply = run->options->sorters != NULL ? run->options->sorters : &run->memory.supply;
	run->name_mask = run->options->name_mask != 0 ? run->options->name_mask : UINT64_MAX;
}

void check_run_end(struct check_run *run)
{
	sorter_free(run->sorters.names);
	sorter_free(run->sorters.directories);
	sorter_free(run->sorters.opens);
	sorter_free(run->sorters.file_ids);
	sorter_free(run->sorters.parents);
	sorter_free(run->sorters.miscounted);
	sorter_free(run->sorters.mistyped);
	free(run->store.sessions.at);
	free(run->store.pools.at);
}

int check_run_failed(struct check_run *run, int rc, const char *what)
{
	expects(rc < 0);
	if (run->result->error[0] == '\0')
		snprintf(run->result->error, sizeof(run->result->error), "%s: not seen: %s", what,
			 strerror(-rc));
	return rc;
}

void check_run_progress(struct check_run *run, const char *what, uint64_t done, uint64_t expected)
{
	const struct check_options *options = run->options;
	const struct check_progress progress = {.what = what, .done = done, .expected = expected};

	if (run->steps++ % STEPS_BETWEEN == 0 && options->progress != NULL)
		options->progress(options->progress_user, &progress);
}

static int look_at_cancel(struct check_run *run, const char *what)
{
	const atomic_bool *cancel = run->options->cancel;

	if (cancel == NULL || !atomic_load_explicit(cancel, memory_order_relaxed))
		return 0;
	return check_run_failed(run, -ECANCELED, what);
}

/* What has no name that can be read is told without. */
static void find_name(struct check_run *run, struct check_finding *finding)
{
	struct dentry dentry;
	uint8_t key[16], *value;
	size_t size;

	key_u64_u64(key, finding->parent, finding->cookie);
	if (kv_get(run->kv, FAMILY_DENTRIES, key, sizeof(key), &value, &size) != 0)
		return;
	if (value_decode_dentry(value, size, &dentry)) {
		finding->name_size = dentry.name_size;
		memcpy(finding->name, dentry.name, dentry.name_size);
	}
	free(value);
}

void check_tell(struct check_run *run, struct check_finding finding, const char *format, ...)
{
	const struct check_kind *kind = check_kind_of(finding.code);
	va_list args;

	expects(kind != NULL);
	if (kind->severity == CHECK_INFORMATION && !run->options->information)
		return;
	finding.severity = kind->severity;
	if (finding.parent != 0 && finding.cookie != 0 && finding.name_size == 0)
		find_name(run, &finding);
	va_start(args, format);
	vsnprintf(finding.text, sizeof(finding.text), format, args);
	va_end(args);
	run->result->found[finding.severity]++;
	run->report(run->user, &finding);
}

const char *check_key_text(const uint8_t *key, size_t size, char out[CHECK_KEY_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	size_t shown = size <= 40 ? size : 40, at = 0;

	for (size_t i = 0; i < shown; i++) {
		out[at++] = digits[key[i] >> 4];
		out[at++] = digits[key[i] & 15];
	}
	memcpy(out + at, shown < size ? ".." : "", shown < size ? 3 : 1);
	return out;
}

/* ---- numbers ---- */

int check_numbers_add(struct check_numbers *numbers, uint64_t number)
{
	size_t room = numbers->room == 0 ? 64 : numbers->room * 2;
	uint64_t *bigger;

	expects(numbers->count == 0 || numbers->at[numbers->count - 1] <= number);
	if (numbers->count == numbers->room) {
		bigger = realloc(numbers->at, room * sizeof(*bigger));
		if (bigger == NULL)
			return -ENOMEM;
		numbers->at = bigger;
		numbers->room = room;
	}
	numbers->at[numbers->count++] = number;
	return 0;
}

bool check_numbers_have(const struct check_numbers *numbers, uint64_t number)
{
	size_t low = 0, high = numbers->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (numbers->at[middle] == number)
			return true;
		if (numbers->at[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* ---- reading a family in its order ---- */

int check_scan_open(struct check_run *run, enum family family, uint8_t tag, const char *what,
		    struct check_scan *scan)
{
	const uint8_t end = (uint8_t)(tag + 1);
	int rc;

	*scan = (struct check_scan){.what = what};
	if (tag != 0)
		rc = kv_iter_open(run->kv, family, &tag, 1, &end, 1, &scan->iter);
	else
		rc = kv_iter_open(run->kv, family, "", 0, NULL, 0, &scan->iter);
	if (rc != 0) {
		scan->iter = NULL;
		scan->ended = true;
		return check_run_failed(run, rc, what);
	}
	return check_scan_step(run, scan);
}

int check_scan_step(struct check_run *run, struct check_scan *scan)
{
	int rc = look_at_cancel(run, scan->what);

	expects(!scan->ended);
	if (rc != 0) {
		scan->ended = true;
		return rc;
	}
	rc = kv_iter_next(scan->iter, &scan->key, &scan->key_size, &scan->value, &scan->value_size);
	scan->ended = rc != 1;
	return rc < 0 ? check_run_failed(run, rc, scan->what) : 0;
}

void check_scan_close(struct check_scan *scan)
{
	kv_iter_free(scan->iter);
	scan->iter = NULL;
}

uint64_t check_scan_number(const struct check_scan *scan)
{
	uint8_t bytes[8] = {0};

	memcpy(bytes, scan->key, scan->key_size < 8 ? scan->key_size : 8);
	return get_be64(bytes);
}

/* ---- reading what was sorted ---- */

int check_sorted_begin(struct check_run *run, struct sorter *sorter, struct check_sorted *sorted)
{
	int rc = sorter_sort(sorter);

	*sorted = (struct check_sorted){.sorter = sorter};
	return rc < 0 ? check_run_failed(run, rc, "what was sorted")
		      : check_sorted_step(run, sorted);
}

int check_sorted_again(struct check_run *run, struct check_sorted *sorted)
{
	int rc = sorter_rewind(sorted->sorter);

	return rc < 0 ? check_run_failed(run, rc, "what was sorted")
		      : check_sorted_step(run, sorted);
}

int check_sorted_step(struct check_run *run, struct check_sorted *sorted)
{
	int rc = look_at_cancel(run, "what was sorted");

	sorted->at = NULL;
	if (rc != 0)
		return rc;
	rc = sorter_next(sorted->sorter, &sorted->at);
	if (rc != 1)
		sorted->at = NULL;
	return rc < 0 ? check_run_failed(run, rc, "what was sorted") : 0;
}

int check_sorter_make(struct check_run *run, size_t record_size, struct sorter **out)
{
	int rc = sorter_make(run->supply, record_size, out);

	return rc < 0 ? check_run_failed(run, rc, "what is to be sorted") : 0;
}

int check_sorter_add(struct check_run *run, struct sorter *sorter, const uint8_t *record)
{
	int rc = sorter_add(sorter, record);

	return rc < 0 ? check_run_failed(run, rc, "what is to be sorted") : 0;
}
