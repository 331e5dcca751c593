/* answer.c - see answer.h. */
#include "tools/fsck/answer.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/expects.h"

#define PLACE_BYTES 17000u /* a path of 4096 bytes, each as \ooo, and words */

int fsck_answer_begin(struct fsck_answer *answer, const char *what, bool json, bool all)
{
	const char *place = getenv("TMPDIR");
	char name[4096];
	int fd;

	*answer = (struct fsck_answer){.what = what, .json = json, .all = all};
	if ((size_t)snprintf(name, sizeof(name), "%s/fsck.catena.XXXXXX",
			     place != NULL && place[0] != '\0' ? place : "/tmp") >= sizeof(name))
		return -ENAMETOOLONG;
	fd = mkostemp(name, 0);
	if (fd < 0)
		return -errno;
	unlink(name);
	answer->findings = fdopen(fd, "w+");
	if (answer->findings != NULL)
		return 0;
	close(fd);
	return -ENOMEM;
}

void fsck_escape(const char *text, char *out, size_t size)
{
	size_t used = 0;

	for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
		bool plain = *at >= 0x20 && *at != 0x7f && *at != '\\' && *at < 0x80;

		if (used + 5 > size)
			break;
		if (plain)
			out[used++] = (char)*at;
		else
			used += (size_t)snprintf(out + used, size - used, "\\%03o", *at);
	}
	out[used] = '\0';
}

/* ---- one finding ---- */

/* What a person looks for: a path, or what there is instead. */
static void tell_place(const struct check_finding *finding, const char *path, char *out,
		       size_t size)
{
	if (path != NULL)
		fsck_escape(path, out, size);
	else if (finding->ino != 0)
		snprintf(out, size, "inode %" PRIu64, finding->ino);
	else if (finding->code >= CHECK_CHAIN_OF_NO_PARTITION)
		snprintf(out, size, "the cluster map");
	else
		snprintf(out, size, "the master's store");
}

static void print_text(FILE *out, const struct check_finding *finding,
		       const struct check_kind *kind, const char *path)
{
	char place[PLACE_BYTES];

	tell_place(finding, path, place, sizeof(place));
	fprintf(out, "CF-%d %s: %s\n    %s", (int)finding->code,
		check_severity_name(finding->severity), place, kind->title);
	if (finding->text[0] != '\0') {
		fsck_escape(finding->text, place, sizeof(place));
		fprintf(out, ": %s", place);
	}
	fprintf(out, "\n    To do: %s.\n", kind->advice);
}

static bool add_number(json_t *object, const char *name, uint64_t value)
{
	return value == 0 ||
	       json_object_set_new(object, name, json_integer((json_int_t)value)) == 0;
}

