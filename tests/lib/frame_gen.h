/* frame_gen.h - random headers that a correct peer may send, for tests of the frame codec. */
#ifndef CATENA_TESTS_LIB_FRAME_GEN_H
#define CATENA_TESTS_LIB_FRAME_GEN_H
#include <errno.h>
#include "common/net/frame.h"
#include "common/net/hello.h"
#include "tests/lib/fuzz.h"

struct frame_header gen_header(uint64_t *state);
bool gen_equal(const struct frame_header *a, const struct frame_header *b);
#endif
