#include "chunkserver/server/removal.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "common/base/expects.h"

struct removal_order {
	struct event_queue *queue;
	struct event_removal *end; /* what the queue gets */
	atomic_uint left;          /* parts that have not ended */
	atomic_int error;          /* the first one */
	atomic_size_t again;       /* places taken in end->again */
};

/* Thread: a worker's, or the front loop's in removal_start(). */
static void part_done(void *user, int error, const struct chunk_order *again, size_t count)
{
	struct removal_order *order = user;
	size_t place = atomic_fetch_add(&order->again, count);
	unsigned left;
	int none = 0;

	for (size_t i = 0; i < count; i++)
		order->end->again[place + i] = again[i];
	if (error < 0)
		atomic_compare_exchange_strong(&order->error, &none, error);
	left = atomic_fetch_sub(&order->left, 1);
	expects(left > 0);
	if (left > 1)
		return;
	order->end->error = atomic_load(&order->error);
	order->end->again_count = atomic_load(&order->again);
	event_queue_post_removal(order->queue, order->end);
	free(order);
}

void removal_start(const struct workers *workers, struct event_queue *queue, unsigned index,
		   uint64_t sequence, const struct chunk_order *chunks, size_t count)
{
	struct removal_order *order = calloc(1, sizeof(*order));
	struct event_removal *end = calloc(1, sizeof(*end) + count * sizeof(end->again[0]));
	struct chunk_order *part = calloc(count + 1, sizeof(*part));

	if (order == NULL || end == NULL || part == NULL) {
		free(order);
		free(end);
		free(part);
		return;
	}
	end->target = index;
	end->sequence = sequence;
	order->queue = queue;
	order->end = end;
	/* One more than there are workers, or it might end before all parts are handed out. */
	atomic_store(&order->left, workers->count + 1);
	for (uint32_t w = 0; w < workers->count; w++) {
		size_t n = 0;

		for (size_t i = 0; i < count; i++) {
			if (chunks[i].key.partition % workers->count == w)
				part[n++] = chunks[i];
		}
		if (n > 0)
			worker_remove(workers->items[w], index, part, n, part_done, order);
		else
			part_done(order, 0, NULL, 0);
	}
	part_done(order, 0, NULL, 0);
	free(part);
}
