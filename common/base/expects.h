/* expects.h - invariants that check themselves, in release builds too.
 *
 * An expectation is about what the program itself has made: a state that no input may lead to. Once
 * one is broken nothing that follows can be trusted, so the process ends at once and is started
 * anew from what is durable. Input from the network or a disk is never expected to be anything: it
 * gets an error. Thread: any. */
#ifndef CATENA_COMMON_BASE_EXPECTS_H
#define CATENA_COMMON_BASE_EXPECTS_H

/* Logs the file, the line and the condition, and aborts, when @condition is false. The condition is
 * always evaluated, and must have no effect. */
#define expects(condition)                                                                         \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0))                                             \
			expects_failed(__FILE__, __LINE__, #condition);                            \
	} while (0)

/* Gets the broken expectation's place and text before the process ends. */
typedef void expects_report_fn(const char *file, int line, const char *condition);

/* Sends reports to @report; NULL: to stderr, where they go from the start. A program that logs
 * elsewhere sets it once, before it has threads. */
void expects_report_to(expects_report_fn *report);

_Noreturn void expects_failed(const char *file, int line, const char *condition);
#endif
