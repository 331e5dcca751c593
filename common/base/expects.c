#include "common/base/expects.h"
#include <stdio.h>
#include <stdlib.h>

static expects_report_fn *report_to;

void expects_report_to(expects_report_fn *report)
{
	report_to = report;
}

void expects_failed(const char *file, int line, const char *condition)
{
	if (report_to != NULL)
		report_to(file, line, condition);
	else
		fprintf(stderr, "%s:%d: expected %s\n", file, line, condition);
	abort();
}
