/* chunkio - drives the client's data plane (fs/data/data.h) against a cluster, without a mount.
 *
 *   chunkio MASTER CA CERT KEY JOB...
 *
 *   write:FILE:MIB[:KIB]    write MIB sequentially in pieces of KIB (1024), then flush durably
 *   read:FILE:MIB[:KIB]     read and verify what write has written, sequentially
 *   random:FILE:MIB:COUNT   read COUNT random blocks of 4 KiB and verify
 *   append:FILE:COUNT       COUNT times: append 4 KiB and flush durably
 *   rewrite:FILE:MIB:COUNT  write COUNT random blocks of 4 KiB, then flush durably
 *   punch:FILE:MIB          make it a hole, see that it reads as zeros
 *
 * Jobs separated by blanks run one after another, those joined by "+" at the same time. Prints one
 * "name value unit" per line and the CPU seconds of this process. FILE is any number: a file id of
 * its own range, so that files of a mount are not touched; the chunks stay. Exit status: 0; 1 when
 * anything failed or differed; 64 usage. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/rpc/rpc.h"
#include "fs/data/data.h"
#include "fs/session/meta.h"

#define JOBS_MAX  16
#define BLOCK     4096u
#define FILE_BASE (UINT64_C(1) << 62)
#define MIB       (UINT64_C(1) << 20)

static struct data *data;
static struct cluster_map *the_map;
static uint64_t the_session;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- waiting for callbacks, as an application waits for a system call ---- */

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
	int error;
	/* Reads: what must have come. */
	uint64_t offset, seed;
	bool zeros, differs;
	uint32_t length;
};

static void wait_init(struct wait *w)
{
	*w = (struct wait){0};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
}

static int wait_for(struct wait *w)
{
	int error;

	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->changed, &w->lock);
	w->done = false;
	error = w->error;
	pthread_mutex_unlock(&w->lock);
	return error;
}

static void on_done(void *user, int error)
{
	struct wait *w = user;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	w->error = error;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

/* ---- contents: each block begins with its place ---- */

static void fill(uint8_t *to, uint64_t offset, uint32_t length, uint64_t seed)
{
	for (uint64_t at = offset; at < offset + length; at += BLOCK) {
		uint64_t mark[2] = {at, seed};

		memcpy(to + (at - offset), mark, sizeof(mark));
		memcpy(to + (at - offset) + BLOCK - sizeof(mark), mark, sizeof(mark));
	}
}

static bool block_ok(const struct wait *w, const uint8_t *block, uint64_t at)
{
	uint64_t mark[2] = {at, w->seed};

	if (w->zeros)
		return block[0] == 0 && memcmp(block, block + 1, BLOCK - 1) == 0;
	return memcmp(block, mark, sizeof(mark)) == 0 &&
	       memcmp(block + BLOCK - sizeof(mark), mark, sizeof(mark)) == 0;
}

static void on_read(void *user, int error, const struct iovec *iov, int count)
{
	struct wait *w = user;
	uint64_t at = w->offset;

	/* All that is asked here is of whole blocks, and so is what comes. */
	for (int i = 0; i < count; i++) {
		const uint8_t *bytes = iov[i].iov_base;

		for (size_t done = 0; done + BLOCK <= iov[i].iov_len; done += BLOCK)
			w->differs = w->differs || !block_ok(w, bytes + done, at + done);
		at += iov[i].iov_len;
	}
	if (error == 0 && at != w->offset + w->length)
		w->differs = true;
	on_done(w, error);
}

/* ---- jobs ---- */

struct job {
	char kind[16];
	uint64_t file_id, mib, count;
	uint32_t piece;
	pthread_t thread;
	int status;
	uint64_t ns, *times;
};

static int flush(struct data_file *file, struct wait *w)
{
	data_flush(file, true, on_done, w);
	return wait_for(w);
}

static int write_piece(struct data_file *file, struct wait *w, uint64_t offset, uint32_t length,
		       uint64_t seed)
{
	struct buf *buf = buf_get(data_pool(data), length);

	if (buf == NULL)
		return -ENOMEM;
	buf->length = length;
	fill(buf_payload(buf), offset, length, seed);
	data_write(file, offset, buf, false, on_done, w);
	return wait_for(w);
}

static int read_piece(struct data_file *file, struct wait *w, uint64_t offset, uint32_t length,
		      uint64_t end)
{
	w->offset = offset;
	w->length = length;
	data_read(file, offset, length, end, on_read, w);
	return wait_for(w);
}

static uint64_t random_block(uint64_t *state, uint64_t blocks)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (*state >> 33) % blocks * BLOCK;
}

