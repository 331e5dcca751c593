/* complaints.h - remembers which server or client cannot reach which server, and since when. Pure.
 *
 * A complaint counts once it has been repeated for @lasting_ns. It is forgotten 1.2 s after it
 * was repeated last.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_SERVERS_COMPLAINTS_H
#define CATENA_MASTER_SERVERS_COMPLAINTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The table's bound: a complaint without room is repeated, and finds room later. There may be any
 * number of clients, so they leave half of the table to servers. */
#define COMPLAINTS_MAX         1024u
#define COMPLAINTS_CLIENTS_MAX (COMPLAINTS_MAX / 2)

struct complaint {
	uint64_t from, about;
	uint64_t since_ns, last_ns;
	bool client;        /* from is a session */
	uint64_t barred_ns; /* the two are kept apart until then: a decision was made on it */
};

struct complaints {
	uint64_t lasting_ns;   /* what lasts so long counts */
	size_t count, clients; /* clients: complaints of these among all */
	struct complaint list[COMPLAINTS_MAX];
};

void complaints_add(struct complaints *c, uint64_t from, uint64_t about, bool client,
		    uint64_t now_ns);
/* Forgets complaints that were not repeated. True: one that counts is left. */
bool complaints_expire(struct complaints *c, uint64_t now_ns);
void complaints_paused(struct complaints *c, uint64_t gap_ns);
/* True when a complaint of server @from about @about counts now. */
bool complaints_lasting(const struct complaints *c, uint64_t from, uint64_t about, uint64_t now_ns);
/* Counts the complaints that count now and have this server on either side. */
unsigned complaints_of(const struct complaints *c, uint64_t server, uint64_t now_ns);
/* Notes that the two were parted because of a complaint. */
void complaints_bar(struct complaints *c, uint64_t from, uint64_t about, uint64_t now_ns);
/* True when these two servers should not meet in a chain now. */
bool complaints_barred(const struct complaints *c, uint64_t a, uint64_t b, uint64_t now_ns);
/* True when some client's complaint about @server counts; *session: that client. */
bool complaints_by_client(const struct complaints *c, uint64_t server, uint64_t now_ns,
			  uint64_t *session);
/* True when this client complains about @about, for however short a time. */
bool complaints_client_about(const struct complaints *c, uint64_t session, uint64_t about);
#endif
