/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the contract suite cannot reach of src/shm: the copying, the limits, and what a crashed
 * peer may leave in shared memory. Two fabrics stand in one process, and the test scribbles.
 */
#include "base/error.h"
#include "shm/copy.h"
#include "shm/shm.h"
#include "shm/state.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CREDITS 8u

static const struct fabric_ops *const ops = &fabric_shm_ops;

struct pair {
	struct fabric *nodes[2];
	struct fabric_address addresses[2];
};

static struct fabric_config config_of(unsigned int rank, unsigned int node_count)
{
	return (struct fabric_config){
		.self = node_id(rank),
		.node_count = node_count,
		.job = 77,
		.credits = CREDITS,
		.connect_timeout_ns = 5000000000u,
	};
}

static void *connect_second(void *argument)
{
	struct pair *pair = argument;

	return (void *)(intptr_t)ops->connect(pair->nodes[1], pair->addresses);
}

static int pair_setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	pthread_t second;
	void *result;

	for (unsigned int rank = 0; rank < 2; rank++) {
		struct fabric_config config = config_of(rank, 2);

		assert_int_equal(ops->open(&config, &pair->nodes[rank], &pair->addresses[rank]), 0);
	}
	assert_int_equal(pthread_create(&second, NULL, connect_second, pair), 0);
	assert_int_equal(ops->connect(pair->nodes[0], pair->addresses), 0);
	pthread_join(second, &result);
	assert_int_equal((intptr_t)result, 0);
	*state = pair;
	return 0;
}

static int pair_teardown(void **state)
{
	struct pair *pair = *state;

	ops->close(pair->nodes[0]);
	ops->close(pair->nodes[1]);
	free(pair);
	return 0;
}

/* Polls until an event comes, for a second at most. */
static struct fabric_event next_event(struct fabric *fabric)
{
	struct fabric_event event = { .peer = node_id(0) };
	uint64_t end_ns = shm_now_ns() + 1000000000u;

	while (shm_now_ns() < end_ns) {
		if (ops->poll(fabric, &event, 1) == 1)
			return event;
	}
	fail_msg("no event");
	return event;
}

static void quiet_for(struct fabric *fabric, uint64_t duration_ns)
{
	struct fabric_event event;
	uint64_t end_ns = shm_now_ns() + duration_ns;

	while (shm_now_ns() < end_ns)
		assert_int_equal(ops->poll(fabric, &event, 1), 0);
}

/* ---- copying ------------------------------------------------------------------------------- */

