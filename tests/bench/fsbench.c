/* fsbench - measures a directory of any filesystem: one "name value unit" per line.
 *
 *   fsbench DIR [--size MIB] [--files N] [--small N] [--seconds S] [--only PREFIX] [--cold COMMAND]
 *
 * COMMAND makes caches cold (default: sync and drop the kernel's caches, as root). CPU seconds are
 * those of the whole machine while the phase ran (user, system, interrupts, this program too), so
 * nothing else should be running. The writing phases are run once unmeasured to warm memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "common/base/duration.h"

#define JOBS_MAX 16
#define MIB      (1u << 20)

static const char *dir, *only, *cold_command;
static uint64_t size_mib = 1024, files = 10000, small_files = 5000;
static double seconds = 5;

struct job {
	pthread_t thread;
	unsigned number, jobs;
	uint64_t done;
	uint64_t *latencies; /* ns; room for latency_room */
	uint64_t latency_room;
	void (*work)(struct job *job);
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fsbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / (double)NS_PER_SEC;
}

static double machine_cpu(void)
{
	unsigned long long user, nice, system, idle, iowait, irq, softirq;
	FILE *f = fopen("/proc/stat", "r");

	if (f == NULL || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
				&idle, &iowait, &irq, &softirq) != 7)
		fail("/proc/stat");
	fclose(f);
	return (double)(user + nice + system + irq + softirq) / (double)sysconf(_SC_CLK_TCK);
}

static void make_cold(void)
{
	if (cold_command != NULL) {
		if (system(cold_command) != 0)
			fail("the cold command failed");
		return;
	}
	sync();
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	if (fd < 0 || write(fd, "3", 1) != 1)
		fprintf(stderr, "fsbench: caches are not cold: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void *run_job(void *arg)
{
	struct job *job = arg;

	job->work(job);
	return NULL;
}

static double last_cpu;
/* Runs @work in @jobs threads; returns seconds, sets last_cpu. */
static double run(void (*work)(struct job *), unsigned jobs, uint64_t *done, struct job *out)
{
	struct job own[JOBS_MAX] = {0}, *all = out != NULL ? out : own;
	double started = now(), cpu = machine_cpu(), took;

	for (unsigned i = 0; i < jobs; i++) {
		all[i].number = i;
		all[i].jobs = jobs;
		all[i].work = work;
		if (pthread_create(&all[i].thread, NULL, run_job, &all[i]) != 0)
			fail("thread");
	}
	*done = 0;
	for (unsigned i = 0; i < jobs; i++) {
		pthread_join(all[i].thread, NULL);
		*done += all[i].done;
	}
	took = now() - started;
	last_cpu = machine_cpu() - cpu;
	return took;
}

static void print(const char *name, double value, const char *unit)
{
	printf("%s %.*f %s\n", name, value < 100 ? 2 : 0, value, unit);
	fflush(stdout);
}

static const char *const phases[] = {
	"write", "read", "randread", "fdatasync", "append", "meta", "small",
};

static bool wanted(const char *name)
{
	return only == NULL || strncmp(name, only, strlen(only)) == 0;
}

/* Ends the program when no phase begins with what is wanted. */
static void check_wanted(void)
{
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		if (wanted(phases[i]))
			return;
	fprintf(stderr, "fsbench: --only %s: no phase begins so; there are", only);
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		fprintf(stderr, " %s", phases[i]);
	fprintf(stderr, "\n");
	exit(64);
}

static char *name_in(char *out, size_t size, const char *sub, uint64_t a, uint64_t b)
{
	snprintf(out, size, "%s/%s.%" PRIu64 "/%" PRIu64, dir, sub, a, b);
	return out;
}

static void big_name(char *out, size_t size, const struct job *job)
{
	snprintf(out, size, "%s/big.%u.%u", dir, job->jobs, job->number);
}

static uint8_t *aligned(size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, 4096, size) != 0)
		fail("memory");
	for (size_t i = 0; i < size; i++)
		((uint8_t *)p)[i] = (uint8_t)(i * 2654435761u >> 13);
	return p;
}

static void seq_write(struct job *job)
{
	char path[512];
	uint8_t *data = aligned(MIB);
	int fd;

	big_name(path, sizeof(path), job);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		fail(path);
	for (uint64_t i = 0; i < size_mib / job->jobs; i++) {
		memcpy(data, &i, sizeof(i));
		if (write(fd, data, MIB) != MIB)
			fail("write");
		job->done++;
	}
	if (fsync(fd) != 0 || close(fd) != 0)
		fail("fsync");
	free(data);
}

