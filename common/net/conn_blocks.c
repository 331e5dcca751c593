/* conn_blocks.c - the recycled blocks in which all connections gather and read ciphertext. */
#include <stdlib.h>
#include "common/net/conn_internal.h"

/* More than this many idle blocks are given back to the system. */
#define IDLE_MAX 32

/* Last in, first out: the block most likely still in this core's cache. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *idle[IDLE_MAX];
static unsigned idle_count;

uint8_t *conn_block_get(void)
{
	uint8_t *block = NULL;

	pthread_mutex_lock(&lock);
	if (idle_count > 0)
		block = idle[--idle_count];
	pthread_mutex_unlock(&lock);
	if (block == NULL)
		block = malloc(CONN_BLOCK_BYTES);
	return block;
}

void conn_block_put(uint8_t *block)
{
	if (block == NULL)
		return;
	pthread_mutex_lock(&lock);
	if (idle_count < IDLE_MAX) {
		idle[idle_count++] = block;
		block = NULL;
	}
	pthread_mutex_unlock(&lock);
	free(block);
}
