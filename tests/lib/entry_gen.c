#include "tests/lib/entry_gen.h"
#include <stdlib.h>
#include "common/cluster/request_kind.h"

/* ---- values ---- */

static uint64_t below(struct entry_gen *gen, uint64_t limit)
{
	return fuzz_random(&gen->random) % limit;
}

/* From @least to @most. */
static uint64_t within(struct entry_gen *gen, uint64_t least, uint64_t most)
{
	uint64_t range = most - least;

	if (range == 0)
		return least;
	if (gen->random == 0) {
		uint64_t number = ++gen->number * 131;

		return least <= 1 && number < most ? number : least + number % range;
	}
	switch (below(gen, 6)) {
	case 0:
		return least;
	case 1:
		return most;
	case 2:
		return least + (range < 200 ? below(gen, range + 1) : below(gen, 200));
	default:
		return range == UINT64_MAX ? fuzz_random(&gen->random)
					   : least + below(gen, range + 1);
	}
}

static uint64_t u64(struct entry_gen *gen)
{
	return within(gen, 0, UINT64_MAX);
}

static uint32_t u32(struct entry_gen *gen)
{
	return (uint32_t)within(gen, 0, UINT32_MAX);
}

static bool flag(struct entry_gen *gen)
{
	return gen->random == 0 || below(gen, 2) == 0;
}

static size_t count(struct entry_gen *gen, size_t least)
{
	return gen->random == 0 ? 3 : least + below(gen, ENTRY_GEN_MOST + 1 - least);
}

static void text(struct entry_gen *gen, char *out, size_t least, size_t most)
{
	size_t size = gen->random == 0 ? 5 : least + below(gen, most + 1 - least);

	for (size_t i = 0; i < size; i++)
		out[i] = (char)('a' + within(gen, 0, 25) % 26);
	out[size] = '\0';
}

/* @which: no two of a command are equal. */
static void uuid(struct entry_gen *gen, char out[37], size_t which)
{
	if (gen->random != 0 && below(gen, 4) == 0)
		snprintf(out, 37, "t%zu", which);
	else
		snprintf(out, 37, "%08x-0000-4000-8000-%012zx", u32(gen), which);
}

/* ---- requests ---- */

static void fill_bytes(struct entry_gen *gen, ProtobufCBinaryData *out)
{
	uint8_t *to = gen->bytes[gen->bytes_used++ % 16];

	out->len = gen->random == 0 ? 6 : below(gen, sizeof(gen->bytes[0]) + 1);
	out->data = to;
	for (size_t i = 0; i < out->len; i++)
		to[i] = (uint8_t)u32(gen);
}

/* Every field of the message, but those that are messages. */
static void fill(struct entry_gen *gen, ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		void *at = (char *)message + field->offset;

		switch (field->type) {
		case PROTOBUF_C_TYPE_UINT32:
			*(uint32_t *)at = u32(gen);
			break;
		case PROTOBUF_C_TYPE_UINT64:
		case PROTOBUF_C_TYPE_SINT64:
			*(uint64_t *)at = u64(gen);
			break;
		case PROTOBUF_C_TYPE_BOOL:
			*(protobuf_c_boolean *)at = flag(gen);
			break;
		case PROTOBUF_C_TYPE_BYTES:
			fill_bytes(gen, at);
			break;
		case PROTOBUF_C_TYPE_MESSAGE:
			break;
		default:
			abort();
		}
	}
}

bool entry_gen_request(struct entry_gen *gen, uint32_t op_case)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field(&catena__request__descriptor, op_case);
	const ProtobufCMessageDescriptor *op;

	if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	op = field->descriptor;
	if (op->sizeof_message > sizeof(gen->op))
		abort();
	catena__request__init(&gen->request);
	fill(gen, &gen->request.base);
	op->message_init((ProtobufCMessage *)gen->op);
	fill(gen, (ProtobufCMessage *)gen->op);
	gen->request.op_case = (Catena__Request__OpCase)op_case;
	gen->request.lookup = (Catena__LookupReq *)gen->op; /* all are at one place */
	if (op_case == CATENA__REQUEST__OP_XATTR)
		gen->request.xattr->op = flag(gen) ? 2 : 4;
	return true;
}

