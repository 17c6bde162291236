/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel reads and writes shared memory too, and so do the C library's functions: into pages
 * never touched, pages that another node writes, pages that were taken away. And pointers: a list
 * that all nodes build, a structure that lies across two pages.
 */
#include "check.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PAGES 16
#define BYTES ((size_t)PAGES * DSM_PAGE_BYTES)

static unsigned char *region;
static int self;
static int count;

static unsigned char expected(size_t at, int turn)
{
	return (unsigned char)(at * 31 + at / 4096 * 7 + (size_t)turn * 13 + 1);
}

static void meet(void)
{
	CHECK_OK(dsm_barrier());
}

static void fill(unsigned char *bytes, int turn)
{
	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = expected(i, turn);
}

static void verify(const unsigned char *bytes, int turn)
{
	for (size_t i = 0; i < BYTES; i++)
		CHECK(bytes[i] == expected(i, turn));
}

/* A file with the turn's bytes, in private memory. */
static int file_of(int turn)
{
	static unsigned char local[BYTES];
	int fd = memfd_create("test", MFD_CLOEXEC);

	CHECK(fd >= 0);
	fill(local, turn);
	CHECK_IS(write(fd, local, BYTES), BYTES);
	CHECK_IS(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* A file must hold the turn's bytes. */
static void verify_file(int fd, int turn)
{
	static unsigned char local[BYTES];

	memset(local, 0, BYTES);
	CHECK_IS(pread(fd, local, BYTES, 0), BYTES);
	verify(local, turn);
}

/* Node t reads a file into pages that the node before it has just written; all look. */
static void read_into(unsigned char *pages)
{
	for (int turn = 0; turn < count; turn++) {
		if (self == turn) {
			int fd = file_of(turn);

			CHECK_IS(read(fd, pages, BYTES), BYTES);
			close(fd);
		}
		meet();
		verify(pages, turn);
		meet();
	}
}

/* Only some of the pages, from an odd address on, with pread() and preadv(). */
static void pread_into(unsigned char *pages)
{
	for (int turn = 0; turn < count; turn++) {
		if (self == turn) {
			int fd = file_of(turn);
			struct iovec parts[3] = {
				{ pages, 1000 },
				{ pages + 1000, BYTES / 2 },
				{ pages + 1000 + BYTES / 2, BYTES / 2 - 1000 },
			};

			CHECK_IS(preadv(fd, parts, 3, 0), BYTES);
			memset(pages + 5000, 0, 9000);
			CHECK_IS(pread(fd, pages + 5000, 9000, 5000), 9000);
			close(fd);
		}
		meet();
		verify(pages, turn);
		meet();
	}
}

/* The writing node's pages are another node's: write(2), pwrite(2), pwritev(2) fetch them. */
static void write_from(unsigned char *pages)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct iovec parts[2] = { { pages, 7777 }, { pages + 7777, BYTES - 7777 } };

	CHECK(fd >= 0);
	for (int turn = 0; turn < count; turn++) {
		if (self == turn)
			fill(pages, turn);
		meet();
		CHECK_IS(pwrite(fd, pages, BYTES, 0), BYTES);
		verify_file(fd, turn);
		CHECK_OK(ftruncate(fd, 0));
		CHECK_IS(pwritev(fd, parts, 2, 0), BYTES);
		verify_file(fd, turn);
		meet();
	}
	close(fd);
}

static void move_through(const int *ends, const unsigned char *from, unsigned char *to)
{
	for (size_t done = 0; done < BYTES; done += 4096) {
		CHECK_IS(write(ends[1], from + done, 4096), 4096);
		for (size_t got = 0; got < 4096;) {
			ssize_t part = read(ends[0], to + done + got, 4096 - got);

			CHECK(part > 0);
			got += (size_t)part;
		}
	}
}

/* Out of pages of another node, through a pipe and a socket, into pages of a third. */
static void pipe_and_socket(unsigned char *pages)
{
	unsigned char *other = pages + BYTES;
	int ends[2];

	for (int turn = 0; turn < count; turn++) {
		if (self == (turn + 1) % count)
			fill(pages, turn);
		meet();
		if (self == turn) {
			CHECK_OK(pipe(ends));
			move_through(ends, pages, other);
			close(ends[0]);
			close(ends[1]);
			CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
			CHECK_IS(send(ends[1], other + 100, 5000, 0), 5000);
			memset(other + 100, 0, 5000);
			CHECK_IS(recv(ends[0], other + 100, 5000, MSG_WAITALL), 5000);
			close(ends[0]);
			close(ends[1]);
		}
		meet();
		verify(other, turn);
		meet();
	}
}

/*
 * What is taken once must not be lost: a datagram, the count of an event. Each into pages that
 * another node has just written, with the place for the sender's address there too.
 */
static void datagrams(unsigned char *pages)
{
	struct place {
		struct sockaddr_storage address;
		socklen_t address_bytes;
	} *place = (struct place *)(pages + BYTES);
	int ends[2];
	uint64_t three = 3;
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	CHECK(event >= 0);
	CHECK_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
	for (int turn = 0; turn < count; turn++) {
		if (self == (turn + 1) % count) {
			fill(pages, turn);
			memset(place, 0xff, sizeof(*place));
			place->address_bytes = sizeof(place->address);
		}
		meet();
		if (self == turn) {
			CHECK_IS(send(ends[1], pages + 10, 9000, 0), 9000);
			CHECK_IS(recvfrom(ends[0], pages + BYTES / 2, 20000, 0,
					  (struct sockaddr *)&place->address,
					  &place->address_bytes),
				 9000);
			CHECK(memcmp(pages + BYTES / 2, pages + 10, 9000) == 0);
			CHECK(place->address_bytes <= sizeof(sa_family_t));
			CHECK_IS(write(event, &three, sizeof(three)), sizeof(three));
			CHECK_IS(read(event, pages + 8, 8), 8);
			CHECK_IS(*(uint64_t *)(pages + 8), 3);
			CHECK_IS(read(event, pages + 8, 8), -1);
			CHECK_IS(errno, EAGAIN);
		}
		meet();
	}
	close(event);
	close(ends[0]);
	close(ends[1]);
}

/* The header, its parts and a descriptor that is passed: all of it in shared memory. */
static void messages(unsigned char *pages)
{
	struct letter {
		struct msghdr header;
		struct iovec parts[2];
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	} *letter = (struct letter *)(pages + 2 * DSM_PAGE_BYTES - 64);
	unsigned char *text = pages + 4 * DSM_PAGE_BYTES - 500;
	int ends[2];

	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	for (int turn = 0; turn < 2 * count; turn++) {
		if (self == (turn + 1) % count) {
			fill(pages, turn);
			*letter = (struct letter){
				.header = { .msg_iov = letter->parts,
					    .msg_iovlen = 2,
					    .msg_control = letter->control,
					    .msg_controllen = sizeof(letter->control) },
				.parts = { { text, 400 }, { text + 400, 600 } },
			};
			struct cmsghdr *passed = CMSG_FIRSTHDR(&letter->header);

			passed->cmsg_level = SOL_SOCKET;
			passed->cmsg_type = SCM_RIGHTS;
			passed->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(passed), &ends[0], sizeof(int));
		}
		meet();
		if (self == turn % count) {
			struct cmsghdr *passed = CMSG_FIRSTHDR(&letter->header);
			unsigned char copy[1000];
			int fd = ends[0];

			memcpy(CMSG_DATA(passed), &fd, sizeof(fd));
			memcpy(copy, text, sizeof(copy));
			CHECK_IS(sendmsg(ends[1], &letter->header, 0), 1000);
			memset(text, 0, 1000);
			memset(letter->control, 0, sizeof(letter->control));
			CHECK_IS(recvmsg(ends[0], &letter->header, 0), 1000);
			CHECK(memcmp(copy, text, 1000) == 0);
			CHECK_IS(letter->header.msg_controllen, CMSG_SPACE(sizeof(int)));
			memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&letter->header)), sizeof(fd));
			CHECK(fd != ends[0]);
			CHECK_OK(close(fd));
		}
		meet();
	}
	close(ends[0]);
	close(ends[1]);
}

