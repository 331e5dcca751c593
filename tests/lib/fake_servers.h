/* fake_servers.h - what the chunkservers of fake_chain.h do with the frames they get; part of it.
 */
#ifndef CATENA_TESTS_LIB_FAKE_SERVERS_H
#define CATENA_TESTS_LIB_FAKE_SERVERS_H
#include "common/base/bitmap.h"
#include "tests/lib/fake_chain.h"

struct fake_chunk *fake_chunk_get(struct fake *f, const struct chunk_key *key);
void fake_update_free(struct fake_update *u);
void fake_commit(struct fake *f, struct fake_chunk *chunk);
void fake_frame_arrives(struct fake_conn *conn, const struct frame_header *h, struct buf *payload);
#endif
