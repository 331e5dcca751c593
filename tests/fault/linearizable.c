/* linearizable - judges a log of history_log.h. Exit 0: all is right; 1: it is not, and where; 2: bad
 * log. linearizable LOG
 *
 * Names are linearizable (Herlihy & Wing 1990): there is one order of all operations, each between
 * its beginning and its end, in which every answer is right. Data is promised from close to open: a
 * write may be seen on one mount and not yet on another before it returns. So registers are regular
 * (Lamport 1986): a read gives a value whose write had begun, and that no other write has replaced
 * which began after the end of the first and ended before the read began.
 *
 * An operation that failed otherwise than its kind can, or has no end, may have taken effect or
 * not: until it returned, or, when its mount was gone, for GONE_NS more.
 *
 * Method for names, which are judged together: events in order of time, with all pairs of (state,
 * operations under way that have taken effect) that are possible so far. When an operation returns,
 * those remain in which it has. */
#include "common/base/duration.h"
#include "tests/fault/history_log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long requests of a mount that was killed may still be executed: its session's lease, and
 * more. */
#define GONE_NS     (20 * (int64_t)NS_PER_SEC)
#define OPEN_MAX_   64
#define CONFIGS_MAX 400000u
#define WORKERS_MAX 64

struct op {
	unsigned worker, object, other;
	uint64_t number, value, seen;
	int64_t begin, end; /* when it has surely taken effect, or never will */
	int result;
	char kind;
	bool returned;
	bool sure; /* the answer says whether it has */
	unsigned slot;
};

struct event {
	int64_t ns;
	size_t op;
	bool end;
};

struct config {
	uint64_t state[NAMES];
	uint64_t done; /* slots of operations under way that have taken effect */
};

static struct op *ops;
static size_t op_count, op_room;

/* ---- reading ---- */

static struct op *op_new(void)
{
	if (op_count == op_room) {
		op_room = op_room == 0 ? 4096 : op_room * 2;
		ops = realloc(ops, op_room * sizeof(*ops));
		if (ops == NULL)
			abort();
	}
	memset(&ops[op_count], 0, sizeof(*ops));
	return &ops[op_count++];
}

static bool answer_is_sure(const struct op *op)
{
	switch (op->kind) {
	case LINK:
		return op->result == 0 || op->result == EEXIST;
	case UNLINK:
	case MOVE:
	case TAKE:
	case LOOK:
		return op->result == 0 || op->result == ENOENT;
	default:
		return op->result == 0;
	}
}

static bool line_begins(const char *line, size_t last[WORKERS_MAX])
{
	struct op *op = op_new();

	if (sscanf(line, "B %u %" SCNu64 " %" SCNd64 " %c %u %u %" SCNu64, &op->worker, &op->number,
		   &op->begin, &op->kind, &op->object, &op->other, &op->value) != 7 ||
	    op->worker >= WORKERS_MAX || op->object >= NAMES || op->other >= NAMES)
		return false;
	op->end = INT64_MAX;
	last[op->worker] = op_count - 1;
	return true;
}

static bool line_ends(const char *line, const size_t last[WORKERS_MAX])
{
	unsigned worker;
	uint64_t number, seen;
	int64_t ns;
	int result;
	struct op *op;

	if (sscanf(line, "E %u %" SCNu64 " %" SCNd64 " %d %" SCNu64, &worker, &number, &ns, &result,
		   &seen) != 5 ||
	    worker >= WORKERS_MAX || last[worker] >= op_count)
		return false;
	op = &ops[last[worker]];
	if (op->worker != worker || op->number != number)
		return false;
	op->returned = true;
	op->result = result;
	op->seen = seen;
	op->sure = answer_is_sure(op);
	op->end = op->sure || (result != ENOTCONN && result != ECONNABORTED) ? ns : ns + GONE_NS;
	return true;
}

static bool load(const char *file)
{
	size_t last[WORKERS_MAX];
	FILE *in = fopen(file, "r");
	char line[256];
	bool good = in != NULL;

	memset(last, 0xff, sizeof(last));
	while (good && fgets(line, sizeof(line), in) != NULL)
		good = line[0] == 'B' ? line_begins(line, last) : line_ends(line, last);
	if (!good)
		fprintf(stderr, "linearizable: bad line in %s: %s", file,
			in == NULL ? "cannot be opened\n" : line);
	if (in != NULL)
		fclose(in);
	return good;
}

/* ---- the objects ---- */

