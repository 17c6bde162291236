/* SPDX-License-Identifier: Apache-2.0 */
/* A measurement as one line of CSV. docs/scale.md explains the columns. */
#include "base/assert.h"
#include "scale.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	enum manager_kind kind;
} managers[] = {
	{ "central", MANAGER_CENTRAL },
	{ "fixed", MANAGER_FIXED },
	{ "broadcast", MANAGER_BROADCAST },
	{ "dynamic", MANAGER_DYNAMIC },
};

#define MANAGER_COUNT (sizeof(managers) / sizeof(managers[0]))

const char *manager_name(enum manager_kind manager)
{
	for (unsigned int i = 0; i < MANAGER_COUNT; i++) {
		if (managers[i].kind == manager)
			return managers[i].name;
	}
	return "?";
}

bool manager_find(const char *name, enum manager_kind *manager)
{
	for (unsigned int i = 0; i < MANAGER_COUNT; i++) {
		if (strcmp(managers[i].name, name) == 0) {
			*manager = managers[i].kind;
			return true;
		}
	}
	return false;
}

enum manager_kind manager_at(unsigned int index)
{
	return index < MANAGER_COUNT ? managers[index].kind : (enum manager_kind)0;
}

/* ---- latencies ---- */

static int by_latency(const void *a, const void *b)
{
	uint32_t left = ((const struct miss *)a)->latency_ns;
	uint32_t right = ((const struct miss *)b)->latency_ns;

	return (left > right) - (left < right);
}

/* The smallest latency that `fraction` of them do not exceed. */
static double quantile_us(const struct miss *misses, uint64_t count, double fraction)
{
	uint64_t index = (uint64_t)(fraction * (double)count);

	if (count == 0)
		return 0;
	return misses[index < count ? index : count - 1].latency_ns * 1e-3;
}

static double median_of_kind_us(const struct miss *misses, uint64_t count, enum miss_kind kind)
{
	uint64_t of_kind = 0;
	uint64_t before = 0;

	for (uint64_t i = 0; i < count; i++)
		of_kind += misses[i].kind == kind;
	for (uint64_t i = 0; i < count; i++) {
		if (misses[i].kind == kind && before++ == of_kind / 2)
			return misses[i].latency_ns * 1e-3;
	}
	return 0;
}

static void latencies(struct world *world, struct summary *summary)
{
	struct miss *misses = world->totals.misses;
	uint64_t count = world->totals.miss_count;

	if (count > world->setup.misses)
		count = world->setup.misses;
	qsort(misses, count, sizeof(*misses), by_latency);
	summary->median_us = quantile_us(misses, count, 0.5);
	summary->p99_us = quantile_us(misses, count, 0.99);
	summary->max_us = quantile_us(misses, count, 1);
	for (unsigned int i = 0; i < MISS_KINDS; i++)
		summary->kind_median_us[i] = median_of_kind_us(misses, count, (enum miss_kind)i);
}

/* ---- loads, hops ---- */

static void loads(const struct world *world, struct summary *summary)
{
	const struct totals *totals = &world->totals;
	double window_ps = (double)(totals->end_ps - totals->start_ps);
	unsigned int busiest = 0;
	double busy_ps = 0;

	for (unsigned int i = 0; i < world->setup.node_count; i++) {
		const struct load *load = &world->nodes[i].load;
		uint64_t port_ps = load->tx_ps > load->rx_ps ? load->tx_ps : load->rx_ps;

		busy_ps += (double)load->busy_ps;
		if (load->busy_ps > world->nodes[busiest].load.busy_ps)
			busiest = i;
		if ((double)port_ps / window_ps > summary->busiest_port)
			summary->busiest_port = (double)port_ps / window_ps;
	}
	const struct load *load = &world->nodes[busiest].load;

	summary->busiest = busiest;
	summary->busiest_utilisation = (double)load->busy_ps / window_ps;
	summary->mean_utilisation = busy_ps / world->setup.node_count / window_ps;
	summary->busiest_messages_per_s = (double)(load->sent + load->received) / summary->seconds;
}

struct chains {
	uint64_t misses;
	uint64_t sum;
};

static void chains_add(struct chains *chains, uint64_t misses, unsigned int hops)
{
	chains->misses += misses;
	chains->sum += misses * hops;
}

static double chains_mean(const struct chains *chains)
{
	return chains->misses == 0 ? 0 : (double)chains->sum / (double)chains->misses;
}

