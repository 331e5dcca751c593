#include "tests/sim/cluster/disks.h"
#include "tests/sim/cluster/servers.h"

/* ---- lookups of the chains ---- */

static struct model_store *store_of(void *ctx)
{
	return &((struct disk *)ctx)->store;
}

static int look_info(void *ctx, const struct chunk_key *key, struct chunk_info *info)
{
	return model_info(store_of(ctx), key, info);
}

static int look_digest(void *ctx, const struct chunk_key *key, uint32_t *digest)
{
	return model_get_digest(store_of(ctx), key, digest);
}

static int look_presence(void *ctx, const struct chunk_key *key, uint8_t *bitmap, uint32_t *bytes)
{
	return model_presence(store_of(ctx), key, bitmap, bytes);
}

static int look_checksums(void *ctx, const struct chunk_key *key, uint32_t count, uint32_t *crcs,
			  uint8_t *bitmap)
{
	return model_checksums(store_of(ctx), key, count, crcs, bitmap);
}

static int look_scan(void *ctx, uint32_t pool, uint32_t partition, const struct chunk_key *after,
		     struct chunk_key *out, int max)
{
	return model_scan(store_of(ctx), pool, partition, after, out, max);
}

static bool *damage_of(struct disk *disk, const struct chunk_key *key)
{
	return &disk->damaged[model_slot(&disk->store, key)];
}

static int do_complete(void *ctx, const struct chunk_key *key, const struct chunk_info *info)
{
	*damage_of(ctx, key) = false; /* all of it is new */
	return model_complete(store_of(ctx), key, info);
}

static uint64_t look_free(void *ctx)
{
	const struct disk *disk = ctx;

	/* Every other time it does not see it coming. */
	return disk->full_until > disk->w->now && disk->full_until % 2 == 0 ? 0 : 1ull << 40;
}

static uint64_t count_in_flight(void *ctx, int64_t delta)
{
	const struct disk *disk = ctx;
	uint64_t *sum = &disk->w->servers[disk->server].in_flight;

	*sum += (uint64_t)delta;
	return *sum;
}

static bool may_copy(void *ctx, uint32_t bytes)
{
	const struct disk *disk = ctx;

	(void)bytes;
	return chance(disk->w, 8) != 0;
}

static uint64_t look_epoch(void *ctx, uint32_t pool, uint32_t partition)
{
	const struct model_store *store = store_of(ctx);

	(void)pool;
	return store->notes.epochs[partition];
}

static void look_set_epoch(void *ctx, uint32_t pool, uint32_t partition, uint64_t epoch)
{
	struct model_store *store = store_of(ctx);

	(void)pool;
	store->notes.epochs[partition] = epoch;
	model_noted(store);
}

struct chain_ops disk_ops = {
	.store = {.info = look_info,
		  .digest = look_digest,
		  .presence = look_presence,
		  .checksums = look_checksums,
		  .scan = look_scan,
		  .complete = do_complete,
		  .buffer = model_buffer},
	.free_bytes = look_free,
	.in_flight = count_in_flight,
	.may_copy = may_copy,
	.epoch = look_epoch,
	.set_epoch = look_set_epoch,
};

/* ---- operations ---- */

unsigned disk_number(const struct world *w, const struct disk *disk)
{
	return (unsigned)(disk - w->disks);
}

static struct buf *read_blocks(struct disk *disk, const struct chunk_key *key, uint32_t offset,
			       uint32_t range, uint64_t *version)
{
	const struct model_chunk *chunk = model_chunk(&disk->store, key);
	uint32_t first = offset / BLOCK_SIZE, end = model_length(chunk) / BLOCK_SIZE;

	if (end > first + range / BLOCK_SIZE)
		end = first + range / BLOCK_SIZE;
	*version = chunk->version;
	return end > first ? model_payload(chunk->blocks + first, end - first) : NULL;
}

struct event *disk_begins(struct world *w, struct disk *disk, enum chain_action_kind kind)
{
	uint64_t time = w->now + (chance(w, 4) == 0 ? between(w, 1 * MS, 12 * MS)
						    : between(w, 5 * US, 500 * US));
	struct event *event = schedule(w, time, EV_STORE, disk->server);

	event->a = disk_number(w, disk);
	event->action = kind;
	event->mark = model_now(&disk->store);
	return event;
}

