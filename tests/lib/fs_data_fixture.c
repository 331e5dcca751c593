#include "tests/lib/fs_data_fixture.h"

#define FILE_BYTES (1u << 20)

struct chunks chunks = {.space = UINT64_MAX};

struct data_file *file_of(uint64_t id)
{
	struct data_file *file = chunks.files;

	while (file != NULL && file->id != id)
		file = file->next;
	if (file != NULL)
		return file;
	file = calloc(1, sizeof(*file));
	file->id = id;
	file->bytes = calloc(1, FILE_BYTES);
	file->next = chunks.files;
	chunks.files = file;
	return file;
}

int data_open(const struct data_options *options, struct data **out, char *error, size_t error_size)
{
	*out = (struct data *)&chunks;
	chunks.options = *options;
	return buf_pool_create(0, &chunks.pool);
}
void data_close(struct data *data, uint64_t timeout_ns)
{
	while (chunks.files != NULL) {
		struct data_file *next = chunks.files->next;

		if (chunks.files->refs != 0)
			fprintf(stderr, "file %llu is still held\n",
				(unsigned long long)chunks.files->id);
		free(chunks.files->bytes);
		free(chunks.files);
		chunks.files = next;
	}
	buf_pool_destroy(chunks.pool);
}
void data_set_map(struct data *data, struct cluster_map *map)
{
}

void data_other_master(struct data *data)
{
}
uint64_t lose(struct data_file *file)
{
	bool dirty = file->dirty;

	file->dirty = false;
	return dirty ? 1 : 0;
}
void data_set_session(struct data *data, uint64_t session_id)
{
	chunks.session = session_id;
}
uint64_t data_lose(struct data_file *file)
{
	return lose(file);
}
uint64_t data_lose_all(struct data *data)
{
	uint64_t lost = 0;

	for (struct data_file *file = chunks.files; file != NULL; file = file->next)
		lost += lose(file);
	return lost;
}
bool data_any_dirty(struct data *data)
{
	return false;
}
struct buf_pool *data_pool(struct data *data)
{
	return chunks.pool;
}
size_t data_unreachable(struct data *data, uint64_t *servers, size_t max)
{
	return 0;
}

uint64_t data_space_left(const struct data *data)
{
	return chunks.space;
}
int data_file_get(struct data *data, uint32_t pool, uint64_t file_id, struct data_file **out)
{
	*out = file_of(file_id);
	(*out)->refs++;
	return 0;
}
void data_file_set_ino(struct data_file *file, uint64_t ino)
{
	file->ino = ino;
}
struct data_file *data_file_ref(struct data_file *file)
{
	file->refs++;
	return file;
}
void data_file_put(struct data_file *file)
{
	file->refs--;
}
/* The object goes on with the new id; the old bytes stay behind under a copy of it. */
void data_file_replace(struct data_file *file, uint64_t file_id)
{
	struct data_file *old = calloc(1, sizeof(*old));

	note("replace");
	old->id = file->id;
	old->bytes = file->bytes;
	old->next = chunks.files;
	chunks.files = old;
	file->id = file_id;
	file->bytes = calloc(1, FILE_BYTES);
	file->dirty = false;
}
void data_file_discard(struct data_file *file)
{
	note("discard");
	file->dirty = false;
}

static void finish_data(bool hold, data_done_fn *done, void *user, int error)
{
	struct held_done *held, **link;

	if (!hold) {
		done(user, error);
		return;
	}
	held = malloc(sizeof(*held));
	*held = (struct held_done){.done = done, .user = user, .error = error};
	for (link = &chunks.held; *link != NULL; link = &(*link)->next)
		;
	*link = held;
}

void release_data(void)
{
	struct held_done *list = chunks.held;

	chunks.held = NULL;
	chunks.hold_flushes = chunks.hold_writes = false;
	chunks.list_error = 0;
	while (list != NULL) {
		struct held_done *next = list->next;

		list->done(list->user, list->error);
		free(list);
		list = next;
	}
}

void data_write_within(struct data_file *file, uint64_t session, uint64_t offset,
		       struct buf *payload, bool through, data_done_fn *done, void *user)
{
	if (session != 0 && session != chunks.session) {
		buf_unref(payload);
		done(user, -EIO);
		return;
	}
	note(through ? "write+through" : "write");
	memcpy(file->bytes + offset, buf_payload(payload), payload->length);
	file->dirty = true;
	buf_unref(payload);
	finish_data(chunks.hold_writes, done, user, chunks.write_error);
}
void data_write(struct data_file *file, uint64_t offset, struct buf *payload, bool through,
		data_done_fn *done, void *user)
{
	data_write_within(file, 0, offset, payload, through, done, user);
}
void data_read(struct data_file *file, uint64_t offset, uint32_t length, uint64_t readahead_end,
	       data_read_fn *done, void *user)
{
	struct iovec iov = {.iov_base = file->bytes + offset, .iov_len = length};

	note("read");
	done(user, 0, &iov, 1);
}
void data_flush(struct data_file *file, bool durable, data_done_fn *done, void *user)
{
	int error = file->error;

	note(durable ? "flush+durable" : "flush");
	file->error = 0;
	file->dirty = false;
	finish_data(chunks.hold_flushes, done, user, error);
}
bool data_dirty(const struct data_file *file)
{
	return file->dirty;
}
void data_flush_all(struct data *data, bool durable, data_done_fn *done, void *user)
{
	done(user, 0);
}
void data_invalidate(struct data_file *file)
{
	note("invalidate");
}
void data_punch_within(struct data_file *file, uint64_t session, uint64_t from, uint64_t to,
		       data_done_fn *done, void *user)
{
	note("punch");
	if (to > FILE_BYTES)
		to = FILE_BYTES;
	memset(file->bytes + from, 0, to - from);
	done(user, 0);
}
void data_seek(struct data_file *file, uint64_t offset, uint64_t size, bool hole,
	       data_seek_fn *done, void *user)
{
	note("seek");
	done(user, 0, size);
}
uint64_t data_chunks(const struct data_file *file, uint64_t size)
{
	return size > 0;
}
size_t data_memory(struct data_file *file)
{
	return file->dirty ? 1 : 0;
}
/* One chunk; its blocks are those that are not zeros. */
void data_list(struct data_file *file, uint32_t from, uint32_t to, uint64_t patience_ns,
	       data_list_fn *done, void *user)
{
	static const uint8_t zeros[BLOCK_SIZE];
	struct data_listed chunk = {0};

	note("list");
	for (size_t at = 0; at < FILE_BYTES; at += BLOCK_SIZE)
		chunk.blocks += memcmp(file->bytes + at, zeros, BLOCK_SIZE) != 0;
	if (chunks.list_misses) {
		chunk.blocks = 0;
		file->dirty = false;
	}
	done(user, chunks.list_error, &chunk, chunks.list_error == 0);
}
