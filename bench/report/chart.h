/* SPDX-License-Identifier: Apache-2.0 */
/* A section's charts, as SVG that stands in the page. Colours are classes of the page's style. */
#ifndef PERGOLA_BENCH_REPORT_CHART_H
#define PERGOLA_BENCH_REPORT_CHART_H

#include "results.h"

#include <stdio.h>

/* Colours that the page's style has for series: s0, s1, ... */
#define CHART_SERIES 8u

/* The parts of a fault in their order: counters part_trap_us, ... */
extern const char *const chart_parts[];
#define CHART_PART_COUNT 6u

/* Each draws nothing where no row has what it shows, and says whether it has drawn. */
bool chart_distributions(FILE *out, const struct section *section);
bool chart_parts_of_faults(FILE *out, const struct section *section);
bool chart_floors(FILE *out, const struct section *section);

#endif