static int job_write(struct job *job, struct data_file *file, struct wait *w)
{
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < job->mib * MIB; at += job->piece)
		rc = write_piece(file, w, at, job->piece, job->file_id);
	return rc == 0 ? flush(file, w) : rc;
}

static int job_read(struct job *job, struct data_file *file, struct wait *w)
{
	uint64_t end = job->mib * MIB;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < end; at += job->piece)
		rc = read_piece(file, w, at, job->piece, end);
	return rc;
}

static int job_random(struct job *job, struct data_file *file, struct wait *w)
{
	uint64_t state = job->file_id;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < job->count; i++) {
		uint64_t start = clock_monotonic_ns();

		rc = read_piece(file, w, random_block(&state, job->mib * MIB / BLOCK), BLOCK,
				job->mib * MIB);
		job->times[i] = clock_monotonic_ns() - start;
	}
	return rc;
}

static int job_append(struct job *job, struct data_file *file, struct wait *w)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < job->count; i++) {
		uint64_t start = clock_monotonic_ns();

		rc = write_piece(file, w, i * BLOCK, BLOCK, job->file_id);
		if (rc == 0)
			rc = flush(file, w);
		job->times[i] = clock_monotonic_ns() - start;
	}
	return rc;
}

static int job_rewrite(struct job *job, struct data_file *file, struct wait *w)
{
	uint64_t state = job->file_id + 1;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < job->count; i++)
		rc = write_piece(file, w, random_block(&state, job->mib * MIB / BLOCK), BLOCK,
				 job->file_id);
	return rc == 0 ? flush(file, w) : rc;
}

static int job_punch(struct job *job, struct data_file *file, struct wait *w)
{
	int rc;

	data_punch(file, 0, job->mib * MIB, on_done, w);
	rc = wait_for(w);
	w->zeros = true;
	return rc == 0 ? job_read(job, file, w) : rc;
}

static const struct {
	const char *kind;
	int (*run)(struct job *job, struct data_file *file, struct wait *w);
} kinds[] = {
	{"write", job_write},   {"read", job_read},       {"random", job_random},
	{"append", job_append}, {"rewrite", job_rewrite}, {"punch", job_punch},
};

static void *run_job(void *arg)
{
	struct job *job = arg;
	uint64_t start = clock_monotonic_ns();
	struct data_file *file;
	struct wait w;
	int rc = data_file_get(data, the_map->pools[0].id, job->file_id, &file);

	wait_init(&w);
	w.seed = job->file_id;
	job->times = calloc(job->count + 1, sizeof(*job->times));
	if (job->times == NULL)
		rc = -ENOMEM;
	for (size_t i = 0; rc == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].kind, job->kind) == 0)
			rc = kinds[i].run(job, file, &w);
	job->ns = clock_monotonic_ns() - start;
	if (rc == 0 && w.differs) {
		fprintf(stderr, "chunkio: %s: file %" PRIu64 " differs\n", job->kind,
			job->file_id - FILE_BASE);
		rc = -EBADMSG;
	} else if (rc < 0) {
		fprintf(stderr, "chunkio: %s: %s\n", job->kind, strerror(-rc));
	}
	if (file != NULL)
		data_file_put(file);
	job->status = rc;
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(struct job *job)
{
	double seconds = (double)job->ns / (double)NS_PER_SEC;

	if (job->count == 0) {
		printf("%s_rate %.1f MiB/s\n", job->kind, (double)job->mib / seconds);
		return;
	}
	printf("%s_rate %.0f 1/s\n", job->kind, (double)job->count / seconds);
	qsort(job->times, job->count, sizeof(*job->times), by_value);
	if (job->times[job->count / 2] != 0)
		printf("%s_p50 %.0f us\n%s_p99 %.0f us\n", job->kind,
		       (double)job->times[job->count / 2] / 1e3, job->kind,
		       (double)job->times[job->count * 99 / 100] / 1e3);
}