static void seq_read(struct job *job)
{
	char path[512];
	uint8_t *data = aligned(MIB);
	int fd;
	ssize_t n;
	uint64_t i = 0, mark;

	big_name(path, sizeof(path), job);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		fail(path);
	while ((n = read(fd, data, MIB)) > 0) {
		memcpy(&mark, data, sizeof(mark));
		if (n != MIB || mark != i++)
			fail("wrong data");
		job->done++;
	}
	if (n < 0 || job->done != size_mib / job->jobs)
		fail("read");
	close(fd);
	free(data);
}

static void rand_read(struct job *job)
{
	char path[512];
	uint8_t *data = aligned(4096);
	uint64_t x = job->number * 7919 + 1;
	double end = now() + seconds;
	int fd;

	snprintf(path, sizeof(path), "%s/big.1.0", dir);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		fail(path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	while (now() < end) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		if (pread(fd, data, 4096, (off_t)((x >> 20) % (size_mib * 256) * 4096)) != 4096)
			fail("pread");
		job->done++;
	}
	close(fd);
	free(data);
}

static void note(struct job *job, double started)
{
	if (job->done < job->latency_room)
		job->latencies[job->done] = (uint64_t)((now() - started) * (double)NS_PER_SEC);
	job->done++;
}

static void sync_writes(struct job *job, bool append)
{
	char path[512];
	uint8_t *data = aligned(4096);
	uint64_t x = 1;
	double end = now() + seconds;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, append ? "append" : "big.1.0");
	fd = open(path, append ? O_WRONLY | O_CREAT | O_APPEND | O_TRUNC : O_WRONLY, 0644);
	if (fd < 0)
		fail(path);
	while (now() < end) {
		double started = now();

		x = x * 6364136223846793005ull + 1442695040888963407ull;
		if (append ? write(fd, data, 4096) != 4096 || fsync(fd) != 0
			   : pwrite(fd, data, 4096, (off_t)((x >> 20) % (size_mib * 256) * 4096)) !=
					     4096 ||
				     fdatasync(fd) != 0)
			fail("write or sync");
		note(job, started);
	}
	close(fd);
	free(data);
}

static void append_fsync(struct job *job)
{
	sync_writes(job, true);
}

static void write_fdatasync(struct job *job)
{
	sync_writes(job, false);
}

static uint64_t files_of(const struct job *job)
{
	return files / job->jobs;
}

static void prepare_dir(const char *sub, const struct job *job)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.%u", dir, sub, job->number);
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		fail(path);
}

static void create_files(struct job *job)
{
	char path[512];

	prepare_dir("many", job);
	for (uint64_t i = 0; i < files_of(job); i++) {
		int fd = open(name_in(path, sizeof(path), "many", job->number, i),
			      O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0)
			fail(path);
		close(fd);
		job->done++;
	}
}

static void stat_files(struct job *job)
{
	char path[512];
	struct stat st;

	for (uint64_t i = 0; i < files_of(job); i++) {
		if (stat(name_in(path, sizeof(path), "many", job->number, i), &st) != 0)
			fail(path);
		job->done++;
	}
}

static void list_files(struct job *job)
{
	char path[512];
	DIR *d;

	snprintf(path, sizeof(path), "%s/many.%u", dir, job->number);
	d = opendir(path);
	if (d == NULL)
		fail(path);
	while (readdir(d) != NULL)
		job->done++;
	closedir(d);
}

static void rename_files(struct job *job)
{
	char a[512], b[520];

	for (uint64_t i = 0; i < files_of(job); i++) {
		name_in(a, sizeof(a), "many", job->number, i);
		snprintf(b, sizeof(b), "%s.new", a);
		if (rename(a, b) != 0)
			fail(a);
		job->done++;
	}
}

static void unlink_files(struct job *job)
{
	char a[512], b[520];

	for (uint64_t i = 0; i < files_of(job); i++) {
		name_in(a, sizeof(a), "many", job->number, i);
		snprintf(b, sizeof(b), "%s.new", a);
		if (unlink(b) != 0)
			fail(b);
		job->done++;
	}
	snprintf(a, sizeof(a), "%s/many.%u", dir, job->number);
	if (rmdir(a) != 0)
		fail(a);
}

static void small_write(struct job *job)
{
	char path[512];
	uint8_t *data = aligned(4096);

	prepare_dir("small", job);
	for (uint64_t i = 0; i < small_files; i++) {
		int fd = open(name_in(path, sizeof(path), "small", 0, i),
			      O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0)
			fail(path);
		memcpy(data, &i, sizeof(i));
		if (write(fd, data, 4096) != 4096 || close(fd) != 0)
			fail(path);
		job->done++;
	}
	free(data);
}

static void small_read(struct job *job)
{
	char path[512];
	uint8_t data[4097];
	uint64_t mark;

	for (uint64_t i = 0; i < small_files; i++) {
		int fd = open(name_in(path, sizeof(path), "small", 0, i), O_RDONLY);
		if (fd < 0)
			fail(path);
		if (read(fd, data, sizeof(data)) != 4096)
			fail(path);
		memcpy(&mark, data, sizeof(mark));
		if (mark != i)
			fail("wrong data in a small file");
		close(fd);
		job->done++;
	}
}

