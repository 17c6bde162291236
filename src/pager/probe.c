/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe: first the facts are gathered, each by trying it, then each check words the facts it
 * speaks of. The order of CHECKS is the order of dependence, so that the first failed line is the
 * cause and the others follow from it.
 */
#include "pager/probe.h"

#include "base/id.h"
#include "pager/limits.h"
#include "pager/memory.h"
#include "pager/uffd.h"
#include "pager/uffd_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define NEEDED_MAJOR 6
#define NEEDED_MINOR 4

#define NEWER_KERNEL                                                                               \
	"boot Linux 6.4 or newer (arm64: 6.10); on Debian 12: sudo apt install -t "                \
	"bookworm-backports linux-image-$(dpkg --print-architecture)"

/* Where a check failed only because an earlier one did. */
#define MEND_OTHERS "mend the failed checks above first"

struct facts {
	enum pager_delivery delivery;
	struct utsname system;
	long page_bytes;
	int memfd_error;
	int open_error; /* of a descriptor for all faults, and of the two ways to it */
	int way_errors[2];
	enum uffd_way way;
	int user_mode_error; /* of a descriptor for faults in user mode only */
	bool seccomp;	     /* this process runs under a filter */
	int features_error;
	uint64_t features;
	int continue_error; /* of CONTINUE with MODE_WP; -ECANCELED: not tried */
	int poison_error;
	int overcommit;
};

/* Two pages, as the pager has them: in a memfd, seen twice, one view registered. */
struct trial {
	int uffd;
	int memfd;
	unsigned char *frames;
	unsigned char *view;
};

#define TRIAL_BYTES ((size_t)2 * PAGE_BYTES)

static bool under_seccomp(void)
{
	char line[128];
	unsigned int mode = 0;
	FILE *status = fopen("/proc/self/status", "re");

	while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
		if (sscanf(line, "Seccomp: %u", &mode) == 1)
			break;
	}
	if (status != NULL)
		fclose(status);
	return mode == 2;
}

/* With the pager's own calls: under mlockall(2) a plain mmap() would come populated. */
static int trial_view(int memfd, unsigned char **view)
{
	void *addr = NULL;
	int error = memory_reserve(memfd, 0, TRIAL_BYTES, &addr);

	if (error != 0)
		return error;
	*view = addr;
	return memory_open(addr, TRIAL_BYTES);
}

static int trial_map(struct trial *trial)
{
	trial->memfd = memory_file(TRIAL_BYTES);
	if (trial->memfd < 0)
		return trial->memfd;
	int error = trial_view(trial->memfd, &trial->frames);
	return error != 0 ? error : trial_view(trial->memfd, &trial->view);
}

static void trial_run(const struct trial *trial, struct facts *facts)
{
	size_t done_bytes;
	int error = uffd_enable(trial->uffd, UFFD_FEATURES_NEEDED);

	if (error == 0)
		error = uffd_register(trial->uffd, trial->view, TRIAL_BYTES);
	if (error != 0) {
		facts->continue_error = error;
		return;
	}
	trial->frames[0] = 1;
	facts->continue_error =
		uffd_continue(trial->uffd, trial->view, PAGE_BYTES, true, &done_bytes);
	facts->poison_error = uffd_poison(trial->uffd, trial->view + PAGE_BYTES, PAGE_BYTES);
}

static void trial_close(const struct trial *trial)
{
	if (trial->view != NULL)
		munmap(trial->view, TRIAL_BYTES);
	if (trial->frames != NULL)
		munmap(trial->frames, TRIAL_BYTES);
	if (trial->memfd >= 0)
		close(trial->memfd);
	close(trial->uffd);
}

/* Opens the descriptor, and with it tries the memory calls. */
static void try_userfaultfd(struct facts *facts)
{
	struct trial trial = { .memfd = -1 };

	facts->features_error = uffd_features(&facts->features);
	facts->open_error = uffd_open(&trial.uffd, &facts->way, facts->way_errors);
	if (facts->open_error != 0)
		facts->user_mode_error = uffd_open_user_mode(&trial.uffd);
	if (facts->user_mode_error != 0)
		return;
	facts->memfd_error = trial_map(&trial);
	bool all = (facts->features & UFFD_FEATURES_NEEDED) == UFFD_FEATURES_NEEDED;
	if (facts->memfd_error == 0 && facts->features_error == 0 && all)
		trial_run(&trial, facts);
	trial_close(&trial);
}

