/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_report: the benchmarks' JSON files as a page, as tables, or into a document.
 *
 *	bench_report [--html FILE] [--markdown] [--update DOCUMENT] FILE.json...
 *
 * Without an option: --markdown, on standard output. Exit status 0; 1 when a file is not as it
 * should be (nothing is written then); 2 for the command line.
 */
#include "output.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

struct wishes {
	const char *html;
	const char *document;
	bool markdown;
};

static int usage(void)
{
	fputs("usage: bench_report [--html FILE] [--markdown] [--update DOCUMENT] FILE.json...\n",
	      stderr);
	return 2;
}

static bool parse(int argc, char **argv, struct wishes *wishes)
{
	static const struct option options[] = {
		{ "html", required_argument, NULL, 'h' },
		{ "markdown", no_argument, NULL, 'm' },
		{ "update", required_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h')
			wishes->html = optarg;
		else if (option == 'm')
			wishes->markdown = true;
		else if (option == 'u')
			wishes->document = optarg;
		else
			return false;
	}
	if (wishes->html == NULL && wishes->document == NULL)
		wishes->markdown = true;
	return optind < argc;
}

static int write_page(const char *path, const struct results *results)
{
	FILE *out = fopen(path, "w");

	if (out != NULL)
		page_write(out, results);
	if (out != NULL && !ferror(out) && fclose(out) == 0)
		return 0;
	fprintf(stderr, "bench_report: %s: %s\n", path, strerror(errno));
	return -1;
}

static int write_all(const struct wishes *wishes, const struct results *results)
{
	int error = 0;

	if (wishes->html != NULL)
		error = write_page(wishes->html, results);
	if (error == 0 && wishes->document != NULL)
		error = document_update(wishes->document, results);
	if (error == 0 && wishes->markdown) {
		markdown_write(stdout, results);
		error = fflush(stdout) == 0 ? 0 : -1;
	}
	return error;
}

int main(int argc, char **argv)
{
	struct wishes wishes = { 0 };
	struct results results = { 0 };
	int error = 0;

	if (!parse(argc, argv, &wishes))
		return usage();
	for (int i = optind; i < argc; i++) {
		if (results_load(&results, argv[i]) != 0)
			error = -1; /* the others' errors are worth knowing too */
	}
	if (error == 0)
		error = write_all(&wishes, &results);
	results_free(&results);
	return error == 0 ? 0 : 1;
}
