/* options_test - the command line of mount.catena.
 *
 * Goal: what people, fstab and mount(8) write is understood; whatever is not is named. Method:
 * whole command lines; the configuration file in a directory of the test's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/duration.h"
#include "fs/mount/options.h"
#include "fs/mount/remount.h"

#include <sys/mount.h>

#define TLS "ca=/a,cert=/b,key=/c"

static struct mount_options o;
static char error[512];

static int parse(const char *first, ...)
{
	char *argv[16] = {(char *)"mount.catena"};
	const char *arg = first;
	int argc = 1;
	va_list args;

	va_start(args, first);
	for (; arg != NULL; arg = va_arg(args, const char *))
		argv[argc++] = (char *)(uintptr_t)arg;
	va_end(args);
	error[0] = '\0';
	return options_parse(argc, argv, &o, error, sizeof(error));
}

static int teardown(void **state)
{
	(void)state;
	options_free(&o);
	return 0;
}

/* mount(8) repeats what it finds in fstab(5) or in the table of mounts. */
static void test_a_remount_needs_only_what_is_to_change(void **state)
{
	(void)state;
	assert_int_equal(parse("x", "/mnt", "-o", "rw,user_id=0,ca=/x,cache=1,remount,ro", NULL),
			 -EINVAL);
	assert_non_null(strstr(error, "cache=1"));
	options_free(&o);
	assert_int_equal(parse("x", "/mnt", "-o",
			       "rw,nosuid,user_id=0,allow_other,foo,ca=/x,remount,ro", NULL),
			 0);
	assert_true(o.remount);
	assert_string_equal(o.mountpoint, "/mnt");
	assert_int_equal(remount_flags(o.kernel), MS_NOSUID | MS_RDONLY);
	assert_int_equal(remount_flags("ro,noexec,nodev,relatime,exec,rw"), MS_NODEV);
	assert_int_equal(remount_flags(""), 0);
}

static void test_the_usual_line(void **state)
{
	(void)state;
	assert_int_equal(parse("10.0.0.1:7000", "/mnt", "-f", "-o", TLS, "--ready-fd", "9", NULL),
			 0);
	assert_string_equal(o.master, "10.0.0.1:7000");
	assert_string_equal(o.mountpoint, "/mnt");
	assert_string_equal(o.ca, "/a");
	assert_string_equal(o.cert, "/b");
	assert_string_equal(o.key, "/c");
	assert_true(o.foreground);
	assert_int_equal(o.ready_fd, 9);
	assert_int_equal(o.cache_bytes, 256u << 20);
	assert_false(o.soft);
	assert_int_equal(o.atime, ATIME_RELATIVE);
	assert_string_equal(o.kernel, "");
}

static void test_what_mount_8_passes_is_understood(void **state)
{
	(void)state;
	assert_int_equal(parse("host:1", "/mnt", "-n", "-v", "-o",
			       "rw,nodev,nosuid,noexec,_netdev,nofail,x-systemd.automount,"
			       "x-note=a b,user,relatime," TLS,
			       NULL),
			 0);
	assert_string_equal(o.kernel, "rw,nodev,nosuid,noexec");
	assert_false(o.foreground);
}

