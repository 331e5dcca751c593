/* store.c - see store.h. */
#include "tools/fsck/store.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/kv/kv.h"
#include "common/os/clock.h"
#include "common/os/sorter_disk.h"
#include "master/check/check.h"
#include "master/records/keys.h"
#include "tools/fsck/answer.h"

#define CACHE_BYTES  (UINT64_C(64) << 20)
#define DISK_RESERVE (UINT64_C(64) << 20) /* stays free where things are sorted */
#define PATH_BYTES   4096u

struct store_check {
	const struct fsck_options *options;
	struct fsck_answer answer;
	struct kv *kv;
	struct sorter_disk sorters;
	struct check_result seen;
	char unseen[512];
};

static void on_finding(void *user, const struct check_finding *finding)
{
	struct store_check *check = user;
	static char path[PATH_MAX];
	int rc = check_finding_path(check->kv, finding, path, sizeof(path));

	fsck_answer_add(&check->answer, finding, rc == 0 ? path : NULL);
}

static void on_progress(void *user, const struct check_progress *progress)
{
	const struct fsck_options *options = ((struct store_check *)user)->options;
	bool over = options->progress_on_a_line;

	if (options->progress == NULL)
		return;
	fprintf(options->progress, "%s%s %" PRIu64, over ? "\r" : "", progress->what,
		progress->done);
	if (progress->expected != 0)
		fprintf(options->progress, " of %" PRIu64, progress->expected);
	fputs(over ? "\033[K" : "\n", options->progress);
	fflush(options->progress);
}

static int open_store(struct store_check *check)
{
	const char *directory = check->options->directory;
	char path[PATH_BYTES], error[256] = "";
	struct kv_options options = {.path = path,
				     .families = records_families,
				     .family_count = records_family_count,
				     .cache_bytes = CACHE_BYTES,
				     .bears_damage = true,
				     .read_only = true};
	int rc = -ENAMETOOLONG;

	if ((size_t)snprintf(path, sizeof(path), "%s/store", directory) < sizeof(path))
		rc = kv_open(&options, &check->kv, error, sizeof(error));
	if (rc == -EBUSY)
		snprintf(check->unseen, sizeof(check->unseen),
			 "a process has the store open: stop catena-master on %s first", directory);
	else if (rc == -ENOENT)
		snprintf(check->unseen, sizeof(check->unseen),
			 "%s is not the data directory of a catena-master: it has no store",
			 directory);
	else if (rc != 0)
		snprintf(check->unseen, sizeof(check->unseen), "the store cannot be opened: %s",
			 error[0] != '\0' ? error : strerror(-rc));
	return rc;
}

/* Adds what could not be seen of one part. */
static void add_unseen(struct store_check *check, const char *what, const char *why)
{
	size_t used = strlen(check->unseen);

	snprintf(check->unseen + used, sizeof(check->unseen) - used, "%s%s: %s%s%s",
		 used == 0 ? "" : "; ", what, why, check->sorters.error[0] != '\0' ? ": " : "",
		 check->sorters.error);
}

/* Before the work is begun: will there be room for what does not fit into memory? */
static int look_for_room(struct store_check *check)
{
	uint64_t bytes = 0;
	int rc = check_namespace_bytes(check->kv, &bytes);

	if (rc != 0 || bytes <= SORTER_DISK_MEMORY)
		return rc;
	return sorter_disk_room(&check->sorters, bytes);
}

/* Checks both parts: what one cannot see says nothing of the other. Returns the first error. */
static int run(struct store_check *check)
{
	const struct check_options options = {.sorters = &check->sorters.supply,
					      .cancel = check->options->cancel,
					      .information = check->options->information,
					      .progress = on_progress,
					      .progress_user = check};
	struct check_result map;
	int rc = look_for_room(check), map_rc;

	if (rc == 0)
		rc = check_namespace(check->kv, &options, on_finding, check, &check->seen);
	map_rc = check_map(check->kv, &options, on_finding, check, &map);

	if (check->options->progress != NULL && check->options->progress_on_a_line)
		fputs("\r\033[K", check->options->progress);
	if (rc != 0)
		add_unseen(check, "the namespace",
			   check->seen.error[0] != '\0' ? check->seen.error : strerror(-rc));
	if (map_rc != 0)
		add_unseen(check, "the map", map.error[0] != '\0' ? map.error : strerror(-map_rc));
	check->seen.partitions = map.partitions;
	return rc != 0 ? rc : map_rc;
}

static int check_it(struct store_check *check)
{
	const char *place = check->options->place, *temporary = getenv("TMPDIR");
	const struct sorter_disk_options options = {
		.place = place != NULL                               ? place
			 : temporary != NULL && temporary[0] != '\0' ? temporary
								     : "/tmp",
		.reserve = DISK_RESERVE};
	int rc = open_store(check);

	if (rc != 0)
		return rc;
	rc = sorter_disk_init(&check->sorters, &options);
	if (rc != 0) {
		snprintf(check->unseen, sizeof(check->unseen), "there is no place to sort in: %s",
			 check->sorters.error);
	} else {
		rc = run(check);
		sorter_disk_end(&check->sorters);
	}
	kv_close(check->kv);
	return rc;
}

int fsck_store(const struct fsck_options *options, FILE *out)
{
	static struct store_check check;
	uint64_t from_ns = clock_monotonic_ns();
	int rc, status;

	check = (struct store_check){.options = options};
	rc = fsck_answer_begin(&check.answer, options->directory, options->json, options->all);
	if (rc != 0) {
		fprintf(stderr, "fsck.catena: there is no place to keep findings in: %s\n",
			strerror(-rc));
		return FSCK_UNSEEN;
	}
	rc = check_it(&check);
	status = fsck_answer_end(&check.answer, &check.seen, check.unseen,
				 (double)(clock_monotonic_ns() - from_ns) / NS_PER_SEC, out);
	return rc == -ECANCELED ? status | FSCK_CANCELLED : status;
}
