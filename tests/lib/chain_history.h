/* chain_history.h - what clients saw of registers (blocks), and whether that can be.
 *
 * Every write has a value of its own. Without power cuts the history of each register must be
 * linearizable; for registers with unique values that is decided by zones (Gibbons and Korach,
 * 1997). A write that was half in place when its process died, or its disk failed, may be seen from
 * that copy before its client repeats it, and others may have written there by then: it counts as
 * two writes, and a read is of the one or the other by its time. With power cuts a read may also
 * see an older value, but none older than what had been made durable before, and never one that
 * nobody wrote. */
#ifndef CATENA_TESTS_LIB_CHAIN_HISTORY_H
#define CATENA_TESTS_LIB_CHAIN_HISTORY_H
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define NEVER UINT64_MAX

struct entry {
	bool write;
	uint64_t value;        /* 0: never written */
	uint64_t begun, ended; /* NEVER: not answered */
	uint64_t durable;      /* write: acknowledged as durable at; NEVER */
	uint64_t deadline;     /* write: it took effect before or never; 0: whenever */
	bool exposed;          /* write: power was cut after its answer, before it was durable */
	unsigned client;       /* write: whose, from 1 on; 0: not noted */
	bool told;             /* write: its client knows that it may be lost */
	bool committed;        /* write: by some copy, in its place among the others */
	bool halved;           /* write: a copy has begun anew with it half in place */
	uint64_t again_epoch;  /* of the chain in which it was applied again */
	uint64_t again;        /* write: first commit of all, after that; 0: there was none */
	uint64_t perhaps;      /* write: likewise, but copies had it before, which may be lost */
};

struct history {
	struct entry *entries;
	size_t count, size;
};

struct entry *history_add(struct history *history);
struct entry *history_write(const struct history *h, uint64_t value);

/* A copy has begun anew when @value was in place and not committed. */
void history_halved(struct history *h, uint64_t value);
void history_committed(struct history *h, uint64_t value, uint64_t epoch, uint64_t now);

/* A write with a deadline that has been seen ended with that at the latest. */
const char *history_deadlines(const struct history *h);

/* The weaker check: what was durable before a read began is there, or something newer. */
const char *history_durable(const struct history *h);

/* For registers that are also set to 0, any number of times: a read shows no value that was surely
 * overwritten before it began. @only_durable: by something durable. */
const char *history_ordered(const struct history *h, bool only_durable);

/* Whether a copy that has been lost had it in its place nobody knows: either may be. */
const char *history_linearizable(const struct history *h);
void history_print(const struct history *h);
#endif
