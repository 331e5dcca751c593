#include "tests/sim/chain/clients.h"

#define FILE_MIXED 100u /* holes, truncations: copies must be equal in the end */

/* ---- where to ask ---- */

static int member_server(const struct chain_config *config, bool tail)
{
	int found = -1;

	for (uint32_t i = 0; i < config->count; i++) {
		if (config->members[i].state != MEMBER_IN_SYNC)
			continue;
		found = (int)config->members[i].server_id - 1;
		if (!tail)
			break;
	}
	return found;
}

static unsigned choose_server(struct world *w, const struct op *op)
{
	const struct chain_config *config = &w->configs[op->key.partition];
	bool read = op->kind == FRAME_READ || op->kind == FRAME_STAT;
	int server;

	if (!read || op->asked_tail == 0)
		server = member_server(config, false);
	if (read) {
		uint32_t in_sync = 0;

		for (uint32_t i = 0; i < config->count; i++)
			in_sync += config->members[i].state == MEMBER_IN_SYNC;
		server = op->asked_tail > 0
				 ? member_server(config, true)
				 : (int)config->members[chance(w, in_sync)].server_id - 1;
	}
	return (unsigned)server;
}

static uint64_t client_id(unsigned number, const struct client *client)
{
	return number + 1 + (uint64_t)CLIENTS * client->session;
}

/* The oldest update that is open; NULL: none is. */
static struct op *oldest_of(struct client *client, const struct chunk_key *key)
{
	struct op *oldest = NULL;

	for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++) {
		struct op *op = &client->ops[i];

		if (op->busy && op->op_id != 0 && chunk_key_equal(&op->key, key) &&
		    (oldest == NULL || op->op_id < oldest->op_id))
			oldest = op;
	}
	return oldest;
}

/* What the copies must have, as a mount says it. */
static void say_what_is_known(const struct client *client, struct op *op,
			      struct frame_header *header)
{
	if (op->key.file_id >= REGISTERS)
		return;
	if (frame_is_update(op->kind)) {
		header->version = client->known[op->key.partition][op->key.file_id].version;
		header->arg = client->known[op->key.partition][op->key.file_id].epoch;
		/* Any of the times that it was sent may be answered. */
		if (op->covers_epoch == 0 || header->arg < op->covers_epoch)
			op->covers_epoch = header->arg;
	} else if (op->kind == FRAME_FLUSH) {
		header->version = op->covers;
		header->arg = op->covers_epoch;
	}
	if (header->version == 0)
		header->arg = 0;
}

void op_send(struct world *w, unsigned number, unsigned slot)
{
	struct client *client = &w->clients[number];
	struct op *op = &client->ops[slot];
	unsigned server = choose_server(w, op);
	uint64_t numbers[MODEL_BLOCKS];
	struct event *event;

	op->attempt = ++w->ids;
	op->sends++;
	schedule(w, w->now + between(w, 30 * MS, 150 * MS), EV_TIMEOUT, number, slot)->number =
		op->attempt;
	event = schedule(w, in_order(w, &client->last[server][0]), EV_ASK, number, server);
	event->generation = client->generation[server];
	event->header = (struct frame_header){
		.op = op->kind,
		.flags = (uint16_t)((op->durable ? FRAME_DURABLE : 0) |
				    (op->closing ? FRAME_CLOSING : 0)),
		.request_id = op->attempt << 8 | slot,
		.key = op->key,
		.epoch = w->configs[op->key.partition].epoch,
		.client_id = op->client_id,
		.op_id = op->op_id,
		.answered = op->op_id == 0 ? 0 : oldest_of(client, &op->key)->op_id - 1,
	};
	if (!op->closing)
		say_what_is_known(client, op, &event->header);
	if (op->kind != FRAME_FLUSH && op->kind != FRAME_STAT)
		event->header.offset = op->first * BLOCK_SIZE;
	if (op->kind == FRAME_WRITE) {
		event->header.length = op->blocks * BLOCK_SIZE;
		for (uint32_t i = 0; i < op->blocks; i++)
			numbers[i] = op->value;
		event->payload = model_payload(numbers, op->blocks);
	} else if (op->kind == FRAME_READ || op->kind == FRAME_PUNCH) {
		event->header.range = op->blocks * BLOCK_SIZE;
	}
}