static bool parse(const char *text, struct job *job)
{
	unsigned long long file = 0, a = 0, b = 0;
	int n = sscanf(text, "%15[a-z]:%llu:%llu:%llu", job->kind, &file, &a, &b);

	job->file_id = FILE_BASE + file;
	job->mib = a;
	if (strcmp(job->kind, "append") == 0)
		job->count = a;
	else if (strcmp(job->kind, "random") == 0 || strcmp(job->kind, "rewrite") == 0)
		job->count = b;
	else
		job->piece = (uint32_t)(b == 0 ? 1024 : b) << 10;
	if (job->piece > MIB || n < 3)
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].kind, job->kind) == 0)
			return true;
	return false;
}

static int run_jobs(char *text)
{
	struct job jobs[JOBS_MAX] = {0};
	double cpu = cpu_seconds();
	int count = 0, status = 0;
	char *save = NULL;

	for (char *one = strtok_r(text, "+", &save); one != NULL && count < JOBS_MAX;
	     one = strtok_r(NULL, "+", &save)) {
		if (!parse(one, &jobs[count++])) {
			fprintf(stderr, "chunkio: not a job: %s\n", one);
			return 64;
		}
	}
	for (int i = 0; i < count; i++)
		if (pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) != 0)
			abort();
	for (int i = 0; i < count; i++) {
		pthread_join(jobs[i].thread, NULL);
		if (jobs[i].status < 0)
			status = 1;
		else
			report(&jobs[i]);
		free(jobs[i].times);
	}
	printf("%s_cpu %.2f s\n", jobs[0].kind, cpu_seconds() - cpu);
	fflush(stdout);
	return status;
}

/* ---- the session ---- */

static void on_map(void *user, struct cluster_map *map)
{
	pthread_mutex_lock(&lock);
	if (data != NULL)
		data_set_map(data, map);
	cluster_map_unref(the_map);
	the_map = cluster_map_ref(map);
	pthread_mutex_unlock(&lock);
}

static void on_session(void *user, uint64_t session_id)
{
	pthread_mutex_lock(&lock);
	the_session = session_id;
	if (data != NULL)
		data_set_session(data, session_id);
	pthread_mutex_unlock(&lock);
}

static struct meta *the_meta;

static void on_lease(void *user)
{
}

static void on_recall(void *user)
{
	meta_lease_return(the_meta);
}

static int open_all(char **argv)
{
	struct tls_files tls = {.ca = argv[2], .cert = argv[3], .key = argv[4]};
	struct meta_options options = {
		.masters = argv[1],
		.tls = tls,
		.mount_name = "chunkio",
		.callbacks = {.map = on_map,
			      .session = on_session,
			      .granted = on_lease,
			      .recalled = on_recall,
			      .lost = on_lease},
	};
	struct data_options data_options = {.tls = tls, .memory_limit = 256 * MIB};
	struct data *opened = NULL;
	char error[256] = "";
	int rc = meta_open(&options, 10 * NS_PER_SEC, &the_meta, error, sizeof(error));

	for (int tries = 0; rc == 0 && tries < 1000; tries++) {
		pthread_mutex_lock(&lock);
		rc = the_map != NULL && the_session != 0 ? 1 : 0;
		pthread_mutex_unlock(&lock);
		usleep(10000);
	}
	if (rc == 1)
		rc = data_open(&data_options, &opened, error, sizeof(error));
	else if (rc == 0)
		rc = -ETIMEDOUT;
	if (rc < 0) {
		fprintf(stderr, "chunkio: %s\n", error[0] != '\0' ? error : strerror(-rc));
		return rc;
	}
	pthread_mutex_lock(&lock);
	data = opened;
	data_set_map(data, the_map);
	data_set_session(data, the_session);
	pthread_mutex_unlock(&lock);
	return 0;
}

int main(int argc, char **argv)
{
	char stats[1024];
	int status = 0;

	if (argc < 6) {
		fprintf(stderr, "usage: chunkio MASTER CA CERT KEY JOB...\n");
		return 64;
	}
	rpc_init();
	if (open_all(argv) < 0)
		return 1;
	for (int i = 5; i < argc && status == 0; i++)
		status = run_jobs(argv[i]);
	data_stats(data, stats, sizeof(stats));
	fprintf(stderr, "%s\n", stats);
	data_close(data, 10 * NS_PER_SEC);
	meta_close(the_meta, true);
	cluster_map_unref(the_map);
	rpc_shutdown();
	return status;
}
