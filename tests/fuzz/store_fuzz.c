/* Goal: whatever moment a chunkserver is killed at, and whatever then happens to the bytes on its
 * disk, the target opens again, has everything that was committed, and serves no wrong byte: damage
 * is reported. Method: a child runs random updates, several under way, on RocksDB, and is killed at
 * a random system call or a random time; then, in some rounds, bytes of chunk files are changed or
 * the end of the db's log is cut off; another child opens the target, twice, and judges what it
 * finds.
 *
 * usage: store_fuzz [SECONDS [SEED]]. A failed round prints the seed that repeats it with SECONDS
 * 0: what the disk and the threads do in between is not repeated exactly. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include "common/base/duration.h"
#include "tests/lib/store_faults.h"
#include "tests/lib/store_model.h"

#define NEEDS_NEW_TARGET 2

enum damage { DAMAGE_NONE, DAMAGE_FILE, DAMAGE_LOG, DAMAGE_KINDS };

static struct model model;
static struct model_progress *progress;
static struct fixture fx;
static char damaged_path[700];

static uint64_t random_next(void)
{
	return model_random(&model);
}

static void give_up(const char *what, int error)
{
	fprintf(stderr, "store_fuzz: seed %llu: %s: %s %s\n", (unsigned long long)model.seed, what,
		error == 0 ? "" : strerror(-error), fx.error);
	_exit(1);
}

/* ---- the child that is killed ---- */

/* Between the steps of the model: marks come and are told. */
static bool tick(void)
{
	witness_tick(&fx.store->disk);
	return false;
}

static void work(void)
{
	int rc = fixture_open(&fx);

	if (rc != 0)
		give_up("open", rc);
	model.stop = tick;
	rc = model_run(&fx, &model);
	if (rc != 0)
		give_up("run", rc);
	/* Having come to the end, some end well. */
	if (random_next() % 2 == 0)
		fixture_close(&fx);
	_exit(0);
}

static void run_worker(void)
{
	bool by_time = random_next() % 2 == 0;
	uint64_t when = random_next();
	int status;
	pid_t pid;

	faults.kill = true;
	faults.steps = 0;
	faults.stop_at = by_time ? 0 : 1 + (long)(when % 300);
	pid = fork();
	if (pid < 0)
		give_up("fork", -errno);
	if (pid == 0)
		work();
	if (by_time) {
		usleep((useconds_t)(when % 150000));
		kill(pid, SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid)
		give_up("waitpid", -errno);
	if (WIFEXITED(status) ? WEXITSTATUS(status) != 0 : WTERMSIG(status) != SIGKILL)
		give_up("the worker failed by itself", 0);
}

/* ---- damage ---- */

static void pick_file(const char *path)
{
	if (damaged_path[0] == '\0' || random_next() % 2 == 0)
		snprintf(damaged_path, sizeof(damaged_path), "%s", path);
}

static void damage_file(void)
{
	struct stat st;
	int fd;

	damaged_path[0] = '\0';
	fault_each_file(fx.dir, pick_file);
	fd = damaged_path[0] == '\0' ? -1 : open(damaged_path, O_RDWR);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		for (unsigned i = 0; i < 5; i++) {
			uint64_t at = random_next() % (uint64_t)st.st_size;
			uint8_t byte = 0;

			if (syscall(SYS_pread64, fd, &byte, 1, at) < 0)
				break;
			byte ^= (uint8_t)(1 + random_next() % 255);
			if (syscall(SYS_pwrite64, fd, &byte, 1, at) < 0)
				break;
		}
		if (random_next() % 4 == 0 &&
		    ftruncate(fd, (off_t)(random_next() % (uint64_t)st.st_size)) != 0)
			give_up("ftruncate", -errno);
	}
	close(fd);
}

/* The end of the newest log. */
static void damage_log(void)
{
	char path[600], newest[600] = "";
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/db", fx.dir);
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		size_t n = strlen(entry->d_name);

		if (n < 5 || strcmp(entry->d_name + n - 4, ".log") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/db/%s", fx.dir, entry->d_name);
		if (strcmp(path, newest) > 0)
			memcpy(newest, path, sizeof(newest));
	}
	if (dir != NULL)
		closedir(dir);
	if (newest[0] == '\0' || stat(newest, &st) != 0 || st.st_size == 0)
		return;
	if (truncate(newest, (off_t)(random_next() % (uint64_t)st.st_size)) != 0)
		give_up("truncate", -errno);
}

