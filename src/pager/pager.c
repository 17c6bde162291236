/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of operations. It owns the userfaultfd, the memory file with the frames, the runtime
 * view of all of it, and the application views in `regions`. Invariants:
 *   - every region in the table is mapped and registered with the userfaultfd;
 *   - a page table entry in an application view was put there by map_slice() and by nobody else
 *     (the kernel may take one away when it swaps: then the page faults again);
 *   - the runtime view is never registered, and nothing here touches an application view's bytes.
 */
#include "pager/pager.h"

#include "base/assert.h"
#include "base/error.h"
#include "pager/address.h"
#include "pager/limits.h"
#include "pager/memory.h"
#include "pager/probe.h"
#include "pager/regions.h"
#include "pager/uffd.h"
#include "pager/uffd_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Frames allocated at a time when a run has none: 2 MiB bounds the time of one call. */
#define POPULATE_PAGES 512u

/* Messages of the userfaultfd read at a time. */
#define MESSAGES_MAX 64

/* So that page numbers, byte offsets and addresses all fit. */
#define PAGE_LIMIT_MAX (UINT64_C(1) << 40)

struct pager {
	int uffd;
	int memfd;
	unsigned char *frames;
	uint64_t page_count;
	struct regions regions;
};

/* ---- opening and closing ------------------------------------------------------------------ */

static int probe_machine(enum pager_delivery delivery)
{
	struct pager_check checks[PAGER_CHECKS];

	pager_probe(delivery, checks);
	const struct pager_check *failed = pager_probe_failed(checks);
	if (failed == NULL)
		return 0;
	return error_set(failed->error, "%s To mend it: %s. All checks: pergola doctor",
			 failed->text, failed->remedy);
}

/* As signals no fault of the kernel is ever waited for: the descriptor that all may have will do.
 */
static int open_descriptor(enum pager_delivery delivery, int *fd)
{
	enum uffd_way way;
	int way_errors[2];

	if (delivery == PAGER_DELIVER_SIGNAL && uffd_open_user_mode(fd) == 0)
		return 0;
	return uffd_open(fd, &way, way_errors);
}

static int open_uffd(enum pager_delivery delivery, int *fd)
{
	uint64_t more = delivery == PAGER_DELIVER_SIGNAL ? UFFD_FEATURE_SIGBUS : 0;
	int error = open_descriptor(delivery, fd);

	if (error != 0)
		return error_set(error, "userfaultfd: %s", strerror(-error));
	error = uffd_enable(*fd, UFFD_FEATURES_NEEDED | more);
	if (error != 0) {
		close(*fd);
		return error_set(error, "userfaultfd refuses its handshake: %s", strerror(-error));
	}
	return 0;
}

static int open_frames(struct pager *pager, uint64_t page_limit)
{
	uint64_t bytes = page_limit * PAGE_BYTES;
	void *frames = NULL;
	int error = limits_file_size(bytes);

	if (error != 0)
		return error;
	pager->memfd = memory_file(bytes);
	if (pager->memfd < 0)
		return error_set(pager->memfd, "no memory file of %llu bytes: %s",
				 (unsigned long long)bytes, strerror(-pager->memfd));
	error = memory_reserve(pager->memfd, 0, bytes, &frames);
	if (error == 0) {
		error = memory_open(frames, bytes);
		if (error != 0)
			munmap(frames, bytes);
	}
	if (error != 0) {
		close(pager->memfd);
		return error_set(
			error,
			"the shared space of %llu bytes cannot be mapped: %s (see "
			"ulimit -v, wanted: unlimited, and after mlockall(2) ulimit -l; or take "
			"a smaller space)",
			(unsigned long long)bytes, strerror(-error));
	}
	pager->frames = frames;
	pager->page_count = page_limit;
	return 0;
}

