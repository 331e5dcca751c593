#include "chunkserver/server/leaving.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "server"

#define LOOK_MS 20u

void leaving_open(struct leaving *leaving, uv_loop_t *loop, bool (*may_go)(void *owner),
		  void *owner)
{
	*leaving = (struct leaving){.may_go = may_go, .owner = owner};
	uv_timer_init(loop, &leaving->timer);
	leaving->timer.data = leaving;
}

static void on_timer(uv_timer_t *timer)
{
	struct leaving *leaving = timer->data;
	bool late = clock_monotonic_ns() >= leaving->until_ns;

	if (!late && !leaving->may_go(leaving->owner))
		return;
	if (late)
		log_warn("stopping although the master has not let others take over");
	uv_timer_stop(timer);
	leaving->left(leaving->user);
}

void leaving_start(struct leaving *leaving, uint64_t timeout_ns, void (*left)(void *user),
		   void *user)
{
	expects(leaving->until_ns == 0);
	leaving->left = left;
	leaving->user = user;
	leaving->until_ns = clock_monotonic_ns() + timeout_ns;
	uv_timer_start(&leaving->timer, on_timer, 0, LOOK_MS);
}

bool leaving_has_begun(const struct leaving *leaving)
{
	return leaving->until_ns != 0;
}

void leaving_close(struct leaving *leaving)
{
	uv_close((uv_handle_t *)&leaving->timer, NULL);
}
