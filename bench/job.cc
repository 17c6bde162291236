/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <pergola/dsm.h>
#include <string>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

namespace bench
{

static std::vector<Task> tasks;
static uint64_t remote_received;

void must(int status)
{
	if (status >= 0)
		return;
	fprintf(stderr, "benchmark: %s\n", dsm_error());
	exit(1);
}

bool join()
{
	must(dsm_init(-1));
	describe();
	return dsm_node_id() != 0;
}

static std::string option(const char *name, const char *otherwise)
{
	const char *text = dsm_option_get(name);

	return text == nullptr ? otherwise : text;
}

void describe_program(int nodes, const std::string &fabric)
{
	struct utsname system;

	uname(&system);
	benchmark::AddCustomContext("program", program_invocation_short_name);
	benchmark::AddCustomContext("version", dsm_version());
	benchmark::AddCustomContext("kernel", system.release);
	benchmark::AddCustomContext("nodes", std::to_string(nodes));
	benchmark::AddCustomContext("fabric", fabric);
}

void describe()
{
	struct dsm_stats stats;

	must(dsm_stats_get(&stats));
	std::string fabric = option("fabric", "");
	if (fabric == "auto")
		fabric = stats.work_requests > 0 ? "verbs" : "shm";
	describe_program(dsm_node_count(), fabric);
	benchmark::AddCustomContext("delivery", option("delivery", "thread"));
	benchmark::AddCustomContext("manager", option("manager", ""));
	benchmark::AddCustomContext("hold", option("hold", ""));
	benchmark::AddCustomContext("spin", option("spin", ""));
	benchmark::AddCustomContext("read-ahead", option("read-ahead", "0"));
}

bool quick()
{
	static const char *const wish = getenv("BENCH_QUICK");

	return wish != nullptr && std::string(wish) == "1";
}

uint64_t amount(uint64_t full, uint64_t least)
{
	return quick() ? least : full;
}

int offer(Task task)
{
	tasks.push_back(task);
	return static_cast<int>(tasks.size()) - 1;
}

static Counts own_counts()
{
	struct dsm_stats stats;

	must(dsm_stats_get(&stats));
	return { stats.messages_sent, stats.messages_received, stats.pages_fetched,
		 stats.work_requests, stats.completions,       0 };
}

/* Each node in turn says what it has received, as it was when the order came. */
static void tell_counts()
{
	const uint64_t mine = own_counts().received;

	remote_received = 0;
	for (int node = 1; node < dsm_node_count(); node++) {
		uint64_t received = mine;

		must(dsm_bcast(&received, sizeof(received), node));
		remote_received += received;
	}
}

/* Touches pages so that they come to this node in the mode that the order says. */
static void act(const Order &order)
{
	for (uint64_t i = 0; i < order.page_count; i++) {
		volatile char *byte = order.pages + i * DSM_PAGE_BYTES;

		if (order.step == Step::write)
			*byte = static_cast<char>(i);
		else
			(void)*byte;
	}
}

static void obey(Order &order)
{
	must(dsm_bcast(&order, sizeof(order), 0));
	if (order.step == Step::quit)
		return;
	if (order.step == Step::counts) {
		tell_counts();
	} else if (order.step == Step::task) {
		tasks.at(static_cast<size_t>(order.actor))(order.argument);
	} else if (order.actor == dsm_node_id()) {
		must(dsm_prefetch(order.pages, order.page_count * DSM_PAGE_BYTES,
				  order.step == Step::write ? DSM_WRITE : DSM_READ));
		act(order);
	}
	must(dsm_barrier());
}

int serve()
{
	Order order = {};

	do {
		obey(order);
	} while (order.step != Step::quit);
	return dsm_finish() == 0 ? 0 : 1;
}

void tell(const Order &order)
{
	Order copy = order;

	obey(copy);
}

void run_task(int task, uint64_t argument)
{
	tell({ Step::task, task, nullptr, 0, argument });
}

/* The others say at once that they wait for the next order: that is none of what is counted. */
static Counts settled_counts()
{
	Counts counts = own_counts();

	for (;;) {
		usleep(500);
		Counts again = own_counts();

		if (again.received == counts.received)
			return again;
		counts = again;
	}
}

/* This node's own counts are taken where they hold nothing of the telling. */
static Counts counts_before()
{
	tell({ Step::counts, 0, nullptr, 0 });
	Counts counts = settled_counts();

	counts.remote = remote_received;
	return counts;
}

static Counts counts_after()
{
	Counts counts = own_counts();

	tell({ Step::counts, 0, nullptr, 0 });
	counts.remote = remote_received;
	return counts;
}

/* What the others take in only because they are asked. */
static uint64_t telling()
{
	static const uint64_t messages = [] {
		Counts before = counts_before();

		return counts_after().remote - before.remote;
	}();
	return messages;
}

Counts count()
{
	telling();
	return counts_before();
}

Counts count_since(const Counts &before)
{
	Counts after = counts_after();
	uint64_t remote = after.remote - before.remote;

	return { after.sent - before.sent,
		 after.received - before.received,
		 after.fetched - before.fetched,
		 after.work_requests - before.work_requests,
		 after.completions - before.completions,
		 remote - std::min(telling(), remote) };
}

int finish()
{
	tell({ Step::quit, 0, nullptr, 0 });
	return dsm_finish() == 0 ? 0 : 1;
}

uint64_t now_ns()
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

double quantile(std::vector<double> &samples, double q)
{
	if (samples.empty())
		return 0;
	std::sort(samples.begin(), samples.end());
	size_t index = static_cast<size_t>(q * static_cast<double>(samples.size()));

	return samples[std::min(index, samples.size() - 1)];
}

} // namespace bench
