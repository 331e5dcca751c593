/* complaints.h - who says that whom they cannot reach, and since when. Pure. */
#ifndef CATENA_MASTER_SERVERS_COMPLAINTS_H
#define CATENA_MASTER_SERVERS_COMPLAINTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More are not remembered: what comes too late is said again. Clients, of whom there may be any
 * number, leave room for what servers say. */
#define COMPLAINTS_MAX         1024u
#define COMPLAINTS_CLIENTS_MAX (COMPLAINTS_MAX / 2)

struct complaint {
	uint64_t from, about;
	uint64_t since_ns, last_ns;
	bool client;        /* from is a session */
	uint64_t barred_ns; /* kept apart until then: a decision was made on it */
};

struct complaints {
	uint64_t lasting_ns;   /* what lasts so long counts */
	size_t count, clients; /* clients: of them */
	struct complaint list[COMPLAINTS_MAX];
};

void complaints_add(struct complaints *c, uint64_t from, uint64_t about, bool client,
		    uint64_t now_ns);
/* Forgets what was not repeated. True: something that counts is left. */
bool complaints_expire(struct complaints *c, uint64_t now_ns);
void complaints_paused(struct complaints *c, uint64_t gap_ns);
/* A complaint of server @from about @about counts now. */
bool complaints_lasting(const struct complaints *c, uint64_t from, uint64_t about, uint64_t now_ns);
/* How many different complaints that count have this server on either side. */
unsigned complaints_of(const struct complaints *c, uint64_t server, uint64_t now_ns);
/* They were parted because of a complaint. */
void complaints_bar(struct complaints *c, uint64_t from, uint64_t about, uint64_t now_ns);
/* These two servers should not meet in a chain now. */
bool complaints_barred(const struct complaints *c, uint64_t a, uint64_t b, uint64_t now_ns);
/* A client complains of @server, and it counts. */
bool complaints_by_client(const struct complaints *c, uint64_t server, uint64_t now_ns,
			  uint64_t *session);
/* This client complains of @about, for however short a time. */
bool complaints_client_about(const struct complaints *c, uint64_t session, uint64_t about);
#endif