static void copy_as_memcpy(void **state)
{
	static unsigned char from[2048], to[2048], expected[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (unsigned char)(i * 7 + i / 251);
	for (size_t bytes = 0; bytes < 600; bytes += bytes < 80 ? 1 : 37) {
		for (size_t place = 0; place < 256; place++) {
			size_t a = place % 16, b = place / 16;

			memset(to, 0, sizeof(to));
			memset(expected, 0, sizeof(expected));
			memcpy(expected + 64 + b, from + a, bytes);
			shm_copy_from(to + 64 + b, from + a, bytes);
			assert_memory_equal(to, expected, sizeof(to));
			memset(to, 0, sizeof(to));
			shm_copy_to(to + 64 + b, from + a, bytes);
			assert_memory_equal(to, expected, sizeof(to));
		}
	}
}

/* ---- what a crashed peer leaves ------------------------------------------------------------ */

static void lost_both(struct pair *pair, unsigned int finder)
{
	struct fabric_event event = next_event(pair->nodes[finder]);

	assert_int_equal(event.kind, FABRIC_PEER_DOWN);
	assert_int_equal(event.status, -EPROTO);
	/* Who is given up on is told: the connection is gone. */
	event = next_event(pair->nodes[1 - finder]);
	assert_int_equal(event.kind, FABRIC_PEER_DOWN);
	assert_true(event.status < 0);
	assert_int_equal(ops->send(pair->nodes[finder], node_id(1 - finder), "x", 1), -EHOSTDOWN);
	quiet_for(pair->nodes[finder], 5000000);
}

/* The slot of message `number` from node 0, as node 0 has it mapped. */
static struct shm_slot *slot_of(struct pair *pair, uint32_t number)
{
	return &pair->nodes[0]->peers[1].out->slots[number % CREDITS];
}

static void length_corrupt(void **state, uint32_t bytes)
{
	struct pair *pair = *state;

	assert_int_equal(ops->send(pair->nodes[0], node_id(1), "a", 1), 0);
	assert_int_equal(ops->send(pair->nodes[0], node_id(1), "b", 1), 0);
	slot_of(pair, 1)->bytes = bytes;
	struct fabric_event event = next_event(pair->nodes[1]);
	assert_int_equal(event.kind, FABRIC_MESSAGE);
	assert_memory_equal(event.data, "a", 1);
	lost_both(pair, 1);
}

static void slot_too_long(void **state)
{
	length_corrupt(state, FABRIC_MESSAGE_MAX + 1);
}

static void slot_empty(void **state)
{
	length_corrupt(state, 0);
}

static void slot_huge(void **state)
{
	length_corrupt(state, UINT32_MAX);
}

static void slot_sequence(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(ops->send(pair->nodes[0], node_id(1), "a", 1), 0);
	atomic_store(&slot_of(pair, 0)->sequence, 12345);
	lost_both(pair, 1);
}

static void head_nonsense(void **state)
{
	struct pair *pair = *state;

	for (unsigned int i = 0; i < CREDITS; i++)
		assert_int_equal(ops->send(pair->nodes[0], node_id(1), "a", 1), 0);
	atomic_store(&pair->nodes[1]->peers[0].in->head, CREDITS + 1);
	assert_int_equal(ops->send(pair->nodes[0], node_id(1), "a", 1), -EHOSTDOWN);
	struct fabric_event event = next_event(pair->nodes[0]);
	assert_int_equal(event.kind, FABRIC_PEER_DOWN);
	assert_int_equal(event.status, -EPROTO);
}

/* Bits of ranks that do not exist, or have sent nothing, are nothing. */
static void ready_nonsense(void **state)
{
	struct pair *pair = *state;

	for (unsigned int i = 0; i < SHM_WORDS; i++)
		atomic_store(&pair->nodes[1]->inbox->ready[i], ~UINT64_C(0));
	quiet_for(pair->nodes[1], 3000000);
	assert_int_equal(ops->send(pair->nodes[0], node_id(1), "a", 1), 0);
	assert_int_equal(next_event(pair->nodes[1]).kind, FABRIC_MESSAGE);
}

/* ---- regions ------------------------------------------------------------------------------- */

static struct fabric_memory memory_make(size_t bytes, unsigned int access)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	return (struct fabric_memory){ .addr = base, .bytes = bytes, .fd = fd, .access = access };
}

static void memory_free(struct fabric_memory *memory)
{
	munmap(memory->addr, memory->bytes);
	close(memory->fd);
}

struct reading {
	struct fabric_memory offered;
	struct fabric_memory own;
	struct fabric_region *offered_region;
	struct fabric_region *own_region;
	struct fabric_key key;
	struct fabric_local local;
	struct fabric_remote remote;
};

/* Node 0 offers a page, node 1 has one to read it into. */
static void reading_make(struct pair *pair, struct reading *reading)
{
	struct fabric_key own_key;

	reading->offered = memory_make(PAGE_BYTES, FABRIC_REMOTE_READ);
	reading->own = memory_make(PAGE_BYTES, 0);
	assert_int_equal(ops->memory_register(pair->nodes[0], &reading->offered,
					      &reading->offered_region, &reading->key),
			 0);
	assert_int_equal(
		ops->memory_register(pair->nodes[1], &reading->own, &reading->own_region, &own_key),
		0);
	reading->local = (struct fabric_local){ reading->own_region, reading->own.addr, 64 };
	reading->remote = (struct fabric_remote){ .peer = node_id(0), .key = reading->key };
}

