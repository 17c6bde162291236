/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random workload with an end that is known. Records of several words lie on several pages, each
 * under a lock: the words of a record agree with each other whenever the lock is held, and a record
 * counts each node's updates. Cells have one writer each and are read by all without a lock: they
 * never go back. At the end records and cells are what the nodes logged. CHECK_SEED repeats a run
 * (as far as the machine's timing does).
 */
#include "check.h"

#define RECORDS 24
#define WORDS 6
#define CELLS 64
#define STEPS 600 /* unless CHECK_STEPS says otherwise */
#define NODES 8

/* Words of one record lie a page apart; records lie side by side on those pages. */
struct page_of_words {
	uint64_t words[RECORDS];
	uint64_t filler[DSM_PAGE_BYTES / 8 - RECORDS];
};

struct world {
	struct page_of_words pages[WORDS];
	uint64_t updates[RECORDS][NODES]; /* history: how often each node changed the record */
	uint64_t sums[RECORDS];		  /* of all amounts added */
	uint64_t cells[CELLS * 8];	  /* of which each 8th is used: false sharing by 8s */
	uint64_t logged_updates[NODES][RECORDS];
	uint64_t logged_sums[NODES][RECORDS];
	uint64_t logged_cells[CELLS];
};

static struct world *world;
static unsigned int self;
static unsigned int count;
static uint64_t random_state;

static uint64_t my_updates[RECORDS];
static uint64_t my_sums[RECORDS];
static uint64_t my_cells[CELLS];
static uint64_t seen_cells[CELLS];

/* What the other words of a record are, given the first. */
static uint64_t mixed(uint64_t first, unsigned int word)
{
	return word == 0 ? first : (first ^ word) * UINT64_C(0x9e3779b97f4a7c15);
}

static void check_record(unsigned int record)
{
	uint64_t first = world->pages[0].words[record];
	uint64_t changes = 0;

	for (unsigned int word = 1; word < WORDS; word++)
		CHECK(world->pages[word].words[record] == mixed(first, word));
	CHECK(world->sums[record] == first);
	for (unsigned int node = 0; node < count; node++)
		changes += world->updates[record][node];
	CHECK(world->updates[record][self] == my_updates[record]);
	CHECK(changes >= my_updates[record]);
}

static void change_record(unsigned int record)
{
	uint64_t amount = 1 + check_below(&random_state, 1000);
	uint64_t first = world->pages[0].words[record] + amount;

	for (unsigned int i = 0; i < WORDS; i++) {
		/* In an order that differs, so that no page is always the first. */
		unsigned int word = (unsigned int)(i + amount) % WORDS;

		world->pages[word].words[record] = mixed(first, word);
	}
	world->sums[record] += amount;
	world->updates[record][self]++;
	my_updates[record]++;
	my_sums[record] += amount;
}

static void visit_record(void)
{
	unsigned int record = (unsigned int)check_below(&random_state, RECORDS);
	void *lock = &world->pages[0].words[record];

	if (check_below(&random_state, 8) == 0) {
		int status = dsm_trylock(lock);

		if (status == -EBUSY)
			return;
		CHECK_OK(status);
	} else {
		CHECK_OK(dsm_lock(lock));
	}
	check_record(record);
	if (check_below(&random_state, 3) != 0)
		change_record(record);
	CHECK_OK(dsm_unlock(lock));
}

/* Cell c is node c % count's. */
static void write_cell(void)
{
	unsigned int cell = (unsigned int)check_below(&random_state, CELLS / count) * count + self;

	my_cells[cell] += check_below(&random_state, 10);
	__atomic_store_n(&world->cells[cell * 8], my_cells[cell], __ATOMIC_SEQ_CST);
}

static void read_cells(void)
{
	unsigned int start = (unsigned int)check_below(&random_state, CELLS);

	for (unsigned int i = 0; i < 4; i++) {
		unsigned int cell = (start + i * 7) % CELLS;
		uint64_t value = __atomic_load_n(&world->cells[cell * 8], __ATOMIC_SEQ_CST);

		CHECK(value >= seen_cells[cell]);
		CHECK(cell % count != self || value == my_cells[cell]);
		seen_cells[cell] = value;
	}
}

static void work(void)
{
	const char *text = getenv("CHECK_STEPS");
	int steps = text != NULL ? atoi(text) : STEPS;

	for (int step = 0; step < steps; step++) {
		switch (check_below(&random_state, 4)) {
		case 0:
			write_cell();
			break;
		case 1:
			read_cells();
			break;
		default:
			visit_record();
		}
	}
}

static void hand_in(void)
{
	memcpy(world->logged_updates[self], my_updates, sizeof(my_updates));
	memcpy(world->logged_sums[self], my_sums, sizeof(my_sums));
	for (unsigned int cell = self; cell < CELLS; cell += count)
		world->logged_cells[cell] = my_cells[cell];
}

static void check_end_state(void)
{
	for (unsigned int record = 0; record < RECORDS; record++) {
		uint64_t sum = 0;

		for (unsigned int node = 0; node < count; node++) {
			sum += world->logged_sums[node][record];
			CHECK(world->updates[record][node] == world->logged_updates[node][record]);
		}
		CHECK(world->sums[record] == sum);
		check_record(record);
	}
	for (unsigned int cell = 0; cell < CELLS / count * count; cell++)
		CHECK(world->cells[cell * 8] == world->logged_cells[cell]);
}

int main(void)
{
	check_join();
	world = dsm_reserve(NULL, sizeof(*world));
	CHECK(world != NULL);
	self = (unsigned int)dsm_node_id();
	count = (unsigned int)dsm_node_count();
	CHECK(count <= NODES);
	uint64_t seed = check_now_ns() & 0xffffff;

	CHECK_OK(dsm_bcast(&seed, sizeof(seed), 0));
	random_state = check_seed(seed) ^ self;
	for (unsigned int record = self; record < RECORDS; record += count) {
		CHECK_OK(dsm_lock_init(&world->pages[0].words[record]));
		for (unsigned int word = 1; word < WORDS; word++)
			world->pages[word].words[record] = mixed(0, word);
	}
	CHECK_OK(dsm_barrier());
	work();
	hand_in();
	CHECK_OK(dsm_barrier());
	check_end_state();
	return check_end();
}