static void hops(const struct totals *totals, struct summary *summary)
{
	struct chains all = { 0 };
	struct chains reads = { 0 };
	struct chains writes = { 0 };

	for (unsigned int i = 0; i <= HOPS_MAX; i++) {
		uint64_t of_reads = totals->hops[MISS_READ][i];
		uint64_t of_writes = totals->hops[MISS_WRITE][i] + totals->hops[MISS_UPGRADE][i];

		if (of_reads + of_writes == 0)
			continue;
		summary->hops_max = i;
		if ((double)all.misses < 0.99 * (double)totals->miss_count)
			summary->hops_p99 = i;
		chains_add(&reads, of_reads, i);
		chains_add(&writes, of_writes, i);
		chains_add(&all, of_reads + of_writes, i);
	}
	summary->hops_mean = chains_mean(&all);
	summary->read_hops_mean = chains_mean(&reads);
	summary->write_hops_mean = chains_mean(&writes);
}

void report_summarise(struct world *world, struct summary *summary)
{
	const struct totals *totals = &world->totals;
	double misses = (double)totals->miss_count;
	uint64_t messages = 0;

	ASSERT(totals->miss_count > 0 && totals->end_ps > totals->start_ps);
	*summary = (struct summary){ 0 };
	for (unsigned int i = 0; i < MSG_KIND_END; i++)
		messages += totals->messages[i];
	summary->seconds = (double)(totals->end_ps - totals->start_ps) * 1e-12;
	summary->misses_per_s = misses / summary->seconds;
	summary->mean_us = (double)totals->miss_ps / misses * 1e-6;
	summary->messages_per_miss = (double)messages / misses;
	summary->bytes_per_miss = (double)totals->wire_bytes / misses;
	summary->reads_per_miss = (double)totals->reads / misses;
	latencies(world, summary);
	loads(world, summary);
	hops(totals, summary);
}

/* ---- lines ---- */

void report_header(FILE *file)
{
	fputs("network,manager,pattern,nodes,threads,think_us,hold_us,seed,seconds,accesses,"
	      "misses,faults,misses_per_s,messages_per_miss,bytes_per_miss,reads_per_miss,"
	      "mean_us,median_us,p99_us,max_us,read_median_us,write_median_us,"
	      "upgrade_median_us,busiest,busiest_utilisation,busiest_messages_per_s,"
	      "mean_utilisation,busiest_port,hops_mean,hops_p99,hops_max,read_hops_mean,"
	      "write_hops_mean\n",
	      file);
}

void report_line(FILE *file, const struct world *world, const struct summary *summary)
{
	const struct setup *setup = &world->setup;
	const struct totals *totals = &world->totals;

	fprintf(file, "%s,%s,%s,%u,%u,%.9g,%.9g,%" PRIu64 ",%.6f,", setup->profile.name,
		manager_name(setup->manager), pattern_name(setup->pattern), setup->node_count,
		setup->thread_count, (double)setup->think_ns * 1e-3, (double)setup->hold_ns * 1e-3,
		setup->seed, summary->seconds);
	fprintf(file, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.0f,%.3f,%.1f,%.3f,", totals->accesses,
		totals->miss_count, totals->faults, summary->misses_per_s,
		summary->messages_per_miss, summary->bytes_per_miss, summary->reads_per_miss);
	fprintf(file, "%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,", summary->mean_us, summary->median_us,
		summary->p99_us, summary->max_us, summary->kind_median_us[MISS_READ],
		summary->kind_median_us[MISS_WRITE], summary->kind_median_us[MISS_UPGRADE]);
	fprintf(file, "%u,%.4f,%.0f,%.4f,%.4f,%.3f,%u,%u,%.3f,%.3f\n", summary->busiest,
		summary->busiest_utilisation, summary->busiest_messages_per_s,
		summary->mean_utilisation, summary->busiest_port, summary->hops_mean,
		summary->hops_p99, summary->hops_max, summary->read_hops_mean,
		summary->write_hops_mean);
}

void report_hops(FILE *file, const struct world *world)
{
	static const char *const names[MISS_KINDS] = { "read", "write", "upgrade" };
	const struct setup *setup = &world->setup;

	for (unsigned int kind = 0; kind < MISS_KINDS; kind++) {
		for (unsigned int i = 0; i <= HOPS_MAX; i++) {
			if (world->totals.hops[kind][i] == 0)
				continue;
			fprintf(file, "%s,%s,%s,%u,%s,%u,%" PRIu64 "\n", setup->profile.name,
				manager_name(setup->manager), pattern_name(setup->pattern),
				setup->node_count, names[kind], i, world->totals.hops[kind][i]);
		}
	}
}
