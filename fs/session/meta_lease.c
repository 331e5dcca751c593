/* meta_lease.c - the lease on the whole tree, by our own clock.
 *
 * The master counts from when it hears of us, we count from when we sent what it heard: so our end
 * is never after the master's. Once it has run out here it stays lost, even if a late answer shows
 * that the master was content: what was cached is gone, and a grant must begin a new generation. */
#include <string.h>
#include "common/os/clock.h"
#include "fs/session/meta_internal.h"

void meta_lease_init(struct meta_lease *lease)
{
	memset(lease, 0, sizeof(*lease));
	atomic_init(&lease->generation, 1);
}

static void extend(struct meta_lease *lease, uint64_t until_ns)
{
	if (until_ns > atomic_load(&lease->until_ns))
		atomic_store(&lease->until_ns, until_ns);
}

void meta_lease_session(struct meta_lease *lease, uint64_t length_ns, uint64_t sent_ns)
{
	lease->length_ns = length_ns;
	lease->renew_due_ns = sent_ns + length_ns / 4;
	extend(lease, sent_ns + length_ns);
}

uint64_t meta_lease_renew_begin(struct meta_lease *lease, uint64_t now_ns)
{
	uint64_t sequence = ++lease->renew_sequence;

	lease->sent[sequence % META_RENEWS_REMEMBERED] =
		(struct meta_renew_sent){.sequence = sequence, .at_ns = now_ns};
	lease->renew_due_ns = now_ns + lease->length_ns / 4;
	return sequence;
}

void meta_lease_renewed(struct meta_lease *lease, uint64_t sequence, uint64_t now_ns)
{
	const struct meta_renew_sent *sent = &lease->sent[sequence % META_RENEWS_REMEMBERED];

	if (sent->sequence != sequence || sequence == 0)
		return;
	/* Run out before this came: meta_timer tells the user, a new grant must come. */
	if (atomic_load(&lease->sole) && now_ns >= atomic_load(&lease->until_ns))
		return;
	extend(lease, sent->at_ns + lease->length_ns);
}

bool meta_lease_grant(struct meta_lease *lease, uint64_t sequence, uint64_t now_ns)
{
	if (now_ns >= atomic_load(&lease->until_ns))
		return false; /* granted in the past: the master has to hear of us first */
	lease->held = true;
	if (atomic_load(&lease->sole) && lease->sequence == sequence)
		return false;
	lease->sequence = sequence;
	/* In this order: who finds the generation unchanged after reading the grant has its grant.
	 */
	atomic_store(&lease->sole, false);
	atomic_fetch_add(&lease->generation, 1);
	atomic_store(&lease->grant, sequence);
	atomic_store(&lease->sole, true);
	return true;
}

bool meta_lease_recall(struct meta_lease *lease, uint64_t sequence)
{
	lease->sequence = sequence;
	lease->held = true;
	meta_lease_drop(lease);
	return true;
}

bool meta_lease_drop(struct meta_lease *lease)
{
	if (!atomic_exchange(&lease->sole, false))
		return false;
	atomic_fetch_add(&lease->generation, 1);
	return true;
}

void meta_lease_restarted(struct meta_lease *lease)
{
	atomic_fetch_add(&lease->generation, 1);
}

bool meta_lease_expired(struct meta_lease *lease, uint64_t now_ns)
{
	return atomic_load(&lease->sole) && now_ns >= atomic_load(&lease->until_ns) &&
	       meta_lease_drop(lease);
}