static void reading_free(struct reading *reading)
{
	memory_free(&reading->offered);
	memory_free(&reading->own);
}

static void region_beyond_file(void **state)
{
	struct pair *pair = *state;
	struct reading reading;

	reading_make(pair, &reading);
	struct shm_region_entry *entry =
		&pair->nodes[0]->inbox->regions[shm_key_index(reading.key.key)];
	atomic_store(&entry->bytes, PAGE_BYTES * 2);
	assert_int_equal(ops->read(pair->nodes[1], &reading.local, &reading.remote, 1), -EACCES);
	atomic_store(&entry->bytes, PAGE_BYTES);
	atomic_store(&entry->offset, UINT64_MAX - PAGE_BYTES + 1);
	assert_int_equal(ops->read(pair->nodes[1], &reading.local, &reading.remote, 1), -EACCES);
	atomic_store(&entry->offset, 0);
	assert_int_equal(ops->read(pair->nodes[1], &reading.local, &reading.remote, 1), 0);
	assert_int_equal(next_event(pair->nodes[1]).kind, FABRIC_READ_DONE);
	reading_free(&reading);
}

/* The mapping of a region that is gone goes too, though nobody asks for it again. */
static void region_unmapped(void **state)
{
	struct pair *pair = *state;
	struct reading reading;

	reading_make(pair, &reading);
	assert_int_equal(ops->read(pair->nodes[1], &reading.local, &reading.remote, 1), 0);
	assert_int_equal(next_event(pair->nodes[1]).kind, FABRIC_READ_DONE);
	struct shm_peer *peer = &pair->nodes[1]->peers[0];
	assert_int_equal(peer->views[shm_key_index(reading.key.key)].key, reading.key.key);
	ops->memory_deregister(pair->nodes[0], reading.offered_region);
	assert_int_equal(ops->read(pair->nodes[1], &reading.local, &reading.remote, 1), -EACCES);
	quiet_for(pair->nodes[1], 20000000);
	assert_int_equal(peer->views[shm_key_index(reading.key.key)].key, 0);
	for (unsigned int i = 0; i < SHM_FILES_MAX; i++)
		assert_int_equal(peer->files[i].id, 0);
	reading_free(&reading);
}

/* An operation whose file has not come yet is kept, completes when it comes, or when it cannot. */
static void operation_kept(void **state, bool comes)
{
	struct pair *pair = *state;
	struct reading reading;

	reading_make(pair, &reading);
	struct shm_region_entry *entry =
		&pair->nodes[0]->inbox->regions[shm_key_index(reading.key.key)];
	uint64_t file = atomic_exchange(&entry->file, 99 * SHM_FILES_MAX);
	memset(reading.offered.addr, 5, PAGE_BYTES);
	for (unsigned int i = 0; i < SHM_OPERATIONS_MAX; i++)
		assert_int_equal(ops->read(pair->nodes[1], &reading.local, &reading.remote, i), 0);
	assert_int_equal(ops->read(pair->nodes[1], &reading.local, &reading.remote, 0), -EAGAIN);
	quiet_for(pair->nodes[1], 3000000);
	if (comes) {
		atomic_store(&entry->file, file);
	} else {
		ops->close(pair->nodes[0]);
		pair->nodes[0] = NULL;
	}
	for (unsigned int i = 0; i < SHM_OPERATIONS_MAX; i++) {
		struct fabric_event event = next_event(pair->nodes[1]);

		assert_int_equal(event.kind, FABRIC_READ_DONE);
		assert_int_equal(event.tag, i);
		assert_int_equal(event.status, comes ? 0 : -EHOSTDOWN);
	}
	if (comes) {
		assert_memory_equal(reading.own.addr, reading.offered.addr, 64);
	} else {
		struct fabric_event event = next_event(pair->nodes[1]);
		struct fabric_config config = config_of(0, 2);

		assert_int_equal(event.kind, FABRIC_PEER_DOWN);
		assert_int_equal(event.status, 0);
		assert_int_equal(ops->open(&config, &pair->nodes[0], &pair->addresses[0]), 0);
	}
	reading_free(&reading);
}

