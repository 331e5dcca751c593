/* Goal: a right file gives the right values, and every wrong one an error that names file, line,
 * option, value and what is allowed, leaving nothing to free. Method: files made of a table of
 * mistakes, the message expected word for word; a memory checker finds what is left. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "tests/lib/tree.h"

struct sample {
	char *listen, *name;
	struct conf_list targets, labels;
	uint64_t workers, any, memory, lease;
	bool sync;
};

static const struct conf_option options[] = {
	{"server", "listen", CONF_STRING, offsetof(struct sample, listen), 0, 0, NULL, "host:port"},
	{"server", "name", CONF_STRING, offsetof(struct sample, name), 0, 0, "", "for people"},
	{"server", "workers", CONF_UINT, offsetof(struct sample, workers), 1, 64, "4", "loops"},
	{"server", "any", CONF_UINT, offsetof(struct sample, any), 0, 0, "7", "any number"},
	{"server", "lease", CONF_DURATION, offsetof(struct sample, lease), 100 * NS_PER_MSEC,
	 60 * NS_PER_SEC, "2s", "serving lease"},
	{"storage", "target", CONF_STRING_LIST, offsetof(struct sample, targets), 0, 0, "",
	 "directory"},
	{"storage", "label", CONF_STRING_LIST, offsetof(struct sample, labels), 0, 0, "hdd",
	 "label"},
	{"storage", "memory", CONF_SIZE, offsetof(struct sample, memory), 1u << 20, 0, "64M",
	 "cache"},
	{"storage", "sync", CONF_BOOL, offsetof(struct sample, sync), 0, 0, "yes", "sync writes"},
	{NULL, NULL, CONF_STRING, 0, 0, 0, NULL, NULL},
};

static char dir[256], file[300];

static int make_dir(void **state)
{
	if (tree_make(dir, sizeof(dir), "conf_test") == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/c.conf", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(file);
	return rmdir(dir);
}

static int load_bytes(const char *text, size_t size, struct sample *out, char *error,
		      size_t error_size)
{
	FILE *f = fopen(file, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	memset(out, 0xa5, sizeof(*out)); /* what is there before does not count */
	error[0] = '\0';
	return conf_load(file, options, out, error, error_size);
}

static int load(const char *text, struct sample *out, char *error, size_t error_size)
{
	return load_bytes(text, strlen(text), out, error, error_size);
}

static void test_values_of_every_type_come_out(void **state)
{
	char error[400];
	struct sample s;

	assert_int_equal(load("# comment\n"
			      "; another\n"
			      "[server]\n"
			      "listen = [::1]:7000 ; where\n"
			      "name=a b = c\n"
			      "workers = 64\r\n"
			      "any: 18446744073709551615\n"
			      "lease = 500ms\n"
			      "\n"
			      "[storage]\n"
			      "target = /a\n"
			      "target = /b c\n"
			      "label = ssd\n"
			      "memory = 3G\n"
			      "sync = Off", /* no newline at the end */
			      &s, error, sizeof(error)),
			 0);
	assert_string_equal(s.listen, "[::1]:7000");
	assert_string_equal(s.name, "a b = c");
	assert_int_equal(s.workers, 64);
	assert_true(s.any == UINT64_MAX);
	assert_int_equal(s.lease, 500 * NS_PER_MSEC);
	assert_int_equal(s.targets.count, 2);
	assert_string_equal(s.targets.items[0], "/a");
	assert_string_equal(s.targets.items[1], "/b c");
	assert_int_equal(s.labels.count, 1);
	assert_string_equal(s.labels.items[0], "ssd"); /* instead of the default */
	assert_int_equal(s.memory, 3ull << 30);
	assert_false(s.sync);
	conf_free(options, &s);
	assert_null(s.listen);
	assert_int_equal(s.targets.count, 0);
	conf_free(options, &s); /* twice is no harm */
}

