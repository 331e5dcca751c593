/* writeback_group.c - who waits for what: groups of dirty extents in the order of acceptance. */
#include <errno.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "fs/writeback/writeback_group.h"

static struct writeback_group *newest(const struct writeback *wb)
{
	return wb->oldest == NULL ? NULL : wb->oldest->prev;
}

int writeback_group_open(struct writeback *wb, bool through, struct writeback_group **out)
{
	struct writeback_group *group = newest(wb);

	if (!through && group != NULL && !group->closed) {
		*out = group;
		return 0;
	}
	group = calloc(1, sizeof(*group));
	if (group == NULL)
		return -ENOMEM;
	if (wb->oldest != NULL)
		newest(wb)->closed = true;
	group->sequence = ++wb->group_sequence;
	group->through = through;
	group->closed = through;
	DL_APPEND(wb->oldest, group);
	/* It may stay empty: everything may go to older groups. */
	wb->unsettled = true;
	*out = group;
	return 0;
}

void writeback_group_leave(struct writeback *wb, struct writeback_group *group)
{
	expects(group->pending > 0);
	group->pending--;
	if (group->pending == 0)
		wb->unsettled = true;
}

struct writeback_group *writeback_group_older(struct writeback_group *a, struct writeback_group *b)
{
	struct writeback_group *older = a->sequence <= b->sequence ? a : b;
	struct writeback_group *newer = older == a ? b : a;

	if (older != newer)
		for (struct writeback_wait *wait = newer->waits; wait != NULL; wait = wait->next)
			wait->prefix = true;
	return older;
}

void writeback_group_fail(struct writeback *wb, struct writeback_group *group, int error)
{
	if (!group->through && wb->error == 0)
		wb->error = error;
	for (struct writeback_group *g = group; g != NULL; g = g->next)
		for (struct writeback_wait *wait = g->waits; wait != NULL; wait = wait->next)
			if (wait->error == 0 && (g == group || wait->prefix))
				wait->error = error;
}

void writeback_group_wait(struct writeback *wb, struct writeback_group *group,
			  struct writeback_wait *wait)
{
	group->closed = true;
	wait->next = group->waits;
	group->waits = wait;
	if (group->pending == 0)
		wb->unsettled = true;
}

static void fire(struct writeback *wb, struct writeback_wait *wait)
{
	wait->next = NULL;
	*wb->fired_end = wait;
	wb->fired_end = &wait->next;
}

static void fire_waits(struct writeback *wb, struct writeback_group *group, bool prefix_too)
{
	struct writeback_wait **at = &group->waits;

	while (*at != NULL) {
		struct writeback_wait *wait = *at;

		if (wait->prefix && !prefix_too) {
			at = &wait->next;
			continue;
		}
		*at = wait->next;
		fire(wb, wait);
	}
}

static void group_free(struct writeback *wb, struct writeback_group *group)
{
	expects(group->pending == 0 && group->waits == NULL);
	DL_DELETE(wb->oldest, group);
	free(group);
}

void writeback_group_settle(struct writeback *wb)
{
	struct writeback_group *group, *next;
	bool all_before = true;

	if (!wb->unsettled)
		return;
	wb->unsettled = false;
	for (group = wb->oldest; group != NULL; group = next) {
		next = group->next;
		if (group->pending > 0) {
			all_before = false;
			continue;
		}
		fire_waits(wb, group, all_before);
		/* An empty group may still be named by nobody: all that is left are its waits. */
		if (group->closed && group->waits == NULL)
			group_free(wb, group);
	}
}

int writeback_wait(struct writeback *wb, struct writeback_wait *wait)
{
	struct writeback_group *group = newest(wb);
	int rc;

	wait->next = NULL;
	wait->prefix = true;
	wait->error = 0;
	if (group == NULL) {
		rc = writeback_group_open(wb, false, &group);
		if (rc < 0)
			return rc;
	}
	writeback_group_wait(wb, group, wait);
	/* Even an empty group goes through settle(), which knows what is before it. */
	wb->unsettled = true;
	writeback_group_settle(wb);
	return 0;
}

struct writeback_wait *writeback_fired(struct writeback *wb)
{
	struct writeback_wait *fired = wb->fired;

	wb->fired = NULL;
	wb->fired_end = &wb->fired;
	return fired;
}

int writeback_take_error(struct writeback *wb)
{
	int error = wb->error;

	wb->error = 0;
	return error;
}