/* ---- what to do ---- */

static void choose_kind(struct world *w, struct op *op)
{
	uint64_t dice = chance(w, 100);

	op->key.pool = POOL;
	op->key.partition = (uint32_t)chance(w, PARTITIONS);
	op->key.file_id = chance(w, REGISTERS);
	/* Where lists are to get full. */
	if (w->options.narrow && chance(w, 2) == 0) {
		op->key.partition = 0;
		op->key.file_id = 0;
	}
	op->kind = dice < 45   ? FRAME_WRITE
		   : dice < 85 ? FRAME_READ
		   : dice < 95 ? FRAME_FLUSH
			       : FRAME_STAT;
	if (chance(w, 6) == 0) {
		op->key.file_id = FILE_MIXED;
		op->kind = dice < 30   ? FRAME_PUNCH
			   : dice < 50 ? FRAME_TRUNCATE
			   : dice < 90 ? FRAME_WRITE
				       : FRAME_READ;
	} else if (chance(w, w->options.rough ? 2 : 8) == 0 && !w->healed) {
		op->key.file_id = FILE_TEMPORARY + w->temporary;
		op->key.partition = w->temporary % PARTITIONS;
		op->kind = FRAME_WRITE;
	}
	op->durable = op->kind == FRAME_WRITE && chance(w, 5) == 0;
}

static void op_begin(struct world *w, unsigned number, unsigned slot)
{
	struct client *client = &w->clients[number];
	struct op *op = &client->ops[slot];

	memset(op, 0, sizeof(*op));
	choose_kind(w, op);
	op->busy = true;
	op->first = (uint32_t)chance(w, MODEL_BLOCKS);
	op->blocks = 1 + (uint32_t)chance(w, MODEL_BLOCKS - op->first < 4 ? MODEL_BLOCKS - op->first
									  : 4);
	op->begun = w->now;
	op->ended = NEVER;
	op->client_id = client_id(number, client);
	if (frame_is_update(op->kind))
		op->op_id = ++client->last_op_id;
	if (op->kind == FRAME_FLUSH && op->key.file_id < REGISTERS) {
		op->covers = client->known[op->key.partition][op->key.file_id].version;
		op->covers_epoch = client->known[op->key.partition][op->key.file_id].epoch;
	}
	if (op->key.file_id >= FILE_TEMPORARY)
		w->temporary_ops++;
	if (op->kind == FRAME_WRITE) {
		op->value = ++w->values;
		for (uint32_t i = 0; i < op->blocks; i++) {
			struct history *h = history_of(w, &op->key, op->first + i);

			if (h == NULL)
				continue;
			op->entries[i] = h->count;
			*history_add(h) = (struct entry){.write = true,
							 .value = op->value,
							 .client = number + 1,
							 .begun = w->now,
							 .ended = NEVER,
							 .durable = NEVER};
		}
	}
	op_send(w, number, slot);
}

void client_issues(struct world *w, unsigned number)
{
	struct client *client = &w->clients[number];

	for (unsigned slot = 0; slot < OUTSTANDING && client->left > 0; slot++) {
		if (client->ops[slot].busy || chance(w, 2) == 0)
			continue;
		client->left--;
		op_begin(w, number, slot);
	}
	if (client->left > 0)
		schedule(w, w->now + chance(w, 8 * MS), EV_ISSUE, number, 0);
}

/* ---- what came of it ---- */

static void write_done(struct world *w, const struct op *op)
{
	for (uint32_t i = 0; i < op->blocks; i++) {
		struct history *h = history_of(w, &op->key, op->first + i);

		if (h == NULL || op->failed)
			continue;
		h->entries[op->entries[i]].ended = w->now;
		if (op->durable)
			h->entries[op->entries[i]].durable = w->now;
	}
}

static void read_done(struct world *w, const struct op *op, const struct buf *payload)
{
	for (uint32_t i = 0; i < op->blocks; i++) {
		struct history *h = history_of(w, &op->key, op->first + i);
		uint64_t value = 0;

		if (h == NULL)
			continue;
		if (payload != NULL && i < payload->length / BLOCK_SIZE)
			memcpy(&value, buf_payload(payload) + i * sizeof(value), sizeof(value));
		*history_add(h) = (struct entry){
			.value = value, .begun = op->begun, .ended = w->now, .durable = NEVER};
	}
}