static void test_every_option_does_what_it_says(void **state)
{
	(void)state;
	assert_int_equal(parse("host:1", "/mnt", "-o", TLS, "-o",
			       "cache=1G,soft,timeout=2500ms,log=/l,log_level=debug,host=h,rack=r,"
			       "zone=z,noatime,nodiratime,ro",
			       NULL),
			 0);
	assert_int_equal(o.cache_bytes, 1ull << 30);
	assert_true(o.soft);
	assert_int_equal(o.timeout_ns, 2500 * NS_PER_MSEC);
	assert_string_equal(o.log, "/l");
	assert_int_equal(o.log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(o.host, "h");
	assert_string_equal(o.rack, "r");
	assert_string_equal(o.zone, "z");
	assert_int_equal(o.atime, ATIME_NEVER);
	assert_false(o.atime_directories);
	assert_string_equal(o.kernel, "ro");
}

static void test_hard_is_the_default_and_undoes_soft(void **state)
{
	(void)state;
	assert_int_equal(parse("host:1", "/mnt", "-o", TLS, NULL), 0);
	assert_false(o.soft);
	options_free(&o);
	assert_int_equal(parse("host:1", "/mnt", "-o", TLS ",soft,timeout=5s,hard", NULL), 0);
	assert_false(o.soft);
}

static void refused(const char *options, const char *named)
{
	assert_int_equal(parse("host:1", "/mnt", "-o", options, NULL), -EINVAL);
	if (strstr(error, named) == NULL)
		fail_msg("'%s' does not name '%s'", error, named);
	options_free(&o);
}

static void test_what_is_wrong_is_named(void **state)
{
	(void)state;
	refused(TLS ",cahce=1G", "cahce");
	refused(TLS ",nosuchoption", "nosuchoption");
	refused(TLS ",cache=7", "cache=7");
	refused(TLS ",cache=many", "cache=many");
	refused(TLS ",timeout=soon", "timeout=soon");
	refused(TLS ",log_level=loud", "loud");
	refused(TLS ",log=", "log");
	refused("ca=/a,cert=/b", "key=");
	assert_int_equal(parse("host", "/mnt", "-o", TLS, NULL), -EINVAL);
	assert_non_null(strstr(error, "host:port"));
	options_free(&o);
	assert_int_equal(parse("host:1", "-o", TLS, NULL), -EINVAL);
	assert_non_null(strstr(error, "MOUNTPOINT"));
	options_free(&o);
	assert_int_equal(parse("host:1", "/mnt", "-X", NULL), -EINVAL);
	assert_non_null(strstr(error, "-X"));
	options_free(&o);
	assert_int_equal(parse("host:1", "/mnt", "--ready-fd", "x", NULL), -EINVAL);
	options_free(&o);
	assert_int_equal(parse("--help", NULL), 1);
}

static void test_the_file_is_read_and_the_line_overrules_it(void **state)
{
	char path[] = "/tmp/options_test.XXXXXX", options[200];
	int fd = mkstemp(path);
	(void)state;

	assert_true(fd >= 0);
	dprintf(fd, "[client]\nmaster = other:1\ncache = 64M\nsoft = yes\ntimeout = 9s\n"
		    "[tls]\nca = /fa\ncert = /fb\nkey = /fc\n");
	close(fd);
	snprintf(options, sizeof(options), "cache=32M,conf=%s,key=/k", path);
	assert_int_equal(parse("host:1", "/mnt", "-o", options, NULL), 0);
	assert_string_equal(o.ca, "/fa");
	assert_string_equal(o.key, "/k");
	assert_int_equal(o.cache_bytes, 32u << 20);
	assert_true(o.soft);
	assert_int_equal(o.timeout_ns, 9 * NS_PER_SEC);
	assert_string_equal(o.master, "host:1");
	options_free(&o);
	fd = open(path, O_WRONLY | O_TRUNC);
	dprintf(fd, "[client]\ncahce = 64M\n");
	close(fd);
	assert_int_equal(parse("host:1", "/mnt", "-o", options, NULL), -EINVAL);
	assert_non_null(strstr(error, "cahce"));
	options_free(&o);
	unlink(path);
	assert_int_equal(parse("host:1", "/mnt", "-o", options, NULL), -EINVAL);
	assert_non_null(strstr(error, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_the_usual_line, teardown),
		cmocka_unit_test_teardown(test_a_remount_needs_only_what_is_to_change, teardown),
		cmocka_unit_test_teardown(test_what_mount_8_passes_is_understood, teardown),
		cmocka_unit_test_teardown(test_every_option_does_what_it_says, teardown),
		cmocka_unit_test_teardown(test_hard_is_the_default_and_undoes_soft, teardown),
		cmocka_unit_test_teardown(test_what_is_wrong_is_named, teardown),
		cmocka_unit_test_teardown(test_the_file_is_read_and_the_line_overrules_it,
					  teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
