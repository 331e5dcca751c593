#include "tests/sim/cluster/world.h"

void __attribute__((format(printf, 2, 3))) trace(const struct world *w, const char *format, ...)
{
	va_list args;

	if (!w->options.verbose)
		return;
	va_start(args, format);
	fprintf(stderr, "%11.3f ms  ", (double)w->now / (double)MS);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void problem(struct world *w, const char *what)
{
	if (w->problem != NULL)
		return;
	w->problem = what;
	trace(w, "PROBLEM: %s", what);
}

struct session_seen *session_of(struct world *w, uint64_t id)
{
	unsigned i = 0;

	while (i < SESSIONS_MAX && w->sessions[i].id != id && w->sessions[i].id != 0)
		i++;
	if (i == SESSIONS_MAX)
		abort();
	w->sessions[i].id = id;
	return &w->sessions[i];
}

/* ---- chance ---- */

uint64_t chance(struct world *w, uint64_t below)
{
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
	return chance(w, 20) == 0 ? between(w, 1 * MS, 30 * MS) : between(w, 10 * US, 800 * US);
}

/* ---- time ---- */

uint64_t local(const struct world *w, unsigned node)
{
	const struct node *n = &w->nodes[node];

	return n->clock_base + w->now + (uint64_t)((int64_t)(w->now / NS_PER_MSEC) * n->drift);
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

struct event *schedule(struct world *w, uint64_t time, enum event_kind kind, unsigned node)
{
	struct event *event = w->free_events;

	if (event != NULL)
		w->free_events = event->next_free;
	else
		event = malloc(sizeof(*event));
	if (event == NULL)
		abort();
	memset(event, 0, offsetof(struct event, reports));
	event->time = time;
	event->kind = kind;
	event->node = node;
	event->life = node < NODES ? w->nodes[node].life : 0;
	heap_push(w, event);
	return event;
}

void event_free(struct world *w, struct event *event)
{
	buf_unref(event->payload);
	cluster_map_unref(event->map);
	event->next_free = w->free_events;
	w->free_events = event;
}