/* Of others' writes it says nothing that a power cut may have taken; of the client's own it does,
 * unless it has been told that they may be lost. */
static void flush_done(struct world *w, unsigned number, const struct op *op)
{
	for (uint32_t block = 0; block < MODEL_BLOCKS; block++) {
		struct history *h = history_of(w, &op->key, block);

		for (size_t i = 0; h != NULL && i < h->count; i++) {
			struct entry *e = &h->entries[i];

			if (e->write && e->ended <= op->begun && e->durable == NEVER &&
			    (!e->exposed || (e->client == number + 1 && !e->told)))
				e->durable = w->now;
		}
	}
}

/* What the client has written there may be lost, and it knows. */
static void client_knows_loss(struct world *w, unsigned number, const struct chunk_key *key)
{
	struct client *client = &w->clients[number];

	client->known[key->partition][key->file_id].version = 0;
	for (uint32_t block = 0; block < MODEL_BLOCKS; block++) {
		struct history *h = history_of(w, key, block);

		for (size_t i = 0; i < h->count; i++)
			if (h->entries[i].client == number + 1 && h->entries[i].ended != NEVER)
				h->entries[i].told = true;
	}
}

/* A mount takes no answer to what it has sent again: the update may be passed on once more in a
 * later epoch than that of this answer, and count from there. So nothing is made of it. */
static void answered_late(struct world *w, const struct op *op)
{
	for (uint32_t i = 0; op->kind == FRAME_WRITE && i < op->blocks; i++)
		history_of(w, &op->key, op->first + i)->entries[op->entries[i]].told = true;
}

/* As fs/writeback/writeback_chunk.c counts it. */
static void remember_answer(struct world *w, unsigned number, const struct op *op,
			    const struct frame_header *answer, bool last)
{
	struct client *client = &w->clients[number];
	uint64_t *version, *epoch;

	if (op->key.file_id >= REGISTERS || op->failed)
		return;
	if (!last) {
		answered_late(w, op);
		return;
	}
	version = &client->known[op->key.partition][op->key.file_id].version;
	epoch = &client->known[op->key.partition][op->key.file_id].epoch;
	if (op->kind == FRAME_WRITE && answer->version > *version) {
		*version = answer->version;
		*epoch = answer->epoch;
	}
	if (((op->kind == FRAME_WRITE && op->durable && op->sends == 1) ||
	     (op->kind == FRAME_FLUSH)) &&
	    (op->kind == FRAME_FLUSH ? op->covers : answer->version) >= *version)
		*version = 0;
}

/* As fs/chains/ops.c does it. */
static void chunk_close(struct world *w, unsigned number, const struct chunk_key *key)
{
	struct client *client = &w->clients[number];
	unsigned slot = OUTSTANDING;

	while (slot < OUTSTANDING + CLOSINGS && client->ops[slot].busy)
		slot++;
	if (slot == OUTSTANDING + CLOSINGS) {
		problem(w, "chunks are not closed");
		return;
	}
	client->ops[slot] = (struct op){.busy = true,
					.closing = true,
					.durable = true,
					.kind = FRAME_TRUNCATE,
					.key = *key,
					.first = MODEL_BLOCKS,
					.client_id = client_id(number, client),
					.op_id = ++client->last_op_id,
					.begun = w->now,
					.ended = NEVER};
	w->closings++;
	op_send(w, number, slot);
}

static void update_over(struct world *w, unsigned number, const struct op *op)
{
	struct op *other = oldest_of(&w->clients[number], &op->key);

	if (!op->lingers)
		return;
	if (other != NULL)
		other->lingers = true;
	else
		chunk_close(w, number, &op->key);
}

