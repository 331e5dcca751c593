/* keeper.c - see keeper.h.
 *
 * A segment is begun before the first entry of a batch, when the store has all entries before it. Its
 * checkpoint is made by a thread, without the state lock: it is of some later entry, and says which.
 * So it takes no time of those who apply entries, but some of the disk's.
 *
 * A process that was killed has written whole records only, and maybe a part of the last one. What a
 * power cut leaves is looked at when the next keeper begins (resume.h). */
#define LOG_MODULE "kept"
#include "master/kept/keeper.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/periodic_thread.h"
#include "master/kept/directory.h"
#include "master/kept/format.h"
#include "master/kept/resume.h"
#include "master/log/log_hash.h"

/* A checkpoint for each of them: of so much of what is kept, a little more is kept than is asked. */
#define SEGMENTS_KEPT 4u
#define RETRY_NS      (60 * NS_PER_SEC)
#define LOOK_NS       NS_PER_SEC

struct place {
	uint64_t index;
	uint8_t hash[LOG_HASH_BYTES];
};

struct keeper {
	struct keeper_options options;
	struct command_keeper interface;
	char *path;
	int dir_fd;
	struct periodic_thread *thread;

	/* With the state lock, as all that is written. */
	int fd; /* -1: nothing is written now */
	uint64_t size;
	uint64_t retry_ns;
	struct log_hash *hash;
	bool in_batch, in_entry, continues;
	struct place before, last; /* before the batch; the last result */
	uint8_t result[KEPT_RESULT_BYTES];
	size_t result_size; /* of the last entry's result, to be written with what comes next */

	_Atomic uint32_t number; /* of the last segment */
	_Atomic uint32_t run;    /* of the first of its run */
	atomic_bool writing, space_low;

	uint64_t checkpoint_ns; /* the thread's: not again before */
};

/* ---- writing ---- */

/* Ends the run: what comes next would have a gap before it. */
static void give_up(struct keeper *keeper, const char *what, int error)
{
	if (keeper->fd < 0)
		return;
	log_error("%s, and the log is not kept for a while; the master is not concerned "
		  "error=\"%s\" again_after=60s",
		  what, strerror(-error));
	/* A part of a record may be there. */
	if (ftruncate(keeper->fd, (off_t)keeper->size) != 0)
		log_warn("the kept log cannot be cut error=\"%s\"", strerror(errno));
	close(keeper->fd);
	keeper->fd = -1;
	keeper->in_entry = false;
	keeper->result_size = 0;
	keeper->continues = false;
	keeper->retry_ns = clock_monotonic_ns() + RETRY_NS;
	atomic_store(&keeper->writing, false);
}

static void write_parts(struct keeper *keeper, struct iovec *parts, int count)
{
	size_t size = 0;
	ssize_t n;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	n = writev(keeper->fd, parts, count);
	if (n < 0 || (size_t)n != size)
		give_up(keeper, "the kept log cannot be written", n < 0 ? -errno : -ENOSPC);
	else
		keeper->size += size;
}

/* Writes the result that waits, and what comes behind it. */
static void write_with_result(struct keeper *keeper, const void *head, size_t head_size,
			      const void *body, size_t body_size)
{
	struct iovec parts[3] = {
		{.iov_base = keeper->result, .iov_len = keeper->result_size},
		{.iov_base = (void *)(uintptr_t)head, .iov_len = head_size},
		{.iov_base = (void *)(uintptr_t)body, .iov_len = body_size},
	};

	write_parts(keeper, parts, 3);
	keeper->result_size = 0;
}

/* ---- segments ---- */

static int write_head(struct keeper *keeper, int fd, bool begins)
{
	const struct state *state = keeper->options.state;
	struct kept_head head = {.instance = state_instance(state),
				 .index = keeper->last.index,
				 .time = clock_realtime_ns(),
				 .begins = begins,
				 .level = state_level(state)};
	uint8_t bytes[KEPT_HEAD_BYTES];
	struct state_life life;
	ssize_t n;

	state_life(state, &life);
	head.life = life.number;
	head.chance = life.chance;
	memcpy(head.hash, keeper->last.hash, LOG_HASH_BYTES);
	snprintf(head.cluster, sizeof(head.cluster), "%s", state_cluster(state));
	kept_write_head(&head, bytes);
	n = write(fd, bytes, sizeof(bytes));
	if (n == (ssize_t)sizeof(bytes))
		return 0;
	return n < 0 ? -errno : -ENOSPC;
}

