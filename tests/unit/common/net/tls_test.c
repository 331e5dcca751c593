/* Goal: certificates made by catena-ca are what TLS needs and say who holds them; whatever is wrong
 * with the files is found before anything starts, with a line that names the file and the fault.
 *
 * Method: a CA in a fresh directory, then one thing at a time is spoiled. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/net/tls.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

static char dir[CA_PATH_MAX], ca[CA_PATH_MAX], other[CA_PATH_MAX];
static struct ca_files client, server, foreign;
static char error[400];

static int setup(void **state)
{
	ca_temp_dir(dir);
	snprintf(ca, sizeof(ca), "%.200s/ca", dir);
	snprintf(other, sizeof(other), "%.200s/other", dir);
	ca_init(ca, "blue");
	ca_init(other, "red");
	ca_issue(ca, "client", "laptop", NULL, &client);
	ca_issue(ca, "chunkserver", "disk.example:1", NULL, &server);
	ca_issue(other, "client", "laptop", NULL, &foreign);
	return 0;
}

static int teardown(void **state)
{
	tree_remove(dir);
	return 0;
}

/* A path in the directory; the same buffer each time. */
static const char *path_of(const char *name)
{
	static char path[CA_PATH_MAX];

	snprintf(path, sizeof(path), "%.200s/%.50s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	FILE *file = fopen(path_of(name), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path_of(name), mode), 0);
}

static void assert_error_has(const char *text)
{
	if (strstr(error, text) == NULL)
		fail_msg("no \"%s\" in: %s", text, error);
	assert_null(strchr(error, '\n'));
}

static int check(const struct tls_files *files, enum tls_role want)
{
	strcpy(error, "untouched");
	return tls_files_check(files, want, NULL, error, sizeof(error));
}

/* ---- catena-ca ---- */

static void assert_mode(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void test_catena_ca_keeps_keys_to_their_owner(void **state)
{
	assert_mode(client.key, 0600);
	assert_mode(client.cert, 0644);
	assert_mode(path_of("ca/ca.key"), 0600);
	assert_mode(path_of("ca/ca.crt"), 0644);
}

static void test_catena_ca_replaces_nothing(void **state)
{
	char prefix[CA_PATH_MAX];

	snprintf(prefix, sizeof(prefix), "%.200s/laptop", ca);
	assert_int_equal(CA_RUN("init", ca), 1);
	assert_int_equal(CA_RUN("issue", ca, "client", "laptop", prefix), 1);
	snprintf(prefix, sizeof(prefix), "%.200s/ca", ca);
	assert_int_equal(CA_RUN("issue", ca, "client", "laptop", prefix), 1);
	assert_int_equal(check(&client.files, TLS_ROLE_CLIENT), 0);
}

static void test_catena_ca_tells_wrong_usage_apart(void **state)
{
	const char *to = path_of("never");

	assert_int_equal(CA_RUN("init"), 2);
	assert_int_equal(CA_RUN("sign", ca), 2);
	assert_int_equal(CA_RUN("init", to, "--cluster"), 2);
	assert_int_equal(CA_RUN("init", to, "--cluster", "a/b"), 2);
	assert_int_equal(CA_RUN("issue", ca, "client", "x"), 2);
	assert_int_equal(CA_RUN("issue", ca, "boss", "x", to), 2);
	assert_int_equal(CA_RUN("issue", ca, "client", "a b", to), 2);
	assert_int_equal(CA_RUN("issue", ca, "client", "x", to, "--days", "0"), 2);
	assert_int_equal(CA_RUN("issue", ca, "client", "x", to, "--days", "1x"), 2);
	assert_int_equal(CA_RUN("issue", dir, "client", "x", to), 1);
	assert_int_equal(access(path_of("never.key"), F_OK), -1);
}

static void test_catena_ca_makes_a_new_id_for_each_cluster(void **state)
{
	struct tls_identity a, b;
	struct ca_files files;
	char one[CA_PATH_MAX], two[CA_PATH_MAX];

	snprintf(one, sizeof(one), "%s", path_of("one"));
	snprintf(two, sizeof(two), "%s", path_of("two"));
	assert_int_equal(CA_RUN("init", one), 0);
	assert_int_equal(CA_RUN("init", two), 0);
	ca_issue(one, "master", "m", NULL, &files);
	assert_int_equal(tls_files_check(&files.files, TLS_ROLE_MASTER, &a, error, sizeof(error)),
			 0);
	ca_issue(two, "master", "m", NULL, &files);
	assert_int_equal(tls_files_check(&files.files, TLS_ROLE_MASTER, &b, error, sizeof(error)),
			 0);
	assert_int_equal(strlen(a.cluster), 36);
	assert_string_not_equal(a.cluster, b.cluster);
}

/* ---- identities ---- */

static void test_roles_have_names_that_parse_back(void **state)
{
	static const enum tls_role roles[] = {TLS_ROLE_MASTER, TLS_ROLE_CHUNKSERVER,
					      TLS_ROLE_CLIENT, TLS_ROLE_ADMIN};

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		assert_int_equal(tls_role_parse(tls_role_name(roles[i])), roles[i]);
	assert_int_equal(tls_role_parse("none"), TLS_ROLE_NONE);
	assert_int_equal(tls_role_parse("Master"), TLS_ROLE_NONE);
	assert_int_equal(tls_role_parse(""), TLS_ROLE_NONE);
	assert_string_equal(tls_role_name((enum tls_role)77), "none");
}

static void test_a_certificate_says_cluster_role_and_name(void **state)
{
	struct tls_identity id;
	char pem[4096];
	FILE *file = fopen(server.cert, "r");
	size_t size = fread(pem, 1, sizeof(pem), file);

	fclose(file);
	assert_int_equal(tls_identity_of_pem(pem, size, &id), 0);
	assert_int_equal(id.role, TLS_ROLE_CHUNKSERVER);
	assert_string_equal(id.cluster, "blue");
	assert_string_equal(id.name, "disk.example:1");
	assert_int_equal(tls_identity_of_pem(pem, size / 2, &id), -EPROTO);
	assert_int_equal(tls_identity_of_pem("", 0, &id), -EPROTO);
	assert_int_equal(ERR_peek_error(), 0);
}

/* A certificate object with just this subject. */
static int identity_of_subject(const char *const pairs[][2], size_t count)
{
	X509 *cert = X509_new();
	struct tls_identity id;
	int rc;

	for (size_t i = 0; i < count; i++)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), pairs[i][0], MBSTRING_UTF8,
					   (const unsigned char *)pairs[i][1],
					   strcmp(pairs[i][1], "nul") == 0 ? 4 : -1, -1, 0);
	rc = tls_identity_of(cert, &id);
	X509_free(cert);
	return rc;
}