static void op_done(struct world *w, unsigned number, struct op *op, const struct buf *payload)
{
	op->ended = w->now;
	op->busy = false;
	if (frame_is_update(op->kind))
		update_over(w, number, op);
	trace(w, "done %s%s%s op %llu chunk %u/%llu blocks %u+%u value %llu since %.3f",
	      frame_op_name(op->kind), op->durable ? " DURABLE" : "", op->failed ? " FAILED" : "",
	      (unsigned long long)op->op_id, op->key.partition, (unsigned long long)op->key.file_id,
	      op->first, op->blocks, (unsigned long long)op->value, (double)op->begun / (double)MS);
	if (op->key.file_id >= FILE_TEMPORARY && !op->closing && --w->temporary_ops == 0)
		w->temporary_idle = w->now;
	if (op->kind == FRAME_WRITE)
		write_done(w, op);
	else if (op->kind == FRAME_READ)
		read_done(w, op, payload);
	else if (op->kind == FRAME_FLUSH && !op->failed)
		flush_done(w, number, op);
}

/* Without a power cut only what is so old that its place in the history was forgotten, and anything
 * in a mixture that the chain goes on with. */
static bool loss_is_possible(const struct world *w, const struct op *op)
{
	return op->key.file_id < REGISTERS &&
	       (w->options.power || w->mixed[op->key.partition][op->key.file_id] ||
		op->covers_epoch + HISTORY_TURNS <= w->configs[op->key.partition].epoch);
}

void client_told(struct world *w, struct event *event)
{
	unsigned slot = event->header.request_id & 0xff;
	uint64_t attempt = event->header.request_id >> 8;
	struct op *op = &w->clients[event->a].ops[slot];

	/* An answer to an earlier attempt counts as well, but not for another operation. */
	if (!op->busy || event->header.op != op->kind || event->header.op_id != op->op_id ||
	    attempt > op->attempt || chunk_key_compare(&event->header.key, &op->key) != 0)
		return;
	switch (event->header.status) {
	case FRAME_OK:
		if (op->kind == FRAME_READ && attempt != op->attempt)
			return;
		op->lingers = op->lingers || (event->header.flags & FRAME_CROWDED) != 0;
		remember_answer(w, event->a, op, &event->header, attempt == op->attempt);
		op_done(w, event->a, op, event->payload);
		return;
	case FRAME_STATUS_LOST:
		if (!loss_is_possible(w, op)) {
			problem(w, "something is said to be lost, and never was");
			return;
		}
		w->losses++;
		client_knows_loss(w, event->a, &op->key);
		op->failed = true;
		op->lingers = op->lingers || op->sends > 1;
		op_done(w, event->a, op, NULL);
		return;
	case ENOSPC:
		op->failed = true;
		op->lingers = op->lingers || op->sends > 1;
		op_done(w, event->a, op, NULL);
		return;
	case EIO: /* a damaged copy */
		/* A damaged one may be the only one in-sync. */
		if (op->kind != FRAME_READ && !w->options.reconfigure) {
			problem(w, "a write failed");
			return;
		}
		break;
	case FRAME_STATUS_ASK_TAIL:
	case FRAME_STATUS_EPOCH:
	case FRAME_STATUS_NOT_HEAD:
	case FRAME_STATUS_NOT_MINE:
	case FRAME_STATUS_NOT_READY:
	case FRAME_STATUS_NO_LEASE:
		break;
	default:
		problem(w, "a client got an answer that makes no sense");
		return;
	}
	if (attempt != op->attempt)
		return;
	op->asked_tail = event->header.status == FRAME_STATUS_ASK_TAIL;
	schedule(w, w->now + between(w, 1 * MS, 10 * MS), EV_TIMEOUT, event->a, slot)->number =
		op->attempt;
}

static void session_over(struct world *w, uint64_t id)
{
	struct cluster_map next = {.version = w->over_count + 1, .session_floor = 1}, *map;
	unsigned at = w->over_count++;
	uint8_t *bytes;
	size_t size;

	for (; at > 0 && w->over[at - 1] > id; at--)
		w->over[at] = w->over[at - 1];
	w->over[at] = id;
	next.fenced = w->over;
	next.fenced_count = w->over_count;
	if (cluster_map_encode(&next, &bytes, &size) != 0 ||
	    cluster_map_decode(bytes, size, &map) != 0)
		abort();
	free(bytes);
	cluster_map_unref(w->sessions);
	w->sessions = map;
	for (unsigned i = 0; i < SERVERS; i++)
		schedule(w, w->now + chance(w, 60 * MS), EV_SESSIONS, i, 0);
}

static bool has_temporary(const struct client *client)
{
	for (unsigned i = 0; i < OUTSTANDING; i++)
		if (client->ops[i].busy && client->ops[i].key.file_id >= FILE_TEMPORARY)
			return true;
	return false;
}