static int pager_open(const struct pager_config *config, struct pager **out)
{
	if (config->page_limit == 0 || config->page_limit > PAGE_LIMIT_MAX)
		return error_set(-EINVAL, "a shared space of %llu pages: 1 to %llu are possible",
				 (unsigned long long)config->page_limit,
				 (unsigned long long)PAGE_LIMIT_MAX);
	int error = probe_machine(config->delivery);

	if (error != 0)
		return error;
	struct pager *pager = calloc(1, sizeof(*pager));

	if (pager == NULL)
		return error_set(-ENOMEM, "no memory for the pager");
	error = open_frames(pager, config->page_limit);
	if (error != 0)
		goto undo_alloc;
	error = open_uffd(config->delivery, &pager->uffd);
	if (error != 0)
		goto undo_frames;
	*out = pager;
	return 0;
undo_frames:
	munmap(pager->frames, pager->page_count * PAGE_BYTES);
	close(pager->memfd);
undo_alloc:
	free(pager);
	return error;
}

/* Unregistering first wakes threads that still wait; munmap() alone would leave them asleep. */
static void unmap_region(struct pager *pager, const struct region *region)
{
	size_t bytes = region->page_count * PAGE_BYTES;

	uffd_unregister(pager->uffd, (void *)region->addr, bytes);
	munmap((void *)region->addr, bytes);
}

static void pager_close(struct pager *pager)
{
	for (unsigned int i = 0; i < pager->regions.count; i++)
		unmap_region(pager, &pager->regions.by_page[i]);
	close(pager->uffd);
	munmap(pager->frames, pager->page_count * PAGE_BYTES);
	close(pager->memfd);
	free(pager);
}

static struct pager_frames pager_frames(struct pager *pager)
{
	return (struct pager_frames){
		.base = pager->frames,
		.fd = pager->memfd,
		.page_count = pager->page_count,
	};
}

/* ---- regions ------------------------------------------------------------------------------ */

static int pager_address_propose(struct pager *pager, size_t bytes, unsigned int attempt,
				 void **addr)
{
	(void)pager;
	if (bytes == 0 || bytes % PAGE_BYTES != 0)
		return error_set(-EINVAL, "%zu bytes are not whole pages", bytes);
	return address_propose(bytes, attempt, addr);
}

static int region_check(const struct pager *pager, const void *addr, struct page_id first,
			uint64_t page_count)
{
	if (addr == NULL || (uintptr_t)addr % PAGE_BYTES != 0)
		return error_set(-EINVAL, "the address %p is not one of a page", addr);
	if (page_count == 0 || first.value >= pager->page_count ||
	    page_count > pager->page_count - first.value)
		return error_set(-EINVAL, "pages %llu + %llu do not fit a space of %llu pages",
				 (unsigned long long)first.value, (unsigned long long)page_count,
				 (unsigned long long)pager->page_count);
	return 0;
}

static int region_map(const struct pager *pager, const struct region *region)
{
	size_t bytes = region->page_count * PAGE_BYTES;
	void *addr = (void *)region->addr;
	int error = memory_reserve(pager->memfd, region->first * PAGE_BYTES, bytes, &addr);
	char text[256];

	if (error == 0)
		return 0;
	if (error != -EEXIST)
		return error_set(error,
				 "%zu bytes cannot be mapped at %p: %s (see ulimit -v, sysctl "
				 "vm.max_map_count, vm.mmap_min_addr)",
				 bytes, addr, strerror(-error));
	address_describe(addr, bytes, text, sizeof(text));
	return error_set(-EEXIST, "%zu bytes at %p: something is mapped there in this process: %s",
			 bytes, addr, text);
}

static int region_enter(struct pager *pager, const struct region *region)
{
	int error = regions_add(&pager->regions, *region);

	if (error == -ENOSPC)
		return error_set(error, "there are %u regions, the most there can be",
				 PAGER_REGIONS_MAX);
	if (error != 0)
		return error_set(error, "pages %llu + %llu are shown by another region",
				 (unsigned long long)region->first,
				 (unsigned long long)region->page_count);
	return 0;
}

