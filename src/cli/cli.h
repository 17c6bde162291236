/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command `pergola`: one function for each subcommand, and what they share. A subcommand gets
 * its own name as argv[0] and returns the exit status of the process.
 */
#ifndef PERGOLA_CLI_CLI_H
#define PERGOLA_CLI_CLI_H

/* Exit statuses; run also returns those of the program. As timeout(1) and env(1) have them. */
#define CLI_EXIT_FAILED 1	    /* doctor: something that is needed is missing */
#define CLI_EXIT_USAGE 2	    /* bad option, value or subcommand */
#define CLI_EXIT_TIMEOUT 124	    /* run: --timeout */
#define CLI_EXIT_LAUNCHER 125	    /* run: the launcher itself failed */
#define CLI_EXIT_NOT_EXECUTABLE 126 /* run: the program cannot be executed */
#define CLI_EXIT_NOT_FOUND 127	    /* run: there is no such program */

int cli_run(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_info(int argc, char **argv);

/* The whole usage, on standard output. Returns 0. */
int cli_help(void);

/* One line "pergola: ..." on standard error, in one write(2). */
__attribute__((format(printf, 1, 2))) void cli_say(const char *format, ...);

/* As cli_say(), for a command line that makes no sense. Returns CLI_EXIT_USAGE. */
__attribute__((format(printf, 1, 2))) int cli_usage_error(const char *format, ...);

#endif
