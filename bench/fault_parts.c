/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_parts.h"

#include "base/error.h"
#include "node/times.h"

#include <stdio.h>
#include <stdlib.h>

static struct node *this_node(void)
{
	struct node *node = job_node("benchmark");

	if (node == NULL) {
		fprintf(stderr, "benchmark: %s\n", error_text());
		exit(1);
	}
	return node;
}

void fault_points_begin(uint32_t capacity)
{
	if (times_open(this_node(), capacity) == 0)
		return;
	fprintf(stderr, "benchmark: %s\n", error_text());
	exit(1);
}

uint32_t fault_points_take(struct fault_points *out, uint32_t limit)
{
	struct node *node = this_node();
	struct fault_times fault;
	uint32_t count = 0;

	while (count < limit && times_take(node, &fault, 1) == 1) {
		const uint64_t *at_ns = fault.at_ns;

		out[count++] = (struct fault_points){
			.page = region_address(node, fault.page.value * PAGE_BYTES),
			.taken = at_ns[TIMES_TAKEN],
			.asked = at_ns[TIMES_ASKED],
			.granted = at_ns[TIMES_GRANTED],
			.fetched = at_ns[TIMES_FETCHED],
			.mapping = at_ns[TIMES_MAPPING],
			.mapped = at_ns[TIMES_MAPPED],
		};
	}
	return count;
}
