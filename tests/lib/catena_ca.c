#include "tests/lib/catena_ca.h"

void ca_die(const char *what)
{
	fprintf(stderr, "catena_ca.h: %s\n", what);
	exit(99);
}

static const char *ca_script(void)
{
	static char path[PATH_MAX];
	const char *given = getenv("CATENA_CA");
	char up[PATH_MAX];
	ssize_t n;

	if (given != NULL && given[0] != '\0')
		return given;
	if (access("tools/catena-ca", X_OK) == 0)
		return "tools/catena-ca";
	n = readlink("/proc/self/exe", up, sizeof(up) - 1);
	if (n < 0)
		ca_die("cannot find tools/catena-ca: set CATENA_CA");
	up[n] = '\0';
	do {
		dirname(up);
		if (snprintf(path, sizeof(path), "%s/tools/catena-ca", up) < (int)sizeof(path) &&
		    access(path, X_OK) == 0)
			return path;
	} while (strcmp(up, "/") != 0);
	ca_die("cannot find tools/catena-ca: set CATENA_CA");
	return NULL;
}

int ca_run_quietly(const char *const *arguments, const char *output)
{
	extern char **environ;
	char *argv[10] = {(char *)ca_script()};
	posix_spawn_file_actions_t actions;
	int status = -1;
	pid_t pid;

	for (int i = 0; i < 8 && arguments[i] != NULL; i++)
		argv[i + 1] = (char *)arguments[i];
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0)
		ca_die("cannot run tools/catena-ca");
	if (waitpid(pid, &status, 0) != pid)
		ca_die("waitpid failed");
	posix_spawn_file_actions_destroy(&actions);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void ca_temp_dir(char out[CA_PATH_MAX])
{
	if (tree_make(out, CA_PATH_MAX, "catena-test") == NULL)
		ca_die("mkdtemp failed");
}

void ca_init(const char *ca, const char *cluster)
{
	if (CA_RUN("init", ca, "--cluster", cluster) != 0)
		ca_die("catena-ca init failed");
}

void ca_issue(const char *ca, const char *role, const char *name, const char *extra,
	      struct ca_files *out)
{
	char prefix[CA_PATH_MAX];

	snprintf(prefix, sizeof(prefix), "%.160s/%.60s", ca, name);
	snprintf(out->ca, sizeof(out->ca), "%.200s/ca.crt", ca);
	snprintf(out->cert, sizeof(out->cert), "%.240s.crt", prefix);
	snprintf(out->key, sizeof(out->key), "%.240s.key", prefix);
	out->files = (struct tls_files){.ca = out->ca, .cert = out->cert, .key = out->key};
	if (CA_RUN("issue", ca, role, name, prefix, extra) != 0)
		ca_die("catena-ca issue failed");
}
