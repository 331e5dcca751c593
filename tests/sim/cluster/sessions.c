#include "tests/sim/cluster/sessions.h"

/* It may have taken effect before, not after. */
static void op_ends(struct world *w, const struct op *op, uint64_t at)
{
	uint32_t end = op->route.op == FRAME_TRUNCATE ? MODEL_BLOCKS : op->first + op->blocks;

	if (!frame_is_update(op->route.op))
		return;
	for (uint32_t b = op->first; b < end; b++) {
		struct history *h = history_of(w, &op->route.key, b);

		if (h != NULL)
			h->entries[op->entries[b]].deadline = at;
	}
}

static void op_forgotten(struct world *w, const struct op *op, uint64_t session)
{
	op_ends(w, op, session_of(w, session)->over_at);
	if (op->route.key.file_id >= FILE_TEMPORARY && --w->temporary_ops == 0)
		w->temporary_idle = w->now;
}

void op_given_up(struct world *w, struct op *op, uint64_t session)
{
	if (session_of(w, session)->over_at != 0) {
		op_forgotten(w, op, session);
	} else {
		if (w->lost_count == w->lost_size) {
			w->lost_size = w->lost_size == 0 ? 16 : 2 * w->lost_size;
			w->lost = realloc(w->lost, w->lost_size * sizeof(*w->lost));
			if (w->lost == NULL)
				abort();
		}
		w->lost[w->lost_count].session = session;
		w->lost[w->lost_count++].op = *op;
	}
	op->state = OP_IDLE;
}

void session_is_over(struct world *w, uint64_t session)
{
	trace(w, "session %llu is over", (unsigned long long)session);
	session_of(w, session)->over_at = w->now;
	w->fences++;
	for (size_t i = 0; i < w->lost_count; i++)
		if (w->lost[i].session == session)
			op_forgotten(w, &w->lost[i].op, session);
	w->busy_until = w->now + between(w, 50 * MS, 600 * MS);
}

void check_ends(struct world *w)
{
	struct master *m = &w->master;

	for (unsigned i = 0; i < SESSIONS_MAX && w->options.fences && w->sessions[i].id != 0; i++) {
		struct session_seen *seen = &w->sessions[i];
		bool fenced = state_session_is_fenced(m->state, seen->id);

		if (seen->over_at == 0 ||
		    (cluster_map_session_over(m->state_map, seen->id) && !fenced))
			continue;
		trace(w, "the end of session %llu is lost", (unsigned long long)seen->id);
		w->ends_lost = true;
		seen->over_at = 0;
		seen->fenced = fenced;
		for (size_t l = 0; l < w->lost_count; l++)
			if (w->lost[l].session == seen->id &&
			    w->lost[l].op.route.key.file_id == FILE_TEMPORARY + w->temporary)
				w->temporary_ops++;
	}
}

void check_commit(struct world *w, const struct disk *disk, const struct chain_work *request)
{
	const struct map_chain *chain;

	if (!w->options.fences || w->ends_lost || !frame_is_update(request->op) ||
	    session_of(w, request->client_id)->over_at == 0 || w->master.map == NULL ||
	    local(w, disk->server) >= w->servers[disk->server].lease_until)
		return;
	chain = &w->master.map->pools[0].chains[request->key.partition];
	if (!in_sync_in(chain, disk->entry.target_id) ||
	    chain_epoch(disk->chains[request->key.partition]) != chain->epoch)
		return;
	trace(w, "target %u commits op %llu of session %llu in partition %u", disk->entry.target_id,
	      (unsigned long long)request->op_id, (unsigned long long)request->client_id,
	      request->key.partition);
	problem(w, "an update took effect whose session was over");
}
