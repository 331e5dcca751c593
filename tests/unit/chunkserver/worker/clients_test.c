/* Goal: a client has one connection, the newest, and clients that are gone leave nothing behind.
 * Method: connections of clients come and go. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "chunkserver/worker/client_connections.h"

static struct client_connections clients;

/* The connection that is to end. */
static uint64_t join(uint64_t id, const char *certificate, uint64_t connection)
{
	uint64_t older = 4711;

	assert_int_equal(client_connections_join(&clients, client_connections_name(id, certificate),
						 connection, &older),
			 0);
	return older;
}

static void leave(uint64_t id, const char *certificate, uint64_t connection)
{
	client_connections_leave(&clients, client_connections_name(id, certificate), connection);
}

static void test_a_newer_connection_ends_the_older_one(void **state)
{
	assert_int_equal(join(7, "a", 1), 0);
	assert_int_equal(join(7, "a", 2), 1);
	/* That the older one is over means nothing for the newer. */
	leave(7, "a", 1);
	assert_int_equal(join(7, "a", 3), 2);
	leave(7, "a", 2);
	leave(7, "a", 3);
	assert_int_equal(join(7, "a", 4), 0);
	leave(7, "a", 4);
	assert_int_equal(clients.table.count, 0);
}

static void test_clients_do_not_end_each_others_connections(void **state)
{
	assert_int_equal(join(7, "a", 1), 0);
	assert_int_equal(join(8, "a", 2), 0);
	assert_int_equal(join(7, "b", 3), 0);
	leave(7, "b", 1);
	leave(8, "a", 1);
	assert_int_equal(clients.table.count, 3);
	assert_int_equal(join(7, "a", 4), 1);
	leave(7, "a", 4);
	leave(8, "a", 2);
	leave(7, "b", 3);
	assert_int_equal(clients.table.count, 0);
}

/* A server lives for months, and mounts come and go. */
static void test_clients_that_are_gone_are_forgotten(void **state)
{
	assert_int_equal(join(1, "a", 1), 0);
	for (uint64_t client = 2; client < 100000; client++) {
		assert_int_equal(join(client, "a", client), 0);
		leave(client, "a", client);
		assert_int_equal(clients.table.count, 1);
	}
	leave(1, "a", 1);
	assert_int_equal(clients.table.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_newer_connection_ends_the_older_one),
		cmocka_unit_test(test_clients_do_not_end_each_others_connections),
		cmocka_unit_test(test_clients_that_are_gone_are_forgotten),
	};

	return cmocka_run_group_tests_name("clients", tests, NULL, NULL);
}
