/* timer.c - when the background work of a view goes on. */
#include "chunkserver/chunk/timer.h"
#include "common/os/clock.h"

#define TICK_MS      200u
#define TICK_BUSY_MS 20u
#define TICK_SOON_MS 1u

static void on_timer(uv_timer_t *timer)
{
	struct store_view *view = timer->data;

	view->timer_ms = 0;
	view->tick(view, clock_monotonic_ns());
	timer_start(view);
}

void timer_start(struct store_view *view)
{
	bool busy = !list_empty(&view->migrate) || !list_empty(&view->unlinks) || view->round_due;
	unsigned ms = busy ? TICK_BUSY_MS : TICK_MS;

	if (view->jobs.closing || (!busy && list_empty(&view->dirty)) ||
	    (view->timer_ms != 0 && view->timer_ms <= ms))
		return;
	view->timer_ms = ms;
	uv_timer_start(&view->timer, on_timer, ms, 0);
}

void timer_soon(struct store_view *view)
{
	if (view->jobs.closing || view->timer_ms == TICK_SOON_MS)
		return;
	view->timer_ms = TICK_SOON_MS;
	uv_timer_start(&view->timer, on_timer, 0, 0);
}
