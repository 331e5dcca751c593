/* data_room.c - who may have how much of the mount's memory.
 *
 * Bytes on their way to a chain that does not answer stay for as long as it does not. So that they
 * do not take everything: one chain has at most half of the write-back memory; chains that are
 * stuck have at most half together, from when that is known; and what they have beyond it (they
 * were faster than we noticed) does not count for the others, which always have half. In the worst
 * case the memory is one and a half times the limit, for a while. */
#include "common/os/clock.h"
#include "fs/data/data_internal.h"
#include "fs/data/data_read.h"
#include "fs/data/data_room.h"
#include "fs/data/data_write.h"

/* So old the count of what is stuck may be. */
#define COUNT_NS (10 * NS_PER_MSEC)
/* Waiting reads and writes are looked at again so often. */
#define LOOK_NS (100 * NS_PER_MSEC)

static void count_stuck(struct data *data)
{
	uint64_t now = chains_client_now(data->chain);
	uint64_t counted = atomic_load_explicit(&data->stuck_ns, memory_order_relaxed);
	size_t sums[2] = {0, 0};

	if (now - counted < COUNT_NS ||
	    !atomic_compare_exchange_strong(&data->stuck_ns, &counted, now))
		return;
	for (uint32_t i = 0; i < CHAINS_SLOTS; i++) {
		const struct data_chain *chain = &data->chains[i];
		size_t reading = atomic_load_explicit(&chain->reading, memory_order_relaxed);
		size_t writing = atomic_load_explicit(&chain->writing, memory_order_relaxed);

		if (reading > 0 && chains_client_stuck(data->chain, i, false))
			sums[0] += reading;
		if (writing > 0 && chains_client_stuck(data->chain, i, true))
			sums[1] += writing;
	}
	atomic_store_explicit(&data->stuck_reading, sums[0], memory_order_relaxed);
	atomic_store_explicit(&data->stuck_writing, sums[1], memory_order_relaxed);
}

static size_t without(size_t all, size_t part)
{
	return part < all ? all - part : 0;
}

enum data_room data_write_room(struct data *data, uint32_t slot, uint32_t length)
{
	size_t used = atomic_load_explicit(&data->write_used, memory_order_relaxed);
	size_t own = atomic_load_explicit(&data->chains[slot].writing, memory_order_relaxed);
	size_t half = data->write_limit / 2, stuck;

	if (used == 0)
		return DATA_ROOM;
	if (own > 0 && own + length > half)
		return chains_client_stuck(data->chain, slot, true) ? DATA_HELD : DATA_FULL;
	if (used + length <= half)
		return DATA_ROOM;
	count_stuck(data);
	stuck = atomic_load_explicit(&data->stuck_writing, memory_order_relaxed);
	if (chains_client_stuck(data->chain, slot, true) &&
	    (stuck + length > half || used + length > data->write_limit))
		return DATA_HELD;
	return used + length <= data->write_limit || without(used, stuck) + length <= half
		       ? DATA_ROOM
		       : DATA_SHORT;
}

size_t data_read_used(struct data *data)
{
	size_t used = atomic_load_explicit(&data->read_used, memory_order_relaxed);

	if (used <= data->read_limit / 2)
		return used;
	count_stuck(data);
	return without(used, atomic_load_explicit(&data->stuck_reading, memory_order_relaxed));
}

bool data_read_room(struct data *data, uint32_t slot, uint32_t length)
{
	size_t used = atomic_load_explicit(&data->read_used, memory_order_relaxed);

	return used == 0 || used + length <= data->read_limit ||
	       data_read_used(data) + length <= data->read_limit / 2 ||
	       chains_client_stuck(data->chain, slot, false);
}

void data_room_tick(struct data *data, uint64_t now)
{
	if (atomic_load_explicit(&data->writes_waiting, memory_order_acquire) == 0 &&
	    atomic_load_explicit(&data->reads_waiting, memory_order_acquire) == 0)
		return;
	chains_client_wake(data->chain, now + LOOK_NS);
	data_writes_admit(data);
	data_reads_admit(data);
}
