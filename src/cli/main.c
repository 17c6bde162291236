/* SPDX-License-Identifier: Apache-2.0 */
/* The command's face: which subcommand, --help, --version. */
#include "cli/cli.h"

#include "cli/doctor.h"
#include "pergola/dsm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1400

static const char usage[] =
	"usage: pergola run -n N [options] [--] program [argument ...]\n"
	"       pergola doctor [-n N] [--peers | --hosts HOST,... [--rsh COMMAND]]\n"
	"       pergola info\n"
	"       pergola --help | --version\n"
	"\n"
	"Distributed shared memory. run starts the N nodes of a job on this host, doctor checks\n"
	"what this machine has and lacks, info prints every setting.\n"
	"\n"
	"options of run\n"
	"  -n, --ranks N         nodes to start\n"
	"  -l, --label           put [rank] before each line of output\n"
	"  -v, --verbose         say when ranks start and end\n"
	"      --timeout T       end the job after T (90, 90s, 500ms, 5m, 1h): exit status 124\n"
	"      --fabric F        as --set fabric=F\n"
	"      --set NAME=VALUE  set an option of the library (see `pergola info`)\n"
	"  -h, --help            this text\n"
	"\n"
	"options of doctor\n"
	"  -n, --ranks N         the ranks that this host is to hold\n"
	"      --hosts HOST,...  start on these hosts, measure reads between them\n"
	"      --rsh COMMAND     ... with this in place of ssh\n"
	"      --peers           started by a launcher: measure reads between the ranks\n"
	"\n"
	"See pergola(1) and pergola(7).\n";

static void write_line(char *line, int used)
{
	size_t bytes = used < LINE_BYTES - 1 ? (size_t)used : LINE_BYTES - 2;

	line[bytes++] = '\n';
	if (write(STDERR_FILENO, line, bytes) < 0)
		return; /* nowhere left to say it */
}

static int format_line(char *line, const char *format, va_list arguments)
{
	int used = snprintf(line, LINE_BYTES, "pergola: ");
	int more = vsnprintf(line + used, LINE_BYTES - (size_t)used, format, arguments);

	return more < 0 ? used : used + more;
}

void cli_say(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	write_line(line, format_line(line, format, arguments));
	va_end(arguments);
}

int cli_usage_error(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	write_line(line, format_line(line, format, arguments));
	va_end(arguments);
	cli_say("`pergola --help` shows what there is");
	return CLI_EXIT_USAGE;
}

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};

int cli_help(void)
{
	fputs(usage, stdout);
	return 0;
}

static int print_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return cli_help();
}

static int print_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("pergola %d.%d.%d\n", DSM_VERSION_MAJOR, DSM_VERSION_MINOR, DSM_VERSION_PATCH);
	return 0;
}

static int run_trial_rank(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return doctor_trial_rank();
}

static const struct command commands[] = {
	{ DOCTOR_TRIAL_RANK, run_trial_rank },
	{ DOCTOR_REACH, doctor_reach },
	{ "run", cli_run },
	{ "doctor", cli_doctor },
	{ "info", cli_info },
	{ "help", print_help },
	{ "--help", print_help },
	{ "-h", print_help },
	{ "--version", print_version },
	{ "version", print_version },
	{ "-V", print_version },
};

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs(usage, stderr);
		return CLI_EXIT_USAGE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	return cli_usage_error("there is no subcommand \"%.64s\"; run, doctor and info are",
			       argv[1]);
}