/* Streams move large parts straight between a file and the caller's memory. */
static void streams(unsigned char *pages)
{
	for (int turn = 0; turn < count; turn++) {
		if (self == (turn + 1) % count)
			fill(pages, turn);
		meet();
		if (self == turn) {
			FILE *file = tmpfile();
			char *text = (char *)pages + 2 * BYTES + 4000;

			CHECK(file != NULL);
			CHECK_IS(fwrite(pages, 16, BYTES / 16, file), BYTES / 16);
			rewind(file);
			CHECK_IS(fread(pages + BYTES, 1, 100, file), 100);
			CHECK_IS(fread(pages + BYTES + 100, 8, BYTES, file), (BYTES - 100) / 8);
			CHECK(feof(file) && !ferror(file));
			verify(pages + BYTES, turn);
			memset(text, 'x', 9000);
			strcpy(text + 9000, "end");
			setvbuf(file, NULL, _IONBF, 0);
			CHECK(fputs(text, file) >= 0);
			CHECK_OK(fseek(file, -9003, SEEK_END));
			CHECK_IS(fread(pages, 1, 9003, file), 9003);
			CHECK(memcmp(pages, text, 9003) == 0);
			CHECK_OK(fclose(file));
		}
		meet();
	}
	for (int turn = 0; turn < count; turn++) {
		if (self == turn)
			CHECK_IS(getrandom(pages, 256, 0), 256);
		meet();
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void library_calls(unsigned char *pages)
{
	uint32_t *numbers = (uint32_t *)pages;
	char *text = (char *)pages + BYTES;
	size_t number_count = BYTES / sizeof(*numbers);
	uint64_t random = check_seed(5);

	if (self == 0) {
		for (size_t i = 0; i < number_count; i++)
			numbers[i] = (uint32_t)check_random(&random);
		memset(text, 'a', BYTES - 1);
		text[BYTES - 1] = '\0';
	}
	meet();
	CHECK_IS(strlen(text), BYTES - 1);
	CHECK(memchr(text, 'b', BYTES) == NULL);
	if (self == count - 1)
		qsort(numbers, number_count, sizeof(*numbers), compare);
	meet();
	for (size_t i = 1; i < number_count; i++)
		CHECK(numbers[i - 1] <= numbers[i]);
	meet();
	if (self == count / 2)
		memmove(text + 1, text, BYTES - 2);
	if (self == 0)
		memcpy(pages + 2 * BYTES + 1, pages, BYTES);
	meet();
	CHECK_IS(strlen(text), BYTES - 1);
	CHECK(memcmp(pages + 2 * BYTES + 1, pages, BYTES) == 0);
	meet();
}

/* ---- pointers ---- */

struct item {
	struct item *next;
	int node;
	int number;
};

/* All nodes push onto one list, each its own blocks; each walks it all; then they free it all. */
static void linked_list(void)
{
	enum { ITEMS = 50 };
	struct item **head = check_shared_block(sizeof(*head));
	int seen[64] = { 0 };

	if (self == 0)
		CHECK_OK(dsm_lock_init(head));
	meet();
	for (int i = 0; i < ITEMS; i++) {
		struct item *item = dsm_malloc(sizeof(*item));

		CHECK(item != NULL);
		CHECK_OK(dsm_lock(head));
		*item = (struct item){ .next = *head, .node = self, .number = i };
		*head = item;
		CHECK_OK(dsm_unlock(head));
	}
	meet();
	for (struct item *item = *head; item != NULL; item = item->next)
		CHECK_IS(item->number, ITEMS - 1 - seen[item->node]++);
	for (int node = 0; node < count; node++)
		CHECK_IS(seen[node], ITEMS);
	meet();
	CHECK_OK(dsm_lock(head));
	for (int i = 0; i < ITEMS; i++) {
		struct item *item = *head;

		*head = item->next;
		CHECK_OK(dsm_free(item, sizeof(*item)));
	}
	CHECK_OK(dsm_unlock(head));
	meet();
	CHECK(*head == NULL);
	meet();
}

struct wide {
	char before[40];
	uint64_t middle[10];
	char after[40];
};

/* A structure across the boundary of two pages, written whole by each node in turn. */
static void straddle(unsigned char *pages)
{
	struct wide *wide = (struct wide *)(pages + DSM_PAGE_BYTES - 80);

	for (int turn = 0; turn < 3 * count; turn++) {
		struct wide value;

		memset(&value, turn + 1, sizeof(value));
		if (self == turn % count)
			*wide = value;
		meet();
		CHECK(memcmp(wide, &value, sizeof(value)) == 0);
		meet();
	}
}

/* What the kernel cannot have, it says; the pages stay usable. */
static void failing_calls(unsigned char *pages)
{
	void *volatile nowhere = (void *)16;
	int fd = file_of(0);

	CHECK_IS(read(-1, pages, 10), -1);
	CHECK_IS(errno, EBADF);
	CHECK_IS(pread(fd, pages, 10, (off_t)BYTES), 0);
	CHECK_IS(read(fd, nowhere, 10), -1);
	CHECK_IS(errno, EFAULT);
	CHECK_IS(write(fd, nowhere, 10), -1);
	CHECK_IS(errno, EFAULT);
	close(fd);
	meet();
}

int main(void)
{
	check_start(8 << 20);
	region = dsm_reserve(NULL, 16 * BYTES);
	CHECK(region != NULL);
	self = dsm_node_id();
	count = dsm_node_count();
	read_into(region);
	pread_into(region + BYTES + 123);
	write_from(region + 3 * BYTES);
	pipe_and_socket(region + 5 * BYTES);
	library_calls(region + 8 * BYTES);
	straddle(region + 12 * BYTES);
	failing_calls(region + 13 * BYTES);
	datagrams(region);
	messages(region + 3 * BYTES);
	streams(region + 5 * BYTES);
	linked_list();
	return check_end();
}