/* Does it fit here? Then *state is as it is after it. */
static bool apply(const struct op *op, uint64_t state[NAMES])
{
	uint64_t *object = &state[op->object];
	int result = 0;

	switch (op->kind) {
	case REPLACE:
		*object = op->value;
		break;
	case LOOK:
		return !op->sure || *object == (op->result == 0 ? op->seen : 0);
	case LINK:
		if (*object != 0)
			result = EEXIST;
		else
			*object = op->value;
		break;
	case UNLINK:
		if (*object == 0)
			result = ENOENT;
		*object = 0;
		break;
	case TAKE:
		if (*object == 0)
			result = ENOENT;
		else if (op->sure && op->result == 0 && *object != op->seen)
			return false;
		*object = 0;
		break;
	case MOVE:
		if (*object == 0) {
			/* The kernel looks both names up, one after the other, before it asks for a
			 * rename, and for two of one inode it does nothing and says 0. Between
			 * these, another mount may have moved the one to the other. */
			result = op->result == 0 && state[op->other] != 0 ? 0 : ENOENT;
			break;
		}
		/* Two names of one inode: nothing is done, by POSIX. */
		if (state[op->other] != *object) {
			state[op->other] = *object;
			*object = 0;
		}
		break;
	default:
		return false;
	}
	return !op->sure || result == op->result;
}

/* ---- the search ---- */

struct set {
	struct config *configs;
	size_t count, room;
	uint32_t *table;
	size_t table_size;
};

static uint64_t hash_of(const struct config *c)
{
	uint64_t h = c->done;

	for (unsigned i = 0; i < NAMES; i++)
		h = (h ^ c->state[i]) * 0x9e3779b97f4a7c15ull + (h >> 29);
	return h ^ h >> 32;
}

static void table_put(struct set *set, uint32_t index)
{
	size_t at = hash_of(&set->configs[index]) & (set->table_size - 1);

	while (set->table[at] != 0)
		at = (at + 1) & (set->table_size - 1);
	set->table[at] = index + 1;
}

static bool set_has(const struct set *set, const struct config *c)
{
	size_t at;

	if (set->table_size == 0)
		return false;
	for (at = hash_of(c) & (set->table_size - 1); set->table[at] != 0;
	     at = (at + 1) & (set->table_size - 1))
		if (memcmp(&set->configs[set->table[at] - 1], c, sizeof(*c)) == 0)
			return true;
	return false;
}

static void set_add(struct set *set, const struct config *c)
{
	if (set_has(set, c))
		return;
	if (set->count * 2 >= set->table_size) {
		set->table_size = set->table_size == 0 ? 256 : set->table_size * 2;
		free(set->table);
		set->table = calloc(set->table_size, sizeof(*set->table));
		for (size_t i = 0; set->table != NULL && i < set->count; i++)
			table_put(set, (uint32_t)i);
	}
	if (set->count == set->room) {
		set->room = set->room == 0 ? 256 : set->room * 2;
		set->configs = realloc(set->configs, set->room * sizeof(*set->configs));
	}
	if (set->table == NULL || set->configs == NULL)
		abort();
	set->configs[set->count++] = *c;
	table_put(set, (uint32_t)set->count - 1);
}

static void set_free(struct set *set)
{
	free(set->configs);
	free(set->table);
	*set = (struct set){0};
}

/* All that can become of these while the operations under way take effect in any order. */
static bool close_over(struct set *set, const size_t *open, uint64_t open_mask)
{
	for (size_t i = 0; i < set->count; i++) {
		for (unsigned slot = 0; slot < OPEN_MAX_; slot++) {
			struct config next = set->configs[i];

			if ((open_mask >> slot & 1) == 0 || (next.done >> slot & 1) != 0)
				continue;
			next.done |= UINT64_C(1) << slot;
			if (apply(&ops[open[slot]], next.state))
				set_add(set, &next);
		}
		if (set->count > CONFIGS_MAX)
			return false;
	}
	return true;
}

static void complain(const struct event *events, size_t at, const struct set *before)
{
	printf("not linearizable: the last of these cannot have had that answer\n");
	for (size_t i = at > 24 ? at - 24 : 0; i <= at; i++) {
		const struct op *op = &ops[events[i].op];

		if (!events[i].end && at - i > 12 && op->returned)
			continue;
		printf("  %s %.3f ms worker %u #%" PRIu64 " %c %u %u value %" PRIx64
		       " result %d saw %" PRIx64 "%s\n",
		       events[i].end ? "end  " : "begin",
		       (double)(events[i].ns - ops[0].begin) / 1e6, op->worker, op->number,
		       op->kind, op->object, op->other, op->value, op->result, op->seen,
		       op->sure ? "" : " (may or may not have happened)");
	}
	for (size_t i = 0; i < before->count && i < 8; i++)
		printf("  possible before: %" PRIx64 " %" PRIx64 " %" PRIx64 "\n",
		       before->configs[i].state[0], before->configs[i].state[1],
		       before->configs[i].state[2]);
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns < y->ns ? -1 : 1;
	return (int)x->end - (int)y->end; /* at the same time: they overlap */
}

/* After @op's end: only what it fits into, or, when it may not have happened, everything. */
static void settle(struct set *set, const struct op *op)
{
	struct set kept = {0};
	uint64_t bit = UINT64_C(1) << op->slot;

	for (size_t i = 0; i < set->count; i++) {
		struct config c = set->configs[i];

		if (op->sure && (c.done & bit) == 0)
			continue;
		c.done &= ~bit;
		set_add(&kept, &c);
	}
	set_free(set);
	*set = kept;
}

