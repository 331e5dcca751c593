#include "chunkserver/worker/copy_rate.h"
#include "common/os/clock.h"

/* A window's word: the low bits of its number above, its bytes below. */
#define BYTES_BITS 40u
#define BYTES_MASK ((UINT64_C(1) << BYTES_BITS) - 1)

static uint64_t window_number(uint64_t now_ns)
{
	return now_ns / (NS_PER_SEC / COPY_RATE_WINDOWS);
}

static uint64_t window_word(uint64_t number, uint64_t bytes)
{
	return number << BYTES_BITS | (bytes < BYTES_MASK ? bytes : BYTES_MASK);
}

void copy_rate_set(struct copy_rate *rate, uint64_t bytes_per_second, bool paused)
{
	atomic_store(&rate->rate, bytes_per_second);
	atomic_store(&rate->paused, paused);
	atomic_store(&rate->spent_until_ns, 0);
}

static void tell(struct copy_rate *rate, struct copy_rate_client *client, uint64_t now_ns)
{
	uint64_t number = window_number(now_ns);
	_Atomic uint64_t *window = &rate->windows[number % COPY_RATE_WINDOWS];
	uint64_t old = atomic_load_explicit(window, memory_order_relaxed), next;
	uint64_t bytes = client->untold;

	*client = (struct copy_rate_client){.told_ns = now_ns};
	atomic_store_explicit(&rate->asked_ns, now_ns, memory_order_relaxed);
	if (bytes == 0)
		return;
	do {
		bool same = old >> BYTES_BITS == window_word(number, 0) >> BYTES_BITS;

		next = window_word(number, (same ? old & BYTES_MASK : 0) + bytes);
	} while (!atomic_compare_exchange_weak_explicit(window, &old, next, memory_order_relaxed,
							memory_order_relaxed));
}

void copy_rate_count(struct copy_rate *rate, struct copy_rate_client *client, uint64_t now_ns,
		     uint64_t bytes)
{
	client->untold += bytes;
	if (client->told_ns == 0 || now_ns - client->told_ns >= COPY_RATE_TELL_NS)
		tell(rate, client, now_ns);
}

void copy_rate_tell(struct copy_rate *rate, struct copy_rate_client *client, uint64_t now_ns)
{
	if (client->untold != 0)
		tell(rate, client, now_ns);
}

/* Bytes of the last second, the window that has just begun included. */
static uint64_t clients_moved(struct copy_rate *rate, uint64_t now_ns)
{
	uint64_t number = window_number(now_ns), sum = 0;

	for (uint64_t i = 0; i < COPY_RATE_WINDOWS && i <= number; i++) {
		uint64_t word = atomic_load_explicit(
			&rate->windows[(number - i) % COPY_RATE_WINDOWS], memory_order_relaxed);

		if (word >> BYTES_BITS == window_word(number - i, 0) >> BYTES_BITS)
			sum += word & BYTES_MASK;
	}
	return sum;
}

/* Bytes a second; 0: no limit. */
static uint64_t rate_now(struct copy_rate *rate, uint64_t now_ns)
{
	uint64_t set = atomic_load_explicit(&rate->rate, memory_order_relaxed);
	uint64_t asked = atomic_load_explicit(&rate->asked_ns, memory_order_relaxed), share;

	if (set != 0)
		return set;
	/* Another thread's clock may be a little ahead. */
	if (asked == 0 || (now_ns > asked && now_ns - asked >= COPY_RATE_IDLE_NS))
		return 0;
	share = clients_moved(rate, now_ns) / COPY_RATE_SHARE;
	return share > COPY_RATE_LEAST ? share : COPY_RATE_LEAST;
}

bool copy_rate_take(struct copy_rate *rate, uint64_t now_ns, uint32_t bytes)
{
	uint64_t limit, old, from;

	if (atomic_load_explicit(&rate->paused, memory_order_relaxed))
		return false;
	limit = rate_now(rate, now_ns);
	if (limit == 0)
		return true;
	old = atomic_load_explicit(&rate->spent_until_ns, memory_order_relaxed);
	do {
		from = old > now_ns ? old : now_ns;
		if (from - now_ns > COPY_RATE_BURST_NS)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&rate->spent_until_ns, &old, from + bytes * NS_PER_SEC / limit,
		memory_order_relaxed, memory_order_relaxed));
	return true;
}
