#include "chunkserver/worker/chain_reports.h"
#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

/* What a report is about; without padding, because it is hashed as bytes. */
struct subject {
	uint32_t pool, partition, target_id, kind;
};

struct chain_report_entry {
	struct subject subject;
	uint64_t epoch;
	UT_hash_handle hh;
};

/* The table keeps the order in which entries were added: the first ones are next. */
struct chain_reports {
	struct chain_report_entry *entries;
};

struct chain_reports *chain_reports_new(void)
{
	return calloc(1, sizeof(struct chain_reports));
}

static void drop(struct chain_reports *reports, struct chain_report_entry *entry)
{
	HASH_DEL(reports->entries, entry);
	free(entry);
}

void chain_reports_free(struct chain_reports *reports)
{
	struct chain_report_entry *entry, *next = NULL;

	if (reports == NULL)
		return;
	HASH_ITER(hh, reports->entries, entry, next)
	{
		drop(reports, entry);
	}
	free(reports);
}

int chain_reports_add(struct chain_reports *reports, const struct report *report)
{
	struct subject subject = {report->pool, report->partition, report->target_id, report->kind};
	struct chain_report_entry *entry;

	/* The analyzer does not see that four numbers have no room between them.
	 * NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	HASH_FIND(hh, reports->entries, &subject, sizeof(subject), entry);
	if (entry == NULL) {
		entry = calloc(1, sizeof(*entry));
		if (entry == NULL)
			return -ENOMEM;
		entry->subject = subject;
		HASH_ADD(hh, reports->entries, subject, sizeof(subject), entry);
	}
	if (report->epoch > entry->epoch)
		entry->epoch = report->epoch;
	return 0;
}

void chain_reports_map(struct chain_reports *reports, const struct cluster_map *map)
{
	struct chain_report_entry *entry, *next = NULL;

	HASH_ITER(hh, reports->entries, entry, next)
	{
		const struct map_chain *chain =
			cluster_map_chain(map, entry->subject.pool, entry->subject.partition);

		if (chain == NULL || chain->epoch > entry->epoch)
			drop(reports, entry);
	}
}

size_t chain_reports_next(struct chain_reports *reports, struct report *out, size_t max)
{
	size_t count = HASH_COUNT(reports->entries), n;

	for (n = 0; n < max && n < count; n++) {
		struct chain_report_entry *entry = reports->entries;

		out[n] = (struct report){
			.pool = entry->subject.pool,
			.partition = entry->subject.partition,
			.epoch = entry->epoch,
			.target_id = entry->subject.target_id,
			.kind = entry->subject.kind,
		};
		HASH_DEL(reports->entries, entry);
		HASH_ADD(hh, reports->entries, subject, sizeof(entry->subject), entry);
	}
	return n;
}

size_t chain_reports_count(const struct chain_reports *reports)
{
	return HASH_COUNT(reports->entries);
}
