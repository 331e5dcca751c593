/* catena-replay - applies the commands that a master has kept (catena-master --keep-log) once more,
 * and compares what comes of them. docs/man/catena-replay.8 is the manual.
 *
 * Exit status: 0 all is equal; 1 something differs; 2 it cannot be told; 64 usage. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/os/log.h"
#include "master/replay/copy.h"
#include "master/replay/replay.h"

#define STATUS_UNKNOWN 2
#define STATUS_USAGE   64
#define BATCH_MAX      1024u

static volatile uint64_t entry_at;

static void remember(uint64_t index)
{
	entry_at = index;
}

/* Says with which entry this program ends, as the master did. */
static void on_fault(int number)
{
	char text[64] = "catena-replay: ended while it applied entry ", digits[24];
	size_t used = strlen(text), count = 0;

	for (uint64_t left = entry_at; count == 0 || left != 0; left /= 10)
		digits[count++] = (char)('0' + left % 10);
	while (count > 0)
		text[used++] = digits[--count];
	text[used++] = '\n';
	(void)!write(STDERR_FILENO, text, used);
	signal(number, SIG_DFL);
	raise(number);
}

static void usage(FILE *out)
{
	fprintf(out, "usage: catena-replay [--batch N] [--print] [--work DIR] DIRECTORY\n"
		     "  --batch N   apply so many commands at a time (1)\n"
		     "  --print     print each command\n"
		     "  --work DIR  make copies of the store there, and leave the one in which "
		     "something differs\n"
		     "  --help\n");
}

static int parse(int argc, char **argv, struct replay_options *out)
{
	static const struct option options[] = {
		{"batch", required_argument, NULL, 'b'},
		{"print", no_argument, NULL, 'p'},
		{"work", required_argument, NULL, 'w'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	char *end;
	int c;

	*out = (struct replay_options){.batch = 1, .out = stdout, .at = remember};
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			out->batch = (unsigned)strtoul(optarg, &end, 10);
			if (*end != '\0' || out->batch == 0 || out->batch > BATCH_MAX)
				return STATUS_USAGE;
			break;
		case 'p':
			out->print = true;
			break;
		case 'w':
			out->work = optarg;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return STATUS_USAGE;
		}
	}
	if (optind + 1 != argc)
		return STATUS_USAGE;
	out->path = argv[optind];
	return 0;
}

/* A directory of its own for the copies, unless one was named. */
static int make_work(struct replay_options *options, char *own, size_t size)
{
	const char *tmp = getenv("TMPDIR");

	own[0] = '\0';
	if (options->work != NULL)
		return mkdir(options->work, 0700) == 0 || errno == EEXIST ? 0 : -errno;
	if ((size_t)snprintf(own, size, "%s/catena-replay.XXXXXX",
			     tmp != NULL ? tmp : "/var/tmp") >= size ||
	    mkdtemp(own) == NULL)
		return -errno;
	options->work = own;
	return 0;
}

static void remove_work(const char *own)
{
	char path[4200];

	if (own[0] == '\0')
		return;
	snprintf(path, sizeof(path), "%s/store", own);
	copy_remove(path);
	snprintf(path, sizeof(path), "%s/later", own);
	copy_remove(path);
	(void)rmdir(own);
}

int main(int argc, char **argv)
{
	struct replay_options options;
	char error[512] = "", own[4096];
	int rc = parse(argc, argv, &options);

	if (rc != 0) {
		usage(stderr);
		return rc;
	}
	log_set_level(LOG_LEVEL_WARN);
	rc = make_work(&options, own, sizeof(own));
	if (rc != 0) {
		fprintf(stderr, "catena-replay: no directory for copies of the store: %s\n",
			strerror(-rc));
		return STATUS_UNKNOWN;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGABRT, on_fault);
	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	rc = replay(&options, error, sizeof(error));
	remove_work(own);
	if (rc < 0)
		fprintf(stderr, "catena-replay: %s\n", error);
	return rc < 0 ? STATUS_UNKNOWN : rc;
}
