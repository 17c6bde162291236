/* SPDX-License-Identifier: Apache-2.0 */
/* A section as a table: which columns it has and what stands in a cell. In Markdown, and in HTML.
 */
#ifndef PERGOLA_BENCH_REPORT_TABLE_H
#define PERGOLA_BENCH_REPORT_TABLE_H

#include "results.h"

#include <stdio.h>

/* Which rows: those whose name begins with one of the prefixes, or is one that ends with '$', and
 * whose configuration fits. */
struct choice {
	const char *const *prefixes;
	size_t prefix_count;		 /* 0: all */
	const char *wants[CONFIG_COUNT]; /* NULL: any */
};

bool choice_takes(const struct choice *choice, const struct section *section,
		  const struct result *row);

/* Both return how many rows there were. */
size_t table_markdown(FILE *out, const struct section *section, const struct choice *choice);
size_t table_html(FILE *out, const struct section *section, const struct choice *choice);

/* "12.3", "1234": three digits, or all before the point. */
const char *number_text(double value, char *text, size_t bytes);

/* Text with what HTML reads as markup written otherwise. */
void html_text(FILE *out, const char *text);

/* What of a row's configuration differs within the section: "inline central", or "". */
const char *row_label(const struct section *section, const struct result *row, char *text,
		      size_t bytes);

#endif
