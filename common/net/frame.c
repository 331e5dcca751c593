#include "common/net/frame.h"
#include <errno.h>
#include <stddef.h>
#include "common/base/block.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/net/hello.h"

/* Where each field is; docs/protocol.md has the same table. */
enum frame_at {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_OP = 5,
	AT_FLAGS = 6,
	AT_REQUEST_ID = 8,
	AT_FILE_ID = 16,
	AT_POOL = 24,
	AT_PARTITION = 28,
	AT_INDEX = 32,
	AT_STATUS = 36,
	AT_EPOCH = 40,
	AT_CHUNK_VERSION = 48,
	AT_CLIENT_ID = 56,
	AT_OP_ID = 64,
	AT_ANSWERED = 72,
	AT_ARG = 80,
	AT_OFFSET = 88,
	AT_RANGE = 92,
	AT_LENGTH = 96,
	AT_CRC = 100,
};
_Static_assert(AT_CRC + 4 == FRAME_HEADER_BYTES, "the checksum is the header's end");

#define ERRNO_MAX 133u /* EHWPOISON, the largest of Linux */
/* A chunk of the largest size has this many blocks, one presence bit each. */
#define STAT_BITMAP_MAX (CHUNK_SIZE_MAX / BLOCK_SIZE / 8)

enum presence { NEVER, MAY, MUST };

/* What a correct peer sends with each op. */
struct op_rule {
	const char *name;
	uint16_t flags;        /* allowed beside REPLY */
	bool at_offset;        /* it is about bytes of the chunk; else offset is 0 */
	enum presence range;   /* in requests; answers may repeat it */
	enum presence payload; /* in requests */
	enum presence answer;  /* payload of answers with status OK; others never have one */
};

static const struct op_rule op_rules[FRAME_OP_COUNT] = {
	[FRAME_HELLO] = {"HELLO", 0, false, NEVER, MUST, MUST},
	[FRAME_WRITE] = {"WRITE", FRAME_FORWARD | FRAME_DURABLE | FRAME_CROWDED, true, NEVER, MUST,
			 NEVER},
	[FRAME_PUNCH] = {"PUNCH", FRAME_FORWARD | FRAME_DURABLE | FRAME_CROWDED, true, MUST, NEVER,
			 NEVER},
	[FRAME_TRUNCATE] = {"TRUNCATE",
			    FRAME_FORWARD | FRAME_DURABLE | FRAME_CLOSING | FRAME_CROWDED, true,
			    NEVER, NEVER, NEVER},
	[FRAME_FLUSH] = {"FLUSH", FRAME_FORWARD, false, NEVER, NEVER, NEVER},
	[FRAME_READ] = {"READ", FRAME_VERIFY, true, MUST, NEVER, MAY},
	[FRAME_STAT] = {"STAT", 0, false, NEVER, NEVER, MAY},
	[FRAME_CATCHUP_COMPARE] = {"CATCHUP_COMPARE", FRAME_FORWARD, false, MAY, MAY, MAY},
	[FRAME_CATCHUP_DATA] = {"CATCHUP_DATA", FRAME_FORWARD, true, MAY, MAY, NEVER},
	[FRAME_CATCHUP_COMMIT] = {"CATCHUP_COMMIT", FRAME_FORWARD, false, MAY, MAY, NEVER},
	[FRAME_CATCHUP_END] = {"CATCHUP_END", FRAME_FORWARD, false, NEVER, NEVER, NEVER},
	[FRAME_PING] = {"PING", 0, false, NEVER, NEVER, NEVER},
	[FRAME_LIST] = {"LIST", 0, false, NEVER, NEVER, MAY},
};

