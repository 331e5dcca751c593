/* space.c - room on a target's disk. */
#include "chunkserver/disk/space.h"
#include <errno.h>
#include <sys/statvfs.h>
#include "common/base/expects.h"
#include "common/kv/kv.h"
#include "common/os/clock.h"

#define SPACE_FRESH_NS (50 * NS_PER_MSEC)
#define SPACE_FRESH    (4u << 20) /* bytes written until it is asked again */

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
	return v < low ? low : v > high ? high : v;
}

void space_refresh(struct disk *disk, bool now)
{
	uint64_t time = clock_monotonic_ns();
	uint64_t last = atomic_load_explicit(&disk->space.asked_ns, memory_order_relaxed);
	struct statvfs fs;
	uint64_t unit;

	if (!now && time - last < SPACE_FRESH_NS &&
	    atomic_load_explicit(&disk->space.written_since, memory_order_relaxed) < SPACE_FRESH)
		return;
	if (!atomic_compare_exchange_strong(&disk->space.asked_ns, &last, time) && !now)
		return; /* another thread is at it */
	atomic_store(&disk->space.written_since, 0);
	if (fstatvfs(disk->root_fd, &fs) != 0)
		return;
	unit = fs.f_frsize;
	atomic_store(&disk->space.capacity, fs.f_blocks * unit);
	atomic_store(&disk->space.used, (fs.f_blocks - fs.f_bfree) * unit);
	atomic_store(&disk->space.available, fs.f_bavail * unit);
}

uint64_t space_left(const struct disk *disk)
{
	uint64_t available = atomic_load_explicit(&disk->space.available, memory_order_relaxed);
	uint64_t taken = atomic_load_explicit(&disk->space.promised, memory_order_relaxed) +
			 atomic_load_explicit(&disk->space.written_since, memory_order_relaxed);

	return available > taken ? available - taken : 0;
}

int space_promise(struct disk *disk, uint64_t bytes, bool catching_up)
{
	uint64_t floor =
		catching_up ? disk->space.reserve / SPACE_RESERVE_CATCHUP : disk->space.reserve;

	space_refresh(disk, false);
	if (space_left(disk) < floor + bytes || (!catching_up && kv_space_low(disk->kv)))
		return -ENOSPC;
	atomic_fetch_add_explicit(&disk->space.promised, bytes, memory_order_relaxed);
	return 0;
}

void space_release(struct disk *disk, uint64_t promised, uint64_t written)
{
	uint64_t before =
		atomic_fetch_sub_explicit(&disk->space.promised, promised, memory_order_relaxed);

	expects(before >= promised);
	atomic_fetch_add_explicit(&disk->space.written_since, written, memory_order_relaxed);
}

bool space_is_short(const struct disk *disk)
{
	return space_left(disk) < 2 * disk->space.reserve;
}

void space_start(struct disk *disk)
{
	space_refresh(disk, true);
	disk->space.reserve = clamp(atomic_load(&disk->space.capacity) / SPACE_RESERVE_PART,
				    SPACE_RESERVE_MIN, SPACE_RESERVE_MAX);
}

void space_tell(struct disk *disk, uint64_t *capacity, uint64_t *used, uint64_t *free_bytes)
{
	uint64_t left;

	space_refresh(disk, false);
	left = space_left(disk);
	*capacity = atomic_load(&disk->space.capacity);
	*used = atomic_load(&disk->space.used);
	*free_bytes = left > disk->space.reserve ? left - disk->space.reserve : 0;
}

bool space_is_full(struct disk *disk)
{
	space_refresh(disk, false);
	return space_left(disk) < disk->space.reserve || kv_space_low(disk->kv);
}

bool space_is_low(struct disk *disk, bool was)
{
	uint64_t capacity, used, left, limit;

	if (space_is_full(disk))
		return true;
	space_tell(disk, &capacity, &used, &left);
	limit = capacity / SPACE_LOW_PART < SPACE_LOW_MAX ? capacity / SPACE_LOW_PART
							  : SPACE_LOW_MAX;
	return left < (was ? 2 * limit : limit);
}
