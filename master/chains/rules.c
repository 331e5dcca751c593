/* rules.c - one chain: out, restarted, unfit, promoted, in; see rules.h. */
#include "master/chains/rules.h"
#include <string.h>
#include "common/base/expects.h"
#include "master/state/chain_faults.h"

/* ---- who is there ---- */

static const struct survey_target *member_of(const struct chain_case *in, uint32_t i)
{
	return survey_of(in->survey, in->chain->members[i].target_id);
}

/* True when member @i is still in-sync in @next, and there with all it ever had. */
static bool stands(const struct chain_case *in, const struct map_chain *next, uint32_t i)
{
	return next->members[i].state == MEMBER_IN_SYNC &&
	       survey_of(in->survey, next->members[i].target_id)->presence == PRESENT_HERE;
}

/* True when another member than @target stands. */
static bool another_stands(const struct chain_case *in, const struct map_chain *next,
			   uint32_t target)
{
	for (uint32_t i = 0; i < next->count; i++)
		if (next->members[i].target_id != target && stands(in, next, i))
			return true;
	return false;
}

static void remember_lag(const struct chain_case *in)
{
	struct chain_memory now = *in->memory;
	uint32_t n = 0;

	memset(now.lag, 0, sizeof(now.lag));
	for (uint32_t i = 0; i < in->chain->count; i++) {
		uint32_t target = in->chain->members[i].target_id;

		if (in->chain->members[i].state == MEMBER_IN_SYNC)
			continue;
		now.lag[n].target = target;
		now.lag[n].since_ns = now.lag[n].progress_ns = in->survey->now_ns;
		for (uint32_t j = 0; j < CHAIN_MEMBERS_MAX; j++)
			if (in->memory->lag[j].target == target)
				now.lag[n] = in->memory->lag[j];
		n++;
	}
	*in->memory = now;
}

void chain_rules_look(struct chain_case *in, uint64_t return_ns)
{
	struct chain_memory *memory = in->memory;
	uint64_t now_ns = in->survey->now_ns;
	bool unbroken = false, restarted = false, missing = false;

	for (uint32_t i = 0; i < in->chain->count; i++) {
		const struct survey_target *t = member_of(in, i);

		if (in->chain->members[i].state != MEMBER_IN_SYNC)
			continue;
		unbroken |=
			t->presence == PRESENT_HERE || (t->presence == PRESENT_QUIET && t->known);
		restarted |= t->presence == PRESENT_RESTARTED;
		missing |= t->presence == PRESENT_QUIET || t->presence == PRESENT_OUT;
	}
	if (!unbroken && (!restarted || !memory->dark)) {
		memory->dark = true;
		memory->back_ns = 0;
	}
	if (memory->dark && memory->back_ns == 0 && (unbroken || restarted)) {
		memory->back_ns = now_ns == 0 ? 1 : now_ns;
		memory->unbroken = unbroken;
	}
	if (unbroken)
		memory->dark = false;
	in->waiting = missing && memory->back_ns != 0 && now_ns < memory->back_ns + return_ns;
	remember_lag(in);
}

/* ---- new lives ---- */

/* True when the unsettled in-sync member @i must wait: it may be the last that has what was
 * answered. */
static bool must_wait(const struct chain_case *in, uint32_t i)
{
	const struct survey_target *t = member_of(in, i);
	bool here = false, quiet = false, out = false, blocked = false, others = false;

	for (uint32_t j = 0; j < in->chain->count; j++) {
		const struct survey_target *other = member_of(in, j);

		if (j == i || in->chain->members[j].state != MEMBER_IN_SYNC)
			continue;
		here |= other->presence == PRESENT_HERE;
		quiet |= other->presence == PRESENT_QUIET;
		out |= other->presence == PRESENT_OUT;
		others |= other->presence != PRESENT_OLD;
		blocked |= other->presence != PRESENT_OLD && other->blocked;
	}
	if (t->presence == PRESENT_OLD)
		return !others;
	/* A failing disk is taken out then, unless the chain waits. */
	if (here)
		return t->presence == PRESENT_FAILED && in->waiting && !in->memory->unbroken;
	return quiet || blocked || (out && in->waiting);
}

bool chain_rules_block(const struct chain_case *in)
{
	bool news = false;

	for (uint32_t i = 0; i < in->chain->count; i++) {
		struct survey_target *t = survey_of(in->survey, in->chain->members[i].target_id);

		if (in->chain->members[i].state != MEMBER_IN_SYNC || t->blocked || !t->unsettled ||
		    (t->presence != PRESENT_RESTARTED && t->presence != PRESENT_OLD &&
		     t->presence != PRESENT_FAILED) ||
		    !must_wait(in, i))
			continue;
		t->blocked = news = true;
	}
	return news;
}