void frame_header_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER_BYTES])
{
	put_le32(out + AT_MAGIC, FRAME_MAGIC);
	out[AT_VERSION] = FRAME_VERSION;
	out[AT_OP] = header->op;
	put_le16(out + AT_FLAGS, header->flags);
	put_le64(out + AT_REQUEST_ID, header->request_id);
	put_le64(out + AT_FILE_ID, header->key.file_id);
	put_le32(out + AT_POOL, header->key.pool);
	put_le32(out + AT_PARTITION, header->key.partition);
	put_le32(out + AT_INDEX, header->key.index);
	put_le32(out + AT_STATUS, header->status);
	put_le64(out + AT_EPOCH, header->epoch);
	put_le64(out + AT_CHUNK_VERSION, header->version);
	put_le64(out + AT_CLIENT_ID, header->client_id);
	put_le64(out + AT_OP_ID, header->op_id);
	put_le64(out + AT_ANSWERED, header->answered);
	put_le64(out + AT_ARG, header->arg);
	put_le32(out + AT_OFFSET, header->offset);
	put_le32(out + AT_RANGE, header->range);
	put_le32(out + AT_LENGTH, header->length);
	put_le32(out + AT_CRC, crc32c(out, AT_CRC));
}

static void fields_get(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *header)
{
	header->op = in[AT_OP];
	header->flags = get_le16(in + AT_FLAGS);
	header->request_id = get_le64(in + AT_REQUEST_ID);
	header->key.file_id = get_le64(in + AT_FILE_ID);
	header->key.pool = get_le32(in + AT_POOL);
	header->key.partition = get_le32(in + AT_PARTITION);
	header->key.index = get_le32(in + AT_INDEX);
	header->status = get_le32(in + AT_STATUS);
	header->epoch = get_le64(in + AT_EPOCH);
	header->version = get_le64(in + AT_CHUNK_VERSION);
	header->client_id = get_le64(in + AT_CLIENT_ID);
	header->op_id = get_le64(in + AT_OP_ID);
	header->answered = get_le64(in + AT_ANSWERED);
	header->arg = get_le64(in + AT_ARG);
	header->offset = get_le32(in + AT_OFFSET);
	header->range = get_le32(in + AT_RANGE);
	header->length = get_le32(in + AT_LENGTH);
}

static bool presence_ok(enum presence rule, uint32_t value)
{
	return rule == MAY || (rule == MUST) == (value != 0);
}

static bool status_known(uint32_t status)
{
	return status <= ERRNO_MAX || (status >= FRAME_STATUS_EPOCH && status <= FRAME_STATUS_LOST);
}

/* What holds for requests and answers. NULL: all is well. */
static const char *check_common(const struct frame_header *h, const struct op_rule *rule)
{
	if ((h->flags & ~(rule->flags | FRAME_REPLY)) != 0)
		return "flags not allowed for this op";
	if (h->length > FRAME_PAYLOAD_MAX)
		return "payload too long";
	if (!rule->at_offset && h->offset != 0)
		return "offset in an op that has none";
	if ((uint64_t)h->offset + h->length > CHUNK_SIZE_MAX ||
	    (uint64_t)h->offset + h->range > CHUNK_SIZE_MAX)
		return "behind the end of any chunk";
	if (h->op == FRAME_HELLO && h->length != 0 && h->length != HELLO_BYTES)
		return "hello of a wrong size";
	if (h->op == FRAME_READ && h->offset % BLOCK_SIZE != 0)
		return "read not at a block boundary";
	return NULL;
}

static const char *check_request(const struct frame_header *h, const struct op_rule *rule)
{
	if (h->status != 0)
		return "status in a request";
	if ((h->flags & FRAME_CROWDED) != 0)
		return "a request that says what answers say";
	if (!presence_ok(rule->payload, h->length))
		return h->length == 0 ? "request lacks its payload" : "request with a payload";
	if (!presence_ok(rule->range, h->range))
		return h->range == 0 ? "request lacks its range" : "request with a range";
	if (h->op == FRAME_READ && h->range % BLOCK_SIZE != 0)
		return "read of parts of blocks";
	/* The answer has to fit into one payload. */
	if (h->op == FRAME_READ && h->range > FRAME_PAYLOAD_MAX)
		return "read too long";
	/* A correct peer never asks again for what it has an answer to. */
	if (frame_is_update(h->op) && h->answered != 0 && h->answered >= h->op_id)
		return "update that was answered already";
	return NULL;
}