static void try_memfd(struct facts *facts)
{
	int fd = memory_file(TRIAL_BYTES);

	facts->memfd_error = fd < 0 ? fd : 0;
	if (fd >= 0)
		close(fd);
}

static void facts_gather(enum pager_delivery delivery, struct facts *facts)
{
	*facts = (struct facts){
		.delivery = delivery,
		.page_bytes = sysconf(_SC_PAGESIZE),
		.features_error = -ECANCELED,
		.continue_error = -ECANCELED,
		.poison_error = -ECANCELED,
		.seccomp = under_seccomp(),
		.overcommit = limits_overcommit(),
	};
	uname(&facts->system);
	try_memfd(facts);
	if (facts->page_bytes == PAGE_BYTES && facts->memfd_error == 0)
		try_userfaultfd(facts);
	else
		facts->open_error = -ECANCELED;
}

/* ---- wording ------------------------------------------------------------------------------ */

#define SAY(check, ...) snprintf((check)->text, sizeof((check)->text), __VA_ARGS__)
#define MEND(check, ...) snprintf((check)->remedy, sizeof((check)->remedy), __VA_ARGS__)

static void fail(struct pager_check *check, int error)
{
	check->status = PAGER_CHECK_FAILED;
	check->error = error;
}

int pager_release_compare(const char *release, unsigned int major, unsigned int minor)
{
	unsigned int have_major = 0;
	unsigned int have_minor = 0;

	if (sscanf(release, "%u.%u", &have_major, &have_minor) != 2)
		return -1;
	if (have_major != major)
		return have_major < major ? -1 : 1;
	return have_minor == minor ? 0 : have_minor < minor ? -1 : 1;
}

/* A vendor's kernel may have the call under an older number: what was tried decides. */
static void check_kernel(struct pager_check *check, const struct facts *facts)
{
	const char *release = facts->system.release;

	SAY(check, "Linux %s on %s; %u.%u or newer is needed.", release, facts->system.machine,
	    NEEDED_MAJOR, NEEDED_MINOR);
	if (pager_release_compare(release, NEEDED_MAJOR, NEEDED_MINOR) >= 0 ||
	    facts->continue_error == 0)
		return;
	fail(check, -ENOSYS);
	SAY(check, "This kernel is Linux %s; %u.%u or newer is needed (UFFDIO_CONTINUE_MODE_WP).",
	    release, NEEDED_MAJOR, NEEDED_MINOR);
	MEND(check, NEWER_KERNEL);
}

static void check_page_size(struct pager_check *check, const struct facts *facts)
{
	SAY(check, "Memory pages have %ld bytes.", facts->page_bytes);
	if (facts->page_bytes == PAGE_BYTES)
		return;
	fail(check, -ENOSYS);
	SAY(check, "Memory pages have %ld bytes, %u are needed.", facts->page_bytes, PAGE_BYTES);
	MEND(check, "boot a kernel built for 4 KiB pages (CONFIG_ARM64_4K_PAGES; the package "
		    "without -64k in its name)");
}

static void check_memfd(struct pager_check *check, const struct facts *facts)
{
	SAY(check, "A memory file can be made and mapped twice.");
	if (facts->memfd_error == 0)
		return;
	fail(check, facts->memfd_error);
	SAY(check, "A memory file (memfd) could not be made and mapped: %s.",
	    strerror(-facts->memfd_error));
	MEND(check, "sudo sysctl vm.memfd_noexec=0; ulimit -n 4096; ulimit -v unlimited; "
		    "in a container allow memfd_create in its seccomp profile");
}

#define REMEDY_CONTAINER                                                                           \
	"docker run --device " UFFD_DEVICE " ... (or --security-opt seccomp=PROFILE.json, a "      \
	"profile that allows userfaultfd)"

static void mend_permission(struct pager_check *check, bool filtered)
{
	if (filtered) {
		MEND(check,
		     "in a container whose seccomp profile refuses userfaultfd: " REMEDY_CONTAINER
		     "; as root outside: chmod 666 " UFFD_DEVICE);
		return;
	}
	MEND(check, "sudo sysctl vm.unprivileged_userfaultfd=1; or sudo chmod 666 " UFFD_DEVICE
		    " (to last, a udev rule: KERNEL==\"userfaultfd\", GROUP=\"users\", "
		    "MODE=\"0660\"); or sudo setcap cap_sys_ptrace+ep PROGRAM (CAP_SYS_PTRACE); in "
		    "a container: " REMEDY_CONTAINER);
}

