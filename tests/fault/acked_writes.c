/* acked_writes - what fsync acknowledged must be there later.
 *
 *   acked_writes write DIR LEDGER [--files N] [--seconds S]
 *       writes records into files of DIR at changing offsets, fsyncs, and only then notes them in
 *       LEDGER (a local file, synced); goes on until killed, an error, or S seconds.
 *   acked_writes verify DIR LEDGER
 *       every record noted last for its place must be there, or one that was written after it but
 *       not acknowledged. Prints counts. Exit status 0, or 1 with the first loss.
 *
 * Goal: no acknowledged data is lost by SIGKILL of anything at any moment. A record fills its
 * place (1 to 24 blocks of 4 KiB or an odd number of bytes) with a pattern of (file, place,
 * sequence), so a mixture of two records is seen too, except where an unacknowledged later write
 * may have been half done: then each 4 KiB block must be of the one or the other. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PLACES     64
#define PLACE_SIZE 98304u
#define FILES_MAX  64

static void fill(uint8_t *out, size_t size, uint32_t file, uint32_t place, uint64_t sequence)
{
	for (size_t block = 0; block < size; block += 4096) {
		uint64_t x = (sequence << 20) ^ ((uint64_t)file << 12) ^ place ^ (block << 32);
		size_t end = block + 4096 < size ? block + 4096 : size;

		for (size_t i = block; i < end; i++) {
			if ((i & 7) == 0)
				x = x * 6364136223846793005ull + 1442695040888963407ull;
			out[i] = (uint8_t)(x >> ((i & 7) * 8));
		}
	}
}

static uint32_t size_of(uint32_t place)
{
	static const uint32_t sizes[] = {4096, 100, 8192, 4097, 65536, 12288, 98304, 511};

	return sizes[place % (sizeof(sizes) / sizeof(sizes[0]))];
}

static int open_file(const char *dir, uint32_t file, int flags)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/acked.%" PRIu32, dir, file);
	return open(path, flags, 0644);
}

static int do_write(const char *dir, const char *ledger_path, uint32_t files, double seconds)
{
	static uint8_t data[PLACE_SIZE];
	struct timespec start, now;
	int ledger = open(ledger_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	uint64_t sequence;

	if (ledger < 0) {
		perror(ledger_path);
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	sequence = (uint64_t)time(NULL) << 20;
	for (;;) {
		uint32_t file = (uint32_t)(sequence * 7 % files),
			 place = (uint32_t)(sequence * 13 % PLACES);
		uint32_t size = size_of(place);
		char line[128];
		int fd = open_file(dir, file, O_RDWR | O_CREAT);

		if (fd < 0) {
			fprintf(stderr, "open: %s\n", strerror(errno));
			return 2;
		}
		fill(data, size, file, place, sequence);
		snprintf(line, sizeof(line), "try %" PRIu32 " %" PRIu32 " %" PRIu64 "\n", file,
			 place, sequence);
		if (write(ledger, line, strlen(line)) < 0)
			return 1;
		if (pwrite(fd, data, size, (off_t)place * PLACE_SIZE) != (ssize_t)size ||
		    fsync(fd) != 0) {
			fprintf(stderr, "write: %s\n", strerror(errno));
			close(fd);
			return 2;
		}
		memcpy(line, "ack", 3);
		if (write(ledger, line, strlen(line)) < 0)
			return 1;
		close(fd);
		sequence++;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (seconds > 0 && (double)(now.tv_sec - start.tv_sec) > seconds)
			return 0;
	}
}

struct place {
	uint64_t acked;
	uint64_t tried[64]; /* since the acknowledged one */
	unsigned tries;
};

static int verify_place(int fd, uint32_t file, uint32_t place, const struct place *p)
{
	static uint8_t have[PLACE_SIZE], want[PLACE_SIZE];
	uint32_t size = size_of(place);
	ssize_t n = pread(fd, have, size, (off_t)place * PLACE_SIZE);

	if (n != (ssize_t)size) {
		fprintf(stderr,
			"LOST: file %" PRIu32 " place %" PRIu32 ": read %zd of %" PRIu32 " (%s)\n",
			file, place, n, size, n < 0 ? strerror(errno) : "short");
		return 1;
	}
	for (uint32_t block = 0; block < size; block += 4096) {
		uint32_t length = size - block < 4096 ? size - block : 4096;
		int found = 0;

		fill(want, size, file, place, p->acked);
		found = memcmp(have + block, want + block, length) == 0;
		for (unsigned i = 0; !found && i < p->tries; i++) {
			fill(want, size, file, place, p->tried[i]);
			found = memcmp(have + block, want + block, length) == 0;
		}
		if (!found) {
			fprintf(stderr,
				"LOST: file %" PRIu32 " place %" PRIu32 " block %" PRIu32
				" is none of sequence %" PRIu64 " and %u later\n",
				file, place, block / 4096, p->acked, p->tries);
			return 1;
		}
	}
	return 0;
}

static int do_verify(const char *dir, const char *ledger_path)
{
	static struct place places[FILES_MAX][PLACES];
	FILE *ledger = fopen(ledger_path, "r");
	char what[8];
	uint32_t file, place;
	uint64_t sequence, acks = 0;
	int bad = 0;

	if (ledger == NULL) {
		perror(ledger_path);
		return 1;
	}
	while (fscanf(ledger, "%7s %" SCNu32 " %" SCNu32 " %" SCNu64, what, &file, &place,
		      &sequence) == 4) {
		struct place *p = &places[file % FILES_MAX][place % PLACES];

		if (strcmp(what, "ack") == 0) {
			p->acked = sequence;
			p->tries = 0;
			acks++;
		} else if (p->tries < 64) {
			p->tried[p->tries++] = sequence;
		}
	}
	fclose(ledger);
	for (file = 0; file < FILES_MAX; file++) {
		int fd = -1;

		for (place = 0; place < PLACES; place++) {
			if (places[file][place].acked == 0)
				continue;
			if (fd < 0)
				fd = open_file(dir, file, O_RDONLY);
			if (fd < 0) {
				fprintf(stderr, "LOST: file %" PRIu32 ": %s\n", file,
					strerror(errno));
				bad++;
				break;
			}
			bad += verify_place(fd, file, place, &places[file][place]);
		}
		if (fd >= 0)
			close(fd);
	}
	printf("acked_writes: %" PRIu64 " acknowledged, %d lost\n", acks, bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	uint32_t files = 8;
	double seconds = 0;

	if (argc < 4 || (strcmp(argv[1], "write") != 0 && strcmp(argv[1], "verify") != 0)) {
		fprintf(stderr,
			"usage: acked_writes write|verify DIR LEDGER [--files N] [--seconds S]\n");
		return 64;
	}
	for (int i = 4; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--files") == 0)
			files = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = strtod(argv[i + 1], NULL);
	}
	if (files < 1 || files > FILES_MAX)
		files = 8;
	return argv[1][0] == 'w' ? do_write(argv[2], argv[3], files, seconds)
				 : do_verify(argv[2], argv[3]);
}