static int pager_region_add(struct pager *pager, void *addr, struct page_id first,
			    uint64_t page_count)
{
	struct region region = { (uintptr_t)addr, first.value, page_count };
	size_t bytes = page_count * PAGE_BYTES;
	int error = region_check(pager, addr, first, page_count);

	if (error != 0)
		return error;
	error = region_map(pager, &region);
	if (error != 0)
		return error;
	error = region_enter(pager, &region);
	if (error != 0)
		goto undo_map;
	error = uffd_register(pager->uffd, addr, bytes);
	if (error == 0)
		error = memory_open(addr, bytes);
	if (error == 0)
		return 0;
	error_set(error, "%zu bytes at %p cannot be watched with userfaultfd: %s", bytes, addr,
		  strerror(-error));
	regions_take(&pager->regions, first, &region);
undo_map:
	munmap(addr, bytes);
	return error;
}

static void pager_region_remove(struct pager *pager, struct page_id first)
{
	struct region region;
	bool found = regions_take(&pager->regions, first, &region);

	ASSERT(found);
	unmap_region(pager, &region);
}

/* ---- pages -------------------------------------------------------------------------------- */

/* One operation on pages that stand together in one application view. */
typedef int (*slice_call)(struct pager *pager, const struct region *slice);

static size_t slice_bytes(const struct region *slice)
{
	return slice->page_count * PAGE_BYTES;
}

static void *slice_addr(const struct region *slice)
{
	return (void *)slice->addr;
}

static int slice_failed(const struct region *slice, const char *call, int error)
{
	return error_set(error, "%s of pages %llu + %llu at %p: %s", call,
			 (unsigned long long)slice->first, (unsigned long long)slice->page_count,
			 slice_addr(slice), strerror(-error));
}

/* Calls `call` for the parts of the run that are in regions; pages in none are passed over. */
static int for_slices(struct pager *pager, struct page_id page, uint64_t page_count,
		      slice_call call)
{
	struct region slice;
	uint64_t skipped;
	int error = 0;

	while (error == 0 && page_count > 0 &&
	       regions_slice(&pager->regions, page, page_count, &slice, &skipped)) {
		uint64_t step = skipped + slice.page_count;

		error = call(pager, &slice);
		page = page_add(page, step);
		page_count -= step;
	}
	return error;
}

/* Whether every page of the run is in a region. */
static int run_check(const struct pager *pager, struct page_id page, uint64_t page_count)
{
	struct region slice;
	uint64_t skipped;

	while (page_count > 0) {
		if (!regions_slice(&pager->regions, page, page_count, &slice, &skipped) ||
		    skipped != 0)
			return error_set(-EINVAL, "page %llu is in no region",
					 (unsigned long long)page.value);
		page = page_add(page, slice.page_count);
		page_count -= slice.page_count;
	}
	return 0;
}

static int wake(struct pager *pager, const struct region *slice)
{
	int error = uffd_wake(pager->uffd, slice_addr(slice), slice_bytes(slice));

	return error == 0 ? 0 : slice_failed(slice, "waking", error);
}

static int frames_failed(struct pager *pager, uint64_t page, int error)
{
	char limits[768];

	/* The kernel says EFAULT when a write to shared memory would be SIGBUS; ask for the reason.
	 */
	if (error == -EFAULT &&
	    fallocate(pager->memfd, 0, (off_t)(page * PAGE_BYTES), PAGE_BYTES) != 0)
		error = -errno;
	limits_describe(limits, sizeof(limits));
	error_set(error, "no memory for the frame of page %llu: %s. %s", (unsigned long long)page,
		  strerror(-error), limits);
	return error == -ENOSPC || error == -EFAULT ? -ENOMEM : error;
}

/* Gives frames to pages from `page` on. */
static int frames_allocate(struct pager *pager, uint64_t page, uint64_t page_count)
{
	int error = memory_populate(pager->frames + page * PAGE_BYTES, page_count * PAGE_BYTES);

	return error == 0 ? 0 : frames_failed(pager, page, error);
}

/* How far the mapping of a slice has come. */
struct mapping {
	const struct region *slice;
	bool write_protected; /* the mode asked */
	uint64_t done;	      /* pages */
	uint64_t framed;      /* pages up to here were given frames */
	bool adjusted;	      /* the pages mapped before were brought to the mode asked */
};