static void test_a_comment_is_no_part_of_a_value(void **state)
{
	char error[400];
	struct sample s;

	assert_int_equal(load("[server] # section\n"
			      "listen = [::1]:7000 # where\n"
			      "name = a#b \t# for people; # and others\n"
			      "workers = 64\t#\r\n"
			      "  # alone\n"
			      "[storage] ; section\n"
			      "target = /disk 1 # the first\n"
			      "target = /disk#2;x ; the second # one\n"
			      "sync = no # at the end",
			      &s, error, sizeof(error)),
			 0);
	assert_string_equal(s.listen, "[::1]:7000");
	assert_string_equal(s.name, "a#b");
	assert_int_equal(s.workers, 64);
	assert_int_equal(s.targets.count, 2);
	assert_string_equal(s.targets.items[0], "/disk 1");
	assert_string_equal(s.targets.items[1], "/disk#2;x");
	assert_false(s.sync);
	conf_free(options, &s);
	assert_int_equal(load("[server]\nlisten = # nowhere\n", &s, error, sizeof(error)), 0);
	assert_string_equal(s.listen, "");
	conf_free(options, &s);
}

static void test_what_is_not_said_is_the_default(void **state)
{
	char error[400];
	struct sample s;

	assert_int_equal(load("[server]\nlisten=x\n", &s, error, sizeof(error)), 0);
	assert_string_equal(s.name, "");
	assert_int_equal(s.workers, 4);
	assert_int_equal(s.any, 7);
	assert_int_equal(s.lease, 2 * NS_PER_SEC);
	assert_int_equal(s.targets.count, 0);
	assert_int_equal(s.labels.count, 1);
	assert_string_equal(s.labels.items[0], "hdd");
	assert_int_equal(s.memory, 64u << 20);
	assert_true(s.sync);
	conf_free(options, &s);
}

static void test_defaults_alone_leave_required_options_empty(void **state)
{
	char error[400];
	struct sample s;

	memset(&s, 0xa5, sizeof(s));
	assert_int_equal(conf_defaults(options, &s, error, sizeof(error)), 0);
	assert_null(s.listen);
	assert_int_equal(s.workers, 4);
	conf_free(options, &s);
}

