/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pergola doctor --hosts`: `pergola run` starts one process for each host, and each becomes the
 * remote shell that starts this command there. The far process gets its PERGOLA_* variables, with
 * the job's secret among them, through its standard input: a command line can be read by all.
 */
#include "cli/doctor.h"

#include "base/id.h"
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "PERGOLA_"
#define HOSTS_TIMEOUT "300s"
#define RSH_WORDS_MAX 32
#define HOST_BYTES 256
#define LINE_BYTES 512

/* Where rank 0 listens: below the ports that a host hands out by itself. */
#define PORT_FIRST 20000u
#define PORT_COUNT 12000u

static int self_path(char path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (length < 0) {
		cli_say("/proc/self/exe: %s", strerror(errno));
		return CLI_EXIT_LAUNCHER;
	}
	path[length] = '\0';
	return 0;
}

/* The host at `place` of the list; false: there is none. */
static bool nth_host(const char *hosts, unsigned int place, char host[HOST_BYTES])
{
	for (unsigned int i = 0; i < place; i++) {
		hosts += strcspn(hosts, ",");
		if (*hosts == '\0')
			return false;
		hosts++;
	}
	snprintf(host, HOST_BYTES, "%.*s", (int)strcspn(hosts, ","), hosts);
	return true;
}

/* Names, addresses and user@name; nothing that a shell or a program takes for something else. */
static bool host_is_sound(const char *host)
{
	if (*host == '\0' || *host == '-')
		return false;
	for (const char *c = host; *c != '\0'; c++) {
		if (!isalnum((unsigned char)*c) && strchr("-._:@%", *c) == NULL)
			return false;
	}
	return true;
}

static int count_hosts(const char *hosts, unsigned int *count)
{
	char host[HOST_BYTES];

	*count = 0;
	while (nth_host(hosts, *count, host)) {
		if (!host_is_sound(host))
			return cli_usage_error("doctor: --hosts: \"%.64s\" is no name of a host",
					       host);
		if (++*count > NODES_MAX)
			return cli_usage_error("doctor: --hosts: more than %u hosts", NODES_MAX);
	}
	return 0;
}

int doctor_hosts(const char *hosts, const char *rsh)
{
	char self[PATH_MAX];
	char ranks[16];
	unsigned int count;
	int result = count_hosts(hosts, &count);

	if (result == 0)
		result = self_path(self);
	if (result != 0)
		return result;
	snprintf(ranks, sizeof(ranks), "%u", count);
	char *arguments[] = {
		(char[]){ "run" },
		(char[]){ "-n" },
		ranks,
		(char[]){ "--timeout" },
		(char[]){ HOSTS_TIMEOUT },
		(char[]){ "--" },
		self,
		(char[]){ DOCTOR_REACH },
		strdup(hosts),
		strdup(rsh),
		NULL,
	};

	for (unsigned int i = 0; i < count; i++) {
		char host[HOST_BYTES];

		nth_host(hosts, i, host);
		printf("%srank %u on %s", i == 0 ? "starting " : ", ", i, host);
	}
	printf("\n\n");
	fflush(stdout);
	optind = 0; /* getopt starts anew */
	result = cli_run((int)(sizeof(arguments) / sizeof(arguments[0])) - 1, arguments);
	free(arguments[8]);
	free(arguments[9]);
	return result;
}

/* ---- one host's process, until it is the remote shell -------------------------------------- */

/* "user@host" listens at host, and an IPv6 address needs brackets. */
static void write_root(FILE *out, const char *hosts)
{
	const char *job = getenv("PERGOLA_JOB");
	unsigned long long number = job == NULL ? 0 : strtoull(job, NULL, 16);
	char first[HOST_BYTES];

	nth_host(hosts, 0, first);
	const char *at = strrchr(first, '@');
	const char *host = at == NULL ? first : at + 1;
	bool six = strchr(host, ':') != NULL;
	fprintf(out, "PERGOLA_ROOT=%s%s%s:%llu\n", six ? "[" : "", host, six ? "]" : "",
		PORT_FIRST + number % PORT_COUNT);
}

/* Everything fits into the pipe, so that nobody needs to read meanwhile. */
static int write_environment(const char *hosts)
{
	int ends[2];

	if (pipe(ends) != 0 || dup2(ends[0], STDIN_FILENO) < 0)
		return -errno;
	FILE *out = fdopen(ends[1], "w");
	if (out == NULL)
		return -errno;
	for (char **entry = environ; *entry != NULL; entry++) {
		if (strncmp(*entry, PREFIX, strlen(PREFIX)) == 0 &&
		    strncmp(*entry, "PERGOLA_ROOT=", 13) != 0 && strlen(*entry) < LINE_BYTES - 1 &&
		    strchr(*entry, '\n') == NULL)
			fprintf(out, "%s\n", *entry);
	}
	write_root(out, hosts);
	if (ends[0] != STDIN_FILENO)
		close(ends[0]);
	return fclose(out) == 0 ? 0 : -errno;
}

/* For a shell: in single quotes, and each of those in the text as '\''. */
static int quote(const char *text, char *out, size_t out_bytes)
{
	size_t used = 0;

	for (out[used++] = '\''; *text != '\0' && used + 6 < out_bytes; text++) {
		if (*text == '\'') {
			memcpy(out + used, "'\\''", 4);
			used += 4;
		} else {
			out[used++] = *text;
		}
	}
	out[used++] = '\'';
	out[used] = '\0';
	return *text == '\0' ? 0 : -ENAMETOOLONG;
}

/* argv: the subcommand, hosts, words of the remote shell. */
int doctor_reach(int argc, char **argv)
{
	char *words[RSH_WORDS_MAX + 6];
	char self[PATH_MAX];
	char quoted[PATH_MAX + 64];
	char host[HOST_BYTES];
	const char *rank = getenv("PERGOLA_RANK");
	int count = 0;

	if (argc != 3 || rank == NULL ||
	    !nth_host(argv[1], (unsigned int)strtoul(rank, NULL, 10), host))
		return cli_usage_error("%s is for doctor --hosts alone", DOCTOR_REACH);
	for (char *word = strtok(argv[2], " \t"); word != NULL && count < RSH_WORDS_MAX;
	     word = strtok(NULL, " \t"))
		words[count++] = word;
	if (count == 0)
		return cli_usage_error("doctor: --rsh is empty");
	if (self_path(self) != 0 || quote(self, quoted, sizeof(quoted)) != 0)
		return CLI_EXIT_LAUNCHER;
	words[count++] = host;
	words[count++] = quoted;
	words[count++] = (char[]){ "doctor" };
	words[count++] = (char[]){ "--" DOCTOR_JOIN };
	words[count] = NULL;
	int error = write_environment(argv[1]);
	if (error == 0)
		execvp(words[0], words);
	cli_say("cannot start %s: %s", words[0], strerror(error == 0 ? errno : -error));
	return CLI_EXIT_NOT_EXECUTABLE;
}

/* ---- and on the far side ------------------------------------------------------------------- */

int doctor_take_environment(void)
{
	char line[LINE_BYTES];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		char *value = strchr(line, '=');
		if (value == NULL || strncmp(line, PREFIX, strlen(PREFIX)) != 0) {
			cli_say("doctor --%s reads variables from standard input, and \"%.32s\" is "
				"none",
				DOCTOR_JOIN, line);
			return CLI_EXIT_USAGE;
		}
		*value = '\0';
		setenv(line, value + 1, 1);
	}
	explicit_bzero(line, sizeof(line));
	return 0;
}
