/* fsck.catena - says whether a cluster is healthy, and what is wrong with it. docs/man/fsck.catena.8 is
 * the manual.
 *
 * The command line is that of the fsck(8) family, and so are the bits of the exit status
 * (fsck/answer.h). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/log.h"
#include "tools/fsck/answer.h"
#include "tools/fsck/store.h"

static atomic_bool cancelled;

static void on_signal(int number)
{
	atomic_store(&cancelled, true);
	/* A second one ends it at once. */
	signal(number, SIG_DFL);
}

static void usage(FILE *out)
{
	fprintf(out,
		"usage: fsck.catena --offline [-n] [-f] [-C[FD]] [--json] [--all]\n"
		"                   [--information] [--place DIR] DIRECTORY\n"
		"  --offline      check the data directory of a catena-master that is stopped\n"
		"  -n             change nothing; so it is in any case\n"
		"  -f             check also what seems clean; so it is in any case\n"
		"  -C[FD]         show how far it is, on the terminal or to this descriptor\n"
		"  --json         for programs\n"
		"  --all          show all findings of a code, not only the first ten\n"
		"  --information  say what is noteworthy and no fault, too\n"
		"  --place DIR    where to sort what does not fit into memory (TMPDIR, /tmp)\n"
		"  --help\n"
		"exit status: 0 healthy; or the sum of 4 faults found, 8 not everything was\n"
		"seen, 16 wrong usage, 32 cancelled\n");
}

static bool parse_progress(const char *text, struct fsck_options *out)
{
	char *end;
	long fd = text == NULL ? STDERR_FILENO : strtol(text, &end, 10);

	if (text != NULL && (*text == '\0' || *end != '\0' || fd < 0 || fd > 65535)) {
		fprintf(stderr, "fsck.catena: -C%s: not a descriptor\n", text);
		return false;
	}
	out->progress = text == NULL ? stderr : fdopen((int)fd, "w");
	out->progress_on_a_line = text == NULL;
	if (out->progress == NULL)
		fprintf(stderr, "fsck.catena: -C%s: %s\n", text, strerror(errno));
	return out->progress != NULL;
}

/* 0: *out is filled. 1: help was asked for. Else FSCK_USAGE, and it has been told why. */
static int parse(int argc, char **argv, struct fsck_options *out)
{
	static const struct option options[] = {
		{"offline", no_argument, NULL, 'o'},
		{"json", no_argument, NULL, 'j'},
		{"all", no_argument, NULL, 'a'},
		{"information", no_argument, NULL, 'i'},
		{"place", required_argument, NULL, 'p'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool offline = false;
	int c;

	while ((c = getopt_long(argc, argv, "nfC::h", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			offline = true;
			break;
		case 'j':
			out->json = true;
			break;
		case 'a':
			out->all = true;
			break;
		case 'i':
			out->information = true;
			break;
		case 'p':
			out->place = optarg;
			break;
		case 'n':
		case 'f':
			break;
		case 'C':
			if (!parse_progress(optarg, out))
				return FSCK_USAGE;
			break;
		case 'h':
			usage(stdout);
			return 1;
		default:
			return FSCK_USAGE;
		}
	}
	if (!offline || argc - optind != 1) {
		usage(stderr);
		return FSCK_USAGE;
	}
	out->directory = argv[optind];
	return 0;
}

int main(int argc, char **argv)
{
	struct fsck_options options = {.cancel = &cancelled};
	struct sigaction action = {.sa_handler = on_signal};
	int rc = parse(argc, argv, &options);

	if (rc != 0)
		return rc == 1 ? FSCK_CLEAN : rc;
	log_set_level(LOG_LEVEL_ERROR + 1); /* what is wrong is a finding */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return fsck_store(&options, stdout);
}