static void test_other_subjects_are_no_identity(void **state)
{
	static const char *const good[][2] = {{"O", "c"}, {"OU", "client"}, {"CN", "n"}};
	static const char *const no_role[][2] = {{"O", "c"}, {"CN", "n"}};
	static const char *const odd_role[][2] = {{"O", "c"}, {"OU", "king"}, {"CN", "n"}};
	static const char *const two_roles[][2] = {
		{"O", "c"}, {"OU", "client"}, {"OU", "master"}, {"CN", "n"}};
	static const char *const nul[][2] = {{"O", "nul"}, {"OU", "client"}, {"CN", "n"}};
	static const char *const blank[][2] = {{"O", "c"}, {"OU", "client"}, {"CN", "a b"}};
	static const char *const newline[][2] = {{"O", "c"}, {"OU", "client"}, {"CN", "a\nb"}};
	static const char *const umlaut[][2] = {{"O", "c"}, {"OU", "client"}, {"CN", "\xc3\xa4"}};
	static const char *const long_o[][2] = {
		{"O", "0123456789012345678901234567890123456789012345678901234567890123"},
		{"OU", "client"},
		{"CN", "n"}};

	assert_int_equal(identity_of_subject(good, 3), 0);
	assert_int_equal(identity_of_subject(no_role, 2), -EPROTO);
	assert_int_equal(identity_of_subject(odd_role, 3), -EPROTO);
	assert_int_equal(identity_of_subject(two_roles, 4), -EPROTO);
	assert_int_equal(identity_of_subject(nul, 3), -EPROTO);
	assert_int_equal(identity_of_subject(blank, 3), -EPROTO);
	assert_int_equal(identity_of_subject(newline, 3), -EPROTO);
	assert_int_equal(identity_of_subject(umlaut, 3), -EPROTO);
	assert_int_equal(identity_of_subject(long_o, 3), -EPROTO);
	assert_int_equal(identity_of_subject(good, 0), -EPROTO);
}

/* ---- files ---- */

static void test_good_files_pass_and_say_who_we_are(void **state)
{
	struct tls_identity self;

	assert_int_equal(
		tls_files_check(&client.files, TLS_ROLE_CLIENT, &self, error, sizeof(error)), 0);
	assert_string_equal(self.name, "laptop");
	assert_int_equal(check(&client.files, TLS_ROLE_NONE), 0);
	assert_string_equal(error, "untouched");
	assert_int_equal(ERR_peek_error(), 0);
}