static void small_unlink(void)
{
	char path[512];

	for (uint64_t i = 0; i < small_files; i++)
		unlink(name_in(path, sizeof(path), "small", 0, i));
	snprintf(path, sizeof(path), "%s/small.0", dir);
	rmdir(path);
}

/* Bandwidth phases: MiB/s and the machine's CPU seconds per GiB. */
static void bandwidth(const char *name, void (*work)(struct job *), unsigned jobs)
{
	char label[128];
	uint64_t done;
	double took = run(work, jobs, &done, NULL);

	snprintf(label, sizeof(label), "%s_%ujob%s", name, jobs, jobs > 1 ? "s" : "");
	print(label, (double)done / took, "MiB/s");
	snprintf(label, sizeof(label), "%s_%ujob%s_cpu", name, jobs, jobs > 1 ? "s" : "");
	print(label, last_cpu / ((double)done / 1024), "CPU-s/GiB");
}

static void rate(const char *name, void (*work)(struct job *), unsigned jobs)
{
	char label[128];
	uint64_t done;
	double took = run(work, jobs, &done, NULL);

	snprintf(label, sizeof(label), "%s_%uthread%s", name, jobs, jobs > 1 ? "s" : "");
	print(label, (double)done / took, "ops/s");
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void latency(const char *name, void (*work)(struct job *))
{
	static uint64_t room[1000000];
	struct job job[JOBS_MAX] = {{.latencies = room, .latency_room = 1000000}};
	char label[128];
	uint64_t done, kept;
	double took = run(work, 1, &done, job);

	kept = done < 1000000 ? done : 1000000;
	if (kept == 0)
		fail(name);
	qsort(room, kept, sizeof(room[0]), by_value);
	print(name, (double)done / took, "ops/s");
	snprintf(label, sizeof(label), "%s_p50", name);
	print(label, (double)room[kept / 2] / 1e3, "us");
	snprintf(label, sizeof(label), "%s_p99", name);
	print(label, (double)room[kept * 99 / 100] / 1e3, "us");
}

static void remove_big(unsigned jobs)
{
	char path[512];

	for (unsigned i = 0; i < jobs; i++) {
		snprintf(path, sizeof(path), "%s/big.%u.%u", dir, jobs, i);
		unlink(path);
	}
}

static void metadata(unsigned threads)
{
	rate("create", create_files, threads);
	rate("stat", stat_files, threads);
	rate("list", list_files, threads);
	rate("rename", rename_files, threads);
	rate("unlink", unlink_files, threads);
}

int main(int argc, char **argv)
{
	uint64_t done;

	if (argc < 2 || argv[1][0] == '-') {
		fprintf(stderr,
			"usage: fsbench DIR [--size MIB] [--files N] [--small N] [--seconds S] "
			"[--only PREFIX] [--cold COMMAND]\n");
		return 64;
	}
	dir = argv[1];
	for (int i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--size") == 0)
			size_mib = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--files") == 0)
			files = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--small") == 0)
			small_files = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = strtod(argv[i + 1], NULL);
		else if (strcmp(argv[i], "--only") == 0)
			only = argv[i + 1];
		else if (strcmp(argv[i], "--cold") == 0)
			cold_command = argv[i + 1];
	}
	check_wanted();
	if (wanted("write") || wanted("read") || wanted("randread") || wanted("fdatasync")) {
		run(seq_write, 1, &done, NULL); /* warm up */
		remove_big(1);
		run(seq_write, 4, &done, NULL);
		remove_big(4);
		sleep(1);
		bandwidth("write", seq_write, 1);
		if (wanted("write"))
			bandwidth("write", seq_write, 4);
	}
	if (wanted("read")) {
		make_cold();
		bandwidth("read", seq_read, 1);
		if (wanted("write")) {
			make_cold();
			bandwidth("read", seq_read, 4);
		}
	}
	remove_big(4);
	if (wanted("randread")) {
		make_cold();
		rate("randread4k_cold", rand_read, 4);
		rate("randread4k", rand_read, 1);
		rate("randread4k", rand_read, 4);
	}
	if (wanted("fdatasync"))
		latency("fdatasync4k", write_fdatasync);
	remove_big(1);
	if (wanted("append"))
		latency("append4k_fsync", append_fsync);
	if (wanted("meta")) {
		metadata(1);
		metadata(4);
	}
	if (wanted("small")) {
		rate("smallfile_write", small_write, 1);
		make_cold();
		rate("smallfile_read_cold", small_read, 1);
		small_unlink();
	}
	return 0;
}