/* ---- out ---- */

static bool is_unfit(const struct chain_case *in, uint32_t target)
{
	if (in->memory->unfit_epoch != in->chain->epoch)
		return false;
	for (uint32_t i = 0; i < in->memory->unfit_count; i++)
		if (in->memory->unfit[i] == target)
			return true;
	return false;
}

/* Lets a member catch up: now, if no other does; else later. */
static void demote(const struct chain_case *in, struct map_chain *next, uint32_t target)
{
	bool now = chain_edit_count(next, MEMBER_SYNCING) == 0 && another_stands(in, next, target);

	chain_edit_put(next, target, now ? MEMBER_SYNCING : MEMBER_OFFLINE);
}

/* Takes members out. True: the epoch has to grow, though no member's state may change. */
static bool take_out(const struct chain_case *in, struct map_chain *next)
{
	bool bump = false;

	for (uint32_t i = 0; i < in->chain->count; i++) {
		const struct chain_member *member = &in->chain->members[i];
		const struct survey_target *t = member_of(in, i);
		bool settled = !t->blocked && t->unsettled;
		bool in_sync = member->state == MEMBER_IN_SYNC;

		if (member->state == MEMBER_OFFLINE)
			continue;
		if (t->presence == PRESENT_OUT || t->presence == PRESENT_FAILED) {
			if (!in_sync || (another_stands(in, next, member->target_id) &&
					 (!in->waiting || (t->certain && in->memory->unbroken))))
				chain_edit_put(next, member->target_id, MEMBER_OFFLINE);
		} else if (t->presence == PRESENT_RESTARTED && settled &&
			   !MANAGER_FAULTY(NO_DEMOTION)) {
			/* What was reported of its former life is void. And where nobody has an
			 * unbroken one, what was answered may be lost with the power: the epochs
			 * tell clients and copies apart what was given the same version again. */
			if (in_sync && another_stands(in, next, member->target_id))
				demote(in, next, member->target_id);
			else
				bump = bump || !in_sync || !MANAGER_FAULTY(REPORTS_OUTLIVE);
		} else if (t->presence == PRESENT_OLD && settled) {
			if (!in_sync)
				bump = true;
			else
				demote(in, next, member->target_id);
		}
	}
	return bump;
}

/* Demotes members that say themselves that they are unfit. The last one stays, whatever it says. */
static void demote_unfit(const struct chain_case *in, struct map_chain *next)
{
	for (uint32_t i = 0; i < in->chain->count; i++) {
		uint32_t target = in->chain->members[i].target_id;
		int at = cluster_map_chain_index(next, target);

		if (at >= 0 && next->members[at].state == MEMBER_IN_SYNC && is_unfit(in, target) &&
		    another_stands(in, next, target))
			demote(in, next, target);
	}
}

/* Takes out one of two neighbours that cannot talk though both are alive. */
static void part(const struct chain_case *in, struct map_chain *next, uint32_t i)
{
	const struct chain_member *from = &in->chain->members[i], *about = from + 1;
	uint64_t from_server = member_of(in, i)->server,
		 about_server = member_of(in, i + 1)->server;
	const struct survey *survey = in->survey;
	uint32_t goes = about->target_id;

	if (cluster_map_chain_index(next, from->target_id) < 0 ||
	    cluster_map_chain_index(next, about->target_id) < 0 ||
	    next->members[cluster_map_chain_index(next, from->target_id)].state == MEMBER_OFFLINE ||
	    next->members[cluster_map_chain_index(next, about->target_id)].state == MEMBER_OFFLINE)
		return;
	if (about->state == MEMBER_IN_SYNC &&
	    complaints_of(in->complaints, from_server, survey->now_ns) >
		    complaints_of(in->complaints, about_server, survey->now_ns))
		goes = from->target_id;
	if (!another_stands(in, next, goes))
		return;
	chain_edit_put(next, goes, MEMBER_OFFLINE);
	complaints_bar(in->complaints, from_server, about_server, survey->now_ns);
}

static void part_neighbours(const struct chain_case *in, struct map_chain *next)
{
	for (uint32_t i = 0; i + 1 < in->chain->count; i++) {
		const struct survey_target *from = member_of(in, i), *about = member_of(in, i + 1);

		if (in->chain->members[i + 1].state != MEMBER_OFFLINE &&
		    from->presence == PRESENT_HERE && about->presence == PRESENT_HERE &&
		    complaints_lasting(in->complaints, from->server, about->server,
				       in->survey->now_ns))
			part(in, next, i);
	}
}

/* ---- in ---- */

