/* options.c - see options.h.
 *
 * Three sources: the configuration file, over it -o, in the order given. What mount(8) and fstab(5)
 * put among the options for themselves is passed over; everything else that is unknown is an error,
 * because a misspelt option that is ignored would be found out too late. */
#include "fs/mount/options.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/conf.h"
#include "common/os/ready.h"

#define CACHE_MIN (16ull << 20)
#define CACHE_MAX (1ull << 40)

const char options_usage[] =
	"usage: mount.catena MASTER:PORT MOUNTPOINT [-f] [--ready-fd N] [-o option,...]\n"
	"  -f            stay in the foreground\n"
	"  --ready-fd N  write a line to descriptor N when the mount works\n"
	"options: conf=FILE ca=FILE cert=FILE key=FILE cache=SIZE soft timeout=TIME log=FILE\n"
	"         log_level=LEVEL host=NAME rack=NAME zone=NAME ro rw noatime relatime "
	"strictatime\n"
	"         nodiratime nodev nosuid noexec ...; see mount.catena(8)\n";

/* What the file can say. */
struct conf_values {
	char *master, *ca, *cert, *key, *log, *log_level, *host, *rack, *zone;
	uint64_t cache, timeout;
	bool soft;
};

static const struct conf_option conf_table[] = {
	{"client", "master", CONF_STRING, offsetof(struct conf_values, master), 0, 0, "",
	 "the master's host:port, for programs that are not told it"},
	{"client", "cache", CONF_SIZE, offsetof(struct conf_values, cache), CACHE_MIN, CACHE_MAX,
	 "256M", "memory for write-back and read-ahead"},
	{"client", "soft", CONF_BOOL, offsetof(struct conf_values, soft), 0, 0, "no",
	 "give EIO after the timeout instead of waiting for ever"},
	{"client", "timeout", CONF_DURATION, offsetof(struct conf_values, timeout), 0, 0, "0s",
	 "how long a soft mount waits"},
	{"client", "log", CONF_STRING, offsetof(struct conf_values, log), 0, 0, "", "log file"},
	{"client", "log_level", CONF_STRING, offsetof(struct conf_values, log_level), 0, 0, "info",
	 "debug, info, warn or error"},
	{"client", "host", CONF_STRING, offsetof(struct conf_values, host), 0, 0, "",
	 "where this machine is, to prefer near copies"},
	{"client", "rack", CONF_STRING, offsetof(struct conf_values, rack), 0, 0, "", ""},
	{"client", "zone", CONF_STRING, offsetof(struct conf_values, zone), 0, 0, "", ""},
	{"tls", "ca", CONF_STRING, offsetof(struct conf_values, ca), 0, 0, "", "CA certificate"},
	{"tls", "cert", CONF_STRING, offsetof(struct conf_values, cert), 0, 0, "", "certificate"},
	{"tls", "key", CONF_STRING, offsetof(struct conf_values, key), 0, 0, "", "private key"},
	{NULL, NULL, CONF_STRING, 0, 0, 0, NULL, NULL},
};

struct parsing {
	struct mount_options *options;
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int complain(struct parsing *p, const char *format,
							  ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->error, p->error_size, format, args);
	va_end(args);
	return -EINVAL;
}

static int set_string(struct parsing *p, char **field, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return complain(p, "out of memory");
	free(*field);
	*field = copy;
	return 0;
}

static int append_kernel(struct parsing *p, const char *name)
{
	char *old = p->options->kernel, *all = NULL;

	if (asprintf(&all, "%s%s%s", old, old[0] != '\0' ? "," : "", name) < 0)
		return complain(p, "out of memory");
	free(old);
	p->options->kernel = all;
	return 0;
}

/* ---- options with a value ---- */

static int set_level(struct parsing *p, const char *value)
{
	if (log_level_parse(value, &p->options->log_level) != 0)
		return complain(p, "log_level=%s: must be debug, info, warn or error", value);
	return 0;
}

static int set_cache(struct parsing *p, const char *value)
{
	uint64_t bytes;

	if (conf_parse_size(value, &bytes) != 0 || bytes < CACHE_MIN || bytes > CACHE_MAX)
		return complain(p, "cache=%s: must be a size of 16M to 1T, such as 256M", value);
	p->options->cache_bytes = bytes;
	return 0;
}

static int set_timeout(struct parsing *p, const char *value)
{
	uint64_t ns;

	if (conf_parse_duration(value, &ns) != 0 || ns == 0)
		return complain(p, "timeout=%s: must be a time such as 30s or 2m", value);
	p->options->timeout_ns = ns;
	return 0;
}

struct valued {
	const char *name;
	size_t field; /* a string, or: */
	int (*set)(struct parsing *p, const char *value);
};