/* As by the death of the client: an update that was sent is not repeated, whatever became of it. */
static void give_up(struct world *w, unsigned number)
{
	struct client *client = &w->clients[number];

	trace(w, "client %u gives up", number);
	for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++)
		client->ops[i].busy = false;
	session_over(w, client_id(number, client));
	client->session++;
	for (unsigned p = 0; p < PARTITIONS; p++)
		for (unsigned c = 0; c < REGISTERS; c++)
			client_knows_loss(
				w, number,
				&(struct chunk_key){.pool = POOL, .partition = p, .file_id = c});
}

void client_waited(struct world *w, const struct event *event)
{
	struct op *op = &w->clients[event->a].ops[event->b];

	if (!op->busy || op->attempt != event->number)
		return;
	if (w->options.slow && op->kind == FRAME_WRITE && !has_temporary(&w->clients[event->a]) &&
	    w->over_count < SESSIONS_MAX && !w->healed && chance(w, 6) == 0) {
		give_up(w, event->a);
		return;
	}
	if (chance(w, 2) == 0)
		op->asked_tail = 0;
	op_send(w, event->a, event->b);
}

/* ---- the master ---- */

void tell_config(struct world *w)
{
	for (unsigned i = 0; i < SERVERS; i++)
		schedule(w, w->now + chance(w, 30 * MS), EV_CONFIG, i, 0);
}

static int position(const struct chain_config *config, unsigned server)
{
	for (int i = 0; i < (int)config->count; i++)
		if (config->members[i].server_id == server + 1)
			return i;
	abort();
}

uint32_t in_sync_count(const struct chain_config *config)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < config->count; i++)
		count += config->members[i].state == MEMBER_IN_SYNC;
	return count;
}

/* Behind all others, with this state. */
static void move_back(struct chain_config *config, int at, enum member_state state)
{
	const uint32_t target = config->members[at].target_id;
	const uint64_t server = config->members[at].server_id;

	for (int i = at; i + 1 < (int)config->count; i++)
		config->members[i] = config->members[i + 1];
	config->members[config->count - 1].target_id = target;
	config->members[config->count - 1].server_id = server;
	config->members[config->count - 1].state = state;
	config->epoch++;
}

/* A member that died while it was copied to has a chunk that is partly another's. As long as
 * anybody else is in-sync that one goes first. Alone it would go on with the mixture: nothing that
 * was answered is missing in it, but an update that was not may be seen, and applied again later.
 * That takes the death of all, and then, for good, of all the others. Nobody is taken out so that
 * only mixtures are left (may_go_without()); but who is taken out while it copies may make one of
 * the last that was whole before it hears of that (goes_on_mixed()). */
static bool is_mixture(const struct world *w, unsigned server, unsigned p)
{
	const struct model_store *store = &w->servers[server].store;

	for (unsigned slot = 0; slot < store->count; slot++)
		if (store->chunks[slot]->exists && store->chunks[slot]->version == 0 &&
		    store->chunks[slot]->key.partition == p)
			return true;
	return false;
}

void note_mixture(struct world *w, unsigned server, unsigned p)
{
	const struct model_store *store = &w->servers[server].store;

	for (unsigned slot = 0; slot < store->count; slot++) {
		const struct model_chunk *chunk = store->chunks[slot];

		if (chunk->exists && chunk->version == 0 && chunk->key.partition == p &&
		    chunk->key.file_id < REGISTERS)
			w->mixed[p][chunk->key.file_id] = true;
	}
}

static bool may_go_without(const struct world *w, unsigned p, int at)
{
	const struct chain_config *config = &w->configs[p];

	if (config->members[at].state != MEMBER_IN_SYNC)
		return true;
	for (int i = 0; i < (int)config->count; i++) {
		unsigned server = (unsigned)config->members[i].server_id - 1;

		if (i != at && config->members[i].state == MEMBER_IN_SYNC &&
		    w->servers[server].alive && !is_mixture(w, server, p))
			return true;
	}
	return false;
}