/* Before the other remedies: what needs no permission. */
static void mend_by_delivery(struct pager_check *check)
{
	static const char way[] = "PERGOLA_DELIVERY=inline, which needs no permission; or ";
	size_t rest = sizeof(check->remedy) - sizeof(way);

	memmove(check->remedy + sizeof(way) - 1, check->remedy, rest);
	memcpy(check->remedy, way, sizeof(way) - 1);
	check->remedy[sizeof(check->remedy) - 1] = '\0';
}

/* Any descriptor at all. */
static void check_userfaultfd(struct pager_check *check, const struct facts *facts)
{
	if (facts->open_error == 0) {
		SAY(check, "userfaultfd is available by %s.",
		    facts->way == UFFD_BY_SYSCALL ? "its system call" : UFFD_DEVICE);
		return;
	}
	if (facts->open_error == -ECANCELED) {
		fail(check, -ENOSYS);
		SAY(check, "userfaultfd was not tried: see the checks above.");
		return;
	}
	if (facts->user_mode_error == 0) {
		SAY(check, "userfaultfd is available for faults in user mode.");
		return;
	}
	fail(check, facts->open_error);
	SAY(check, "userfaultfd is refused: %s by its system call, %s by " UFFD_DEVICE ".",
	    strerror(-facts->way_errors[0]), strerror(-facts->way_errors[1]));
	if (facts->open_error == -ENOSYS && !facts->seccomp)
		MEND(check, "boot a kernel built with CONFIG_USERFAULTFD=y");
	else if (facts->open_error == -EMFILE || facts->open_error == -ENFILE)
		MEND(check, "ulimit -n 4096");
	else
		mend_permission(check, facts->seccomp);
}

/* A descriptor that also catches faults of read(2) and its like. */
static void check_kernel_faults(struct pager_check *check, const struct facts *facts)
{
	SAY(check, "Faults made inside system calls can be caught too.");
	if (facts->open_error == 0)
		return;
	if (facts->delivery == PAGER_DELIVER_SIGNAL && facts->user_mode_error == 0 &&
	    facts->open_error != -ECANCELED) {
		check->status = PAGER_CHECK_OPTIONAL_MISSING;
		SAY(check, "userfaultfd is permitted for faults in user mode only, which inline "
			   "delivery can do with; PERGOLA_DELIVERY=thread cannot.");
		mend_permission(check, false);
		return;
	}
	fail(check, facts->open_error == -ECANCELED ? -ENOSYS : facts->open_error);
	SAY(check,
	    "userfaultfd is %s, so that read(2) into shared memory would fail "
	    "(vm.unprivileged_userfaultfd is 0, no CAP_SYS_PTRACE, " UFFD_DEVICE ": %s).",
	    facts->user_mode_error == 0 && facts->open_error != -ECANCELED
		    ? "permitted for faults in user mode only"
		    : "not available",
	    strerror(-facts->way_errors[1]));
	mend_permission(check, facts->seccomp && facts->user_mode_error != 0);
	if (facts->user_mode_error == 0 && facts->open_error != -ECANCELED)
		mend_by_delivery(check);
}

static void check_feature(struct pager_check *check, const struct facts *facts, uint64_t feature)
{
	if (facts->features_error == 0 && (facts->features & feature) == feature) {
		SAY(check, "The kernel has UFFD_FEATURE_%s.", check->name);
		return;
	}
	fail(check, -ENOSYS);
	if (facts->features_error != 0) {
		SAY(check, "Not tried: there is no userfaultfd.");
		MEND(check, MEND_OTHERS);
		return;
	}
	SAY(check, "The kernel %s lacks UFFD_FEATURE_%s.", facts->system.release, check->name);
	MEND(check, NEWER_KERNEL);
}

static void check_missing(struct pager_check *check, const struct facts *facts)
{
	check_feature(check, facts, UFFD_FEATURE_MISSING_SHMEM);
}

static void check_minor(struct pager_check *check, const struct facts *facts)
{
	check_feature(check, facts, UFFD_FEATURE_MINOR_SHMEM);
}