/* ---- the child that judges ---- */

/* Whatever has happened to a chunk, it can be removed. Files that lost their record with the log
 * stay until a later opening. */
static void clear_up(enum damage damage)
{
	for (uint32_t c = 0; c < MODEL_CHUNKS; c++) {
		struct chunk_key key = test_key(c);
		struct chunk_info info;
		char path[512];
		int rc = do_remove(&fx, &key, 1);

		if (rc != 0)
			give_up("remove", rc);
		rc = store_info(fx.view, &key, &info);
		file_path(&fx, &key, path, sizeof(path));
		if (rc != 0 || info.exists || (damage != DAMAGE_LOG && access(path, F_OK) == 0))
			give_up("not removed", rc);
	}
}

static void judge(enum damage damage)
{
	int rc;

	for (unsigned again = 0; again < 2; again++) {
		rc = fixture_open(&fx);
		if (rc == -EUCLEAN && damage == DAMAGE_LOG)
			_exit(NEEDS_NEW_TARGET);
		if (rc != 0)
			give_up("open after the crash", rc);
		if (store_damaged(fx.store) && damage != DAMAGE_LOG)
			give_up("a crash was taken for damage", 0);
		if (store_damaged(fx.store) && again > 0 && store_damage_settled(fx.store) != 0)
			give_up("damage cannot be settled", 0);
		for (uint32_t c = 0; c < MODEL_CHUNKS; c++)
			if (model_judge_chunk(&fx, &model, c,
					      damage == DAMAGE_LOG ? 0 : progress->kept[c],
					      damage != DAMAGE_NONE) != 0)
				give_up(model.why, 0);
		if (again > 0)
			clear_up(damage);
		fixture_close(&fx);
	}
	_exit(0);
}

/* False: the target is past opening, as it may be. */
static bool run_judge(enum damage damage)
{
	int status;
	pid_t pid;

	faults.stop_at = 0;
	pid = fork();
	if (pid < 0)
		give_up("fork", -errno);
	if (pid == 0)
		judge(damage);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) == NEEDS_NEW_TARGET)
		return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr,
			"store_fuzz: seed %llu: round failed, damage %d, target left in %s\n",
			(unsigned long long)model.seed, damage, fx.dir);
		exit(1);
	}
	return true;
}

/* RocksDB has threads, which a fork would not take along: it is only used in children. */
static void make_target(void)
{
	const char *tmp = getenv("TMPDIR");
	int status;
	pid_t pid;

	memset(&fx, 0, sizeof(fx));
	snprintf(fx.dir, sizeof(fx.dir), "%s/store_fuzz.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(fx.dir) == NULL || buf_pool_create(0, &fx.pool) != 0)
		give_up("start", -errno);
	uv_loop_init(&fx.loop);
	pid = fork();
	if (pid == 0)
		_exit(store_init(fx.dir, "test", fx.error, sizeof(fx.error)) == 0 ? 0 : 1);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		give_up("store_init", 0);
}

static void remove_target(void)
{
	if (fx.pool == NULL)
		return;
	uv_loop_close(&fx.loop);
	buf_pool_destroy(fx.pool);
	fx.pool = NULL;
	remove_tree(fx.dir);
}

static void one_round(uint64_t seed)
{
	enum damage damage;

	model_make(&model, seed, progress);
	damage = (enum damage)(random_next() % DAMAGE_KINDS);
	test_pool++;
	if (fx.pool == NULL)
		make_target();
	run_worker();
	if (damage == DAMAGE_FILE)
		damage_file();
	else if (damage == DAMAGE_LOG)
		damage_log();
	if (!run_judge(damage))
		remove_target();
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 15;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	uint64_t end = clock_monotonic_ns() + (uint64_t)(seconds * (double)NS_PER_SEC);
	unsigned rounds = 0;

	log_set_level(LOG_LEVEL_ERROR);
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (progress == MAP_FAILED)
		return 1;
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	do {
		one_round(seed + rounds);
		rounds++;
	} while (clock_monotonic_ns() < end);
	remove_target();
	printf("%u rounds\n", rounds);
	return 0;
}