/* Begins a segment behind @keeper->last. The one before is whole then. */
static void begin_segment(struct keeper *keeper, bool begins)
{
	uint32_t number = atomic_load(&keeper->number) + 1;
	char name[KEPT_NAME_MAX];
	int fd, rc;

	kept_entries_name(number, name);
	fd = openat(keeper->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : write_head(keeper, fd, begins);
	if (rc != 0) {
		static struct log_rate rate;

		if (log_rate_ok(&rate, 1))
			log_error("no segment of the kept log can be begun file=%s/%s error=\"%s\"",
				  keeper->path, name, strerror(-rc));
		if (fd >= 0) {
			close(fd);
			(void)unlinkat(keeper->dir_fd, name, 0);
		}
		give_up(keeper, "the kept log cannot go on", rc);
		keeper->retry_ns = clock_monotonic_ns() + RETRY_NS;
		return;
	}
	if (keeper->fd >= 0)
		close(keeper->fd);
	keeper->fd = fd;
	keeper->size = KEPT_HEAD_BYTES;
	if (begins)
		atomic_store(&keeper->run, number);
	atomic_store(&keeper->number, number);
	atomic_store(&keeper->writing, true);
	periodic_thread_kick(keeper->thread);
}

/* Before the first entry of a batch: the store has all that was applied before, up to @applied. */
static void begin_batch(struct keeper *keeper, uint64_t applied)
{
	if (keeper->fd >= 0 && atomic_load(&keeper->space_low))
		give_up(keeper, "the disk of the store is nearly full", -ENOSPC);
	if (keeper->fd >= 0 && keeper->last.index != applied)
		give_up(keeper, "entries were applied that are not in the kept log", -ENOENT);
	if (keeper->fd < 0 &&
	    (clock_monotonic_ns() < keeper->retry_ns || atomic_load(&keeper->space_low)))
		return;
	if (keeper->fd < 0 && (!keeper->continues || keeper->last.index != applied)) {
		keeper->continues = false;
		keeper->last = (struct place){.index = applied};
	}
	log_hash_continue(keeper->hash, keeper->last.hash);
	if (keeper->fd < 0)
		begin_segment(keeper, !keeper->continues);
	else if (keeper->size >= keeper->options.bytes / SEGMENTS_KEPT)
		begin_segment(keeper, false);
	keeper->before = keeper->last;
}

/* Marks the entries above @index as undone. */
static void write_mark(struct keeper *keeper, uint64_t index)
{
	uint8_t mark[KEPT_MARK_BYTES];

	kept_write_undone(index, mark);
	write_with_result(keeper, mark, sizeof(mark), NULL, 0);
}

/* ---- what is told ---- */

static void on_entry(void *user, uint64_t index, const struct log_command *command)
{
	struct keeper *keeper = user;
	uint8_t frame[KEPT_ENTRY_FRAME], *bytes;
	size_t size;
	int rc;

	if (!keeper->in_batch)
		begin_batch(keeper, index - 1);
	keeper->in_batch = true;
	if (keeper->fd < 0)
		return;
	if (keeper->in_entry)
		write_mark(keeper, index - 1);
	if (keeper->fd < 0)
		return;
	rc = entry_encode(command, index, &bytes, &size);
	if (rc != 0) {
		give_up(keeper, "an entry cannot be encoded", rc);
		return;
	}
	kept_write_entry(index, bytes, size, frame);
	write_with_result(keeper, frame, sizeof(frame), bytes, size);
	keeper->in_entry = keeper->fd >= 0;
	if (keeper->in_entry)
		log_hash_begin(keeper->hash, bytes, size);
	free(bytes);
}

static void on_applied(void *user, uint64_t index, int status, const struct command_result *result)
{
	struct keeper *keeper = user;
	struct log_trace trace;
	int rc;

	if (!keeper->in_entry)
		return;
	keeper->in_entry = false;
	rc = log_hash_end(keeper->hash, status, result, &trace);
	if (rc != 0) {
		give_up(keeper, "the hash of an entry cannot be made", rc);
		return;
	}
	keeper->last.index = index;
	memcpy(keeper->last.hash, trace.hash, LOG_HASH_BYTES);
	kept_write_result(index, &trace, keeper->result);
	keeper->result_size = sizeof(keeper->result);
}

static void on_commit(void *user)
{
	struct keeper *keeper = user;

	keeper->in_batch = false;
	if (keeper->fd >= 0 && keeper->result_size != 0)
		write_with_result(keeper, NULL, 0, NULL, 0);
}

static void on_undone(void *user, uint64_t index)
{
	struct keeper *keeper = user;
	bool whole = !keeper->in_entry && keeper->last.index == index;
	bool one = keeper->in_entry && keeper->last.index == index;

	/* If it is one behind others another takes its place, and the batch goes on. */
	keeper->in_batch = keeper->in_batch && index > keeper->before.index;
	keeper->in_entry = false;
	if (keeper->fd < 0 || whole)
		return;
	if (!one && keeper->before.index != index) {
		give_up(keeper, "the store has lost entries of several batches", -EIO);
		return;
	}
	write_mark(keeper, index);
	if (!one)
		keeper->last = keeper->before;
}

static void on_changes(void *user, const struct kv_batch *batch)
{
	struct keeper *keeper = user;

	if (keeper->in_entry)
		log_hash_changes(keeper->hash, batch);
}

/* ---- the thread ---- */

/* True when a checkpoint is to be made for the last segment: without one of its run nothing can be
 * applied again; and one for so much of entries at least. */
static bool wants_checkpoint(const struct keeper *keeper, const struct kept_part *parts,
			     size_t count, uint32_t run)
{
	uint64_t since = 0;

	for (size_t i = count; i-- > 0 && parts[i].number >= run;) {
		if (parts[i].has_store)
			return i + 1 < count &&
			       since + parts[i].size >= keeper->options.bytes / SEGMENTS_KEPT;
		since += parts[i].size;
	}
	return true;
}

static void make_checkpoint(struct keeper *keeper, uint32_t number, uint32_t run)
{
	char path[4096], name[KEPT_NAME_MAX];
	uint64_t from_ns = clock_monotonic_ns();
	int rc = -ENAMETOOLONG;

	kept_store_name(number, name);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", keeper->path, name) < sizeof(path))
		rc = kv_checkpoint(keeper->options.kv, path);
	/* Of a run that ended meanwhile it may have entries of the next. */
	if (rc == 0 && atomic_load(&keeper->run) != run) {
		(void)kept_remove_store(keeper->dir_fd, number);
		return;
	}
	if (rc != 0) {
		log_warn("no checkpoint for the kept log error=\"%s\" again_after=60s",
			 strerror(-rc));
		keeper->checkpoint_ns = clock_monotonic_ns() + RETRY_NS;
		return;
	}
	log_info("checkpoint for the kept log path=%s ms=%llu", path,
		 (unsigned long long)((clock_monotonic_ns() - from_ns) / NS_PER_MSEC));
}

/* Removes the first parts. */
static void remove_parts(struct keeper *keeper, const struct kept_part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int rc = kept_remove(keeper->dir_fd, parts[i].number);

		if (rc != 0)
			log_warn("a part of the kept log cannot be removed number=%u error=\"%s\"",
				 parts[i].number, strerror(-rc));
	}
}

