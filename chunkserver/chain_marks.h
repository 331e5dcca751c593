/* chain_marks.h - up to which operation clients have been answered, to know late copies of their
 * updates.
 *
 * Chunks forget the operation ids that their clients say were answered. A copy of such an update
 * may still lie in a connection that its client has given up, behind the one over which it was sent
 * again: it would be taken for a new one, and undo what was written since. So whoever takes updates
 * from clients remembers what they say of themselves.
 *
 * A client's mark lives as long as it has a connection here. That is long enough: a late copy comes
 * over a connection that was there, unread, when the client said that the update was answered; when
 * the last such connection has ended, there is no copy any more. What members hear only from their
 * predecessors needs no mark: a late copy is refused for its epoch, unless it was sent to the head
 * of now, and then so was, by the client itself, what made the chunk forget it.
 *
 * Pure. Threading: one thread. */
#ifndef CATENA_CHUNKSERVER_CHAIN_MARKS_H
#define CATENA_CHUNKSERVER_CHAIN_MARKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/table.h"
#include "common/frame.h"

/* Of one client. The fields are private but the first. */
struct chain_mark {
	uint64_t client_id;
	struct table_node node;
	uint64_t certificate; /* a hash of its name: clients cannot speak for others */
	uint64_t answered;
	size_t connections;
};

/* All zero is one without any. */
struct chain_marks {
	struct table table;
};

/* A client has connected and said who it is, its certificate has that name (copied). NULL: no
 * memory. */
struct chain_mark *chain_marks_join(struct chain_marks *marks, uint64_t client_id,
				    const char *certificate);
/* One of its connections is over, and nothing of it comes any more. @mark may be NULL. */
void chain_marks_leave(struct chain_marks *marks, struct chain_mark *mark);
/* An update comes over one of the client's connections. True: it is an old copy, for whose answer
 * nobody waits. */
bool chain_mark_late(struct chain_mark *mark, const struct frame_header *header);
/* All connections must be over. */
void chain_marks_free(struct chain_marks *marks);
#endif
