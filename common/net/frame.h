/* frame.h - the data plane's frames: their codec, no I/O. docs/protocol.md has the layout byte by
 * byte.
 *
 *   header (104 bytes, little-endian, last 4 its CRC32C) | payload (length) | checksums
 *
 * The checksums are one CRC32C for each block of the chunk that the payload touches
 * (block_count(offset, length) of 4 bytes). They are made once, by the writing client, and travel
 * with the data. Ops whose payload is not chunk data (HELLO, CATCHUP_COMPARE, ...) use offset 0.
 *
 * frame_header_decode() is the only judge of what comes from the network: it refuses, with a word
 * for the log, everything that a correct peer never sends. */
#ifndef CATENA_COMMON_NET_FRAME_H
#define CATENA_COMMON_NET_FRAME_H
#include <stdbool.h>
#include <stdint.h>
#include "common/os/buf.h"
#include "common/cluster/chunk.h"

#define FRAME_MAGIC        0x314e5443u /* "CTN1" */
#define FRAME_VERSION      1
#define FRAME_HEADER_BYTES 104u
#define FRAME_CRCS_MAX     (FRAME_PAYLOAD_MAX / BLOCK_SIZE + 1)

enum frame_op {
	FRAME_HELLO = 1, /* first frame of a connection; payload: struct hello, see hello.h */
	FRAME_WRITE,     /* update: payload at offset of the chunk */
	FRAME_PUNCH,     /* update: [offset, offset+range) becomes a hole (reads as zeros) */
	FRAME_TRUNCATE,  /* update: chunk ends at offset; what was behind becomes a hole */
	FRAME_FLUSH,     /* all answered updates of the chunk are on stable storage of every copy */
	FRAME_READ,      /* [offset, offset+range), both multiples of BLOCK_SIZE; the answer carries
			  * the bytes and checksums, shorter when the chunk ends before */
	FRAME_STAT,      /* answer: version, arg = chunk length; payload: presence bitmap, bit i of
			  * byte i/8 set when block i holds data, up to the chunk's length */
	FRAME_CATCHUP_COMPARE, /* to the successor: records of a key range, see catchup/catchup.h */
	FRAME_CATCHUP_DATA,    /* to the successor: blocks of one chunk at rest */
	FRAME_CATCHUP_COMMIT,  /* to the successor: the chunk is now version/length as said */
	FRAME_CATCHUP_END,     /* the partition is equal; arg = 0 */
	FRAME_PING,
	FRAME_LIST, /* which chunks of the key's file, from its index on, are in the partition;
		     * payload of the answer: entries of FRAME_LIST_ENTRY_BYTES; arg: ask on from
		     * this index, 0: that was all */
	FRAME_OP_COUNT
};

/* Of the answer to LIST, ascending by index: u32 index, u32 blocks that hold data; little-endian.
 */
#define FRAME_LIST_ENTRY_BYTES 8u
/* In place of the blocks: the chunk is there, but damaged. */
#define FRAME_LIST_DAMAGED UINT32_MAX
/* In one answer: what a member looks up without making others wait. */
#define FRAME_LIST_MAX 64u

enum frame_flag {
	FRAME_REPLY = 1 << 0,   /* an answer; request_id is the request's */
	FRAME_FORWARD = 1 << 1, /* from the predecessor of the chain, not from a client */
	FRAME_DURABLE = 1 << 2, /* update: answer after it is on stable storage of every copy */
	/* READ: the member compares the bytes with their checksums, as they have come damaged. */
	FRAME_VERIFY = FRAME_DURABLE,
	FRAME_NO_CHECKSUM = 1 << 3, /* reserved, refused */
	FRAME_CLOSING = 1 << 4, /* TRUNCATE: only says what was answered, see docs/protocol.md */
	FRAME_CROWDED = 1 << 5, /* answer to an update: the client is to close the chunk */
};

/* The status of answers: 0 or a positive errno (EIO, ENOSPC, EINVAL, ENOENT, EACCES), or one of
 * these. */
enum frame_status {
	FRAME_OK = 0,
	FRAME_STATUS_EPOCH = 1000, /* other epoch than mine: get the newest map, try again */
	FRAME_STATUS_NOT_HEAD,     /* updates go to the head: get the newest map */
	FRAME_STATUS_ASK_TAIL,     /* an overlapping update is pending here: ask the tail */
	FRAME_STATUS_NOT_READY,    /* member not (yet) able to serve: wait a little, try again */
	FRAME_STATUS_NO_LEASE,     /* serving lease run out: the same */
	FRAME_STATUS_CHECKSUM,     /* payload does not match its checksums: send again */
	FRAME_STATUS_NOT_MINE,     /* no such partition here */
	FRAME_STATUS_GAP,          /* member lacks an earlier update: it has to catch up */
	FRAME_STATUS_FENCED, /* the client's session is over: nothing of it is taken any more */
	FRAME_STATUS_LOST,   /* what this client was answered last is not all there any more */
};

struct frame_header {
	uint8_t op;
	uint16_t flags;
	uint64_t request_id;  /* chosen by the asker, unique on its connection */
	struct chunk_key key; /* pool, partition, file id, chunk index */
	uint64_t epoch;       /* of the chain, as the sender knows it */
	uint64_t version;     /* chunk version: set by the head, in answers the member's own */
	uint64_t client_id;   /* session of the client that asked first */
	uint64_t op_id;       /* grows by one for every update of that client */
	uint64_t answered;    /* every op id of the chunk up to this has got its answer */
	uint32_t offset;      /* in the chunk */
	uint32_t range;       /* bytes asked by READ, made a hole by PUNCH */
	uint32_t length;      /* payload bytes */
	uint32_t status;      /* answers only */
	uint64_t arg;         /* by op; in answers to updates: free bytes of the fullest member */
};

void frame_header_encode(const struct frame_header *header, uint8_t out[FRAME_HEADER_BYTES]);
/* Decodes and checks a header. An answer may repeat its request's fields, except status and length.
 * Errors: -EBADMSG: magic or CRC; -EPROTONOSUPPORT: version; -EINVAL: an op, flag or field that no
 * correct peer sends. *why (may be NULL) is then a static text, and *header is untouched. */
int frame_header_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *header,
			const char **why);
/* Returns the bytes of checksums behind the payload. */
uint32_t frame_crc_bytes(const struct frame_header *header);
/* True for WRITE, PUNCH and TRUNCATE. */
bool frame_is_update(uint8_t op);
/* True for READ, STAT and LIST, which change nothing: any member that is ready may answer them. */
bool frame_is_read(uint8_t op);
const char *frame_op_name(uint8_t op);
const char *frame_status_name(uint32_t status);
#endif