static void operation_kept_comes(void **state)
{
	operation_kept(state, true);
}

static void operation_kept_lost(void **state)
{
	operation_kept(state, false);
}

/* ---- limits -------------------------------------------------------------------------------- */

static void regions_limit(void **state)
{
	struct pair *pair = *state;
	struct fabric_memory memory = memory_make(PAGE_BYTES, FABRIC_REMOTE_READ);
	struct fabric_region *regions[SHM_REGIONS_MAX], *more;
	struct fabric_key key;

	for (unsigned int i = 0; i < SHM_REGIONS_MAX; i++)
		assert_int_equal(ops->memory_register(pair->nodes[0], &memory, &regions[i], &key),
				 0);
	assert_int_equal(ops->memory_register(pair->nodes[0], &memory, &more, &key), -ENOSPC);
	ops->memory_deregister(pair->nodes[0], regions[1000]);
	assert_int_equal(ops->memory_register(pair->nodes[0], &memory, &more, &key), 0);
	assert_ptr_equal(more, regions[1000]);
	memory_free(&memory);
}

static void files_limit(void **state)
{
	struct pair *pair = *state;
	struct fabric_memory memories[SHM_FILES_MAX + 1];
	struct fabric_region *regions[SHM_FILES_MAX + 1];
	struct fabric_key key;

	for (unsigned int i = 0; i <= SHM_FILES_MAX; i++)
		memories[i] = memory_make(PAGE_BYTES, FABRIC_REMOTE_READ);
	for (unsigned int i = 0; i < SHM_FILES_MAX; i++)
		assert_int_equal(
			ops->memory_register(pair->nodes[0], &memories[i], &regions[i], &key), 0);
	struct fabric_memory *over = &memories[SHM_FILES_MAX];
	assert_int_equal(ops->memory_register(pair->nodes[0], over, &regions[SHM_FILES_MAX], &key),
			 -ENOSPC);
	ops->memory_deregister(pair->nodes[0], regions[7]);
	assert_int_equal(ops->memory_register(pair->nodes[0], over, &regions[SHM_FILES_MAX], &key),
			 0);
	for (unsigned int i = 0; i <= SHM_FILES_MAX; i++)
		memory_free(&memories[i]);
}

/* In a process of its own: a limit once lowered stays. */
static int open_with_limit(rlim_t soft, rlim_t hard, unsigned int node_count)
{
	struct fabric_config config = config_of(0, node_count);
	struct fabric_address address;
	struct rlimit limit = { soft, hard };
	struct fabric *fabric;

	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 10;
	int error = ops->open(&config, &fabric, &address);
	if (error == -EMFILE)
		return strstr(error_text(), "ulimit -n") != NULL ? 1 : 11;
	if (error != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 12;
	ops->close(fabric);
	return limit.rlim_cur > soft ? 2 : 3;
}

static void descriptors_limit(void **state)
{
	static const struct {
		rlim_t soft, hard;
		unsigned int node_count;
		int result; /* 1 refused, 2 raised, 3 left alone */
	} rows[] = {
		{ 256, 512, 1024, 1 },
		{ 256, 8192, 1024, 2 },
		{ 256, 8192, 4, 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(open_with_limit(rows[i].soft, rows[i].hard, rows[i].node_count));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), rows[i].result);
	}
}

#define PAIR_TEST(function) cmocka_unit_test_setup_teardown(function, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copy_as_memcpy),
		PAIR_TEST(slot_too_long),
		PAIR_TEST(slot_empty),
		PAIR_TEST(slot_huge),
		PAIR_TEST(slot_sequence),
		PAIR_TEST(head_nonsense),
		PAIR_TEST(ready_nonsense),
		PAIR_TEST(region_beyond_file),
		PAIR_TEST(region_unmapped),
		PAIR_TEST(operation_kept_comes),
		PAIR_TEST(operation_kept_lost),
		PAIR_TEST(regions_limit),
		PAIR_TEST(files_limit),
		cmocka_unit_test(descriptors_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