static const Catena__Request *some_command(struct entry_gen *gen)
{
	uint32_t op = gen->random == 0 ? CATENA__REQUEST__OP_SETATTR : 0;

	while (!entry_gen_request(gen, op) || !request_kind_is_command(&gen->request))
		op = 10 + (uint32_t)below(gen, 20);
	return &gen->request;
}

/* ---- the cluster ---- */

static void server(struct entry_gen *gen, struct map_server *out)
{
	memset(out, 0, sizeof(*out));
	out->id = u64(gen);
	out->workers = (uint32_t)within(gen, 1, 1024);
	out->online = flag(gen);
	text(gen, out->name, 1, MAP_NAME_MAX - 1);
	text(gen, out->address, 0, MAP_NAME_MAX - 1);
	text(gen, out->host, 0, MAP_NAME_MAX - 1);
	text(gen, out->rack, 0, MAP_NAME_MAX - 1);
	text(gen, out->zone, 0, MAP_NAME_MAX - 1);
}

static void registration(struct entry_gen *gen, struct log_command *out)
{
	server(gen, &gen->server);
	gen->registration = (struct state_registration){.server = &gen->server,
							.known_id = u64(gen),
							.targets = gen->targets,
							.target_count = count(gen, 0)};
	text(gen, gen->registration.known_address, 0, MAP_NAME_MAX - 1);
	for (size_t i = 0; i < gen->registration.target_count; i++) {
		struct state_registered_target *target = &gen->targets[i];

		*target = (struct state_registered_target){.known_server = u64(gen),
							   .known_life = u64(gen)};
		uuid(gen, target->uuid, i);
	}
	out->registration = &gen->registration;
}

static void chain(struct entry_gen *gen, struct map_chain *out)
{
	uint32_t members = (uint32_t)(gen->random == 0 ? 5 : 1 + below(gen, CHAIN_MEMBERS_MAX));
	uint32_t in_sync = (uint32_t)(gen->random == 0 ? 2 : 1 + below(gen, members));
	uint32_t syncing = in_sync + (flag(gen) ? 1 : 0);
	uint32_t first = (uint32_t)within(gen, 1, UINT32_MAX - CHAIN_MEMBERS_MAX);

	memset(out, 0, sizeof(*out));
	out->epoch = u64(gen);
	out->count = members;
	for (uint32_t i = 0; i < members; i++)
		out->members[i] = (struct chain_member){first + i, i < in_sync   ? MEMBER_IN_SYNC
								   : i < syncing ? MEMBER_SYNCING
										 : MEMBER_OFFLINE};
}

static size_t changes(struct entry_gen *gen)
{
	size_t n = count(gen, 0);

	for (size_t i = 0; i < n; i++) {
		gen->changes[i].pool = u32(gen);
		gen->changes[i].partition = u32(gen);
		chain(gen, &gen->changes[i].chain);
	}
	return n;
}

static size_t lives(struct entry_gen *gen)
{
	size_t n = count(gen, 0);

	for (size_t i = 0; i < n; i++)
		gen->lives[i] = (struct chain_life){.target = u32(gen), .life = u64(gen)};
	return n;
}

static size_t numbers(struct entry_gen *gen, uint64_t least)
{
	size_t n = count(gen, 0);

	for (size_t i = 0; i < n; i++)
		gen->numbers[i] = within(gen, least, UINT64_MAX);
	return n;
}

static size_t ascending(struct entry_gen *gen)
{
	size_t n = count(gen, 0);
	uint64_t last = 0;

	for (size_t i = 0; i < n; i++)
		gen->numbers[i] = last += within(gen, 1, UINT64_MAX / ENTRY_GEN_MOST);
	return n;
}

static void chains(struct entry_gen *gen, struct log_command *out)
{
	out->chains.changes = gen->changes;
	out->chains.change_count = changes(gen);
	out->chains.lives = gen->lives;
	out->chains.life_count = lives(gen);
	out->chains.fenced = gen->numbers;
	out->chains.fenced_count = numbers(gen, 1);
}