static void test_every_mistake_is_named(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{"[server]\nlisen = a:1\n",
		 ":2: [server] lisen = a:1: unknown option; did you mean listen?"},
		{"[server]\nlsiten = a:1\n",
		 ":2: [server] lsiten = a:1: unknown option; did you mean listen?"},
		{"[server]\n\nworker = 4\n",
		 ":3: [server] worker = 4: unknown option; did you mean workers?"},
		{"[server]\ncolour = red\n",
		 ":2: [server] colour = red: unknown option; there are listen, "
		 "name, workers, any, lease"},
		{"[servr]\nlisten = x\n",
		 ":2: [servr] listen: unknown section; did you mean [server]?"},
		{"[other]\nlisten = x\n", ":2: [other] listen: unknown section"},
		{"[server]\nmemory = 1M\n",
		 ":2: [server] memory = 1M: this option belongs in [storage]"},
		{"listen = x\n", ":1: listen stands before any [section]"},
		{"[server]\nlisten = x\nlisten = y\n",
		 ":3: [server] listen = y: given already on line 2"},
		{"[server]\nlisten = x\n  more\n",
		 ":3: [server] listen = more: given already on line 2"},
		{"[server]\nworkers = 0\n",
		 ":2: [server] workers = 0: must be a number, from 1 to 64"},
		{"[server]\nworkers = 65\n",
		 ":2: [server] workers = 65: must be a number, from 1 to 64"},
		{"[server]\nworkers = -1\n",
		 ":2: [server] workers = -1: must be a number, from 1 to 64"},
		{"[server]\nworkers = four\n",
		 ":2: [server] workers = four: must be a number, from 1 to 64"},
		{"[server]\nworkers = 4K\n",
		 ":2: [server] workers = 4K: must be a number, from 1 to 64"},
		{"[server]\nworkers =\n",
		 ":2: [server] workers = : must be a number, from 1 to 64"},
		{"[server]\nany = 18446744073709551616\n",
		 ":2: [server] any = 18446744073709551616: must be a number"},
		{"[server]\nlease = 2\n",
		 ":2: [server] lease = 2: must be a duration like 500ms, 2s, 10m, 1h or "
		 "7d, from 100ms to 1m"},
		{"[server]\nlease = 99ms\n",
		 ":2: [server] lease = 99ms: must be a duration like 500ms, 2s, 10m, "
		 "1h or 7d, from 100ms to 1m"},
		{"[storage]\nmemory = 1023K\n",
		 ":2: [storage] memory = 1023K: must be a size like 4096, 64K, 16M "
		 "or 1G, at least 1M"},
		{"[storage]\nsync = maybe\n", ":2: [storage] sync = maybe: must be yes or no"},
		{"[server]\nlisten\n", ":2: neither a [section] nor name = value"},
		{"[server\nlisten = x\n", ":1: neither a [section] nor name = value"},
		{"[server]\nfoo\nworkers = 0\n", ":2: neither a [section] nor name = value"},
		{"", ": [server] listen is required (host:port)"},
		{"[server]\nname = x\n", ": [server] listen is required (host:port)"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char error[400], expected[800];
		struct sample s;

		assert_int_equal(load(bad[i].text, &s, error, sizeof(error)), -EINVAL);
		snprintf(expected, sizeof(expected), "%s%s", file, bad[i].error);
		assert_string_equal(error, expected);
		assert_null(s.listen); /* nothing to free */
		assert_null(s.name);
		assert_null(s.targets.items);
		assert_null(s.labels.items);
	}
}

static void test_a_line_that_is_too_long_is_refused_not_cut(void **state)
{
	char text[600], error[400], expected[800];
	struct sample s;

	for (int length = 150; length < 400; length++) {
		int n = snprintf(text, sizeof(text), "[server]\nlisten=%0*d\n[storage]\nsync=no\n",
				 length, 1);
		int rc = load_bytes(text, (size_t)n, &s, error, sizeof(error));

		if (length + 7 <= 198) {
			assert_int_equal(rc, 0);
			assert_int_equal(strlen(s.listen), length);
			assert_false(s.sync);
			conf_free(options, &s);
		} else {
			snprintf(expected, sizeof(expected),
				 "%s:2: line is longer than 198 characters, or not text", file);
			assert_int_equal(rc, -EINVAL);
			assert_string_equal(error, expected);
		}
	}
}

static void test_binary_files_are_refused(void **state)
{
	char bytes[3000], error[400];
	struct sample s;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7919 % 251);
	assert_int_equal(load_bytes(bytes, sizeof(bytes), &s, error, sizeof(error)), -EINVAL);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(load_bytes(bytes, sizeof(bytes), &s, error, sizeof(error)), -EINVAL);
}

static void test_files_that_cannot_be_read_are_named(void **state)
{
	char error[400], expected[400], nowhere[400];
	struct sample s;

	snprintf(nowhere, sizeof(nowhere), "%s/none", dir);
	assert_int_equal(conf_load(nowhere, options, &s, error, sizeof(error)), -ENOENT);
	snprintf(expected, sizeof(expected), "%.300s: cannot open: No such file or directory",
		 nowhere);
	assert_string_equal(error, expected);
	assert_int_equal(conf_load(dir, options, &s, error, sizeof(error)), -EISDIR);
	snprintf(expected, sizeof(expected), "%s: cannot read: Is a directory", dir);
	assert_string_equal(error, expected);
}