static const char *check_answer(const struct frame_header *h, const struct op_rule *rule)
{
	if (!status_known(h->status))
		return "unknown status";
	if (!presence_ok(h->status == FRAME_OK ? rule->answer : NEVER, h->length))
		return h->length == 0 ? "answer lacks its payload" : "answer with a payload";
	if (h->op == FRAME_READ && h->range != 0 && h->length > h->range)
		return "answer longer than what was asked";
	if (h->op == FRAME_STAT && (h->length > STAT_BITMAP_MAX || h->arg > CHUNK_SIZE_MAX))
		return "chunk longer than any";
	if (h->op == FRAME_LIST && h->status == FRAME_OK &&
	    (h->length % FRAME_LIST_ENTRY_BYTES != 0 ||
	     h->length > FRAME_LIST_MAX * FRAME_LIST_ENTRY_BYTES || h->arg > UINT32_MAX))
		return "list of a wrong size";
	return NULL;
}

static const char *check(const struct frame_header *h)
{
	const struct op_rule *rule;
	const char *problem;

	if (h->op >= FRAME_OP_COUNT || op_rules[h->op].name == NULL)
		return "unknown op";
	rule = &op_rules[h->op];
	problem = check_common(h, rule);
	if (problem != NULL)
		return problem;
	return (h->flags & FRAME_REPLY) != 0 ? check_answer(h, rule) : check_request(h, rule);
}

int frame_header_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *header,
			const char **why)
{
	const char *problem = NULL;
	struct frame_header h;
	int rc = 0;

	if (get_le32(in + AT_MAGIC) != FRAME_MAGIC) {
		problem = "not a frame (magic)";
		rc = -EBADMSG;
	} else if (in[AT_VERSION] != FRAME_VERSION) {
		/* Before the checksum, which may be elsewhere in another version. */
		problem = "frame of another version";
		rc = -EPROTONOSUPPORT;
	} else if (get_le32(in + AT_CRC) != crc32c(in, AT_CRC)) {
		problem = "header does not match its checksum";
		rc = -EBADMSG;
	} else {
		fields_get(in, &h);
		problem = check(&h);
		if (problem != NULL)
			rc = -EINVAL;
		else
			*header = h;
	}
	if (rc < 0 && why != NULL)
		*why = problem;
	return rc;
}

uint32_t frame_crc_bytes(const struct frame_header *header)
{
	return block_count(header->offset, header->length) * (uint32_t)sizeof(uint32_t);
}

bool frame_is_update(uint8_t op)
{
	return op == FRAME_WRITE || op == FRAME_PUNCH || op == FRAME_TRUNCATE;
}

bool frame_is_read(uint8_t op)
{
	return op == FRAME_READ || op == FRAME_STAT || op == FRAME_LIST;
}

const char *frame_op_name(uint8_t op)
{
	return op < FRAME_OP_COUNT && op_rules[op].name != NULL ? op_rules[op].name : "unknown";
}

const char *frame_status_name(uint32_t status)
{
	switch (status) {
	case FRAME_OK:
		return "OK";
	case FRAME_STATUS_EPOCH:
		return "EPOCH";
	case FRAME_STATUS_NOT_HEAD:
		return "NOT_HEAD";
	case FRAME_STATUS_ASK_TAIL:
		return "ASK_TAIL";
	case FRAME_STATUS_NOT_READY:
		return "NOT_READY";
	case FRAME_STATUS_NO_LEASE:
		return "NO_LEASE";
	case FRAME_STATUS_CHECKSUM:
		return "CHECKSUM";
	case FRAME_STATUS_NOT_MINE:
		return "NOT_MINE";
	case FRAME_STATUS_GAP:
		return "GAP";
	case FRAME_STATUS_FENCED:
		return "FENCED";
	case FRAME_STATUS_LOST:
		return "LOST";
	default:
		break;
	}
	if (status <= ERRNO_MAX) {
		const char *name = strerrorname_np((int)status);

		if (name != NULL)
			return name;
	}
	return "unknown";
}
