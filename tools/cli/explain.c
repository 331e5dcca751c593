/* explain.c - catena explain: what a finding of fsck.catena is, and what to do about it. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "master/check/finding.h"
#include "tools/cli/cli.h"

static void print_kind(const struct check_kind *kind)
{
	printf("CF-%d %s: %s\n    To do: %s.\n", (int)kind->code,
	       check_severity_name(kind->severity), kind->title, kind->advice);
}

/* "CF-1011", "cf-1011" or "1011"; 0: none of these. */
static unsigned code_of(const char *text)
{
	unsigned long code;
	char *end;

	if (toupper((unsigned char)text[0]) == 'C' && toupper((unsigned char)text[1]) == 'F' &&
	    text[2] == '-')
		text += 3;
	if (!isdigit((unsigned char)text[0]))
		return 0;
	code = strtoul(text, &end, 10);
	return *end == '\0' && code <= 9999 ? (unsigned)code : 0;
}

int cli_run_explain(const struct cli_options *options, struct rpc_client *client, char **arguments,
		    unsigned count)
{
	const struct check_kind *kind;

	(void)options;
	(void)client;
	(void)count;
	if (strcmp(arguments[0], "all") == 0) {
		for (size_t i = 0; (kind = check_kind_at(i)) != NULL; i++)
			print_kind(kind);
		return 0;
	}
	kind = check_kind_of(code_of(arguments[0]));
	if (kind == NULL) {
		fprintf(stderr,
			"catena: %s: no finding has this code; catena explain all lists them\n",
			arguments[0]);
		return 1;
	}
	print_kind(kind);
	return 0;
}
