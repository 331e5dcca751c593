/* world.h - a mount's data plane over fake_chain.h, and calls that wait in virtual time. */
#ifndef CATENA_TESTS_SIM_DATA_WORLD_H
#define CATENA_TESTS_SIM_DATA_WORLD_H
#include "fs/data/data_internal.h"
#include "tests/lib/fake_chain.h"

#define MIB (1u << 20)
#define SEC (1000 * FAKE_MS)

struct world {
	struct fake *fake;
	struct data *data;
};

void publish(struct world *w);
void world_open(struct world *w, uint64_t seed, uint64_t memory, uint64_t soft_ns);
void run_for(struct world *w, uint64_t ns);

/* True: the pool has got everything back. Takes the data apart without data_close(), which would
 * wait for this very thread. */
bool world_close(struct world *w);

/* The same at the end of a case: it fails if anything was broken. When the case itself has failed
 * the world is left as it is. Its files may be open then, and requests under way: data_close()
 * would wait for them for ever. */
void world_end(struct world *w);

/* A case for cmocka, as cmocka_unit_test_setup_teardown(), that tells world_end() whether it has
 * failed. */
#define WORLD_CASE(name, setup, teardown)                                                          \
	{                                                                                          \
#name, world_run_case, setup, teardown, (void *)(name)                             \
	}
void world_run_case(void **state);

struct result {
	bool done;
	int error;
	uint64_t value;
	uint8_t *bytes;
	uint32_t length;
};

void on_done(void *user, int error);
void on_seek(void *user, int error, uint64_t value);
void on_read(void *user, int error, const struct iovec *iov, int count);
bool wait_for(struct world *w, const struct result *r, uint64_t ns);
struct buf *filled(struct world *w, uint32_t length, uint8_t fill);
struct data_file *open_file(struct world *w, uint64_t id);
int write_now(struct world *w, struct data_file *file, uint64_t offset, uint32_t length,
	      uint8_t fill);
int flush_now(struct world *w, struct data_file *file, bool durable);
int read_now(struct world *w, struct data_file *file, uint64_t offset, uint32_t length,
	     uint8_t *bytes);
bool all_are(const uint8_t *bytes, size_t size, uint8_t value);
#endif