static void drain(struct entry_gen *gen, struct log_command *out)
{
	out->drain.targets = gen->drained;
	out->drain.count = count(gen, 0);
	out->drain.draining = flag(gen);
	for (size_t i = 0; i < out->drain.count; i++)
		gen->drained[i] = u32(gen);
}

/* Two targets to a server: its id and name go together. */
static void accepted(struct entry_gen *gen, struct state_accept *accept)
{
	uint32_t first = (uint32_t)within(gen, 1, UINT32_MAX - ENTRY_GEN_MOST);
	uint64_t first_server = within(gen, 1, UINT64_MAX - ENTRY_GEN_MOST);

	accept->targets = gen->accepted;
	accept->target_count = count(gen, 0);
	accept->seen_target = first + ENTRY_GEN_MOST;
	accept->seen_server = first_server + ENTRY_GEN_MOST;
	for (size_t i = 0; i < accept->target_count; i++) {
		struct state_accepted_target *target = &gen->accepted[i];

		memset(target, 0, sizeof(*target));
		target->id = first + (uint32_t)i;
		target->life = u64(gen);
		uuid(gen, target->uuid, i);
		server(gen, &target->server);
		target->server.id = first_server + i / 2;
		snprintf(target->server.name, sizeof(target->server.name), "server%zu", i / 2);
	}
}

static void accept(struct entry_gen *gen, struct log_command *out)
{
	struct state_accept *accept = &gen->accept;

	memset(accept, 0, sizeof(*accept));
	accept->chance = within(gen, 1, UINT64_MAX);
	accept->seen_life = u64(gen);
	accept->seen_version = u64(gen);
	accepted(gen, accept);
	accept->chains = gen->changes;
	accept->chain_count = changes(gen);
	accept->lives = gen->lives;
	accept->life_count = lives(gen);
	accept->seen = gen->seen;
	accept->seen_count = count(gen, 0);
	for (size_t i = 0; i < accept->seen_count; i++) {
		gen->seen[i].seen = (struct state_seen){.life = u64(gen),
							.chance = u64(gen),
							.version = u64(gen),
							.index = u64(gen)};
		uuid(gen, gen->seen[i].uuid, i);
	}
	out->accept = accept;
}

/* ---- commands ---- */

static void session_open(struct entry_gen *gen, struct log_command *out)
{
	text(gen, gen->texts[0], 0, sizeof(gen->texts[0]) - 1);
	text(gen, gen->texts[1], 0, sizeof(gen->texts[1]) - 1);
	out->session_open.secret = u64(gen);
	out->session_open.mount = gen->texts[0];
	out->session_open.name = gen->texts[1];
}

static bool is_of_session(enum command_kind kind)
{
	return kind <= COMMAND_LEASE_END && kind != COMMAND_SESSION_OPEN;
}

static void refused(struct entry_gen *gen, struct state_refusal *out)
{
	out->error = (int)within(gen, 1, STATE_REFUSAL_MAX);
	if (gen->random != 0 && flag(gen))
		return; /* of no request */
	out->session = u64(gen);
	out->request = within(gen, 1, UINT64_MAX);
	out->lane = u64(gen);
	out->answered = u64(gen);
}