#define FIELD(name) offsetof(struct mount_options, name)
static const struct valued valued_options[] = {
	{"ca", FIELD(ca), NULL},
	{"cert", FIELD(cert), NULL},
	{"key", FIELD(key), NULL},
	{"log", FIELD(log), NULL},
	{"host", FIELD(host), NULL},
	{"rack", FIELD(rack), NULL},
	{"zone", FIELD(zone), NULL},
	{"log_level", 0, set_level},
	{"cache", 0, set_cache},
	{"timeout", 0, set_timeout},
	{NULL, 0, NULL},
};

/* ---- options without a value ---- */

/* For the kernel, by way of libfuse. */
static const char *const kernel_options[] = {"ro",   "rw",     "suid", "nosuid", "dev",     "nodev",
					     "exec", "noexec", "sync", "async",  "dirsync", NULL};
/* Of mount(8), fstab(5) and systemd.mount(5); and what is always so. */
static const char *const ignored_options[] = {"defaults",      "auto",
					      "noauto",        "nofail",
					      "_netdev",       "user",
					      "nouser",        "users",
					      "owner",         "group",
					      "silent",        "loud",
					      "allow_other",   "default_permissions",
					      "mand",          "nomand",
					      "iversion",      "noiversion",
					      "lazytime",      "nolazytime",
					      "nostrictatime", "norelatime",
					      "symfollow",     NULL};

static bool listed(const char *const *list, const char *name)
{
	for (; *list != NULL; list++) {
		if (strcmp(*list, name) == 0)
			return true;
	}
	return false;
}

static int set_flag(struct parsing *p, const char *name)
{
	struct mount_options *o = p->options;

	if (strcmp(name, "remount") == 0)
		return 0; /* seen before: find_remount() */
	if (strcmp(name, "soft") == 0)
		o->soft = true;
	else if (strcmp(name, "hard") == 0)
		o->soft = false;
	else if (strcmp(name, "noatime") == 0)
		o->atime = ATIME_NEVER;
	else if (strcmp(name, "relatime") == 0 || strcmp(name, "atime") == 0)
		o->atime = ATIME_RELATIVE;
	else if (strcmp(name, "strictatime") == 0)
		o->atime = ATIME_STRICT;
	else if (strcmp(name, "nodiratime") == 0)
		o->atime_directories = false;
	else if (strcmp(name, "diratime") == 0)
		o->atime_directories = true;
	else if (listed(kernel_options, name))
		return append_kernel(p, name);
	else if (!o->remount && !listed(ignored_options, name) && strncmp(name, "x-", 2) != 0)
		return complain(p, "unknown mount option '%s'", name);
	return 0;
}

static int set_one(struct parsing *p, char *option)
{
	char *value = strchr(option, '=');

	if (value == NULL)
		return set_flag(p, option);
	*value++ = '\0';
	if (strcmp(option, "conf") == 0 || strncmp(option, "x-", 2) == 0 ||
	    strcmp(option, "comment") == 0 || strcmp(option, "uhelper") == 0)
		return 0; /* conf was read before */
	for (const struct valued *v = valued_options; v->name != NULL; v++) {
		if (strcmp(v->name, option) != 0)
			continue;
		if (value[0] == '\0')
			return complain(p, "mount option '%s' needs a value", option);
		return v->set != NULL
			       ? v->set(p, value)
			       : set_string(p, (char **)((char *)p->options + v->field), value);
	}
	return p->options->remount ? 0 : complain(p, "unknown mount option '%s'", option);
}

static int set_all(struct parsing *p, const char *list)
{
	char *copy = strdup(list), *rest = copy, *option;
	int rc = 0;

	if (copy == NULL)
		return complain(p, "out of memory");
	while (rc == 0 && (option = strsep(&rest, ",")) != NULL) {
		if (option[0] != '\0')
			rc = set_one(p, option);
	}
	free(copy);
	return rc;
}

/* ---- the file ---- */

static int take_conf(struct parsing *p, const struct conf_values *conf)
{
	struct mount_options *o = p->options;
	int rc = set_string(p, &o->ca, conf->ca);

	if (rc == 0)
		rc = set_string(p, &o->cert, conf->cert);
	if (rc == 0)
		rc = set_string(p, &o->key, conf->key);
	if (rc == 0)
		rc = set_string(p, &o->log, conf->log);
	if (rc == 0)
		rc = set_string(p, &o->host, conf->host);
	if (rc == 0)
		rc = set_string(p, &o->rack, conf->rack);
	if (rc == 0)
		rc = set_string(p, &o->zone, conf->zone);
	if (rc == 0)
		rc = set_level(p, conf->log_level);
	o->cache_bytes = conf->cache;
	o->soft = conf->soft;
	o->timeout_ns = conf->timeout;
	return rc;
}

static int take_conf_defaults(struct parsing *p)
{
	struct conf_values conf = {0};
	int rc = conf_defaults(conf_table, &conf, p->error, p->error_size);

	if (rc != 0)
		return -EINVAL;
	rc = take_conf(p, &conf);
	conf_free(conf_table, &conf);
	return rc;
}

