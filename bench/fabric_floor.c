/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric_floor.h"

#include "base/error.h"
#include "node/measure.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Not counted: the first ones open the way. */
#define WARM_UP 20u

static void must(int error)
{
	if (error == 0)
		return;
	fprintf(stderr, "benchmark: %s\n", error_text());
	exit(1);
}

static struct settings read_settings(void)
{
	struct settings settings;

	settings_init_defaults(&settings);
	must(settings_read_environment(&settings));
	return settings;
}

static struct measure *open_measure(void)
{
	const struct measure_card card = { .host = "here" };
	const struct settings settings = read_settings();
	struct measure *measure = NULL;

	must(measure_open(&settings, &card, &measure));
	if (measure_size(measure) != 2) {
		fprintf(stderr, "benchmark: needs 2 processes: pergola run -n 2\n");
		exit(2);
	}
	return measure;
}

static void bounce(struct measure *measure, enum measure_patience patience, uint64_t *times_ns,
		   unsigned int count)
{
	bool serves = measure_rank(measure) == 1;
	unsigned int peer = serves ? 0 : 1;
	uint64_t unused[WARM_UP];

	must(measure_bounce(measure, peer, patience, serves, unused, WARM_UP));
	must(measure_bounce(measure, peer, patience, serves, times_ns, count));
}

unsigned int fabric_floor_measure(struct fabric_floor *floor, unsigned int count)
{
	struct measure *measure = open_measure();
	unsigned int rank = measure_rank(measure);
	uint64_t unused[WARM_UP];

	snprintf(floor->fabric, sizeof(floor->fabric), "%s", measure_fabric(measure, 1 - rank));
	bounce(measure, MEASURE_SPIN, floor->spin_round_ns, count);
	bounce(measure, MEASURE_SLEEP, floor->sleep_round_ns, count);
	if (rank == 0) {
		must(measure_read_each(measure, 1, unused, WARM_UP));
		must(measure_read_each(measure, 1, floor->read_ns, count));
	}
	bounce(measure, MEASURE_SLEEP, unused, 1); /* rank 1 stays until rank 0 has read */
	measure_close(measure);
	return rank;
}

bool fabric_round_trips(uint64_t *times_ns, unsigned int count)
{
	const struct settings settings = read_settings();

	if (settings_u64(&settings, SETTING_SIZE) != 2)
		return false;
	struct measure *measure = open_measure();
	unsigned int rank = measure_rank(measure);

	bounce(measure, MEASURE_SPIN, times_ns, count);
	measure_close(measure);
	return rank == 0;
}
