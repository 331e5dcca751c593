/* table.c - all links: found without a lock, made under one, never removed. */
#include <stdlib.h>
#include "fs/chains/internal.h"

static struct chains_link *find(struct chains_client *client, uint64_t server_id, uint32_t worker)
{
	struct chains_link *link = atomic_load_explicit(
		&client->buckets[(server_id * 31 + worker) % CHAINS_LINK_BUCKETS],
		memory_order_acquire);

	while (link != NULL && (link->server_id != server_id || link->worker != worker))
		link = link->bucket_next;
	return link;
}

static struct chains_link *link_new(struct chains_client *client, uint64_t server_id,
				    uint32_t worker)
{
	struct chains_link *link = calloc(1, sizeof(*link));

	if (link == NULL)
		return NULL;
	link->client = client;
	link->server_id = server_id;
	link->worker = worker;
	link->loop = client->link_count++ % client->transport->loops;
	link->free_slot = CHAINS_LINK_NO_SLOT;
	link->waiting_end = &link->waiting;
	pthread_mutex_init(&link->lock, NULL);
	return link;
}

struct chains_link *chains_link_get(struct chains_client *client, uint64_t server_id,
				    uint32_t worker, bool make)
{
	_Atomic(struct chains_link *) *bucket =
		&client->buckets[(server_id * 31 + worker) % CHAINS_LINK_BUCKETS];
	struct chains_link *link = find(client, server_id, worker);

	if (link != NULL || !make)
		return link;
	pthread_rwlock_wrlock(&client->lock);
	link = find(client, server_id, worker);
	if (link == NULL) {
		link = link_new(client, server_id, worker);
		if (link != NULL) {
			link->bucket_next = atomic_load_explicit(bucket, memory_order_relaxed);
			link->all_next = atomic_load_explicit(&client->links, memory_order_relaxed);
			atomic_store_explicit(bucket, link, memory_order_release);
			atomic_store_explicit(&client->links, link, memory_order_release);
		}
	}
	pthread_rwlock_unlock(&client->lock);
	return link;
}