static int judge(struct event *events, size_t count)
{
	struct config first = {0};
	size_t open[OPEN_MAX_];
	struct set set = {0};
	uint64_t mask = 0;
	int rc = 0;

	qsort(events, count, sizeof(*events), by_time);
	set_add(&set, &first);
	for (size_t i = 0; i < count && rc == 0; i++) {
		struct op *op = &ops[events[i].op];

		if (!events[i].end) {
			if (~mask == 0) {
				printf("too many operations that may still happen\n");
				rc = 2;
				break;
			}
			op->slot = (unsigned)__builtin_ctzll(~mask);
			open[op->slot] = events[i].op;
			mask |= UINT64_C(1) << op->slot;
			continue;
		}
		if (!close_over(&set, open, mask)) {
			printf("too many possibilities to judge\n");
			rc = 2;
			break;
		}
		if (op->sure) {
			struct set before = {0};

			for (size_t c = 0; c < set.count; c++)
				set_add(&before, &set.configs[c]);
			settle(&set, op);
			if (set.count == 0) {
				complain(events, i, &before);
				rc = 1;
			}
			set_free(&before);
		} else {
			settle(&set, op);
		}
		mask &= ~(UINT64_C(1) << op->slot);
	}
	set_free(&set);
	return rc;
}

static bool of_names(const struct op *op)
{
	return op->kind != WRITE && op->kind != READ;
}

static int judge_names(void)
{
	struct event *events = calloc(op_count * 2 + 1, sizeof(*events));
	size_t count = 0, judged = 0, unsure = 0;
	int rc;

	if (events == NULL)
		abort();
	for (size_t i = 0; i < op_count; i++) {
		if (!of_names(&ops[i]) || (ops[i].kind == LOOK && !ops[i].sure))
			continue; /* a look that failed says nothing */
		judged++;
		unsure += !ops[i].sure;
		events[count++] = (struct event){.ns = ops[i].begin, .op = i};
		if (ops[i].end != INT64_MAX)
			events[count++] = (struct event){.ns = ops[i].end, .op = i, .end = true};
	}
	rc = judge(events, count);
	printf("names: %zu operations, %zu of them may have happened or not: %s\n", judged, unsure,
	       rc == 0   ? "linearizable"
	       : rc == 1 ? "NOT linearizable"
			 : "not judged");
	free(events);
	return rc;
}

/* ---- registers ---- */

static const struct op *write_of(uint64_t value)
{
	static const struct op first = {.sure = true, .begin = INT64_MIN, .end = INT64_MIN};

	if (value == 0)
		return &first;
	for (size_t i = 0; i < op_count; i++)
		if (ops[i].kind == WRITE && ops[i].value == value)
			return &ops[i];
	return NULL;
}

static const char *read_is_wrong(const struct op *read, const struct op **why)
{
	const struct op *write = write_of(read->seen);

	*why = NULL;
	if (write == NULL || (write->number != 0 && write->object != read->object))
		return "a value that nobody wrote there";
	*why = write;
	if (write->begin > read->end)
		return "a value from the future";
	for (size_t i = 0; i < op_count; i++) {
		const struct op *other = &ops[i];

		*why = other;
		if (other->kind == WRITE && other->object == read->object && other->sure &&
		    write->end < other->begin && other->end < read->begin)
			return "a value that was replaced before";
	}
	return NULL;
}

static int judge_registers(void)
{
	size_t reads = 0, writes = 0, unsure = 0, wrong = 0;

	for (size_t i = 0; i < op_count; i++) {
		const struct op *op = &ops[i], *why;
		const char *what;

		writes += op->kind == WRITE;
		unsure += op->kind == WRITE && !op->sure;
		if (op->kind != READ || !op->sure)
			continue;
		reads++;
		what = read_is_wrong(op, &why);
		if (what == NULL || wrong++ >= 8)
			continue;
		printf("worker %u #%" PRIu64 " read %" PRIx64
		       " from register %u at %.3f to %.3f ms: %s",
		       op->worker, op->number, op->seen, op->object,
		       (double)(op->begin - ops[0].begin) / 1e6,
		       (double)(op->end - ops[0].begin) / 1e6, what);
		if (why != NULL)
			printf(" (worker %u #%" PRIu64 " wrote %" PRIx64 " at %.3f to %.3f ms)",
			       why->worker, why->number, why->value,
			       (double)(why->begin - ops[0].begin) / 1e6,
			       (double)(why->end - ops[0].begin) / 1e6);
		printf("\n");
	}
	printf("registers: %zu reads and %zu writes, %zu of them may have happened or not: %zu "
	       "wrong\n",
	       reads, writes, unsure, wrong);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	int names, registers;

	if (argc != 2 || !load(argv[1]))
		return 2;
	registers = judge_registers();
	names = judge_names();
	return registers > names ? registers : names;
}
