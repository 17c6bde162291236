/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the limits. Only on failure paths and from the probe; reads /proc and /sys. */
#include "pager/limits.h"

#include "base/error.h"
#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

/* The file's first bytes as text; false: it cannot be read. */
static bool read_text(const char *path, char *text, size_t text_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	ssize_t got = read(fd, text, text_bytes - 1);
	close(fd);
	if (got < 0)
		return false;
	text[got] = '\0';
	return true;
}

static bool read_number(const char *path, uint64_t *value)
{
	char text[64];
	char *end;

	if (!read_text(path, text, sizeof(text)))
		return false;
	*value = strtoull(text, &end, 10);
	return end != text; /* "max" is no number: no limit */
}

int limits_overcommit(void)
{
	uint64_t mode;

	return read_number("/proc/sys/vm/overcommit_memory", &mode) ? (int)mode : -1;
}

/* A line "Name:   123 kB" of /proc/meminfo, in bytes; 0 when absent. */
static uint64_t meminfo_bytes(const char *meminfo, const char *name)
{
	const char *line = strstr(meminfo, name);

	return line == NULL ? 0 : strtoull(line + strlen(name), NULL, 10) * 1024;
}

struct cgroup_files {
	const char *mark; /* what stands before the group's path in /proc/self/cgroup */
	const char *root;
	const char *limit;
	const char *usage;
};

static const struct cgroup_files CGROUPS[] = {
	{ "0::", "/sys/fs/cgroup", "memory.max", "memory.current" },
	{ "memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes" },
};

struct tightest {
	uint64_t limit; /* UINT64_MAX: none */
	uint64_t usage;
	char path[640];
};

/* Takes the limit of one group if it is tighter than those before. */
static void consider(const struct cgroup_files *files, const char *group, struct tightest *tightest)
{
	char path[sizeof(tightest->path)];
	uint64_t limit;

	snprintf(path, sizeof(path), "%s%s/%s", files->root, group, files->limit);
	/* Version 1 says "no limit" with a number near 2^63. */
	if (!read_number(path, &limit) || limit > UINT64_MAX / 4 || limit >= tightest->limit)
		return;
	tightest->limit = limit;
	tightest->usage = 0;
	memcpy(tightest->path, path, sizeof(path));
	snprintf(path, sizeof(path), "%s%s/%s", files->root, group, files->usage);
	read_number(path, &tightest->usage);
}

/* Appends to a text that ends with a zero byte. */
#define APPEND(text, text_bytes, ...)                                                              \
	snprintf((text) + strlen(text), (text_bytes)-strlen(text), __VA_ARGS__)

/* From the process's own group, as /proc/self/cgroup has it, up to the root. */
static void find_tightest(const struct cgroup_files *files, struct tightest *tightest)
{
	char all[1024];

	if (!read_text("/proc/self/cgroup", all, sizeof(all)))
		return;
	char *mark = strstr(all, files->mark);
	if (mark == NULL)
		return;
	char *group = mark + strlen(files->mark);

	group[strcspn(group, "\n")] = '\0';
	for (;;) {
		consider(files, group, tightest);
		char *slash = strrchr(group, '/');
		if (slash == NULL)
			return;
		*slash = '\0';
	}
}

static void describe_cgroup(char *text, size_t text_bytes)
{
	struct tightest tightest = { .limit = UINT64_MAX };

	for (size_t i = 0; i < sizeof(CGROUPS) / sizeof(CGROUPS[0]); i++)
		find_tightest(&CGROUPS[i], &tightest);
	if (tightest.limit == UINT64_MAX)
		return;
	APPEND(text, text_bytes,
	       " cgroup: %llu of %llu MiB used (%s: raise it, in a container with its memory "
	       "option).",
	       (unsigned long long)(tightest.usage / MIB),
	       (unsigned long long)(tightest.limit / MIB), tightest.path);
}

void limits_describe(char *text, size_t text_bytes)
{
	char meminfo[4096] = "";

	text[0] = '\0';
	read_text("/proc/meminfo", meminfo, sizeof(meminfo));
	APPEND(text, text_bytes, "MemAvailable is %llu MiB, SwapFree %llu MiB.",
	       (unsigned long long)(meminfo_bytes(meminfo, "MemAvailable:") / MIB),
	       (unsigned long long)(meminfo_bytes(meminfo, "SwapFree:") / MIB));
	describe_cgroup(text, text_bytes);
	if (limits_overcommit() == 2)
		APPEND(text, text_bytes,
		       " vm.overcommit_memory is 2: %llu of CommitLimit %llu MiB are committed "
		       "(sudo sysctl vm.overcommit_memory=0).",
		       (unsigned long long)(meminfo_bytes(meminfo, "Committed_AS:") / MIB),
		       (unsigned long long)(meminfo_bytes(meminfo, "CommitLimit:") / MIB));
}

int limits_file_size(uint64_t bytes)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur >= bytes)
		return 0;
	return error_set(-EFBIG,
			 "the shared space takes a memory file of %llu bytes, and ulimit -f allows "
			 "%llu: ulimit -f unlimited",
			 (unsigned long long)bytes, (unsigned long long)limit.rlim_cur);
}