static void test_an_error_that_does_not_fit_is_cut(void **state)
{
	char guard[12] = "...........";
	struct sample s;

	for (size_t size = 0; size < 8; size++) {
		memset(guard, '.', sizeof(guard));
		assert_int_equal(conf_load("/nonexistent/file", options, &s, guard, size), -ENOENT);
		assert_int_equal(guard[size], '.');
		if (size > 0)
			assert_int_equal(guard[size - 1], '\0');
	}
}

static void test_sizes_and_durations_are_read_exactly_or_not_at_all(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t value;
	} sizes[] =
		{
			{"0", 0, 0},
			{"4096", 0, 4096},
			{"64K", 0, 65536},
			{"64k", 0, 65536},
			{"16M", 0, 16u << 20},
			{"1G", 0, 1u << 30},
			{"2T", 0, 2ull << 40},
			{"16383P", 0, 16383ull << 50},
			{"16384P", -ERANGE, 0},
			{"18446744073709551615", 0, UINT64_MAX},
			{"99999999999999999999", -ERANGE, 0},
			{"", -EINVAL, 0},
			{"K", -EINVAL, 0},
			{"-1", -EINVAL, 0},
			{" 1", -EINVAL, 0},
			{"1 K", -EINVAL, 0},
			{"1KB", -EINVAL, 0},
			{"0x10", -EINVAL, 0},
			{"1.5G", -EINVAL, 0},
			{"99999999999999999999x", -EINVAL, 0},
		},
	  durations[] = {
		  {"0", 0, 0},
		  {"500ms", 0, 500 * NS_PER_MSEC},
		  {"2s", 0, 2 * NS_PER_SEC},
		  {"10m", 0, 600 * NS_PER_SEC},
		  {"1h", 0, 3600 * NS_PER_SEC},
		  {"7d", 0, 7 * 86400 * NS_PER_SEC},
		  {"0s", 0, 0},
		  {"5", -EINVAL, 0},
		  {"", -EINVAL, 0},
		  {"s", -EINVAL, 0},
		  {"1y", -EINVAL, 0},
		  {"-1s", -EINVAL, 0},
		  {"1s1", -EINVAL, 0},
		  {"999999999999d", -ERANGE, 0},
	  };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t value = 77;

		assert_int_equal(conf_parse_size(sizes[i].text, &value), sizes[i].rc);
		assert_true(value == (sizes[i].rc == 0 ? sizes[i].value : 77));
	}
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		uint64_t value = 77;

		assert_int_equal(conf_parse_duration(durations[i].text, &value), durations[i].rc);
		assert_true(value == (durations[i].rc == 0 ? durations[i].value : 77));
	}
}

static void test_a_bad_default_is_noticed(void **state)
{
	static const struct conf_option wrong[] = {
		{"a", "x", CONF_STRING, offsetof(struct sample, listen), 0, 0, "text", ""},
		{"a", "n", CONF_UINT, offsetof(struct sample, workers), 1, 2, "3", ""},
		{NULL, NULL, CONF_STRING, 0, 0, 0, NULL, NULL},
	};
	char error[400];
	struct sample s;

	assert_int_equal(conf_defaults(wrong, &s, error, sizeof(error)), -EINVAL);
	assert_string_equal(error, "[a] n = 3: must be a number, from 1 to 2");
	assert_null(s.listen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_of_every_type_come_out),
		cmocka_unit_test(test_a_comment_is_no_part_of_a_value),
		cmocka_unit_test(test_what_is_not_said_is_the_default),
		cmocka_unit_test(test_defaults_alone_leave_required_options_empty),
		cmocka_unit_test(test_every_mistake_is_named),
		cmocka_unit_test(test_a_line_that_is_too_long_is_refused_not_cut),
		cmocka_unit_test(test_binary_files_are_refused),
		cmocka_unit_test(test_files_that_cannot_be_read_are_named),
		cmocka_unit_test(test_an_error_that_does_not_fit_is_cut),
		cmocka_unit_test(test_sizes_and_durations_are_read_exactly_or_not_at_all),
		cmocka_unit_test(test_a_bad_default_is_noticed),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
