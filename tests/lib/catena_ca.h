/* catena_ca.h - certificates for tests and benchmarks, made by tools/catena-ca.
 *
 * The script is $CATENA_CA, or tools/catena-ca of the source tree: below the working directory or
 * one of the directories above the program. Any failure ends the process. */
#ifndef CATENA_TESTS_LIB_CATENA_CA_H
#define CATENA_TESTS_LIB_CATENA_CA_H
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/net/tls.h"
#include "tests/lib/tree.h"

#define CA_PATH_MAX 256

struct ca_files {
	char ca[CA_PATH_MAX], cert[CA_PATH_MAX], key[CA_PATH_MAX];
	struct tls_files files;
};

void ca_die(const char *what);

/* Runs the script with up to 8 arguments after its name. Returns its exit status. */
int ca_run_quietly(const char *const *arguments, const char *output);
#define CA_RUN(...) ca_run_quietly((const char *const[9]){__VA_ARGS__}, "/dev/null")

void ca_temp_dir(char out[CA_PATH_MAX]);

/* A CA in the directory @ca, which is made, for the cluster of that id. */
void ca_init(const char *ca, const char *cluster);

/* A certificate; @extra is one more argument, or NULL. */
void ca_issue(const char *ca, const char *role, const char *name, const char *extra,
	      struct ca_files *out);
#endif
