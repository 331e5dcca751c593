/* resume.c - see resume.h. */
#define LOG_MODULE "kept"
#include "master/kept/resume.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/log.h"
#include "master/kept/directory.h"
#include "master/kept/segment.h"

/* The chance of the life in which the segment's last entry was applied: a life begins with the first
 * entry of a segment, or before it. */
static int chance_of(const struct kept_segment *segment, uint64_t *chance)
{
	struct entry *entry;
	int rc;

	*chance = segment->head.chance;
	if (segment->count == 0)
		return 0;
	rc = entry_decode(segment->items[0].entry, segment->items[0].entry_size, &entry);
	if (rc != 0)
		return rc;
	if (entry->command.kind == COMMAND_START && segment->items[0].trace.result == 0)
		*chance = entry->command.start.life.chance;
	entry_free(entry);
	return 0;
}

/* True when the segment has all entries up to the state's last one, and they are the state's. */
static int fits(const struct kept_segment *segment, const struct state *state, bool *yes)
{
	uint64_t applied = state_applied_index(state), chance;
	uint8_t hash[LOG_HASH_BYTES];
	struct state_life life;
	int rc;

	*yes = false;
	if (segment->size == 0 || segment->head.instance != state_instance(state) ||
	    segment->head.index > applied || kept_segment_last(segment, hash) < applied)
		return 0;
	rc = chance_of(segment, &chance);
	if (rc != 0)
		return rc;
	state_life(state, &life);
	*yes = chance == life.chance;
	return 0;
}

static int cut_and_mark(int dir_fd, const char *name, const struct kept_segment *segment,
			bool continues, uint64_t applied)
{
	uint8_t mark[KEPT_MARK_BYTES];
	int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (segment->torn != 0 && ftruncate(fd, (off_t)segment->size) != 0)
		rc = -errno;
	if (rc == 0 && continues && segment->head.index + segment->count > applied) {
		kept_write_undone(applied, mark);
		if (pwrite(fd, mark, sizeof(mark), (off_t)segment->size) != sizeof(mark))
			rc = -EIO;
		log_info("entries of the kept log are not in the store: they are marked count=%zu",
			 (size_t)(segment->head.index + segment->count - applied));
	}
	close(fd);
	return rc;
}

static int resume_last(int dir_fd, uint32_t number, const struct state *state,
		       struct kept_resume *out)
{
	uint64_t applied = state_applied_index(state);
	struct kept_segment segment;
	char name[KEPT_NAME_MAX];
	bool continues = false;
	size_t at;
	int rc;

	kept_entries_name(number, name);
	rc = kept_segment_read(dir_fd, name, &segment, &at);
	if (rc == 0)
		rc = fits(&segment, state, &continues);
	if (rc == -EBADMSG || rc == -EPROTONOSUPPORT)
		log_warn("the kept log cannot be read, another run of it begins file=%s at=%zu "
			 "error=\"%s\"",
			 name, at, strerror(-rc));
	else if (rc == 0)
		rc = cut_and_mark(dir_fd, name, &segment, continues, applied);
	if (rc == 0 && continues) {
		const struct kept_item *item =
			applied == segment.head.index
				? NULL
				: &segment.items[applied - segment.head.index - 1];

		memcpy(out->hash, item == NULL ? segment.head.hash : item->trace.hash,
		       LOG_HASH_BYTES);
		out->continues = true;
	}
	kept_segment_free(&segment);
	return rc == -EBADMSG || rc == -EPROTONOSUPPORT ? 0 : rc;
}

static bool begins_a_run(int dir_fd, uint32_t number)
{
	uint8_t bytes[KEPT_HEAD_BYTES];
	char name[KEPT_NAME_MAX];
	struct kept_head head;
	ssize_t n = -1;
	int fd;

	kept_entries_name(number, name);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, bytes, sizeof(bytes));
		close(fd);
	}
	return n < 0 || kept_read_head(bytes, (size_t)n, &head) != 0 || head.begins;
}

int kept_resume(int dir_fd, const struct state *state, struct kept_resume *out)
{
	struct kept_part *parts;
	size_t count, first;
	int rc = kept_list(dir_fd, &parts, &count);

	*out = (struct kept_resume){0};
	if (rc != 0 || count == 0)
		return rc;
	out->number = parts[count - 1].number;
	if (parts[count - 1].has_entries)
		rc = resume_last(dir_fd, out->number, state, out);
	first = count - 1;
	while (first > 0 && parts[first - 1].number + 1 == parts[first].number &&
	       !begins_a_run(dir_fd, parts[first].number))
		first--;
	out->run = parts[first].number;
	free(parts);
	return rc;
}
