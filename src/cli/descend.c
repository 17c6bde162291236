/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one reading of /proc. A process that is born meanwhile is missed; who must have them all
 * calls again until there is none (a child of a killed process becomes this process's child).
 */
#include "cli/descend.h"

#include "cli/host.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct process {
	pid_t pid;
	pid_t parent;
	bool ours;
};

struct processes {
	struct process *list;
	size_t count;
	size_t capacity;
};

/* /proc/PID/stat: "PID (name) STATE PARENT ..."; the name may hold anything, also ')'. */
static bool read_process(const char *name, struct process *process)
{
	char path[64];
	char text[512];
	char state;
	int parent;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", name);
	if (host_read_line(path, text, sizeof(text)) != 0)
		return false;
	const char *end = strrchr(text, ')');
	if (end == NULL || sscanf(end + 1, " %c %d", &state, &parent) != 2)
		return false;
	if (state == 'Z' || state == 'X')
		return false; /* over already */
	*process = (struct process){ .pid = atoi(name), .parent = parent };
	return true;
}

static int add(struct processes *all, struct process process)
{
	if (all->count == all->capacity) {
		size_t capacity = all->capacity * 2 + 256;
		struct process *grown = realloc(all->list, capacity * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		all->list = grown;
		all->capacity = capacity;
	}
	all->list[all->count++] = process;
	return 0;
}

static int read_all(struct processes *all)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;
	int error = 0;

	if (directory == NULL)
		return -errno;
	while (error == 0 && (entry = readdir(directory)) != NULL) {
		struct process process;

		if (isdigit((unsigned char)entry->d_name[0]) &&
		    read_process(entry->d_name, &process))
			error = add(all, process);
	}
	closedir(directory);
	return error;
}

static bool is_ours(const struct processes *all, pid_t pid)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->list[i].pid == pid)
			return all->list[i].ours;
	}
	return false;
}

/* Marks children, then their children, until nothing changes. */
static void mark(struct processes *all, enum descend_reach reach)
{
	bool changed = true;

	for (size_t i = 0; i < all->count; i++)
		all->list[i].ours = all->list[i].parent == getpid();
	while (changed && reach == DESCEND_ALL) {
		changed = false;
		for (size_t i = 0; i < all->count; i++) {
			struct process *process = &all->list[i];

			if (!process->ours && is_ours(all, process->parent)) {
				process->ours = true;
				changed = true;
			}
		}
	}
}

int descend_signal(int signal, enum descend_reach reach)
{
	struct processes all = { 0 };
	int error = read_all(&all);
	int count = 0;

	mark(&all, reach);
	for (size_t i = 0; i < all.count; i++) {
		if (all.list[i].ours && kill(all.list[i].pid, signal) == 0)
			count++;
	}
	free(all.list);
	return count == 0 && error != 0 ? error : count;
}