static void test_missing_files_are_named(void **state)
{
	struct tls_files files = client.files;

	files.cert = path_of("no.crt");
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -ENOENT);
	assert_error_has("no.crt");
	assert_error_has("No such file");
	files = client.files;
	files.ca = NULL;
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -EINVAL);
	assert_error_has("no CA file is given");
	files = client.files;
	files.key = "";
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -EINVAL);
	assert_error_has("no key file is given");
}

static void test_a_key_that_others_can_read_is_refused(void **state)
{
	assert_int_equal(chmod(client.key, 0640), 0);
	assert_int_equal(check(&client.files, TLS_ROLE_CLIENT), -EACCES);
	assert_error_has("(mode 0640)");
	assert_error_has("chmod 600");
	assert_error_has("laptop.key");
	assert_int_equal(chmod(client.key, 0400), 0);
	assert_int_equal(check(&client.files, TLS_ROLE_CLIENT), 0);
	assert_int_equal(chmod(client.key, 0600), 0);
}

static void test_files_that_are_something_else_are_refused(void **state)
{
	struct tls_files files = client.files;
	char junk[CA_PATH_MAX];

	write_file("junk", "-----BEGIN NONSENSE-----\n", 0600);
	snprintf(junk, sizeof(junk), "%s", path_of("junk"));
	files.ca = junk;
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -EINVAL);
	assert_error_has("junk: is no certificate (PEM) of a CA");
	files = client.files;
	files.cert = junk;
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -EINVAL);
	assert_error_has("junk: is no certificate");
	files = client.files;
	files.key = junk;
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -EINVAL);
	assert_error_has("junk: is no private key");
}

static void test_a_key_of_another_certificate_is_refused(void **state)
{
	struct tls_files files = client.files;

	files.key = server.key;
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -EINVAL);
	assert_error_has("the key is not that of the certificate");
}

static void test_a_certificate_of_another_ca_is_refused(void **state)
{
	struct tls_files files = foreign.files;

	files.ca = client.ca;
	assert_int_equal(check(&files, TLS_ROLE_CLIENT), -EKEYREJECTED);
	assert_error_has("is not signed by the CA in");
}

static void test_an_expired_certificate_is_refused_with_its_date(void **state)
{
	struct ca_files expired;

	ca_issue(ca, "client", "old", "--expired", &expired);
	assert_int_equal(check(&expired.files, TLS_ROLE_CLIENT), -EKEYEXPIRED);
	assert_error_has("old.crt: the certificate expired at 20");
	assert_error_has("UTC");
}

static void test_an_expired_ca_is_refused(void **state)
{
	char old[CA_PATH_MAX];
	struct ca_files files;

	snprintf(old, sizeof(old), "%s", path_of("oldca"));
	assert_int_equal(CA_RUN("init", old, "--days", "-1"), 0);
	ca_issue(old, "client", "young", NULL, &files);
	assert_int_equal(check(&files.files, TLS_ROLE_CLIENT), -EKEYEXPIRED);
	assert_error_has("oldca/ca.crt: the certificate expired");
}

static void test_a_certificate_for_another_role_is_refused(void **state)
{
	assert_int_equal(check(&client.files, TLS_ROLE_MASTER), -EACCES);
	assert_error_has("is a certificate for the role client, not master");
}

/* ---- contexts ---- */

static void test_a_context_allows_tls_13_and_wants_certificates(void **state)
{
	SSL_CTX *ctx;

	assert_int_equal(tls_context(&client.files, &ctx, error, sizeof(error)), 0);
	assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_3_VERSION);
	assert_int_equal(SSL_CTX_get_max_proto_version(ctx), TLS1_3_VERSION);
	assert_int_equal(SSL_CTX_get_verify_mode(ctx),
			 SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
	assert_int_equal(SSL_CTX_get_num_tickets(ctx), 0);
	SSL_CTX_free(ctx);
}

static void test_a_context_of_bad_files_names_the_file(void **state)
{
	struct tls_files files = client.files;
	SSL_CTX *ctx;

	files.key = server.key;
	assert_int_equal(tls_context(&files, &ctx, error, sizeof(error)), -EINVAL);
	assert_error_has("disk.example:1.key");
	files.key = path_of("absent.key");
	assert_int_equal(tls_context(&files, &ctx, error, sizeof(error)), -EINVAL);
	assert_error_has("absent.key");
	assert_error_has("No such file");
	assert_int_equal(ERR_peek_error(), 0);
}

