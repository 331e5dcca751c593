/* rpc_refuse_test - who may not talk gRPC with whom.
 *
 * Goal: whoever has no right certificate, or does not speak TLS 1.3, gets nothing and is told why.
 * Method: rpc_fixture.h, and bare sockets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include "tests/unit/common/rpc/rpc_fixture.h"

/* ---- who may not ---- */

static void expect_refused(const struct ca_files *files, int error, const char *word)
{
	struct record r;
	uint64_t start = clock_monotonic_ns();
	char refusal[256];

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, error);
	assert_true(clock_monotonic_ns() - start < 3 * NS_PER_SEC);
	rpc_client_refusal(r.client, refusal, sizeof(refusal));
	if (strstr(refusal, word) == NULL)
		fail_msg("'%s' does not say '%s'", refusal, word);
	close_record(&r);
	assert_int_equal(r.closed, 1);
}

static void test_certificates_of_another_ca_are_refused(void **state)
{
	struct ca_files stranger;

	/* Trusts our CA, but is not of it: the server refuses. */
	ca_issue(other_dir, "client", "mount-1", NULL, &stranger);
	stranger.files.ca = client_files.ca;
	expect_refused(&stranger, -EACCES, "certificate");
	/* Trusts only its own: refuses the server. */
	stranger.files.ca = stranger.ca;
	expect_refused(&stranger, -EACCES, "certificate");
	assert_int_equal(atomic_load(&the_server->opened), 0);
}

static void test_an_expired_certificate_is_refused(void **state)
{
	struct ca_files expired;

	ca_issue(dir, "client", "mount-2", "--expired", &expired);
	expect_refused(&expired, -EACCES, "certificate");
	assert_int_equal(atomic_load(&the_server->opened), 0);
}

static void test_a_wrong_role_is_refused_by_the_handler(void **state)
{
	expect_refused(&admin_files, -EACCES, "");
	assert_int_equal(atomic_load(&the_server->closed), 0);
}

static void test_a_server_of_another_role_is_refused(void **state)
{
	struct test_server fake;
	struct ca_files files;
	struct record r;
	char error[256], refusal[256];

	ca_issue(dir, "chunkserver", "cs", NULL, &files);
	assert_int_equal(start_server_on(&fake, 0, &files, error, sizeof(error)), 0);
	assert_int_equal(open_client(&r, rpc_server_port(fake.rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, -EACCES);
	rpc_client_refusal(r.client, refusal, sizeof(refusal));
	assert_non_null(strstr(refusal, "another role"));
	close_record(&r);
	rpc_server_stop(fake.rpc);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		return -1;
	return fd;
}

/* Handshakes with OpenSSL itself and reads: true when the server talks to us. */
static bool raw_tls(int version, bool with_certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const unsigned char alpn[] = "\x02h2";
	int fd = connect_to(rpc_server_port(the_server->rpc));
	SSL *ssl;
	char byte;
	bool ok;

	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ctx, version);
	if (with_certificate) {
		SSL_CTX_use_certificate_file(ctx, client_files.cert, SSL_FILETYPE_PEM);
		SSL_CTX_use_PrivateKey_file(ctx, client_files.key, SSL_FILETYPE_PEM);
	}
	ssl = SSL_new(ctx);
	SSL_set_alpn_protos(ssl, alpn, 3);
	SSL_set_fd(ssl, fd);
	/* The server of HTTP/2 speaks first, when it likes us. */
	ok = SSL_connect(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return ok;
}

static void test_only_tls_1_3_with_a_certificate_gets_an_answer(void **state)
{
	assert_true(raw_tls(TLS1_3_VERSION, true));
	assert_false(raw_tls(TLS1_2_VERSION, true));
	assert_false(raw_tls(TLS1_3_VERSION, false));
}

static void test_plain_text_gets_no_answer(void **state)
{
	int fd = connect_to(rpc_server_port(the_server->rpc));
	char answer[256];
	ssize_t n;

	assert_true(write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18);
	n = read(fd, answer, sizeof(answer));
	/* Nothing, or a TLS alert: record type 21. */
	assert_true(n <= 0 || answer[0] == 21);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_server(test_certificates_of_another_ca_are_refused),
		with_server(test_an_expired_certificate_is_refused),
		with_server(test_a_wrong_role_is_refused_by_the_handler),
		with_server(test_a_server_of_another_role_is_refused),
		with_server(test_only_tls_1_3_with_a_certificate_gets_an_answer),
		with_server(test_plain_text_gets_no_answer),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
