#include "chunkserver/base/chain_faults.h"

#ifdef CHAIN_PLANTED_FAULTS
enum chain_fault chain_planted_fault;
#else
_Static_assert(!FAULTY(FORGET_LOSS), "no fault without a plant");
#endif
