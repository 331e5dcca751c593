/* kept_gen.h - segments of a kept log, put together by hand. */
#ifndef CATENA_TESTS_LIB_KEPT_GEN_H
#define CATENA_TESTS_LIB_KEPT_GEN_H
#include "master/kept/format.h"

#define KEPT_GEN_MAX 65536u

struct kept_gen {
	uint8_t bytes[KEPT_GEN_MAX];
	size_t size;
};

/* A head, for entries behind @index. */
void kept_gen_head(struct kept_gen *gen, uint64_t index);
void kept_gen_entry(struct kept_gen *gen, uint64_t index, const void *entry, size_t size);
/* A result with numbers made of the index. */
void kept_gen_result(struct kept_gen *gen, uint64_t index);
void kept_gen_undone(struct kept_gen *gen, uint64_t index);
/* The trace of kept_gen_result(). */
struct log_trace kept_gen_trace(uint64_t index);
#endif