static void check_flag_wp(struct pager_check *check, const struct facts *facts)
{
	check_feature(check, facts, UFFD_FEATURE_PAGEFAULT_FLAG_WP);
}

static void check_wp_shmem(struct pager_check *check, const struct facts *facts)
{
	check_feature(check, facts, UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
}

/* The header of a kernel that has none of the others has this one. */
static void check_sigbus(struct pager_check *check, const struct facts *facts)
{
	check_feature(check, facts, UFFD_FEATURE_SIGBUS);
	if (check->status == PAGER_CHECK_FAILED && facts->delivery == PAGER_DELIVER_QUEUE) {
		check->status = PAGER_CHECK_OPTIONAL_MISSING;
		check->error = 0;
	}
}

static void check_continue_wp(struct pager_check *check, const struct facts *facts)
{
	SAY(check, "A page was mapped write-protected in one call.");
	if (facts->continue_error == 0)
		return;
	if (facts->continue_error == -ECANCELED) {
		fail(check, -ENOSYS);
		SAY(check, "Not tried: what the checks above name is needed first.");
		MEND(check, MEND_OTHERS);
		return;
	}
	fail(check, facts->continue_error == -EINVAL ? -ENOSYS : facts->continue_error);
	SAY(check, "On Linux %s mapping a page with UFFDIO_CONTINUE_MODE_WP fails: %s.",
	    facts->system.release, strerror(-facts->continue_error));
	MEND(check, NEWER_KERNEL);
}

static void check_poison(struct pager_check *check, const struct facts *facts)
{
	SAY(check, "A page of a lost node can be made to raise SIGBUS.");
	if (facts->poison_error == 0)
		return;
	check->status = PAGER_CHECK_OPTIONAL_MISSING;
	if (facts->poison_error == -ECANCELED) {
		SAY(check, "Not tried: what the checks above name is needed first.");
		MEND(check, MEND_OTHERS);
		return;
	}
	SAY(check, "No UFFDIO_POISON (%s): a page of a lost node cannot be made to raise SIGBUS.",
	    strerror(-facts->poison_error));
	MEND(check, "boot Linux 6.6 or newer");
}

/* Shared memory is never reserved at mmap(), but strict accounting charges each frame. */
static void check_overcommit(struct pager_check *check, const struct facts *facts)
{
	SAY(check, "vm.overcommit_memory is %d: frames are limited by memory only.",
	    facts->overcommit);
	if (facts->overcommit == 0 || facts->overcommit == 1)
		return;
	check->status = PAGER_CHECK_OPTIONAL_MISSING;
	SAY(check,
	    "vm.overcommit_memory is %d: each frame counts against CommitLimit in "
	    "/proc/meminfo, and a fault may find none.",
	    facts->overcommit);
	MEND(check, "sudo sysctl vm.overcommit_memory=0");
}

static const struct {
	const char *name;
	void (*word)(struct pager_check *check, const struct facts *facts);
} CHECKS[PAGER_CHECKS] = {
	{ "kernel", check_kernel },
	{ "page size", check_page_size },
	{ "memfd", check_memfd },
	{ "userfaultfd", check_userfaultfd },
	{ "faults in system calls", check_kernel_faults },
	{ "MISSING_SHMEM", check_missing },
	{ "MINOR_SHMEM", check_minor },
	{ "PAGEFAULT_FLAG_WP", check_flag_wp },
	{ "WP_HUGETLBFS_SHMEM", check_wp_shmem },
	{ "SIGBUS", check_sigbus },
	{ "CONTINUE_MODE_WP", check_continue_wp },
	{ "POISON", check_poison },
	{ "overcommit", check_overcommit },
};

void pager_probe(enum pager_delivery delivery, struct pager_check checks[PAGER_CHECKS])
{
	struct facts facts;

	facts_gather(delivery, &facts);
	for (unsigned int i = 0; i < PAGER_CHECKS; i++) {
		checks[i] =
			(struct pager_check){ .name = CHECKS[i].name, .status = PAGER_CHECK_OK };
		CHECKS[i].word(&checks[i], &facts);
	}
}

const struct pager_check *pager_probe_failed(const struct pager_check checks[PAGER_CHECKS])
{
	for (unsigned int i = 0; i < PAGER_CHECKS; i++) {
		if (checks[i].status == PAGER_CHECK_FAILED)
			return &checks[i];
	}
	return NULL;
}