static int read_conf(struct parsing *p, const char *path)
{
	struct conf_values conf = {0};
	int rc;

	if (path != NULL)
		rc = conf_load(path, conf_table, &conf, p->error, p->error_size);
	else if (access(OPTIONS_CONF_DEFAULT, F_OK) == 0)
		rc = conf_load(OPTIONS_CONF_DEFAULT, conf_table, &conf, p->error, p->error_size);
	else
		rc = conf_defaults(conf_table, &conf, p->error, p->error_size);
	if (rc != 0)
		return -EINVAL;
	rc = take_conf(p, &conf);
	conf_free(conf_table, &conf);
	return rc;
}

/* It may stand anywhere among the options, and the others depend on it. */
static bool find_remount(const char *list)
{
	while (list != NULL && *list != '\0') {
		size_t size = strcspn(list, ",");

		if (size == 7 && strncmp(list, "remount", 7) == 0)
			return true;
		list += size + (list[size] == ',');
	}
	return false;
}

/* The last conf= in a list, malloc()ed; NULL: none. */
static char *find_conf(const char *list)
{
	char *found = NULL;

	while (list != NULL && *list != '\0') {
		size_t size = strcspn(list, ",");

		if (size > 5 && strncmp(list, "conf=", 5) == 0) {
			free(found);
			found = strndup(list + 5, size - 5);
		}
		list += size + (list[size] == ',');
	}
	return found;
}

/* ---- the command line ---- */

static int parse_fd(struct parsing *p, const char *text)
{
	int fd = ready_fd_parse(text);

	if (fd < 0)
		return complain(p, "--ready-fd %s: must be the number of a descriptor", text);
	p->options->ready_fd = fd;
	return 0;
}

/* Several -o are one list. */
static int join(struct parsing *p, char **list, const char *more)
{
	char *all = NULL;

	if (asprintf(&all, "%s%s%s", *list != NULL ? *list : "", *list != NULL ? "," : "", more) <
	    0)
		return complain(p, "out of memory");
	free(*list);
	*list = all;
	return 0;
}

static int parse_line(int argc, char **argv, struct parsing *p, char **list)
{
	static const struct option longs[] = {
		{"ready-fd", required_argument, NULL, 'R'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c, rc = 0;

	opterr = 0;
	optind = 0;
	while (rc == 0 && (c = getopt_long(argc, argv, "o:fhnvst:N:", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			rc = join(p, list, optarg);
			break;
		case 'f':
			p->options->foreground = true;
			break;
		case 'R':
			rc = parse_fd(p, optarg);
			break;
		case 'h':
			return 1;
		case 'n': /* what mount(8) may pass */
		case 'v':
		case 's':
		case 't':
		case 'N':
			break;
		default:
			rc = complain(p, "unknown argument '%s'; try mount.catena --help",
				      argv[optind - 1]);
		}
	}
	if (rc == 0 && argc - optind != 2)
		rc = complain(p, "MASTER:PORT and MOUNTPOINT are needed; try mount.catena --help");
	return rc;
}

static int check(struct parsing *p)
{
	const struct mount_options *o = p->options;

	if (o->remount)
		return 0; /* of the mount that is there */
	if (strchr(o->master, ':') == NULL || strchr(o->master, ',') != NULL)
		return complain(p, "%s: the master must be named as host:port", o->master);
	if (o->ca[0] == '\0' || o->cert[0] == '\0' || o->key[0] == '\0')
		return complain(p, "the options ca=, cert= and key= (or conf=FILE with a [tls] "
				   "section) are needed: every connection is mutual TLS");
	return 0;
}

int options_parse(int argc, char **argv, struct mount_options *options, char *error,
		  size_t error_size)
{
	struct parsing p = {.options = options, .error = error, .error_size = error_size};
	char *list = NULL, *conf = NULL;
	int rc;

	*options = (struct mount_options){.ready_fd = -1,
					  .atime = ATIME_RELATIVE,
					  .atime_directories = true,
					  .log_level = LOG_LEVEL_INFO};
	options->kernel = strdup("");
	rc = options->kernel == NULL ? complain(&p, "out of memory")
				     : parse_line(argc, argv, &p, &list);
	options->remount = find_remount(list);
	if (rc == 0 && options->remount) {
		rc = take_conf_defaults(&p);
	} else if (rc == 0) {
		conf = find_conf(list);
		rc = read_conf(&p, conf);
	}
	if (rc == 0 && list != NULL)
		rc = set_all(&p, list);
	if (rc == 0)
		rc = set_string(&p, &options->master, argv[optind]);
	if (rc == 0)
		rc = set_string(&p, &options->mountpoint, argv[optind + 1]);
	if (rc == 0)
		rc = check(&p);
	free(list);
	free(conf);
	return rc;
}

void options_free(struct mount_options *o)
{
	char *const strings[] = {o->master, o->mountpoint, o->ca,   o->cert, o->key,
				 o->log,    o->host,       o->rack, o->zone, o->kernel};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		free(strings[i]);
	memset(o, 0, sizeof(*o));
}
