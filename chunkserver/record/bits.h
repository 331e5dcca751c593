/* bits.h - sets of blocks of one piece. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_BITS_H
#define CATENA_CHUNKSERVER_RECORD_BITS_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PIECE_BLOCKS 256u
#define PIECE_SHIFT  8u

/* A set of the blocks of a piece, or of up to 256 blocks of a range. */
struct bits {
	uint64_t w[PIECE_BLOCKS / 64];
};
#define BITS_WORDS (PIECE_BLOCKS / 64)

static inline bool bits_test(const struct bits *b, uint32_t i)
{
	return (b->w[i / 64] >> (i % 64) & 1) != 0;
}

static inline void bits_set(struct bits *b, uint32_t i)
{
	b->w[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void bits_clear(struct bits *b, uint32_t i)
{
	b->w[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline bool bits_any(const struct bits *b)
{
	return (b->w[0] | b->w[1] | b->w[2] | b->w[3]) != 0;
}

static inline uint32_t bits_count(const struct bits *b)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < BITS_WORDS; i++)
		n += (uint32_t)__builtin_popcountll(b->w[i]);
	return n;
}

static inline struct bits bits_and(struct bits a, const struct bits *b)
{
	for (unsigned i = 0; i < BITS_WORDS; i++)
		a.w[i] &= b->w[i];
	return a;
}

static inline struct bits bits_or(struct bits a, const struct bits *b)
{
	for (unsigned i = 0; i < BITS_WORDS; i++)
		a.w[i] |= b->w[i];
	return a;
}

static inline struct bits bits_without(struct bits a, const struct bits *b)
{
	for (unsigned i = 0; i < BITS_WORDS; i++)
		a.w[i] &= ~b->w[i];
	return a;
}

static inline bool bits_equal(const struct bits *a, const struct bits *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* First set bit from @i on, or PIECE_BLOCKS. */
static inline uint32_t bits_next(const struct bits *b, uint32_t i)
{
	while (i < PIECE_BLOCKS) {
		uint64_t word = b->w[i / 64] >> (i % 64);

		if (word != 0)
			return i + (uint32_t)__builtin_ctzll(word);
		i = (i / 64 + 1) * 64;
	}
	return PIECE_BLOCKS;
}

/* Index past the last set bit; 0: none. */
static inline uint32_t bits_end(const struct bits *b)
{
	for (unsigned i = BITS_WORDS; i-- > 0;)
		if (b->w[i] != 0)
			return i * 64 + 64 - (uint32_t)__builtin_clzll(b->w[i]);
	return 0;
}

/* The blocks [first, end) of a chunk that are in piece @index, as a set. */
static inline struct bits bits_range(uint32_t index, uint32_t first, uint32_t end)
{
	struct bits b = {{0}};
	uint32_t base = index * PIECE_BLOCKS;
	uint32_t from = first > base ? first - base : 0;
	uint32_t to = end > base ? end - base : 0;

	for (uint32_t i = from; i < (to < PIECE_BLOCKS ? to : PIECE_BLOCKS); i++)
		bits_set(&b, i);
	return b;
}
#endif
