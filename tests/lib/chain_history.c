#include "tests/lib/chain_history.h"

struct entry *history_add(struct history *history)
{
	if (history->count == history->size) {
		history->size = history->size == 0 ? 32 : 2 * history->size;
		history->entries =
			realloc(history->entries, history->size * sizeof(*history->entries));
		if (history->entries == NULL)
			abort();
	}
	return &history->entries[history->count++];
}

struct entry *history_write(const struct history *h, uint64_t value)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->entries[i].write && h->entries[i].value == value)
			return &h->entries[i];
	return NULL;
}

void history_halved(struct history *h, uint64_t value)
{
	struct entry *e = history_write(h, value);

	if (e != NULL && e->ended == NEVER)
		e->halved = true;
}

void history_committed(struct history *h, uint64_t value, uint64_t epoch, uint64_t now)
{
	struct entry *e = history_write(h, value);

	if (e == NULL)
		return;
	if (e->halved && e->again == 0 && e->perhaps == 0 && e->ended == NEVER) {
		if (e->committed)
			e->perhaps = now;
		else
			e->again = now;
		e->again_epoch = epoch;
	} else if (e->again != 0 && epoch > e->again_epoch && e->ended == NEVER) {
		/* That was forgotten again: it counts from here. */
		e->again = now;
		e->again_epoch = epoch;
	}
	e->committed = true;
}

struct zone {
	uint64_t value;
	bool second; /* of a write that counts as two */
	uint64_t first_end, last_begin;
	bool written, read;
	uint64_t write_begun;
};

static void zone_add(struct zone *zones, size_t *count, const struct entry *e, bool second)
{
	struct zone *zone = NULL;

	for (size_t i = 0; i < *count && zone == NULL; i++)
		if (zones[i].value == e->value && zones[i].second == second)
			zone = &zones[i];
	if (zone == NULL) {
		zone = &zones[(*count)++];
		*zone = (struct zone){.value = e->value, .second = second, .first_end = NEVER};
	}
	if (e->write) {
		zone->written = true;
		zone->write_begun = e->begun;
		/* One that was not answered takes effect when somebody saw it. */
		zone->read = zone->read || e->ended != NEVER;
	} else {
		zone->read = true;
	}
	if (e->ended < zone->first_end)
		zone->first_end = e->ended;
	if (e->begun > zone->last_begin)
		zone->last_begin = e->begun;
}

/* At most two zones for each entry, and one more. */
static const char *zones_make(const struct history *h, struct zone *zones, size_t *count)
{
	*count = 0;
	zones[(*count)++] =
		(struct zone){.first_end = 0, .last_begin = 0, .written = true, .read = true};
	for (size_t i = 0; i < h->count; i++) {
		const struct entry *write = history_write(h, h->entries[i].value);
		uint64_t again = write == NULL ? 0 : write->again;
		struct entry e = h->entries[i];

		if (again != 0 && e.begun < again && e.ended > again) {
			if (!e.write)
				continue; /* of either */
			e.ended = NEVER;
			zone_add(zones, count, &e, false);
			e = h->entries[i];
			e.begun = again;
		}
		zone_add(zones, count, &e, again != 0 && e.begun >= again);
	}
	for (size_t i = 0; i < *count; i++) {
		if (!zones[i].written)
			return "a value was read that nobody wrote";
		if (zones[i].value != 0 && zones[i].first_end < zones[i].write_begun)
			return "a value was read before it was written";
	}
	return NULL;
}

const char *history_deadlines(const struct history *h)
{
	for (size_t i = 0; i < h->count; i++) {
		struct entry *e = &h->entries[i];
		bool seen = e->ended != NEVER;

		if (!e->write || e->deadline == 0)
			continue;
		/* Applied once more after that it must change nothing. */
		if (e->again > e->deadline)
			e->again = 0;
		if (e->perhaps > e->deadline)
			e->perhaps = 0;
		for (size_t j = 0; j < h->count && !seen; j++)
			seen = e->value != 0 && !h->entries[j].write &&
			       h->entries[j].value == e->value;
		if (!seen)
			continue;
		if (e->deadline < e->begun)
			return "a value was written after it was forbidden";
		if (e->ended > e->deadline)
			e->ended = e->deadline;
	}
	return NULL;
}

