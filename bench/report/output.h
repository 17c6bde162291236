/* SPDX-License-Identifier: Apache-2.0 */
/* What the report writes: a page, tables, and the tables of a document in place. */
#ifndef PERGOLA_BENCH_REPORT_OUTPUT_H
#define PERGOLA_BENCH_REPORT_OUTPUT_H

#include "results.h"

#include <stdio.h>

/* One HTML page that needs nothing else: style and charts stand in it. */
void page_write(FILE *out, const struct results *results);

/* Every section as a Markdown table below a heading. */
void markdown_write(FILE *out, const struct results *results);

/*
 * Replaces what stands between
 *
 *	<!-- bench: PROGRAM NODES [KEY=VALUE...] [PREFIX...] -->   and   <!-- bench end -->
 *
 * in the document at `path` by the table of that program on so many nodes: the rows whose names
 * begin with one of the prefixes ("read$": are just that), of the configurations that have the
 * values. `bench: machine` is a line that says where and when. A block of which there are no
 *results stays as it is, and is named on standard error. Returns 0; -1 after a line on standard
 *error: the document cannot be read or written (it is then as it was), or a block does not end.
 */
int document_update(const char *path, const struct results *results);

/* "2 processors at 2596 MHz, Linux 6.18.44, 2026-11-22, 9 files" */
const char *machine_text(const struct results *results, char *text, size_t bytes);

#endif
