/* status.c - the Status call: what there is and how it is. */
#define LOG_MODULE "status"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/clock.h"
#include "common/log.h"
#include "master/client_sessions.h"

static void fill_sessions(struct master *master, Catena__StatusReply *reply,
			  Catena__SessionStatus *sessions, Catena__SessionStatus **pointers)
{
	uint64_t now_ns = clock_monotonic_ns();
	size_t n = 0;

	for (struct client_session *s = master->clients; s != NULL; s = s->hh.next, n++) {
		catena__session_status__init(&sessions[n]);
		sessions[n].id = s->id;
		sessions[n].mount = s->mount;
		sessions[n].name = s->name;
		sessions[n].online =
			s->stream != NULL && !leases_lapsed(master->leases, s->id, now_ns);
		pointers[n] = &sessions[n];
	}
	reply->n_sessions = n;
	reply->sessions = pointers;
}

/* With the state lock held, because sessions' texts are borrowed. */
static int build(struct master *master, struct push *push)
{
	Catena__StatusReply reply = CATENA__STATUS_REPLY__INIT;
	size_t count = HASH_COUNT(master->clients), size, map_size;
	Catena__SessionStatus *sessions = calloc(count + 1, sizeof(*sessions));
	Catena__SessionStatus **pointers = calloc(count + 1, sizeof(*pointers));
	int error = command_log_error(master->log), rc = -ENOMEM;
	uint8_t *rest = NULL, *map = NULL;
	struct state_counts counts;

	if (sessions == NULL || pointers == NULL)
		goto out;
	fill_sessions(master, &reply, sessions, pointers);
	state_counts(master->state, &counts);
	reply.inodes = counts.inodes;
	reply.orphans = counts.orphans;
	reply.removal_queue = counts.removals;
	reply.log_index = command_log_applied(master->log);
	if (error != 0)
		reply.store_error = strerror(-error);
	size = catena__status_reply__get_packed_size(&reply);
	rest = malloc(size + 1);
	if (rest == NULL)
		goto out;
	catena__status_reply__pack(&reply, rest);
	rc = view_encode_now(&master->view, &map, &map_size);
	if (rc != 0)
		goto out;
	push_bytes(push, STATUS_REPLY_MAP, map, map_size);
	push_raw(push, rest, size);
	if (push->failed)
		rc = -ENOMEM;
out:
	free(map);
	free(rest);
	free(pointers);
	free(sessions);
	return rc;
}

void status_serve(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		  const uint8_t *data, size_t size)
{
	static struct log_rate rate;
	struct master *master = server_user;
	struct push push = {0};
	int rc;

	if ((peer->role != TLS_ROLE_ADMIN && peer->role != TLS_ROLE_CLIENT) ||
	    strcmp(peer->cluster, master->self.cluster) != 0) {
		if (log_rate_ok(&rate, 5))
			log_warn("status refused name=%s role=%s", peer->name,
				 tls_role_name(peer->role));
		rpc_call_reply(call, -EACCES, NULL, 0);
		return;
	}
	master_lock(master);
	rc = build(master, &push);
	master_unlock(master);
	rpc_call_reply(call, rc, push.data, push.size);
	push_free(&push);
}