static unsigned char *mapping_addr(const struct mapping *mapping)
{
	return (unsigned char *)mapping->slice->addr + mapping->done * PAGE_BYTES;
}

static uint64_t mapping_rest(const struct mapping *mapping)
{
	return mapping->slice->page_count - mapping->done;
}

/*
 * The next page is mapped already. The first time, the whole rest of the run is brought to the mode
 * asked, in one call (pages not mapped get or lose a marker by that, which CONTINUE overwrites).
 */
static int map_over_mapped(struct pager *pager, struct mapping *mapping)
{
	int error = 0;

	if (!mapping->adjusted)
		error = uffd_write_protect(pager->uffd, mapping_addr(mapping),
					   mapping_rest(mapping) * PAGE_BYTES,
					   mapping->write_protected);
	mapping->adjusted = true;
	mapping->done++;
	return error == 0 ? 0 : slice_failed(mapping->slice, "mapping", error);
}

/* The next page has no frame: it gets one, and its successors with it. */
static int map_over_hole(struct pager *pager, struct mapping *mapping)
{
	uint64_t rest = mapping_rest(mapping);
	uint64_t count = rest < POPULATE_PAGES ? rest : POPULATE_PAGES;

	if (mapping->done < mapping->framed) /* it was given one just now */
		return slice_failed(mapping->slice, "mapping", -EFAULT);
	mapping->framed = mapping->done + count;
	return frames_allocate(pager, mapping->slice->first + mapping->done, count);
}

/*
 * Most runs take one CONTINUE. It wakes the waiters of the pages it maps; those of pages that were
 * mapped before are woken at the end.
 */
static int map_slice(struct pager *pager, const struct region *slice, bool write_protected)
{
	struct mapping mapping = { .slice = slice, .write_protected = write_protected };

	while (mapping.done < slice->page_count) {
		size_t step_bytes;
		int error = uffd_continue(pager->uffd, mapping_addr(&mapping),
					  mapping_rest(&mapping) * PAGE_BYTES, write_protected,
					  &step_bytes);

		mapping.done += step_bytes / PAGE_BYTES;
		if (error == -EEXIST)
			error = map_over_mapped(pager, &mapping);
		else if (error == -EFAULT)
			error = map_over_hole(pager, &mapping);
		else if (error != 0)
			slice_failed(slice, "mapping", error);
		if (error != 0)
			return error;
	}
	return mapping.adjusted ? wake(pager, slice) : 0;
}

static int map_read(struct pager *pager, const struct region *slice)
{
	return map_slice(pager, slice, true);
}

static int map_write(struct pager *pager, const struct region *slice)
{
	return map_slice(pager, slice, false);
}

static int protect_on(struct pager *pager, const struct region *slice)
{
	int error = uffd_write_protect(pager->uffd, slice_addr(slice), slice_bytes(slice), true);

	return error == 0 ? 0 : slice_failed(slice, "write-protecting", error);
}

static int protect_off(struct pager *pager, const struct region *slice)
{
	int error = uffd_write_protect(pager->uffd, slice_addr(slice), slice_bytes(slice), false);

	return error == 0 ? 0 : slice_failed(slice, "giving the right to store", error);
}

static int zap(struct pager *pager, const struct region *slice)
{
	(void)pager;
	int error = memory_zap(slice_addr(slice), slice_bytes(slice));

	return error == 0 ? 0 : slice_failed(slice, "invalidating", error);
}

/*
 * Poison goes only where the page table has nothing at all: the entries are taken out, and then the
 * markers that write-protected ones leave behind.
 */
static int poison(struct pager *pager, const struct region *slice)
{
	int error = zap(pager, slice);

	if (error == 0)
		error = protect_off(pager, slice);
	if (error != 0)
		return error;
	error = uffd_poison(pager->uffd, slice_addr(slice), slice_bytes(slice));
	if (error == -EINVAL || error == -ENOTTY)
		return error_set(-ENOSYS,
				 "this kernel has no UFFDIO_POISON: boot Linux 6.6 or newer");
	return error == 0 ? 0 : slice_failed(slice, "poisoning", error);
}

