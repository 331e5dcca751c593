/* refusals.c - see refusals.h. */
#include "master/shared/refusals.h"
#include <stdio.h>
#include <string.h>

/* The entry of @name, else the one to be given up for it. */
static struct refusal *entry_for(struct refusals *refusals, const char *name)
{
	struct refusal *oldest = &refusals->entries[0];

	for (size_t i = 0; i < REFUSALS_MAX; i++) {
		struct refusal *entry = &refusals->entries[i];

		if (strcmp(entry->name, name) == 0)
			return entry;
		if (entry->at_ns < oldest->at_ns)
			oldest = entry;
	}
	return oldest;
}

bool refusals_add(struct refusals *refusals, const char *name, const char *reason, uint64_t now_ns)
{
	struct refusal *entry = entry_for(refusals, name), next = {.at_ns = now_ns};
	bool same;

	snprintf(next.name, sizeof(next.name), "%s", name);
	snprintf(next.reason, sizeof(next.reason), "%s", reason);
	same = strcmp(entry->name, next.name) == 0 && strcmp(entry->reason, next.reason) == 0;
	next.logged_ns = entry->logged_ns;
	if (!same || now_ns - entry->logged_ns >= REFUSAL_LOG_NS)
		next.logged_ns = now_ns;
	*entry = next;
	return next.logged_ns == now_ns;
}

void refusals_forget(struct refusals *refusals, const char *name)
{
	struct refusal *entry = entry_for(refusals, name);

	if (strcmp(entry->name, name) == 0)
		memset(entry, 0, sizeof(*entry));
}

static bool is_recent(const struct refusal *entry, uint64_t now_ns)
{
	return entry->name[0] != '\0' && now_ns - entry->at_ns < REFUSAL_LASTS_NS;
}

/* True: an earlier entry has the same reason, and names this one with it. */
static bool is_told(const struct refusals *refusals, size_t which, uint64_t now_ns)
{
	for (size_t i = 0; i < which; i++) {
		if (is_recent(&refusals->entries[i], now_ns) &&
		    strcmp(refusals->entries[i].reason, refusals->entries[which].reason) == 0)
			return true;
	}
	return false;
}

void refusals_describe(const struct refusals *refusals, uint64_t now_ns,
		       void (*line)(void *user, const char *line), void *user)
{
	for (size_t i = 0; i < REFUSALS_MAX; i++) {
		const struct refusal *first = &refusals->entries[i];
		char text[REFUSALS_MAX * (TLS_NAME_MAX + 2) + REFUSAL_REASON_MAX + 16];
		size_t size = 0;

		if (!is_recent(first, now_ns) || is_told(refusals, i, now_ns))
			continue;
		for (size_t j = i; j < REFUSALS_MAX; j++) {
			const struct refusal *entry = &refusals->entries[j];

			if (is_recent(entry, now_ns) && strcmp(entry->reason, first->reason) == 0)
				size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s",
							 size == 0 ? "" : ", ", entry->name);
		}
		snprintf(text + size, sizeof(text) - size, " refused: %s", first->reason);
		line(user, text);
	}
}