/* NULL: all is well. */
static const char *history_linearizable_once(const struct history *h)
{
	struct zone *zones = calloc(2 * h->count + 1, sizeof(*zones));
	const char *problem;
	size_t count;

	if (zones == NULL)
		abort();
	problem = zones_make(h, zones, &count);
	for (size_t i = 0; problem == NULL && i < count; i++) {
		const struct zone *a = &zones[i];

		if (!a->read || a->first_end >= a->last_begin)
			continue; /* not a forward zone */
		for (size_t j = 0; problem == NULL && j < count; j++) {
			const struct zone *b = &zones[j];

			if (i == j || !b->read)
				continue;
			if (b->first_end < b->last_begin) {
				if (a->first_end < b->last_begin && b->first_end < a->last_begin)
					problem = "a value came back after another was seen";
			} else if (a->first_end < b->last_begin && b->first_end < a->last_begin) {
				problem = "a value was lost between reads of another";
			}
		}
	}
	free(zones);
	return problem;
}

const char *history_durable(const struct history *h)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct entry *read = &h->entries[i];
		const struct entry *seen = history_write(h, read->value);

		if (read->write)
			continue;
		if (read->value != 0 && seen == NULL)
			return "a value was read that nobody wrote";
		for (size_t j = 0; j < h->count; j++) {
			const struct entry *other = &h->entries[j];

			if (!other->write || other->durable == NEVER ||
			    other->durable >= read->begun || other->value == read->value)
				continue;
			if (read->value == 0 || seen->ended < other->begun)
				return "durable data was lost";
		}
	}
	return NULL;
}

/* Was @other surely between @before and @after, and not lost meanwhile? */
static bool history_between(const struct entry *before, const struct entry *other,
			    const struct entry *after, bool only_durable)
{
	uint64_t settled = only_durable ? other->durable : other->ended;

	return other->write && other->begun > before->ended && settled != NEVER &&
	       other->ended < after->begun && settled < after->begun;
}

const char *history_ordered(const struct history *h, bool only_durable)
{
	static const struct entry first = {.write = true};

	for (size_t i = 0; i < h->count; i++) {
		const struct entry *read = &h->entries[i];
		bool possible = false;

		if (read->write)
			continue;
		for (size_t j = 0; j <= h->count && !possible; j++) {
			const struct entry *from = j == h->count ? &first : &h->entries[j];
			bool over = false;

			if (!from->write || from->value != read->value || from->begun > read->ended)
				continue;
			for (size_t k = 0; k < h->count && !over; k++)
				over = h->entries[k].value != read->value &&
				       history_between(from, &h->entries[k], read, only_durable);
			possible = !over;
		}
		if (!possible)
			return "a value was read that had been overwritten, or never was written";
	}
	return NULL;
}

const char *history_linearizable(const struct history *h)
{
	const char *wrong = history_linearizable_once(h);
	bool other = false;

	for (size_t i = 0; wrong != NULL && i < h->count; i++) {
		struct entry *e = &h->entries[i];

		other = other || e->perhaps != 0;
		if (e->perhaps != 0)
			e->again = e->perhaps;
	}
	return other ? history_linearizable_once(h) : wrong;
}

void history_print(const struct history *h)
{
	for (size_t i = 0; i < h->count; i++) {
		const struct entry *e = &h->entries[i];

		fprintf(stderr, "    %s %6llu  %10llu .. %10lld%s", e->write ? "write" : "read ",
			(unsigned long long)e->value, (unsigned long long)e->begun,
			(long long)e->ended, e->durable != NEVER && e->write ? " durable" : "");
		if (e->write && e->again != 0)
			fprintf(stderr, " again %llu", (unsigned long long)e->again);
		if (e->write && e->deadline != 0)
			fprintf(stderr, " deadline %llu", (unsigned long long)e->deadline);
		fprintf(stderr, "\n");
	}
}