static int pager_map(struct pager *pager, struct page_id page, uint64_t page_count,
		     enum pager_mode mode)
{
	int error = run_check(pager, page, page_count);

	if (error != 0)
		return error;
	return for_slices(pager, page, page_count, mode == PAGER_READ ? map_read : map_write);
}

static int pager_upgrade(struct pager *pager, struct page_id page, uint64_t page_count)
{
	int error = run_check(pager, page, page_count);

	return error != 0 ? error : for_slices(pager, page, page_count, protect_off);
}

static int pager_downgrade(struct pager *pager, struct page_id page, uint64_t page_count)
{
	return for_slices(pager, page, page_count, protect_on);
}

static int pager_invalidate(struct pager *pager, struct page_id page, uint64_t page_count)
{
	return for_slices(pager, page, page_count, zap);
}

/* The kernel takes the frames out of all views first. */
static int pager_release(struct pager *pager, struct page_id page, uint64_t page_count)
{
	int error = memory_punch(pager->memfd, page.value * PAGE_BYTES, page_count * PAGE_BYTES);

	if (error == 0)
		return 0;
	return error_set(error, "giving back the frames of pages %llu + %llu: %s",
			 (unsigned long long)page.value, (unsigned long long)page_count,
			 strerror(-error));
}

static int pager_wake(struct pager *pager, struct page_id page, uint64_t page_count)
{
	return for_slices(pager, page, page_count, wake);
}

static int pager_poison(struct pager *pager, struct page_id page, uint64_t page_count)
{
	int error = run_check(pager, page, page_count);

	return error != 0 ? error : for_slices(pager, page, page_count, poison);
}

/* ---- faults ------------------------------------------------------------------------------- */

/* A message as a fault; false: it is none (an event we did not ask for, a region just removed). */
static bool fault_of(const struct pager *pager, const struct uffd_msg *message,
		     struct pager_fault *fault)
{
	const uint64_t store = UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP;

	if (message->event != UFFD_EVENT_PAGEFAULT)
		return false;
	fault->write = (message->arg.pagefault.flags & store) != 0;
	return regions_page_at(&pager->regions, (uintptr_t)message->arg.pagefault.address,
			       &fault->page);
}

static int pager_poll(struct pager *pager, struct pager_fault *faults, int fault_count)
{
	struct uffd_msg messages[MESSAGES_MAX];
	int count = 0;

	while (count < fault_count) {
		int room = fault_count - count;
		size_t wanted = (size_t)(room < MESSAGES_MAX ? room : MESSAGES_MAX);
		ssize_t got = read(pager->uffd, messages, wanted * sizeof(messages[0]));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno != EAGAIN)
			return error_set(-errno, "reading faults: %s", strerror(errno));
		size_t message_count = got < 0 ? 0 : (size_t)got / sizeof(messages[0]);

		for (size_t i = 0; i < message_count; i++)
			count += fault_of(pager, &messages[i], &faults[count]);
		if (message_count < wanted) /* the kernel had no more */
			break;
	}
	return count;
}

static int pager_fd(struct pager *pager)
{
	return pager->uffd;
}

static uint64_t pager_resident(struct pager *pager)
{
	struct stat status;
	int error = fstat(pager->memfd, &status);

	ASSERT(error == 0);
	return (uint64_t)status.st_blocks * 512 / PAGE_BYTES;
}

const struct pager_ops pager_uffd_ops = {
	.name = "userfaultfd",
	.open = pager_open,
	.close = pager_close,
	.frames = pager_frames,
	.address_propose = pager_address_propose,
	.region_add = pager_region_add,
	.region_remove = pager_region_remove,
	.map = pager_map,
	.upgrade = pager_upgrade,
	.downgrade = pager_downgrade,
	.invalidate = pager_invalidate,
	.release = pager_release,
	.wake = pager_wake,
	.poison = pager_poison,
	.poll = pager_poll,
	.fd = pager_fd,
	.resident = pager_resident,
};
