/* complaints.c - a small table; see complaints.h. */
#include "master/servers/complaints.h"
#include <string.h>
#include "common/base/duration.h"

#define FORGET_NS (1200 * NS_PER_MSEC)
/* Parted servers do not complain any more. Meeting again is not tried too often. */
#define BARRED_NS (10 * NS_PER_SEC)

static struct complaint *find(const struct complaints *c, uint64_t from, uint64_t about,
			      bool client)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->list[i].from == from && c->list[i].about == about &&
		    c->list[i].client == client)
			return (struct complaint *)&c->list[i];
	return NULL;
}

static bool fresh(const struct complaint *one, uint64_t now_ns)
{
	return now_ns <= one->last_ns + FORGET_NS;
}

static bool counts(const struct complaints *c, const struct complaint *one, uint64_t now_ns)
{
	return fresh(one, now_ns) && now_ns >= one->since_ns + c->lasting_ns;
}

void complaints_add(struct complaints *c, uint64_t from, uint64_t about, bool client,
		    uint64_t now_ns)
{
	struct complaint *one = find(c, from, about, client);

	if (one == NULL) {
		if (c->count == COMPLAINTS_MAX || (client && c->clients == COMPLAINTS_CLIENTS_MAX))
			return;
		c->clients += client ? 1 : 0;
		one = &c->list[c->count++];
		*one = (struct complaint){.from = from, .about = about, .client = client};
		one->since_ns = now_ns;
	} else if (!fresh(one, now_ns)) {
		one->since_ns = now_ns;
	}
	one->last_ns = now_ns;
}

bool complaints_expire(struct complaints *c, uint64_t now_ns)
{
	bool any = false;
	size_t kept = 0;

	c->clients = 0;
	for (size_t i = 0; i < c->count; i++) {
		if (!fresh(&c->list[i], now_ns) && now_ns >= c->list[i].barred_ns)
			continue;
		any |= counts(c, &c->list[i], now_ns);
		c->clients += c->list[i].client ? 1 : 0;
		c->list[kept++] = c->list[i];
	}
	c->count = kept;
	return any;
}

void complaints_paused(struct complaints *c, uint64_t gap_ns)
{
	for (size_t i = 0; i < c->count; i++) {
		c->list[i].since_ns += gap_ns;
		c->list[i].last_ns += gap_ns;
	}
}

bool complaints_lasting(const struct complaints *c, uint64_t from, uint64_t about, uint64_t now_ns)
{
	const struct complaint *one = find(c, from, about, false);

	return one != NULL && counts(c, one, now_ns);
}

unsigned complaints_of(const struct complaints *c, uint64_t server, uint64_t now_ns)
{
	unsigned n = 0;

	for (size_t i = 0; i < c->count; i++) {
		const struct complaint *one = &c->list[i];

		if (counts(c, one, now_ns) &&
		    (one->about == server || (!one->client && one->from == server)))
			n++;
	}
	return n;
}

void complaints_bar(struct complaints *c, uint64_t from, uint64_t about, uint64_t now_ns)
{
	struct complaint *one = find(c, from, about, false);

	if (one != NULL)
		one->barred_ns = now_ns + BARRED_NS;
}

bool complaints_barred(const struct complaints *c, uint64_t a, uint64_t b, uint64_t now_ns)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct complaint *one = &c->list[i];

		if (one->client ||
		    !((one->from == a && one->about == b) || (one->from == b && one->about == a)))
			continue;
		if (now_ns < one->barred_ns || counts(c, one, now_ns))
			return true;
	}
	return false;
}

bool complaints_by_client(const struct complaints *c, uint64_t server, uint64_t now_ns,
			  uint64_t *session)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct complaint *one = &c->list[i];

		if (one->client && one->about == server && counts(c, one, now_ns)) {
			*session = one->from;
			return true;
		}
	}
	return false;
}

bool complaints_client_about(const struct complaints *c, uint64_t session, uint64_t about)
{
	return find(c, session, about, true) != NULL;
}
