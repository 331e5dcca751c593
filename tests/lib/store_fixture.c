#include "tests/lib/store_fixture.h"

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void on_alive(uv_timer_t *timer)
{
}

int fixture_open(struct fixture *f)
{
	struct store_options options = {.path = f->dir, .cluster = "test", .pool = f->pool};
	int rc = store_open_on(&options, f->kv, &f->store, f->error, sizeof(f->error));

	if (rc != 0)
		return rc;
	uv_timer_init(&f->loop, &f->alive);
	uv_timer_start(&f->alive, on_alive, 1000, 1000);
	return store_view_open(f->store, &f->loop, &f->view);
}

void fixture_close(struct fixture *f)
{
	store_view_close(f->view);
	uv_close((uv_handle_t *)&f->alive, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	store_close(f->store);
	f->view = NULL;
	f->store = NULL;
}

int fixture_reopen(struct fixture *f)
{
	fixture_close(f);
	return fixture_open(f);
}

int fixture_start(struct fixture *f, bool memory)
{
	const char *tmp = getenv("TMPDIR");
	int rc;

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%s/store_test.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(f->dir) == NULL)
		return -errno;
	rc = buf_pool_create(0, &f->pool);
	if (rc == 0)
		rc = store_init(f->dir, "test", f->error, sizeof(f->error));
	if (rc == 0 && memory)
		rc = kv_open_memory(db_families, FAMILY_COUNT, &f->kv);
	uv_loop_init(&f->loop);
	return rc != 0 ? rc : fixture_open(f);
}

void fixture_end(struct fixture *f)
{
	if (f->view != NULL)
		fixture_close(f);
	kv_close(f->kv);
	uv_loop_close(&f->loop);
	buf_pool_destroy(f->pool);
	remove_tree(f->dir);
}

uint32_t test_pool = 1;

struct chunk_key test_key(uint32_t index)
{
	return (struct chunk_key){
		.pool = test_pool, .partition = 7, .file_id = 1000, .index = index};
}

void fill_random(uint8_t *data, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		data[i] = (uint8_t)(seed >> 56);
	}
}

/* ---- calls that wait ---- */

void run_until(struct fixture *f, const bool *done)
{
	while (!*done)
		uv_run(&f->loop, UV_RUN_ONCE);
}

static void on_timeout(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
	uv_close((uv_handle_t *)timer, NULL);
}

void run_for(struct fixture *f, uint64_t ms)
{
	bool over = false;
	uv_timer_t timer;

	uv_timer_init(&f->loop, &timer);
	timer.data = &over;
	uv_timer_start(&timer, on_timeout, ms, 0);
	while (!over || uv_is_active((uv_handle_t *)&timer))
		uv_run(&f->loop, UV_RUN_ONCE);
	uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void update_done(struct store_update *update, int error)
{
	struct waited *w = update->user;

	w->done = true;
	w->error = error;
}

struct buf *payload_of(struct fixture *f, const void *data, uint32_t offset, uint32_t length)
{
	struct buf *buf = buf_get(f->pool, length);

	buf->start = offset % BLOCK_SIZE;
	buf->length = length;
	memcpy(buf_payload(buf), data, length);
	block_checksums(data, offset, length, buf->crcs);
	return buf;
}

void update_fill(struct store_update *u, struct waited *w, enum store_op op,
		 const struct chunk_key *key, uint32_t offset, uint32_t length, uint64_t version)
{
	memset(u, 0, sizeof(*u));
	memset(w, 0, sizeof(*w));
	u->op = op;
	u->key = *key;
	u->offset = offset;
	u->length = length;
	u->epoch = 1;
	u->version = version;
	u->client_id = 99;
	u->op_id = version;
	u->done = update_done;
	u->user = w;
}

int prepare_wait(struct fixture *f, struct store_update *u)
{
	struct waited *w = u->user;

	store_prepare(f->view, u);
	run_until(f, &w->done);
	return w->error;
}

int do_update(struct fixture *f, enum store_op op, const struct chunk_key *key, uint32_t offset,
	      uint32_t length, const void *data, uint64_t version)
{
	struct store_update u;
	struct waited w;
	int rc;

	update_fill(&u, &w, op, key, offset, length, version);
	if (op == STORE_WRITE)
		u.payload = payload_of(f, data, offset, length);
	rc = prepare_wait(f, &u);
	buf_unref(u.payload);
	return rc != 0 ? rc : store_commit(f->view, &u);
}

int do_write(struct fixture *f, const struct chunk_key *key, uint32_t offset, const void *data,
	     uint32_t length, uint64_t version)
{
	return do_update(f, STORE_WRITE, key, offset, length, data, version);
}

int do_next_write(struct fixture *f, const struct chunk_key *key, uint32_t offset, const void *data,
		  uint32_t length, uint64_t version)
{
	struct store_update u;
	struct waited w;
	int rc;

	update_fill(&u, &w, STORE_WRITE, key, offset, length, version);
	u.answered = version - 1;
	u.payload = payload_of(f, data, offset, length);
	rc = prepare_wait(f, &u);
	buf_unref(u.payload);
	return rc != 0 ? rc : store_commit(f->view, &u);
}

static void read_done(struct store_read *read, int error, uint32_t length, uint64_t version)
{
	struct waited *w = read->user;

	*w = (struct waited){.done = true, .error = error, .length = length, .version = version};
}

int do_read(struct fixture *f, const struct chunk_key *key, uint32_t offset, uint32_t length,
	    bool verify, uint8_t *out, uint32_t *got)
{
	struct waited w = {0};
	struct store_read read = {.key = *key,
				  .offset = offset,
				  .length = length,
				  .verify = verify,
				  .done = read_done,
				  .user = &w,
				  .into = buf_get(f->pool, length)};
	int rc;

	store_read(f->view, &read);
	run_until(f, &w.done);
	rc = w.error;
	memset(out, 0, length);
	if (rc == 0) {
		memcpy(out, read.into->data, w.length);
		if (block_checksums_verify(out, offset, w.length, read.into->crcs) >= 0)
			rc = -EILSEQ; /* what a client would find */
	}
	if (got != NULL)
		*got = w.length;
	buf_unref(read.into);
	return rc;
}

void flush_done(struct store_flush *flush, int error)
{
	struct waited *w = flush->user;

	w->done = true;
	w->error = error;
}

int do_flush(struct fixture *f, const struct chunk_key *key)
{
	struct waited w = {0};
	struct store_flush flush = {.key = *key, .done = flush_done, .user = &w};

	store_flush(f->view, &flush);
	run_until(f, &w.done);
	return w.error;
}

void remove_done(void *user, int error)
{
	struct waited *w = user;

	w->done = true;
	w->error = error;
}

int do_flush_partition(struct fixture *f, const struct chunk_key *key)
{
	struct waited w = {0};

	store_flush_partition(f->view, key->pool, key->partition, remove_done, &w);
	run_until(f, &w.done);
	return w.error;
}

int do_remove(struct fixture *f, const struct chunk_key *keys, size_t count)
{
	struct waited w = {0};

	store_remove(f->view, keys, count, remove_done, &w);
	run_until(f, &w.done);
	return w.error;
}

void file_path(const struct fixture *f, const struct chunk_key *key, char *out, size_t size)
{
	char name[3 + 2 * CHUNK_KEY_BYTES + 1];

	file_name(key, name);
	snprintf(out, size, "%s/chunks/%s", f->dir, name);
}