void start_operation(struct world *w, struct disk *disk, const struct chain_action *action)
{
	struct event *event = disk_begins(w, disk, action->kind);

	event->request = action->request;
	event->number = action->serial;
	event->header = action->header;
	/* The disk may be read at any time until the answer. */
	if (action->kind == CHAIN_READ && chance(w, 2) == 0 &&
	    !*damage_of(disk, &action->request->key)) {
		event->sampled = true;
		event->payload = read_blocks(disk, &action->request->key, action->request->offset,
					     action->request->length, &event->header.version);
	}
}

static void prepare_ended(struct world *w, struct disk *disk, struct event *event, int error)
{
	bool touched;

	if (error == 0 && disk->full_until > w->now && event->request->op == FRAME_WRITE)
		error = -ENOSPC;
	else if (error == 0 && event->request->op != FRAME_CATCHUP_DATA &&
		 *damage_of(disk, &event->request->key))
		error = -EBADMSG;
	touched = model_broken_off(&disk->store, event->request, error, w->now);
	if (touched)
		note_halves(w, disk, event->request->key.partition);
	chain_prepared(event->request, error, touched);
}

static void read_ended(struct disk *disk, struct event *event, int error)
{
	uint64_t version = event->header.version;
	struct buf *buf = event->payload;

	event->payload = NULL;
	if (error == 0 && !event->sampled && *damage_of(disk, &event->request->key))
		error = -EBADMSG;
	if (error == 0 && !event->sampled)
		buf = read_blocks(disk, &event->request->key, event->request->offset,
				  event->request->length, &version);
	chain_read_done(event->request, error, buf, version);
}

static void walk_read_ended(struct disk *disk, struct event *event, int error)
{
	struct buf *buf = NULL;
	uint64_t version;

	if (error == 0 && *damage_of(disk, &event->header.key))
		error = -EBADMSG;
	if (error == 0)
		buf = read_blocks(disk, &event->header.key, event->header.offset,
				  event->header.range, &version);
	if (error == 0 && buf == NULL)
		error = -EIO; /* removed meanwhile */
	chain_walk_read_done(disk->env, event->number, error, buf, event->header.offset);
}

void operation_ended(struct world *w, struct event *event)
{
	struct disk *disk = &w->disks[event->a];
	int error = disk->down ? -EIO : 0;

	switch (event->action) {
	case CHAIN_PREPARE:
		prepare_ended(w, disk, event, error);
		break;
	case CHAIN_FLUSH:
		if (error == 0)
			model_flushed(&disk->store, event->mark);
		chain_flushed(event->request, error);
		break;
	case CHAIN_FLUSH_ALL:
		if (error == 0)
			model_flushed(&disk->store, event->mark);
		chain_all_flushed(disk->env, event->number, error);
		break;
	case CHAIN_READ:
		read_ended(disk, event, error);
		break;
	case CHAIN_REMOVE:
		for (uint32_t i = 0; error == 0 && i < event->request->key_count; i++)
			model_remove(&disk->store, &event->request->keys[i]);
		chain_remove_done(event->request, error);
		break;
	case CHAIN_WALK_READ:
		walk_read_ended(disk, event, error);
		break;
	default:
		abort();
	}
}

/* An operation that was under way when the process ended. */
static void operation_lost(struct world *w, struct event *event)
{
	struct disk *disk = &w->disks[event->a];
	struct model_chunk *chunk;

	switch (event->action) {
	case CHAIN_PREPARE:
		chunk = model_chunk(&disk->store, &event->request->key);
		if (chunk->exists && chance(w, 2) == 0) {
			chunk->unsure = true;
			model_changed(&disk->store, chunk);
		}
		chain_prepared(event->request, -ECANCELED, false);
		break;
	case CHAIN_FLUSH:
		chain_flushed(event->request, -ECANCELED);
		break;
	case CHAIN_FLUSH_ALL:
		chain_all_flushed(disk->env, event->number, -ECANCELED);
		break;
	case CHAIN_READ:
		chain_read_done(event->request, -ECANCELED, NULL, 0);
		break;
	case CHAIN_REMOVE:
		chain_remove_done(event->request, -ECANCELED);
		break;
	default:
		chain_walk_read_done(disk->env, event->number, -ECANCELED, NULL, 0);
		break;
	}
}

