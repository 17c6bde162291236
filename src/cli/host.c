/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define KIB 1024.0
#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_DEPTH_MAX 32
#define CAPABILITY_IPC_LOCK 14

int host_read_line(const char *path, char *text, size_t text_bytes)
{
	text[0] = '\0';
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t got = read(fd, text, text_bytes - 1);
	int error = got < 0 ? -errno : 0;
	close(fd);
	text[got < 0 ? 0 : got] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return error;
}

unsigned int host_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned int)CPU_COUNT(&set);
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	return online < 1 ? 1 : (unsigned int)online;
}

uint64_t host_memory_available(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *file = fopen("/proc/meminfo", "re");

	if (file == NULL)
		return HOST_UNLIMITED;
	while (kib == 0 && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "MemAvailable:", 13) == 0)
			kib = strtoull(line + 13, NULL, 10);
	}
	fclose(file);
	return kib == 0 ? HOST_UNLIMITED : (uint64_t)kib * 1024;
}

/* A number in a control group's file, or HOST_UNLIMITED ("max", or no such file). */
static uint64_t cgroup_number(const char *group, const char *file)
{
	char path[PATH_MAX];
	char text[64];

	if (snprintf(path, sizeof(path), "%s/%s", group, file) >= (int)sizeof(path))
		return HOST_UNLIMITED;
	if (host_read_line(path, text, sizeof(text)) != 0 || text[0] < '0' || text[0] > '9')
		return HOST_UNLIMITED;
	return strtoull(text, NULL, 10);
}

/* The directory of this process's control group (version 2). */
static int own_cgroup(char *group, size_t group_bytes)
{
	char line[PATH_MAX];
	int error = host_read_line("/proc/self/cgroup", line, sizeof(line));

	if (error != 0)
		return error;
	if (strncmp(line, "0::/", 4) != 0)
		return -ENOENT;
	int used = snprintf(group, group_bytes, "%s%s", CGROUP_ROOT, line + 3);
	return used < (int)group_bytes ? 0 : -ENAMETOOLONG;
}

uint64_t host_cgroup_memory_left(void)
{
	char group[PATH_MAX];
	uint64_t least = HOST_UNLIMITED;

	if (own_cgroup(group, sizeof(group)) != 0)
		return HOST_UNLIMITED;
	/* Limits of all groups above hold too. */
	for (int depth = 0; depth < CGROUP_DEPTH_MAX; depth++) {
		uint64_t limit = cgroup_number(group, "memory.max");
		uint64_t used = cgroup_number(group, "memory.current");
		char *slash = strrchr(group, '/');

		if (limit != HOST_UNLIMITED && used != HOST_UNLIMITED) {
			uint64_t left = limit > used ? limit - used : 0;

			least = left < least ? left : least;
		}
		if (slash == NULL || strlen(group) <= strlen(CGROUP_ROOT))
			break;
		*slash = '\0';
	}
	return least;
}

static bool may_lock_all(void)
{
	char line[128];
	unsigned long long capabilities = 0;
	FILE *file = fopen("/proc/self/status", "re");

	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "CapEff:", 7) == 0)
			capabilities = strtoull(line + 7, NULL, 16);
	}
	fclose(file);
	return (capabilities >> CAPABILITY_IPC_LOCK & 1) != 0;
}

uint64_t host_locked_limit(bool *exempt)
{
	struct rlimit limit = { 0 };

	*exempt = may_lock_all();
	getrlimit(RLIMIT_MEMLOCK, &limit);
	return limit.rlim_cur == RLIM_INFINITY ? HOST_UNLIMITED : limit.rlim_cur;
}

const char *host_format_bytes(uint64_t bytes, char *text, size_t text_bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double number = (double)bytes;
	size_t unit = 0;

	if (bytes == HOST_UNLIMITED) {
		snprintf(text, text_bytes, "unlimited");
		return text;
	}
	while (number >= KIB && unit + 1 < sizeof(units) / sizeof(units[0])) {
		number /= KIB;
		unit++;
	}
	snprintf(text, text_bytes, "%.*f %s", unit == 0 || number >= 100 ? 0 : 1, number,
		 units[unit]);
	return text;
}
