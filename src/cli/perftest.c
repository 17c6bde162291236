/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/perftest.h"

#include "base/error.h"
#include "port/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "ib_read_lat"
#define MS_NS UINT64_C(1000000)
#define SAID_BYTES 8192
#define NOT_FOUND 127

/* A server takes a moment to listen, and a client that is early gives up at once. */
#define ATTEMPTS 12
#define PAUSE_US 150000

bool perftest_installed(void)
{
	const char *path = getenv("PATH");

	while (path != NULL && *path != '\0') {
		size_t length = strcspn(path, ":");
		char file[PATH_MAX];

		snprintf(file, sizeof(file), "%.*s/" PROGRAM, (int)length, path);
		if (access(file, X_OK) == 0)
			return true;
		path += length + (path[length] == ':');
	}
	return false;
}

__attribute__((noreturn)) static void run(const struct measure_card *own, const char *address,
					  unsigned int port, int out)
{
	char device_port[16];
	char gid[16];
	char tcp_port[16];
	const char *arguments[20] = { PROGRAM, "-F", "-s", "4096", "-n", "500" };
	int count = 6;
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(device_port, sizeof(device_port), "%u", own->port);
	snprintf(gid, sizeof(gid), "%d", own->gid_index);
	snprintf(tcp_port, sizeof(tcp_port), "%u", port);
	arguments[count++] = "-p";
	arguments[count++] = tcp_port;
	arguments[count++] = "-d";
	arguments[count++] = own->device;
	arguments[count++] = "-i";
	arguments[count++] = device_port;
	if (own->gid_index >= 0) {
		arguments[count++] = "-x";
		arguments[count++] = gid;
	}
	if (address != NULL)
		arguments[count++] = address;
	if (dup2(nothing, STDIN_FILENO) < 0 || dup2(out < 0 ? nothing : out, STDOUT_FILENO) < 0 ||
	    dup2(out < 0 ? nothing : out, STDERR_FILENO) < 0)
		_exit(NOT_FOUND);
	execvp(PROGRAM, (char *const *)(const void *)arguments);
	_exit(NOT_FOUND);
}

int perftest_serve(const struct measure_card *own, unsigned int port, pid_t *server)
{
	pid_t child = fork();

	if (child == 0)
		run(own, NULL, port, -1);
	if (child < 0)
		return -errno;
	*server = child;
	return 0;
}

void perftest_end(pid_t server)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

/* ---- the client ---------------------------------------------------------------------------- */

/* All that it says until it ends or time is up; false then. */
static bool hear(int in, char *said, uint64_t end_ns)
{
	size_t have = 0;

	for (;;) {
		uint64_t now_ns = clock_now_ns();
		struct pollfd slot = { .fd = in, .events = POLLIN };
		int left_ms = now_ns < end_ns ? (int)((end_ns - now_ns) / MS_NS) + 1 : 0;

		said[have] = '\0';
		if (poll(&slot, 1, left_ms) <= 0 || have + 1 == SAID_BYTES)
			return false;
		ssize_t got = read(in, said + have, SAID_BYTES - 1 - have);
		if (got <= 0)
			return got == 0;
		have += (size_t)got;
	}
}

/* The line " 4096  500  t_min  t_max  t_typical ..." after the one with the names. */
static int find_typical(const char *said, uint64_t *latency_ns)
{
	double least_us;
	double most_us;
	double typical_us;
	const char *names = strstr(said, "t_typical");
	const char *line = names == NULL ? NULL : strchr(names, '\n');

	if (line == NULL ||
	    sscanf(line, " %*u %*u %lf %lf %lf", &least_us, &most_us, &typical_us) != 3 ||
	    typical_us <= 0)
		return -EIO;
	*latency_ns = (uint64_t)(typical_us * 1e3);
	return 0;
}

static const char *last_line(char *said)
{
	size_t length = strlen(said);

	while (length > 0 && (said[length - 1] == '\n' || said[length - 1] == ' '))
		said[--length] = '\0';
	const char *line = strrchr(said, '\n');
	return line == NULL ? said : line + 1;
}

static int attempt(const struct measure_card *own, const char *address, unsigned int port,
		   uint64_t end_ns, uint64_t *latency_ns)
{
	char said[SAID_BYTES] = "";
	int ends[2];
	int status = 0;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return error_set(-errno, "pipe: %s", strerror(errno));
	pid_t child = fork();
	if (child == 0)
		run(own, address, port, ends[1]);
	close(ends[1]);
	bool over = child > 0 && hear(ends[0], said, end_ns);
	close(ends[0]);
	if (child < 0)
		return error_set(-errno, "fork: %s", strerror(errno));
	if (!over)
		kill(child, SIGKILL);
	waitpid(child, &status, 0);
	if (!over)
		return error_set(-ETIMEDOUT, PROGRAM " was not over in time");
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return error_set(-ENOENT, PROGRAM " is not installed (package perftest)");
	if (status == 0 && find_typical(said, latency_ns) == 0)
		return 0;
	return error_set(-EIO, PROGRAM ": %s", last_line(said));
}

int perftest_read(const struct measure_card *own, const char *address, unsigned int port,
		  uint64_t limit_ns, uint64_t *latency_ns)
{
	uint64_t end_ns = clock_now_ns() + limit_ns;
	int error = -EIO;

	for (int i = 0; i < ATTEMPTS && error == -EIO && clock_now_ns() < end_ns; i++) {
		usleep(PAUSE_US);
		error = attempt(own, address, port, end_ns, latency_ns);
	}
	return error;
}
