#include "tests/sim/chain/world.h"

void problem(struct world *w, const char *what)
{
	if (w->problem == NULL)
		w->problem = what;
}

void __attribute__((format(printf, 2, 3))) trace(const struct world *w, const char *format, ...)
{
	va_list args;

	if (!w->options.verbose)
		return;
	va_start(args, format);
	fprintf(stderr, "%10.3f ms  ", (double)w->now / (double)MS);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* ---- chance and time ---- */

uint64_t chance(struct world *w, uint64_t below)
{
	if (below == 0)
		abort();
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (w->random * 0x2545f4914f6cdd1dull >> 11) % below;
}

uint64_t between(struct world *w, uint64_t low, uint64_t high)
{
	return low + chance(w, high - low + 1);
}

uint64_t latency(struct world *w)
{
	return chance(w, 20) == 0 ? between(w, 1 * MS, 20 * MS) : between(w, 10 * US, 800 * US);
}

static bool earlier(const struct place *a, const struct place *b)
{
	return a->time != b->time ? a->time < b->time : a->sequence < b->sequence;
}

void heap_push(struct world *w, struct event *event)
{
	struct place place = {.time = event->time, .sequence = w->sequence++, .event = event};
	size_t at = w->heap_count++;

	if (w->heap_count > w->heap_size) {
		w->heap_size = w->heap_size == 0 ? 256 : 2 * w->heap_size;
		w->heap = realloc(w->heap, w->heap_size * sizeof(*w->heap));
		if (w->heap == NULL)
			abort();
	}
	while (at > 0 && earlier(&place, &w->heap[(at - 1) / 2])) {
		w->heap[at] = w->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	w->heap[at] = place;
}

struct event *heap_pop(struct world *w)
{
	struct event *top = w->heap[0].event;
	struct place last = w->heap[--w->heap_count];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < w->heap_count) {
		child += child + 1 < w->heap_count && earlier(&w->heap[child + 1], &w->heap[child]);
		w->heap[at] = w->heap[child];
		at = child;
	}
	while (at > 0 && earlier(&last, &w->heap[(at - 1) / 2])) {
		w->heap[at] = w->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	w->heap[at] = last;
	return top;
}

struct event *schedule(struct world *w, uint64_t time, enum event_kind kind, unsigned a, unsigned b)
{
	struct event *event = calloc(1, sizeof(*event));

	if (event == NULL)
		abort();
	event->time = time;
	event->kind = kind;
	event->a = a;
	event->b = b;
	heap_push(w, event);
	return event;
}
