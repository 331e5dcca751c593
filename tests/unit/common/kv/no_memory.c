#include "tests/unit/common/kv/no_memory.h"

static _Thread_local long calls_left;
static _Thread_local bool met;

void no_memory_at(long nth)
{
	calls_left = nth;
	met = false;
}

bool no_memory_met(void)
{
	return met;
}

static bool fails(void)
{
	if (calls_left == 0 || --calls_left > 0)
		return false;
	met = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}