/* True when the tail that reported has not begun anew since. A new process has forgotten that it
 * waits for the successor, and may have answered without it. */
static bool reporter_lives(const struct chain_case *in)
{
	int tail = cluster_map_chain_tail(in->chain);

	return MANAGER_FAULTY(REPORTS_OUTLIVE) ||
	       (tail >= 0 && member_of(in, (uint32_t)tail)->life == in->memory->caught_up_life);
}

static void promote(const struct chain_case *in, struct map_chain *next)
{
	uint32_t target = in->memory->caught_up_target;
	int at = cluster_map_chain_index(next, target);
	const struct survey_target *t;

	if (!in->promoting || in->memory->owed || target == 0 || !reporter_lives(in) ||
	    (in->memory->caught_up_epoch != in->chain->epoch &&
	     !MANAGER_FAULTY(PROMOTE_ON_OLD_EPOCH)) ||
	    at < 0 || next->members[at].state != MEMBER_SYNCING)
		return;
	t = survey_of(in->survey, target);
	/* In another life it may lack what has been answered since. */
	if (!t->unsettled && (t->presence == PRESENT_HERE || t->presence == PRESENT_QUIET))
		chain_edit_put(next, target, MEMBER_IN_SYNC);
}

/* True when an offline member may catch up again; false when a better one could be had. */
static bool may_return(const struct chain_case *in, const struct map_chain *next, uint32_t target)
{
	const struct survey_target *t = survey_of(in->survey, target);
	enum failure_domain level = survey_level(in->pool);

	if (!survey_fit(t) || is_unfit(in, target) ||
	    !survey_may_join(in->survey, next, target, 0, FAILURE_DOMAIN_SERVER))
		return false;
	if (!t->map->draining && survey_may_join(in->survey, next, target, 0, level))
		return true;
	return !survey_has_candidate(in->survey, next, level);
}

static void let_in(const struct chain_case *in, struct map_chain *next)
{
	if (chain_edit_count(next, MEMBER_SYNCING) != 0 || !another_stands(in, next, 0) ||
	    chain_edit_count(next, MEMBER_IN_SYNC) >= in->pool->copies)
		return;
	for (uint32_t i = 0; i < next->count; i++) {
		uint32_t target = next->members[i].target_id;

		if (next->members[i].state == MEMBER_OFFLINE && may_return(in, next, target)) {
			chain_edit_put(next, target, MEMBER_SYNCING);
			return;
		}
	}
}

/* ---- all of it ---- */

static bool anybody_in_sync(const struct chain_case *in)
{
	for (uint32_t i = 0; i < in->chain->count; i++) {
		enum presence presence = member_of(in, i)->presence;

		if (in->chain->members[i].state == MEMBER_IN_SYNC &&
		    (presence == PRESENT_HERE || presence == PRESENT_RESTARTED))
			return true;
	}
	return false;
}

/* Begins a chain again by an administrator's word, as long as no last in-sync member is back. */
static bool begin_again(const struct chain_case *in, struct map_chain *next)
{
	uint32_t target = in->memory->accept;

	in->memory->accept = 0;
	if (target == 0 || anybody_in_sync(in) ||
	    cluster_map_target(in->survey->map, target) == NULL ||
	    survey_of(in->survey, target)->presence >= PRESENT_FAILED)
		return false;
	for (uint32_t i = 0; i < next->count; i++)
		next->members[i].state = MEMBER_OFFLINE;
	/* Room for one that was no member. */
	if (next->count == CHAIN_MEMBERS_MAX && cluster_map_chain_index(next, target) < 0)
		chain_edit_remove(next, next->members[next->count - 1].target_id);
	chain_edit_put(next, target, MEMBER_IN_SYNC);
	return true;
}

/* True when some member is in-sync in both: what was answered is not lost. */
static bool keeps_one(const struct map_chain *chain, const struct map_chain *next)
{
	for (uint32_t i = 0; i < next->count; i++) {
		int was = cluster_map_chain_index(chain, next->members[i].target_id);

		if (next->members[i].state == MEMBER_IN_SYNC && was >= 0 &&
		    chain->members[was].state == MEMBER_IN_SYNC)
			return true;
	}
	return false;
}

bool chain_rules_apply(const struct chain_case *in, struct map_chain *next)
{
	bool bump;

	*next = *in->chain;
	if (!begin_again(in, next)) {
		bump = take_out(in, next);
		demote_unfit(in, next);
		part_neighbours(in, next);
		promote(in, next);
		let_in(in, next);
		if (!bump && memcmp(next->members, in->chain->members, sizeof(next->members)) == 0)
			return false;
		expects(keeps_one(in->chain, next));
	}
	next->epoch = in->chain->epoch + 1;
	return true;
}
