/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synchronisation, one call or pair of calls a time:
 *
 *	pergola run -n 2 bench_sync          (more nodes: more that take part)
 *
 * kept_here, kept_there: the node that keeps the object's state is node 0, which measures, or
 * another; what several nodes use is kept by another, unless the manager is central. handed_over:
 * node 1 has had the lock before. all_nodes: every node takes it again and again, and the times are
 * node 0's. passed_on: both nodes want the lock again as soon as they have left it, and stay inside
 * for 2 us: from one's release until the other has it. again: it is taken and left by the node that
 * had it last, many times by one look at the clock.
 *
 * With two nodes "floors" are spinning round trips of the fabric, measured before the job starts.
 */
#include "fabric_floor.h"
#include "tally.h"

#include <benchmark/benchmark.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pergola/dsm.h>

namespace
{

constexpr size_t region_bytes = size_t{ 64 } << 20;
constexpr size_t block_bytes = size_t{ 16 } << 10;
const uint64_t calls = bench::amount(5000, 50);
const uint64_t contended_calls = bench::amount(1000, 20);

/* The objects of the nodes' tasks, in the first bytes of a reserved page that all know. */
struct Objects {
	char *lock;
	char *rwlock;
	char *ready; /* semaphores that nodes 0 and 1 wake each other with */
	char *done;
	char *barrier;
};

Objects *objects;
std::vector<uint64_t> times_ns; /* of this node's latest task */
std::vector<uint64_t> rounds_ns;
double round_us; /* median of those; 0: not measured */

template <typename Function> void timed(uint64_t count, Function function)
{
	times_ns.clear();
	for (uint64_t i = 0; i < count; i++) {
		uint64_t start = bench::now_ns();

		function();
		times_ns.push_back(bench::now_ns() - start);
	}
}

/* ---- tasks, on all nodes ---- */

void lock_all(uint64_t)
{
	timed(contended_calls, [] {
		bench::must(dsm_lock(objects->lock));
		bench::must(dsm_unlock(objects->lock));
	});
}

/* Both want the lock all the time; from a release until the lock is had again it is passed on
 * twice, and the other node is inside. */
void lock_pass(uint64_t)
{
	constexpr uint64_t inside_ns = 2000;
	uint64_t left_ns = 0;

	times_ns.clear();
	for (uint64_t i = 0; i < calls; i++) {
		bench::must(dsm_lock(objects->lock));
		uint64_t got_ns = bench::now_ns();

		if (left_ns != 0 && got_ns - left_ns > inside_ns)
			times_ns.push_back((got_ns - left_ns - inside_ns) / 2);
		while (bench::now_ns() - got_ns < inside_ns)
			;
		left_ns = bench::now_ns();
		bench::must(dsm_unlock(objects->lock));
	}
}

/* By the node named alone. */
void lock_once(uint64_t node)
{
	if (node != static_cast<uint64_t>(dsm_node_id()))
		return;
	timed(1, [] {
		bench::must(dsm_lock(objects->lock));
		bench::must(dsm_unlock(objects->lock));
	});
}

void read_all(uint64_t)
{
	timed(contended_calls, [] {
		bench::must(dsm_rwlock_rdlock(objects->rwlock));
		bench::must(dsm_rwlock_unlock(objects->rwlock));
	});
}

/* Node 0 wakes node 1 and is woken by it. */
void semaphores(uint64_t)
{
	if (dsm_node_id() == 0)
		timed(contended_calls, [] {
			bench::must(dsm_sem_post(objects->ready));
			bench::must(dsm_sem_wait(objects->done));
		});
	else if (dsm_node_id() == 1)
		timed(contended_calls, [] {
			bench::must(dsm_sem_wait(objects->ready));
			bench::must(dsm_sem_post(objects->done));
		});
}

void barriers(uint64_t)
{
	timed(contended_calls, [] { bench::must(dsm_barrier()); });
}

void object_barriers(uint64_t)
{
	timed(contended_calls, [] {
		int status = dsm_barrier_wait(objects->barrier);

		bench::must(status > 0 ? 0 : status);
	});
}

int task_lock_all;
int task_lock_once;
int task_lock_pass;
int task_read_all;
int task_semaphores;
int task_barriers;
int task_object_barriers;

/* ---- node 0 ---- */

/* A task of all nodes, once. */
void together(benchmark::State &state, int task)
{
	bench::Tally tally;

	for (auto _ : state) {
		tally.begin();
		bench::run_task(task, 0);
		tally.end();
		uint64_t total = 0;

		for (uint64_t time : times_ns) {
			tally.add_ns(time);
			total += time;
		}
		state.SetIterationTime(static_cast<double>(total) / 1e9);
	}
	tally.publish(state, round_us);
}

void round_trips(benchmark::State &state)
{
	bench::Tally tally;

	for (uint64_t time : rounds_ns)
		tally.add_ns(time);
	for (auto _ : state)
		state.SetIterationTime(1e-6);
	tally.publish(state);
}

/* A lock that stays: acquire and release, by the hundred, since the clock costs as much. */
void lock_again(benchmark::State &state)
{
	constexpr uint64_t pairs = 100;
	std::vector<double> samples;

	bench::run_task(task_lock_once, 1);
	bench::run_task(task_lock_once, 0);
	for (auto _ : state) {
		uint64_t start = bench::now_ns();

		for (uint64_t i = 0; i < pairs; i++) {
			bench::must(dsm_lock(objects->lock));
			bench::must(dsm_unlock(objects->lock));
		}
		uint64_t taken = bench::now_ns() - start;

		samples.push_back(static_cast<double>(taken) / pairs / 1e3);
		state.SetIterationTime(static_cast<double>(taken) / 1e9);
	}
	bench::publish_times(state, samples, "us");
}

/* Node 1 has the lock, gives it back, and then node 0 is timed. */
void handed_over(benchmark::State &state)
{
	bench::Tally tally;

	for (auto _ : state) {
		bench::run_task(task_lock_once, 1);
		bench::run_task(task_lock_once, 0);
		tally.add_ns(times_ns.back());
		state.SetIterationTime(static_cast<double>(times_ns.back()) / 1e9);
	}
	tally.publish(state);
}

bool others_keep()
{
	return dsm_node_count() > 1 && strcmp(dsm_option_get("manager"), "central") != 0;
}

/* Who keeps an object depends on its address alone: the first whose making asks another node. */
template <typename Init, typename Destroy>
char *make(char *block, bool there, Init init, Destroy destroy)
{
	struct dsm_stats before;
	struct dsm_stats after;

	for (size_t at = 0; at < block_bytes; at += 64) {
		bench::must(dsm_stats_get(&before));
		bench::must(init(block + at));
		bench::must(dsm_stats_get(&after));
		if ((after.messages_sent > before.messages_sent) == there)
			return block + at;
		bench::must(destroy(block + at));
	}
	return nullptr;
}

/* One object that nobody else uses. */
template <typename Init, typename Use, typename Destroy>
void alone(benchmark::State &state, bool there, Init init, Use use, Destroy destroy)
{
	bench::Tally tally;
	char *block = static_cast<char *>(dsm_malloc(block_bytes));

	bench::must(block == nullptr ? -1 : 0);
	char *object = make(block, there, init, destroy);
	if (object == nullptr) {
		state.SkipWithError("no object is kept there");
		return;
	}
	for (auto _ : state) {
		tally.begin();
		timed(calls, [&] { use(object); });
		tally.end();
		uint64_t total = 0;

		for (uint64_t time : times_ns) {
			tally.add_ns(time);
			total += time;
		}
		state.SetIterationTime(static_cast<double>(total) / 1e9);
	}
	bench::must(destroy(object));
	bench::must(dsm_free(block, block_bytes));
	tally.publish(state);
}

void lock_alone(benchmark::State &state, bool there)
{
	alone(
		state, there, dsm_lock_init,
		[](void *object) {
			bench::must(dsm_lock(object));
			bench::must(dsm_unlock(object));
		},
		dsm_lock_destroy);
}

void rwlock_alone(benchmark::State &state, bool there, bool write)
{
	alone(
		state, there, dsm_rwlock_init,
		[write](void *object) {
			bench::must(write ? dsm_rwlock_wrlock(object) : dsm_rwlock_rdlock(object));
			bench::must(dsm_rwlock_unlock(object));
		},
		dsm_rwlock_destroy);
}

void semaphore_alone(benchmark::State &state, bool there)
{
	alone(
		state, there, [](void *object) { return dsm_sem_init(object, 0); },
		[](void *object) {
			bench::must(dsm_sem_post(object));
			bench::must(dsm_sem_wait(object));
		},
		dsm_sem_destroy);
}

void register_alone(bool there, const std::string &where)
{
	bench::benchmark_of("lock/alone/" + where, 1,
			    [there](benchmark::State &state) { lock_alone(state, there); });
	bench::benchmark_of("rwlock/read_alone/" + where, 1, [there](benchmark::State &state) {
		rwlock_alone(state, there, false);
	});
	bench::benchmark_of("rwlock/write_alone/" + where, 1,
			    [there](benchmark::State &state) { rwlock_alone(state, there, true); });
	bench::benchmark_of("semaphore/alone/" + where, 1,
			    [there](benchmark::State &state) { semaphore_alone(state, there); });
}

void register_together(const std::string &name, int task)
{
	bench::benchmark_of(name, 1, [task](benchmark::State &state) { together(state, task); });
}

void register_all()
{
	register_alone(false, "kept_here");
	register_together("barrier/all_nodes", task_barriers);
	register_together("barrier_wait/all_nodes", task_object_barriers);
	if (dsm_node_count() < 2)
		return;
	if (others_keep())
		register_alone(true, "kept_there");
	bench::benchmark_of("lock/handed_over", bench::amount(1000, 10), handed_over);
	register_together("lock/all_nodes", task_lock_all);
	bench::benchmark_of("lock/again", bench::amount(1000, 10), lock_again);
	if (dsm_node_count() == 2)
		register_together("lock/passed_on", task_lock_pass);
	if (!rounds_ns.empty())
		bench::benchmark_of("round_trip/spin/64", 1, round_trips);
	register_together("rwlock/read_all_nodes", task_read_all);
	register_together("semaphore/there_and_back", task_semaphores);
}

/* All are kept by another node than node 0, where there can be such. */
void init_objects()
{
	const unsigned int nodes = static_cast<unsigned int>(dsm_node_count());
	const bool there = others_keep();
	auto block = [] { return static_cast<char *>(dsm_malloc(block_bytes)); };
	auto zero = [](void *at) { return dsm_sem_init(at, 0); };

	objects->lock = make(block(), there, dsm_lock_init, dsm_lock_destroy);
	objects->rwlock = make(block(), there, dsm_rwlock_init, dsm_rwlock_destroy);
	objects->ready = make(block(), there, zero, dsm_sem_destroy);
	objects->done = make(block(), there, zero, dsm_sem_destroy);
	objects->barrier = make(
		block(), there, [nodes](void *at) { return dsm_barrier_init(at, nodes); },
		dsm_barrier_destroy);
	if (objects->lock == nullptr || objects->rwlock == nullptr || objects->ready == nullptr ||
	    objects->done == nullptr || objects->barrier == nullptr) {
		fprintf(stderr, "benchmark: no object is kept there\n");
		exit(1);
	}
}

/* The floor, before there is a job. */
void measure_rounds()
{
	std::vector<uint64_t> times(bench::amount(20000, 100));

	if (!fabric_round_trips(times.data(), static_cast<unsigned int>(times.size())))
		return;
	rounds_ns = times;
	std::vector<double> samples(times.begin(), times.end());
	round_us = bench::quantile(samples, 0.5) / 1e3;
}

} // namespace

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	measure_rounds();
	task_lock_all = bench::offer(lock_all);
	task_lock_once = bench::offer(lock_once);
	task_lock_pass = bench::offer(lock_pass);
	task_read_all = bench::offer(read_all);
	task_semaphores = bench::offer(semaphores);
	task_barriers = bench::offer(barriers);
	task_object_barriers = bench::offer(object_barriers);
	bool peer = bench::join();

	bench::must(dsm_open(nullptr, region_bytes) == nullptr ? -1 : 0);
	objects = static_cast<Objects *>(dsm_reserve(nullptr, DSM_PAGE_BYTES));
	bench::must(objects == nullptr ? -1 : 0);
	if (peer)
		return bench::serve();
	init_objects();
	register_all();
	benchmark::RunSpecifiedBenchmarks();
	return bench::finish();
}
