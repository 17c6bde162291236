/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing addresses. The kernel lays libraries and large allocations downward from a top that it
 * shifts at random, for each process otherwise: by up to 1 TiB on x86-64 as the kernel comes, up to
 * an eighth of the address space where vm.mmap_rnd_bits is at its most. A hole below that whole
 * range is free in all processes unless something was put there on purpose. Everything is measured
 * from a hole the kernel gives in this process, so that address spaces of 39, 42, 47 and 48 bits
 * are served alike.
 */
#include "pager/address.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/id.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Candidates that are not free here, tried in one call before giving up. */
#define CANDIDATES_MAX 64u

/* So that the candidates inside one call are not those of the next attempts. */
#define CANDIDATE_STEP 1021u

#define TIB ((uintptr_t)1 << 40)
#define GIB ((uintptr_t)1 << 30)

/*
 * ThreadSanitizer's shadow covers little of the address space besides the kernel's own choice. It
 * may be in the program only and not in this library: then its entry point is there to be seen.
 */
extern void __tsan_init(void) __attribute__((weak));

static bool under_tsan(void)
{
	return __tsan_init != NULL;
}

static uintptr_t align_down(uintptr_t addr)
{
	return addr & ~(uintptr_t)(ADDRESS_ALIGN - 1);
}

/* The start of a hole the kernel would use now; 0: there is none. */
static uintptr_t kernel_hole(size_t bytes)
{
	size_t padded = bytes + ADDRESS_ALIGN;

	if (padded < bytes)
		return 0;
	void *hole =
		mmap(NULL, padded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (hole == MAP_FAILED)
		return 0;
	munmap(hole, padded);
	return align_down((uintptr_t)hole + ADDRESS_ALIGN - 1);
}

static bool is_free(uintptr_t addr, size_t bytes)
{
	/* MAP_FIXED_NOREPLACE before Linux 4.17 is a hint: another address comes back. */
	void *got = mmap((void *)addr, bytes, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == MAP_FAILED)
		return false;
	munmap(got, bytes);
	return got == (void *)addr;
}

/* Candidate n: from `top` downward, never below `bottom`; later ones wrap round. */
static uintptr_t candidate_between(uintptr_t bottom, uintptr_t top, size_t bytes, unsigned int n,
				   uintptr_t stride)
{
	if (top <= bottom || top - bottom < bytes)
		return 0;
	uintptr_t room = top - bottom - bytes;
	uintptr_t jitter = hash_u64(n) % (stride / 2);
	uintptr_t offset = n == 0 ? 0 : (n * stride + jitter) % (room + 1);

	return align_down(top - bytes - offset);
}

uintptr_t address_candidate(uintptr_t hole, size_t bytes, unsigned int n, bool near_top)
{
	if (near_top)
		return candidate_between(hole - hole / 256, hole + bytes, bytes, n, 4 * GIB);
	/* Below the random range of the top, and a margin for what other processes have mapped. */
	uintptr_t guard = hole / 8 + hole / 64;
	uintptr_t stride = hole / 64 < 2 * TIB ? hole / 64 : 2 * TIB;

	return candidate_between(hole / 8, hole - guard, bytes, n, stride);
}

int address_propose(size_t bytes, unsigned int attempt, void **addr)
{
	uintptr_t hole = kernel_hole(bytes);

	if (hole == 0)
		return error_set(-ENOMEM,
				 "this process has no %zu bytes of free addresses: see ulimit -v "
				 "(wanted: unlimited)",
				 bytes);
	for (unsigned int i = 0; i < CANDIDATES_MAX; i++) {
		unsigned int n = attempt + i * CANDIDATE_STEP;
		uintptr_t start = address_candidate(hole, bytes, n, under_tsan());

		if (start != 0 && is_free(start, bytes)) {
			*addr = (void *)start;
			return 0;
		}
	}
	if (!is_free(hole, bytes))
		return error_set(-ENOMEM, "no hole of %zu bytes was found after %u attempts", bytes,
				 CANDIDATES_MAX);
	*addr = (void *)hole;
	return 0;
}

/* Whether one line of /proc/self/maps overlaps [start, end). */
static bool line_overlaps(const char *line, uintptr_t start, uintptr_t end)
{
	unsigned long low;
	unsigned long high;

	return sscanf(line, "%lx-%lx ", &low, &high) == 2 && low < end && start < high;
}

/* Runs of blanks become one, the line's end goes. */
static void squeeze(char *line)
{
	char *out = line;

	for (const char *in = line; *in != '\0' && *in != '\n'; in++) {
		if (*in != ' ' || in[1] != ' ')
			*out++ = *in;
	}
	*out = '\0';
}

void address_describe(const void *addr, size_t bytes, char *text, size_t text_bytes)
{
	uintptr_t start = (uintptr_t)addr;
	char line[512];
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps != NULL && !found && fgets(line, sizeof(line), maps) != NULL)
		found = line_overlaps(line, start, start + bytes);
	if (maps != NULL)
		fclose(maps);
	if (!found)
		strcpy(line, "an unknown mapping");
	squeeze(line);
	snprintf(text, text_bytes, "%s", line);
}
