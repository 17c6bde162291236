/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <pergola/dsm.h>
#include <time.h>

namespace bench
{

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
	return dsm_node_id() != 0;
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
	if (order.actor == dsm_node_id()) {
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