void entry_gen(struct entry_gen *gen, enum command_kind kind, struct log_command *out)
{
	memset(out, 0, sizeof(*out));
	out->kind = kind;
	if (is_of_session(kind))
		out->session = u64(gen);
	switch (kind) {
	case COMMAND_REQUEST:
		out->request.message = some_command(gen);
		out->request.answered = u64(gen);
		out->request.no_space = flag(gen);
		break;
	case COMMAND_SESSION_OPEN:
		session_open(gen, out);
		break;
	case COMMAND_SESSION_CLOSE:
		out->session_close.left = gen->numbers;
		out->session_close.left_count = ascending(gen);
		break;
	case COMMAND_SESSION_FENCE:
	case COMMAND_LEASE_GRANT:
		break;
	case COMMAND_LEASE_END:
		out->generation = u64(gen);
		break;
	case COMMAND_FENCES_OWED:
		out->owed = flag(gen);
		break;
	case COMMAND_REGISTER:
		registration(gen, out);
		break;
	case COMMAND_CHAINS:
		chains(gen, out);
		break;
	case COMMAND_REMOVED:
		out->removed.sequences = gen->numbers;
		out->removed.count = numbers(gen, 0);
		break;
	case COMMAND_DRAIN:
		drain(gen, out);
		break;
	case COMMAND_RECOVERY:
		out->recovery = (struct state_recovery){.rate = u64(gen), .paused = flag(gen)};
		break;
	case COMMAND_START:
		out->start.life.instance = within(gen, 1, UINT64_MAX);
		out->start.life.chance = within(gen, 1, UINT64_MAX);
		out->start.id_gap = within(gen, 1, STATE_ID_GAP_MAX);
		break;
	case COMMAND_ACCEPT:
		accept(gen, out);
		break;
	case COMMAND_LEVEL:
		out->level = (uint32_t)within(gen, 1, STATE_LEVEL);
		break;
	case COMMAND_REFUSED:
		refused(gen, &out->refused);
		break;
	}
}

/* ---- equality ---- */

static bool requests_equal(const Catena__Request *a, const Catena__Request *b)
{
	size_t size = catena__request__get_packed_size(a);
	uint8_t *x, *y;
	bool equal;

	if (catena__request__get_packed_size(b) != size)
		return false;
	x = calloc(2, size + 1);
	if (x == NULL)
		abort();
	y = x + size + 1;
	catena__request__pack(a, x);
	catena__request__pack(b, y);
	equal = memcmp(x, y, size) == 0;
	free(x);
	return equal;
}

static bool servers_equal(const struct map_server *a, const struct map_server *b)
{
	return a->id == b->id && a->workers == b->workers && a->online == b->online &&
	       strcmp(a->name, b->name) == 0 && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->rack, b->rack) == 0 &&
	       strcmp(a->zone, b->zone) == 0;
}

static bool registrations_equal(const struct log_command *a, const struct log_command *b)
{
	const struct state_registration *one = a->registration, *other = b->registration;

	if (!servers_equal(one->server, other->server) || one->known_id != other->known_id ||
	    strcmp(one->known_address, other->known_address) != 0 ||
	    one->target_count != other->target_count)
		return false;
	for (size_t i = 0; i < one->target_count; i++) {
		const struct state_registered_target *x = &one->targets[i];
		const struct state_registered_target *y = &other->targets[i];

		if (x->known_server != y->known_server || x->known_life != y->known_life ||
		    strcmp(x->uuid, y->uuid) != 0)
			return false;
	}
	return true;
}

static bool changes_equal(const struct chain_change *a, const struct chain_change *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a[i].pool != b[i].pool || a[i].partition != b[i].partition ||
		    a[i].chain.epoch != b[i].chain.epoch || a[i].chain.count != b[i].chain.count)
			return false;
		for (uint32_t m = 0; m < a[i].chain.count; m++)
			if (a[i].chain.members[m].target_id != b[i].chain.members[m].target_id ||
			    a[i].chain.members[m].state != b[i].chain.members[m].state)
				return false;
	}
	return true;
}

static bool lives_equal(const struct chain_life *a, const struct chain_life *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].target != b[i].target || a[i].life != b[i].life)
			return false;
	return true;
}

