/* SPDX-License-Identifier: Apache-2.0 */
#include "floor.h"

#include "job.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace bench
{

namespace
{

constexpr size_t page_bytes = 4096;

struct Floor : Area {
	bool upgrading = false; /* the faults to come are of the second kind */
	std::atomic<bool> stop{ false };
};

std::string failed(const char *call)
{
	return std::string(call) + ": " + strerror(errno);
}

} // namespace

std::string open_area(Area &area, size_t page_count, bool signals)
{
	struct uffdio_api api = {};
	struct uffdio_register registered = {};

	area.bytes = page_count * page_bytes;
	area.uffd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
	if (area.uffd < 0)
		return failed("userfaultfd");
	api.api = UFFD_API;
	api.features = UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
		       UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	if (signals)
		api.features |= UFFD_FEATURE_SIGBUS;
	if (ioctl(area.uffd, UFFDIO_API, &api) != 0)
		return failed("UFFDIO_API");
	area.memfd = memfd_create("floor", MFD_CLOEXEC);
	if (area.memfd < 0 || ftruncate(area.memfd, static_cast<off_t>(area.bytes)) != 0 ||
	    fallocate(area.memfd, 0, 0, static_cast<off_t>(area.bytes)) != 0)
		return failed("memfd");
	void *view = mmap(nullptr, area.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, area.memfd, 0);
	if (view == MAP_FAILED)
		return failed("mmap");
	area.view = static_cast<char *>(view);
	registered.range = { reinterpret_cast<uintptr_t>(view), area.bytes };
	registered.mode = UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
	if (ioctl(area.uffd, UFFDIO_REGISTER, &registered) != 0)
		return failed("UFFDIO_REGISTER");
	return "";
}

void close_area(Area &area)
{
	if (area.view != nullptr)
		munmap(area.view, area.bytes);
	if (area.memfd >= 0)
		close(area.memfd);
	if (area.uffd >= 0)
		close(area.uffd);
}

namespace
{

void answer(const Floor &floor, const struct uffd_msg &message)
{
	uint64_t page = message.arg.pagefault.address & ~(page_bytes - 1);

	if (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		struct uffdio_writeprotect protect = { { page, page_bytes }, 0 };
		ioctl(floor.uffd, UFFDIO_WRITEPROTECT, &protect);
	} else {
		struct uffdio_continue resume = {};
		resume.range = { page, page_bytes };
		ioctl(floor.uffd, UFFDIO_CONTINUE, &resume);
	}
}

void handle(Floor &floor)
{
	struct uffd_msg message;

	while (!floor.stop.load(std::memory_order_relaxed)) {
		struct pollfd fd = { floor.uffd, POLLIN, 0 };

		poll(&fd, 1, 100);
		while (read(floor.uffd, &message, sizeof(message)) ==
		       static_cast<ssize_t>(sizeof(message)))
			answer(floor, message);
	}
}

void run_here(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

void touch(Floor &floor, bool write, std::vector<double> &samples)
{
	for (size_t at = 0; at < floor.bytes; at += page_bytes) {
		volatile char *byte = floor.view + at;
		uint64_t start = now_ns();

		if (write)
			*byte = 1;
		else
			(void)*byte;
		samples.push_back(static_cast<double>(now_ns() - start) / 1e3);
	}
}

void copy_pages(Floor &floor, std::vector<double> &samples)
{
	char page[page_bytes];

	for (size_t at = 0; at < floor.bytes; at += page_bytes) {
		uint64_t start = now_ns();

		memcpy(page, floor.view + at, page_bytes);
		asm volatile("" : : "r"(page) : "memory");
		samples.push_back(static_cast<double>(now_ns() - start) / 1e3);
	}
}

void sample(Floor &floor, FloorSamples &samples)
{
	struct uffdio_writeprotect protect = { { reinterpret_cast<uintptr_t>(floor.view),
						 floor.bytes },
					       UFFDIO_WRITEPROTECT_MODE_WP };

	touch(floor, false, samples.read_us);
	ioctl(floor.uffd, UFFDIO_WRITEPROTECT, &protect);
	floor.upgrading = true;
	touch(floor, true, samples.upgrade_us);
	copy_pages(floor, samples.copy_us);
}

} // namespace

namespace
{

Floor *inline_floor; /* for the handler */

/* Whether the page is there decides between the two kinds of fault, as the samples are taken. */
void on_sigbus(int, siginfo_t *info, void *)
{
	struct uffd_msg message = {};

	message.arg.pagefault.address = reinterpret_cast<uintptr_t>(info->si_addr);
	message.arg.pagefault.flags = inline_floor->upgrading ? UFFD_PAGEFAULT_FLAG_WP : 0;
	answer(*inline_floor, message);
}

/* The C library's, past the library's own, which would call our handler after a look of its own. */
int plain_sigaction(const struct sigaction *wanted, struct sigaction *before)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	void *symbol = libc == nullptr ? nullptr : dlsym(libc, "sigaction");

	if (symbol == nullptr)
		return -1;
	return reinterpret_cast<int (*)(int, const struct sigaction *, struct sigaction *)>(symbol)(
		SIGBUS, wanted, before);
}

} // namespace

FloorSamples measure_inline_floor(size_t page_count)
{
	FloorSamples samples;
	Floor floor;
	struct sigaction ours = {};
	struct sigaction before;

	ours.sa_sigaction = on_sigbus;
	ours.sa_flags = SA_SIGINFO | static_cast<int>(SA_NODEFER);
	inline_floor = &floor;
	samples.error = open_area(floor, page_count, true);
	if (samples.error.empty() && plain_sigaction(&ours, &before) != 0)
		samples.error = "no sigaction";
	if (samples.error.empty()) {
		sample(floor, samples);
		plain_sigaction(&before, nullptr);
	}
	close_area(floor);
	return samples;
}

FloorSamples measure_floor(size_t page_count, bool one_core)
{
	FloorSamples samples;
	Floor floor;
	cpu_set_t before;

	samples.error = open_area(floor, page_count);
	sched_getaffinity(0, sizeof(before), &before);
	if (samples.error.empty()) {
		int core = sched_getcpu();

		if (one_core)
			run_here(core);
		std::thread handler(handle, std::ref(floor)); /* inherits the affinity */
		sample(floor, samples);
		floor.stop = true;
		handler.join();
	}
	sched_setaffinity(0, sizeof(before), &before);
	close_area(floor);
	return samples;
}

} // namespace bench