/* Runs a handshake through memory. */
static bool shake_hands(SSL *a, SSL *b)
{
	BIO *from_a, *from_b;
	int done_a = 0, done_b = 0;

	BIO_new_bio_pair(&from_a, 1 << 16, &from_b, 1 << 16);
	SSL_set_bio(a, from_a, from_a);
	SSL_set_bio(b, from_b, from_b);
	for (int i = 0; i < 10 && (done_a != 1 || done_b != 1); i++) {
		if (done_a != 1)
			done_a = SSL_do_handshake(a);
		if (done_b != 1)
			done_b = SSL_do_handshake(b);
	}
	ERR_clear_error();
	return done_a == 1 && done_b == 1;
}

static bool client_reaches(enum tls_role role)
{
	SSL_CTX *client_ctx, *server_ctx;
	SSL *from = NULL, *to = NULL;
	bool done;

	assert_int_equal(tls_context(&client.files, &client_ctx, error, sizeof(error)), 0);
	assert_int_equal(tls_context(&server.files, &server_ctx, error, sizeof(error)), 0);
	assert_int_equal(tls_session(client_ctx, -1, false, role, &from), 0);
	assert_int_equal(tls_session(server_ctx, -1, true, TLS_ROLE_NONE, &to), 0);
	done = shake_hands(from, to);
	if (done) {
		struct tls_identity id;

		assert_string_equal(SSL_get_cipher_name(from), "TLS_AES_128_GCM_SHA256");
		assert_int_equal(tls_identity_of(SSL_get0_peer_certificate(to), &id), 0);
		assert_int_equal(id.role, TLS_ROLE_CLIENT);
	}
	SSL_free(from);
	SSL_free(to);
	SSL_CTX_free(client_ctx);
	SSL_CTX_free(server_ctx);
	return done;
}

static void test_a_session_insists_on_the_servers_role(void **state)
{
	assert_true(client_reaches(TLS_ROLE_CHUNKSERVER));
	assert_false(client_reaches(TLS_ROLE_MASTER));
	assert_false(client_reaches(TLS_ROLE_CLIENT));
}

static void test_a_client_session_must_say_what_role_it_wants(void **state)
{
	SSL_CTX *ctx;
	SSL *ssl;

	assert_int_equal(tls_context(&client.files, &ctx, error, sizeof(error)), 0);
	assert_int_equal(tls_session(ctx, -1, false, TLS_ROLE_NONE, &ssl), -EINVAL);
	SSL_CTX_free(ctx);
}

static void test_errors_become_one_line_that_fits(void **state)
{
	char small[12];

	ERR_raise(ERR_LIB_SSL, SSL_R_WRONG_VERSION_NUMBER);
	ERR_raise(ERR_LIB_SSL, SSL_R_HTTP_REQUEST);
	tls_error(error, sizeof(error));
	assert_string_equal(error, "wrong version number; http request");
	ERR_raise(ERR_LIB_SSL, SSL_R_WRONG_VERSION_NUMBER);
	ERR_raise(ERR_LIB_SSL, SSL_R_HTTP_REQUEST);
	tls_error(small, sizeof(small));
	assert_string_equal(small, "wrong versi");
	assert_int_equal(ERR_peek_error(), 0);
	tls_error(error, sizeof(error));
	assert_string_equal(error, "unknown TLS error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_catena_ca_keeps_keys_to_their_owner),
		cmocka_unit_test(test_catena_ca_replaces_nothing),
		cmocka_unit_test(test_catena_ca_tells_wrong_usage_apart),
		cmocka_unit_test(test_catena_ca_makes_a_new_id_for_each_cluster),
		cmocka_unit_test(test_roles_have_names_that_parse_back),
		cmocka_unit_test(test_a_certificate_says_cluster_role_and_name),
		cmocka_unit_test(test_other_subjects_are_no_identity),
		cmocka_unit_test(test_good_files_pass_and_say_who_we_are),
		cmocka_unit_test(test_missing_files_are_named),
		cmocka_unit_test(test_a_key_that_others_can_read_is_refused),
		cmocka_unit_test(test_files_that_are_something_else_are_refused),
		cmocka_unit_test(test_a_key_of_another_certificate_is_refused),
		cmocka_unit_test(test_a_certificate_of_another_ca_is_refused),
		cmocka_unit_test(test_an_expired_certificate_is_refused_with_its_date),
		cmocka_unit_test(test_an_expired_ca_is_refused),
		cmocka_unit_test(test_a_certificate_for_another_role_is_refused),
		cmocka_unit_test(test_a_context_allows_tls_13_and_wants_certificates),
		cmocka_unit_test(test_a_context_of_bad_files_names_the_file),
		cmocka_unit_test(test_a_session_insists_on_the_servers_role),
		cmocka_unit_test(test_a_client_session_must_say_what_role_it_wants),
		cmocka_unit_test(test_errors_become_one_line_that_fits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
