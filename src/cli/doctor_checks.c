/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of `pergola doctor` that read /proc, /sys, limits, and the pager's own table. */
#include "cli/doctor.h"

#include "base/error.h"
#include "cli/host.h"
#include "node/settings.h"
#include "pager/probe.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define TEXT_BYTES 240
#define MIB (UINT64_C(1) << 20)

/* Below this a rank can hardly hold its program and a working set. */
#define RANK_BYTES_WANTED (256 * MIB)

/* The fabric between processes of one host keeps about this many descriptors for each peer. */
#define DESCRIPTORS_PER_RANK 4u
#define DESCRIPTORS_OTHER 64u

#define HUGE_PAGES_FILE "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

void doctor_check_pager(struct doctor *doctor)
{
	static const enum finding_status statuses[] = {
		[PAGER_CHECK_OK] = FINDING_OK,
		[PAGER_CHECK_FAILED] = FINDING_FAIL,
		[PAGER_CHECK_OPTIONAL_MISSING] = FINDING_WARN,
	};
	struct pager_check checks[PAGER_CHECKS];
	struct settings settings;

	settings_init_defaults(&settings);
	settings_read_environment(&settings); /* what is wrong there has a line of its own */
	bool inline_delivery =
		settings_choice(&settings, SETTING_DELIVERY) == DELIVERY_CHOICE_INLINE;

	doctor_find(doctor, FINDING_OK, "delivery of page faults",
		    inline_delivery ? "inline: by the thread that faults"
				    : "thread: by the library's progress thread",
		    NULL);
	pager_probe(inline_delivery ? PAGER_DELIVER_SIGNAL : PAGER_DELIVER_QUEUE, checks);
	for (size_t i = 0; i < PAGER_CHECKS; i++)
		doctor_find(doctor, statuses[checks[i].status], checks[i].name, checks[i].text,
			    checks[i].remedy);
}

void doctor_check_cores(struct doctor *doctor)
{
	unsigned int cores = host_cores();
	bool enough = cores >= doctor->rank_count;
	char found[TEXT_BYTES];

	snprintf(found, sizeof(found), "%u for %u ranks%s", cores, doctor->rank_count,
		 enough ? "" : ": ranks that wait take time from ranks that work");
	doctor_find(doctor, enough ? FINDING_OK : FINDING_WARN, "cores", found,
		    "start fewer ranks here, or set PERGOLA_SPIN=0");
}

static void find_memory(struct doctor *doctor, const char *name, uint64_t bytes, const char *remedy)
{
	bool enough = bytes / doctor->rank_count >= RANK_BYTES_WANTED;
	char found[TEXT_BYTES];
	char text[32];

	snprintf(found, sizeof(found), "%s for %u ranks",
		 host_format_bytes(bytes, text, sizeof(text)), doctor->rank_count);
	doctor_find(doctor, enough ? FINDING_OK : FINDING_WARN, name, found, remedy);
}

void doctor_check_memory(struct doctor *doctor)
{
	find_memory(doctor, "memory available", host_memory_available(),
		    "end other programs, or start fewer ranks");
}

void doctor_check_memory_group(struct doctor *doctor)
{
	find_memory(doctor, "memory left in the control group", host_cgroup_memory_left(),
		    "raise memory.max (docker run --memory, systemctl set-property MemoryMax=)");
}

void doctor_check_open_files(struct doctor *doctor)
{
	rlim_t needed = DESCRIPTORS_OTHER + DESCRIPTORS_PER_RANK * (rlim_t)doctor->rank_count;
	struct rlimit limit = { 0 };
	char found[TEXT_BYTES];
	char remedy[TEXT_BYTES];

	getrlimit(RLIMIT_NOFILE, &limit);
	snprintf(found, sizeof(found), "limit %llu, hard limit %llu, for %u ranks about %llu",
		 (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max,
		 doctor->rank_count, (unsigned long long)needed);
	snprintf(remedy, sizeof(remedy),
		 "ulimit -Hn %llu as root, or \"* hard nofile %llu\" in /etc/security/limits.conf",
		 (unsigned long long)needed, (unsigned long long)needed);
	doctor_find(doctor, limit.rlim_max >= needed ? FINDING_OK : FINDING_FAIL, "open files",
		    found, remedy);
}

/* The file lists all choices and puts the one in force in brackets. */
static void read_huge_pages(char *choice, size_t choice_bytes)
{
	char line[128];

	choice[0] = '\0';
	if (host_read_line(HUGE_PAGES_FILE, line, sizeof(line)) != 0)
		return;
	const char *start = strchr(line, '[');
	if (start != NULL)
		snprintf(choice, choice_bytes, "%.*s", (int)strcspn(start + 1, "]"), start + 1);
}

void doctor_check_huge_pages(struct doctor *doctor)
{
	char choice[32];
	char found[TEXT_BYTES];

	read_huge_pages(choice, sizeof(choice));
	bool whole = strcmp(choice, "always") == 0 || strcmp(choice, "force") == 0;
	snprintf(found, sizeof(found), "%s%s", *choice == '\0' ? "none in this kernel" : choice,
		 whole ? ": a touched page of 4 KiB takes a frame of 2 MiB" : "");
	doctor_find(doctor, whole ? FINDING_WARN : FINDING_OK, "huge pages in shared memory", found,
		    "echo advise | sudo tee " HUGE_PAGES_FILE);
}

void doctor_check_settings(struct doctor *doctor)
{
	struct settings settings;

	settings_init_defaults(&settings);
	if (settings_read_environment(&settings) == 0)
		doctor_find(doctor, FINDING_OK, "settings", "all of the environment make sense",
			    NULL);
	else
		doctor_find(doctor, FINDING_FAIL, "settings", error_text(),
			    "mend or unset the variable; `pergola info` lists all");
}