static uint64_t look(void *user)
{
	struct keeper *keeper = user;
	uint32_t run = atomic_load(&keeper->run), number = atomic_load(&keeper->number);
	bool low = kv_space_low(keeper->options.kv), writing = atomic_load(&keeper->writing);
	uint64_t now_ns = clock_monotonic_ns();
	struct kept_part *parts;
	size_t count = 0;

	atomic_store(&keeper->space_low, low);
	if (kept_list(keeper->dir_fd, &parts, &count) != 0)
		return now_ns + LOOK_NS;
	if (low && count > 0 && (!writing || parts[0].number < number)) {
		log_warn("a part of the kept log gives way to the store number=%u",
			 parts[0].number);
		remove_parts(keeper, parts, 1);
	} else if (!low) {
		if (writing && now_ns >= keeper->checkpoint_ns &&
		    wants_checkpoint(keeper, parts, count, run))
			make_checkpoint(keeper, number, run);
		remove_parts(keeper, parts, kept_outdated(parts, count, keeper->options.bytes));
	}
	free(parts);
	return clock_monotonic_ns() + LOOK_NS;
}

/* ---- life ---- */

static int open_directory(struct keeper *keeper)
{
	if (mkdir(keeper->path, 0700) != 0 && errno != EEXIST)
		return -errno;
	keeper->dir_fd = open(keeper->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return keeper->dir_fd < 0 ? -errno : 0;
}

static int resume(struct keeper *keeper)
{
	struct kept_resume last;
	int rc;

	kept_sweep(keeper->dir_fd);
	rc = kept_resume(keeper->dir_fd, keeper->options.state, &last);
	atomic_store(&keeper->number, last.number);
	atomic_store(&keeper->run, last.run);
	keeper->continues = rc == 0 && last.continues;
	keeper->last.index = state_applied_index(keeper->options.state);
	memcpy(keeper->last.hash, last.hash, LOG_HASH_BYTES);
	if (rc == 0)
		log_info("the log is kept path=%s %s", keeper->path,
			 keeper->continues ? "goes_on=1" : "goes_on=0");
	return rc;
}

int keeper_open(const struct keeper_options *options, struct keeper **out)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));
	int rc;

	if (keeper == NULL)
		return -ENOMEM;
	keeper->options = *options;
	keeper->interface = (struct command_keeper){.entry = on_entry,
						    .applied = on_applied,
						    .commit = on_commit,
						    .undone = on_undone,
						    .user = keeper};
	keeper->fd = keeper->dir_fd = -1;
	keeper->path = strdup(options->path);
	rc = keeper->path == NULL ? -ENOMEM : log_hash_new(&keeper->hash);
	if (rc == 0)
		rc = open_directory(keeper);
	if (rc == 0)
		rc = resume(keeper);
	if (rc == 0)
		rc = periodic_thread_start(look, keeper, 0, &keeper->thread);
	if (rc != 0) {
		keeper_close(keeper);
		return rc;
	}
	state_listen(options->state, on_changes, keeper);
	*out = keeper;
	return 0;
}

void keeper_close(struct keeper *keeper)
{
	if (keeper == NULL)
		return;
	periodic_thread_stop(keeper->thread);
	if (keeper->thread != NULL)
		state_listen(keeper->options.state, NULL, NULL);
	if (keeper->fd >= 0)
		close(keeper->fd);
	if (keeper->dir_fd >= 0)
		close(keeper->dir_fd);
	log_hash_free(keeper->hash);
	free(keeper->path);
	free(keeper);
}

const struct command_keeper *keeper_interface(const struct keeper *keeper)
{
	return &keeper->interface;
}