void take_out(struct world *w, unsigned number)
{
	bool changed = false;

	for (unsigned p = 0; p < PARTITIONS; p++) {
		struct chain_config *config = &w->configs[p];
		int at = position(config, number);

		if (config->members[at].state == MEMBER_OFFLINE || !may_go_without(w, p, at))
			continue;
		move_back(config, at, MEMBER_OFFLINE);
		changed = true;
	}
	if (changed)
		tell_config(w);
}

/* Is there nobody else in-sync who is whole? Then one of them goes on, as the master has it, since
 * it cannot tell mixtures; what clients then see of these chunks need not be one history. */
static bool goes_on_mixed(struct world *w, unsigned p, int at)
{
	const struct chain_config *config = &w->configs[p];
	bool other = false;

	for (int i = 0; i < (int)config->count; i++) {
		unsigned server = (unsigned)config->members[i].server_id - 1;

		if (i == at || config->members[i].state != MEMBER_IN_SYNC)
			continue;
		if (!is_mixture(w, server, p))
			return false;
		other = other || w->servers[server].alive;
	}
	if (other)
		trace(w, "partition %u goes on with a mixture", p);
	for (int i = 0; i < (int)config->count && other; i++)
		if (i != at && config->members[i].state == MEMBER_IN_SYNC)
			note_mixture(w, (unsigned)config->members[i].server_id - 1, p);
	return other;
}

/* A member that says so is made equal anew by the others. */
static bool unfit_goes(struct world *w, unsigned p)
{
	struct chain_config *config = &w->configs[p];
	const struct report *report = &w->reports[p];
	int at;

	if (!w->options.reconfigure || report->kind != CHAIN_UNFIT ||
	    report->epoch != config->epoch)
		return false;
	at = position(config, report->target - 1);
	if (!may_go_without(w, p, at) && !goes_on_mixed(w, p, at))
		return false;
	trace(w, "server %u is unfit for partition %u", report->target - 1, p);
	move_back(config, at, MEMBER_OFFLINE);
	return true;
}

/* First one that is offline and alive begins to sync; one that is reported is in sync. */
static bool take_in_partition(struct world *w, unsigned p)
{
	struct chain_config *config = &w->configs[p];
	const struct report *report = &w->reports[p];

	if (unfit_goes(w, p))
		return true;
	for (uint32_t i = 1; i < config->count; i++) {
		unsigned server = (unsigned)config->members[i].server_id - 1;

		if (config->members[i].state == MEMBER_IN_SYNC)
			continue;
		if (config->members[i].state == MEMBER_OFFLINE) {
			if (!w->servers[server].alive)
				return false;
			config->members[i].state = MEMBER_SYNCING;
		} else {
			if (report->kind != CHAIN_CAUGHT_UP || report->epoch != config->epoch ||
			    report->target != config->members[i].target_id)
				return false;
			config->members[i].state = MEMBER_IN_SYNC;
		}
		config->epoch++;
		return true;
	}
	return false;
}

bool take_in(struct world *w)
{
	bool changed = false, whole = true;

	for (unsigned p = 0; p < PARTITIONS; p++) {
		changed = take_in_partition(w, p) || changed;
		whole = whole && in_sync_count(&w->configs[p]) == SERVERS;
	}
	if (changed)
		tell_config(w);
	schedule(w, w->now + 20 * MS, EV_TAKE_IN, 0, 0);
	return whole;
}

void consider_removal(struct world *w)
{
	if (w->temporary_ops > 0 || w->temporary_idle == 0 || w->now < w->temporary_idle + 500 * MS)
		return;
	removal_begin(w, w->temporary);
	w->temporary++;
	w->temporary_idle = 0;
}

void remove_at(struct world *w, unsigned number, unsigned temporary)
{
	struct event *event;

	if (!w->servers[number].alive || w->servers[number].store_down) {
		schedule(w, w->now + 50 * MS, EV_REMOVE, number, temporary);
		return;
	}
	event = schedule(w, w->now + between(w, 100 * US, 5 * MS), EV_STORE, number, temporary);
	event->generation = w->servers[number].incarnation;
	event->action = CHAIN_REMOVE;
	event->header.key = (struct chunk_key){.pool = POOL,
					       .partition = temporary % PARTITIONS,
					       .file_id = FILE_TEMPORARY + temporary};
	/* The record goes at once, what is left of it later. */
	model_remove(&w->servers[number].store, &event->header.key);
}