/* Text that is not UTF-8 has its bytes in hexadecimal under another name. */
static bool add_text(json_t *object, const char *name, const char *text)
{
	char key[64], *hex;
	json_t *value = json_string(text);
	bool ok;

	if (value != NULL)
		return json_object_set_new(object, name, value) == 0;
	hex = malloc(2 * strlen(text) + 1);
	if (hex == NULL)
		return false;
	for (size_t i = 0; text[i] != '\0'; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
	snprintf(key, sizeof(key), "%s_hex", name);
	ok = json_object_set_new(object, key, json_string(hex)) == 0;
	free(hex);
	return ok;
}

static int print_json(FILE *out, const struct check_finding *finding, const struct check_kind *kind,
		      const char *path)
{
	json_t *object = json_object();
	char code[16];
	bool ok = object != NULL;

	snprintf(code, sizeof(code), "CF-%d", (int)finding->code);
	ok = ok && add_text(object, "code", code) &&
	     add_text(object, "severity", check_severity_name(finding->severity)) &&
	     add_text(object, "title", kind->title) && add_text(object, "advice", kind->advice) &&
	     (path == NULL || add_text(object, "path", path)) &&
	     add_text(object, "text", finding->text) && add_number(object, "ino", finding->ino) &&
	     add_number(object, "other", finding->other) &&
	     add_number(object, "parent", finding->parent) &&
	     add_number(object, "file_id", finding->file_id) &&
	     add_number(object, "session", finding->session) &&
	     add_number(object, "pool", finding->pool) &&
	     add_number(object, "target", finding->target);
	if (ok && finding->pool != 0 && finding->code >= CHECK_CHAIN_OF_NO_PARTITION)
		ok = json_object_set_new(object, "partition",
					 json_integer((json_int_t)finding->partition)) == 0;
	if (ok && finding->is != finding->should)
		ok = json_object_set_new(object, "is", json_integer((json_int_t)finding->is)) ==
			     0 &&
		     json_object_set_new(object, "should",
					 json_integer((json_int_t)finding->should)) == 0;
	ok = ok && json_dumpf(object, out, JSON_COMPACT) == 0;
	json_decref(object);
	return ok ? 0 : -ENOMEM;
}

/* Counts the finding, and says whether people are shown it. */
static bool is_shown(struct fsck_answer *answer, const struct check_kind *kind)
{
	size_t i = (size_t)(kind - check_kind_at(0));

	expects(i < FSCK_CODES);
	return ++answer->of_code[i] <= FSCK_SHOWN || answer->all;
}

void fsck_answer_add(struct fsck_answer *answer, const struct check_finding *finding,
		     const char *path)
{
	const struct check_kind *kind = check_kind_of(finding->code);
	bool shown = is_shown(answer, kind);
	int rc = 0;

	answer->found[finding->severity]++;
	if (answer->error != 0)
		return;
	if (answer->json) {
		fputs(answer->count == 0 ? "\n  " : ",\n  ", answer->findings);
		rc = print_json(answer->findings, finding, kind, path);
	} else if (shown) {
		print_text(answer->findings, finding, kind, path);
	}
	answer->count++;
	if (rc == 0 && ferror(answer->findings))
		rc = -errno;
	answer->error = rc;
}

/* ---- all of it ---- */

static int copy_findings(struct fsck_answer *answer, FILE *out)
{
	char buffer[65536];
	size_t n;

	if (fflush(answer->findings) != 0 || fseek(answer->findings, 0, SEEK_SET) != 0)
		return -errno;
	while ((n = fread(buffer, 1, sizeof(buffer), answer->findings)) > 0)
		fwrite(buffer, 1, n, out);
	return ferror(answer->findings) ? -EIO : 0;
}

/* "2 losses, 1 error"; "" when nothing counts. */
static void tell_counts(const struct fsck_answer *answer, char *out, size_t size)
{
	static const char *const one[] = {"", "warning", "error", "loss"};
	static const char *const many[] = {"", "warnings", "errors", "losses"};
	size_t used = 0;

	out[0] = '\0';
	for (unsigned i = CHECK_LOSS; i >= CHECK_WARNING; i--)
		if (answer->found[i] != 0)
			used += (size_t)snprintf(out + used, size - used, "%s%" PRIu64 " %s",
						 used == 0 ? "" : ", ", answer->found[i],
						 answer->found[i] == 1 ? one[i] : many[i]);
}

static void tell_more(const struct fsck_answer *answer, FILE *out)
{
	const struct check_kind *kind;

	for (size_t i = 0; !answer->all && (kind = check_kind_at(i)) != NULL; i++)
		if (answer->of_code[i] > FSCK_SHOWN)
			fprintf(out, "CF-%d: %" PRIu64 " more of these (--all shows them)\n",
				(int)kind->code, answer->of_code[i] - FSCK_SHOWN);
}

static int end_text(struct fsck_answer *answer, const struct check_result *seen, const char *unseen,
		    double seconds, FILE *out)
{
	char counts[128];
	int rc;

	tell_counts(answer, counts, sizeof(counts));
	if (counts[0] != '\0')
		fprintf(out, "fsck.catena: %s: NOT healthy: %s\n", answer->what, counts);
	else if (unseen[0] != '\0')
		fprintf(out, "fsck.catena: %s: NOT KNOWN: not everything was seen\n", answer->what);
	else
		fprintf(out, "fsck.catena: %s: healthy\n", answer->what);
	rc = copy_findings(answer, out);
	tell_more(answer, out);
	if (unseen[0] != '\0')
		fprintf(out, "not seen: %s\n", unseen);
	fprintf(out,
		"seen: %" PRIu64 " inodes, %" PRIu64 " names, %" PRIu64 " sessions, %" PRIu64
		" partitions in %.1f s\n",
		seen->inodes, seen->entries, seen->sessions, seen->partitions, seconds);
	return rc;
}

static int end_json(struct fsck_answer *answer, const struct check_result *seen, const char *unseen,
		    double seconds, FILE *out)
{
	json_t *rest = json_object();
	bool found = false, ok = rest != NULL;
	char *text = NULL;
	int rc;

	for (unsigned i = CHECK_WARNING; i < CHECK_SEVERITIES; i++)
		found = found || answer->found[i] != 0;
	ok = ok && add_text(rest, "what", answer->what) &&
	     json_object_set_new(rest, "healthy", json_boolean(!found && unseen[0] == '\0')) == 0 &&
	     json_object_set_new(rest, "everything_seen", json_boolean(unseen[0] == '\0')) == 0 &&
	     add_text(rest, "unseen", unseen) &&
	     json_object_set_new(rest, "seconds", json_real(seconds)) == 0;
	for (unsigned i = 0; ok && i < CHECK_SEVERITIES; i++)
		ok = json_object_set_new(rest, check_severity_name(i),
					 json_integer((json_int_t)answer->found[i])) == 0;
	ok = ok &&
	     json_object_set_new(rest, "inodes", json_integer((json_int_t)seen->inodes)) == 0 &&
	     json_object_set_new(rest, "names", json_integer((json_int_t)seen->entries)) == 0 &&
	     json_object_set_new(rest, "sessions", json_integer((json_int_t)seen->sessions)) == 0 &&
	     json_object_set_new(rest, "partitions", json_integer((json_int_t)seen->partitions)) ==
		     0;
	text = ok ? json_dumps(rest, JSON_COMPACT) : NULL;
	json_decref(rest);
	if (text == NULL)
		return -ENOMEM;
	/* The object goes on behind its findings. */
	fprintf(out, "{\"findings\": [");
	rc = copy_findings(answer, out);
	fprintf(out, "],\n %s\n", text + 1);
	free(text);
	return rc;
}

int fsck_answer_end(struct fsck_answer *answer, const struct check_result *seen, const char *unseen,
		    double seconds, FILE *out)
{
	char kept[256];
	int status = 0, rc;

	if (answer->error != 0) {
		snprintf(kept, sizeof(kept), "findings could not be kept for printing: %s",
			 strerror(-answer->error));
		unseen = kept;
	}
	rc = (answer->json ? end_json : end_text)(answer, seen, unseen, seconds, out);
	fclose(answer->findings);
	answer->findings = NULL;
	if (fflush(out) != 0 && rc == 0)
		rc = -errno;
	if (rc != 0)
		fprintf(stderr, "fsck.catena: the answer cannot be printed: %s\n", strerror(-rc));
	for (unsigned i = CHECK_WARNING; i < CHECK_SEVERITIES; i++)
		if (answer->found[i] != 0)
			status |= FSCK_FOUND;
	return status | (unseen[0] != '\0' || rc != 0 ? FSCK_UNSEEN : 0);
}