void drop_operations(struct world *w, struct disk *disk)
{
	unsigned number = disk_number(w, disk);
	const struct chain_action *action;

	for (size_t i = 0; i < w->heap_count; i++) {
		struct event *event = w->heap[i].event;

		if (event->kind != EV_STORE || event->a != number || event->node != disk->server)
			continue;
		if (event->request != NULL || event->action == CHAIN_WALK_READ ||
		    event->action == CHAIN_FLUSH_ALL)
			operation_lost(w, event);
		event->node = NOWHERE;
		event->life = 0;
		event->request = NULL;
	}
	while ((action = chain_next(disk->env)) != NULL)
		if (action->kind == CHAIN_PREPARE || action->kind == CHAIN_COMMIT)
			abort();
}

/* ---- what becomes of disks ---- */

static void disk_name(struct disk *disk)
{
	snprintf(disk->uuid, sizeof(disk->uuid), "disk-%u-%u", disk->number, disk->wipes);
}

static void disk_add(struct world *w, unsigned number, unsigned server)
{
	struct disk *disk = &w->disks[number];

	disk->used = true;
	disk->w = w;
	disk->server = server;
	disk->number = number;
	disk_name(disk);
}

unsigned server_disks(struct world *w, unsigned server)
{
	unsigned count = 1;

	if (w->options.several && chance(w, 4) != 0)
		count += 1 + (unsigned)chance(w, DISKS_EACH - 1);
	for (unsigned d = 0; d < count; d++)
		disk_add(w, server * DISKS_EACH + d, server);
	return count;
}

void disk_power_cut(struct world *w, struct disk *disk)
{
	model_power_cut(&disk->store,
			disk->store.log_count == 0 ? 0 : chance(w, disk->store.log_count + 1),
			w->random * chance(w, 2));
}

static void image_free(struct disk *disk)
{
	free(disk->image.chunks);
	disk->image = (struct image){0};
}

void disk_wipe(struct disk *disk)
{
	model_free(&disk->store);
	disk->store = (struct model_store){0};
	memset(disk->damaged, 0, sizeof(disk->damaged));
	image_free(disk);
	disk->life = disk->life_seen = 0;
	disk->old = false;
	disk->wipes++;
	disk_name(disk);
}

void disk_copy(struct disk *disk)
{
	image_free(disk);
	disk->image.there = true;
	disk->image.life = disk->life;
	disk->image.count = disk->store.count;
	disk->image.chunks = model_new(disk->store.count + 1);
	for (unsigned i = 0; i < disk->store.count; i++)
		model_copy(&disk->image.chunks[i], disk->store.durable[i]);
}

void disk_put_back(struct disk *disk)
{
	struct model_store *store = &disk->store;
	uint64_t now = model_now(store);

	for (unsigned i = 0; i < store->count; i++) {
		if (i < disk->image.count)
			model_copy(store->chunks[i], &disk->image.chunks[i]);
		else
			model_clear(store->chunks[i]);
		model_copy(store->durable[i], store->chunks[i]);
		disk->damaged[i] = false;
	}
	memset(&store->notes, 0, sizeof(store->notes));
	model_log_empty(store);
	store->log_base = now;
	disk->life = disk->image.life;
	disk->old = true;
}

void disk_set_aside(struct disk *disk)
{
	disk->aside.there = true;
	disk->aside.life = disk->life;
	disk->aside.store = disk->store;
	memcpy(disk->aside.damaged, disk->damaged, sizeof(disk->damaged));
	disk->store = (struct model_store){.log_base = model_now(&disk->aside.store)};
	for (unsigned i = 0; i < disk->aside.store.count; i++)
		(void)model_slot_new(&disk->store, &disk->aside.store.keys[i]);
	disk_put_back(disk);
}

void disk_take_back(struct disk *disk)
{
	model_free(&disk->store);
	disk->store = disk->aside.store;
	disk->life = disk->aside.life;
	memcpy(disk->damaged, disk->aside.damaged, sizeof(disk->damaged));
	disk->old = false;
	memset(&disk->aside, 0, sizeof(disk->aside));
}

void disk_throw_away(struct disk *disk)
{
	model_free(&disk->aside.store);
	memset(&disk->aside, 0, sizeof(disk->aside));
}

void disk_free(struct disk *disk)
{
	model_free(&disk->store);
	model_free(&disk->aside.store);
	image_free(disk);
}

void disk_damage(struct world *w, struct disk *disk)
{
	unsigned slot;

	if (disk->store.count == 0)
		return;
	slot = (unsigned)chance(w, disk->store.count);
	if (disk->store.chunks[slot]->exists)
		disk->damaged[slot] = true;
}
