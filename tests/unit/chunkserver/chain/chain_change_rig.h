/* chain_change_rig.h - one chain member in chains that change; see chain_rig.h. The test is the
 * master, too. */
#ifndef CATENA_TESTS_UNIT_CHUNKSERVER_CHAIN_CHAIN_CHANGE_RIG_H
#define CATENA_TESTS_UNIT_CHUNKSERVER_CHAIN_CHAIN_CHANGE_RIG_H
#include "common/base/bitmap.h"
#include "tests/unit/chunkserver/chain/chain_rig.h"

enum { A = 1, B, C, D };

struct place {
	uint32_t target;
	enum member_state state;
};

#define IN  MEMBER_IN_SYNC
#define SYN MEMBER_SYNCING
#define OUT MEMBER_OFFLINE

/* The chain is what @places say, and the member is on target @self. Server ids are target ids. */
void change(struct rig *rig, uint64_t epoch, uint32_t self, unsigned count,
	    const struct place *places);

#define CHANGE(rig, epoch, self, ...)                                                              \
	change(rig, epoch, self, sizeof((struct place[]){__VA_ARGS__}) / sizeof(struct place),     \
	       (struct place[]){__VA_ARGS__})

struct rig *alone(uint32_t self);

/* A head whose successor D is syncing, with @chunks equal chunks there. */
struct rig *with_syncing(unsigned chunks);
uint64_t writes_to(struct rig *rig, uint64_t file_id, uint64_t op_id);
uint8_t last_sent(const struct rig *rig);
int sent_kind(const struct rig *rig);
void forget_sent(struct rig *rig);

/* The answer to a comparison: bit 0 says whether the first record differs. */
void compared(struct rig *rig, uint8_t bits);
#endif