static bool numbers_equal(const uint64_t *a, const uint64_t *b, size_t n)
{
	return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

static bool chains_equal(const struct log_command *a, const struct log_command *b)
{
	return a->chains.change_count == b->chains.change_count &&
	       a->chains.life_count == b->chains.life_count &&
	       a->chains.fenced_count == b->chains.fenced_count &&
	       changes_equal(a->chains.changes, b->chains.changes, a->chains.change_count) &&
	       lives_equal(a->chains.lives, b->chains.lives, a->chains.life_count) &&
	       numbers_equal(a->chains.fenced, b->chains.fenced, a->chains.fenced_count);
}

static bool drains_equal(const struct log_command *a, const struct log_command *b)
{
	return a->drain.count == b->drain.count && a->drain.draining == b->drain.draining &&
	       (a->drain.count == 0 || memcmp(a->drain.targets, b->drain.targets,
					      a->drain.count * sizeof(*a->drain.targets)) == 0);
}

static bool accepted_equal(const struct state_accept *a, const struct state_accept *b)
{
	for (size_t i = 0; i < a->target_count; i++)
		if (a->targets[i].id != b->targets[i].id ||
		    a->targets[i].life != b->targets[i].life ||
		    strcmp(a->targets[i].uuid, b->targets[i].uuid) != 0 ||
		    !servers_equal(&a->targets[i].server, &b->targets[i].server))
			return false;
	for (size_t i = 0; i < a->seen_count; i++)
		if (strcmp(a->seen[i].uuid, b->seen[i].uuid) != 0 ||
		    a->seen[i].seen.life != b->seen[i].seen.life ||
		    a->seen[i].seen.chance != b->seen[i].seen.chance ||
		    a->seen[i].seen.version != b->seen[i].seen.version ||
		    a->seen[i].seen.index != b->seen[i].seen.index)
			return false;
	return true;
}

static bool accepts_equal(const struct state_accept *a, const struct state_accept *b)
{
	return a->chance == b->chance && a->seen_life == b->seen_life &&
	       a->seen_version == b->seen_version && a->seen_server == b->seen_server &&
	       a->seen_target == b->seen_target && a->target_count == b->target_count &&
	       a->chain_count == b->chain_count && a->life_count == b->life_count &&
	       a->seen_count == b->seen_count && accepted_equal(a, b) &&
	       changes_equal(a->chains, b->chains, a->chain_count) &&
	       lives_equal(a->lives, b->lives, a->life_count);
}

static bool bodies_equal(const struct log_command *a, const struct log_command *b)
{
	switch (a->kind) {
	case COMMAND_REQUEST:
		return a->request.answered == b->request.answered &&
		       a->request.no_space == b->request.no_space &&
		       requests_equal(a->request.message, b->request.message);
	case COMMAND_SESSION_OPEN:
		return a->session_open.secret == b->session_open.secret &&
		       strcmp(a->session_open.mount, b->session_open.mount) == 0 &&
		       strcmp(a->session_open.name, b->session_open.name) == 0;
	case COMMAND_SESSION_CLOSE:
		return a->session_close.left_count == b->session_close.left_count &&
		       numbers_equal(a->session_close.left, b->session_close.left,
				     a->session_close.left_count);
	case COMMAND_SESSION_FENCE:
	case COMMAND_LEASE_GRANT:
		return true;
	case COMMAND_LEASE_END:
		return a->generation == b->generation;
	case COMMAND_LEVEL:
		return a->level == b->level;
	case COMMAND_REFUSED:
		return a->refused.session == b->refused.session &&
		       a->refused.request == b->refused.request &&
		       a->refused.lane == b->refused.lane &&
		       a->refused.answered == b->refused.answered &&
		       a->refused.error == b->refused.error;
	case COMMAND_FENCES_OWED:
		return a->owed == b->owed;
	case COMMAND_REGISTER:
		return registrations_equal(a, b);
	case COMMAND_CHAINS:
		return chains_equal(a, b);
	case COMMAND_REMOVED:
		return a->removed.count == b->removed.count &&
		       numbers_equal(a->removed.sequences, b->removed.sequences, a->removed.count);
	case COMMAND_DRAIN:
		return drains_equal(a, b);
	case COMMAND_RECOVERY:
		return a->recovery.rate == b->recovery.rate &&
		       a->recovery.paused == b->recovery.paused;
	case COMMAND_START:
		return a->start.life.instance == b->start.life.instance &&
		       a->start.life.chance == b->start.life.chance &&
		       a->start.id_gap == b->start.id_gap;
	case COMMAND_ACCEPT:
		return accepts_equal(a->accept, b->accept);
	}
	return false;
}

bool entry_gen_equal(const struct log_command *a, const struct log_command *b)
{
	return a->kind == b->kind && (!is_of_session(a->kind) || a->session == b->session) &&
	       bodies_equal(a, b);
}
