/* SPDX-License-Identifier: Apache-2.0 */
/* Markdown: all tables, or the tables of a document in place. */
#include "output.h"

#include "table.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK_BEGIN "<!-- bench: "
#define BLOCK_CLOSE "-->"
#define BLOCK_END "<!-- bench end -->"
#define WORDS_MAX 32u
#define LINE_BYTES 4096

const char *machine_text(const struct results *results, char *text, size_t bytes)
{
	const struct machine *machine = &results->machine;
	const char *kernel = machine->kernel == NULL ? "" : machine->kernel;
	const char *date = machine->date == NULL ? "" : machine->date;

	snprintf(text, bytes, "%.0f processors at %.0f MHz, Linux %.*s, %.10s, %zu file%s",
		 machine->processors, machine->mhz, (int)strcspn(kernel, "-"), kernel, date,
		 results->file_count, results->file_count == 1 ? "" : "s");
	return text;
}

void markdown_write(FILE *out, const struct results *results)
{
	const struct choice all = { 0 };
	char machine[256];
	size_t count;
	struct section *sections = sections_make(results, &count);

	fprintf(out, "%s\n", machine_text(results, machine, sizeof(machine)));
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "\n### %s, %s node%s\n\n", sections[i].program, sections[i].nodes,
			strcmp(sections[i].nodes, "1") == 0 ? "" : "s");
		table_markdown(out, &sections[i], &all);
	}
	sections_free(sections, count);
}

/* ---- one block ---- */

static void add_want(struct choice *choice, const char *word, const char *equals)
{
	for (int key = 0; key < CONFIG_COUNT; key++) {
		if (strncmp(word, config_names[key], (size_t)(equals - word)) == 0 &&
		    config_names[key][equals - word] == '\0')
			choice->wants[key] = equals + 1;
	}
}

/* Writes the table that a block's words ask for. False: there are no such results. */
static bool write_asked(FILE *out, const struct results *results, char *const *words, size_t count)
{
	const char *prefixes[WORDS_MAX];
	struct choice choice = { .prefixes = prefixes };
	size_t section_count;
	struct section *sections = sections_make(results, &section_count);
	size_t rows = 0;

	for (size_t i = 2; i < count; i++) {
		const char *equals = strchr(words[i], '=');

		if (equals != NULL)
			add_want(&choice, words[i], equals);
		else
			prefixes[choice.prefix_count++] = words[i];
	}
	for (size_t i = 0; count > 1 && i < section_count; i++) {
		if (strcmp(sections[i].program, words[0]) == 0 &&
		    strcmp(sections[i].nodes, words[1]) == 0)
			rows = table_markdown(out, &sections[i], &choice);
	}
	sections_free(sections, section_count);
	return rows > 0;
}

/* `begin` is the line that opens the block. */
static bool write_block(FILE *out, const struct results *results, const char *begin)
{
	char line[LINE_BYTES];
	char *words[WORDS_MAX];
	char *rest = line;
	size_t count = 0;

	snprintf(line, sizeof(line), "%s", begin + strlen(BLOCK_BEGIN));
	*strstr(line, BLOCK_CLOSE) = '\0';
	for (char *word; count < WORDS_MAX && (word = strtok_r(rest, " ", &rest)) != NULL;)
		words[count++] = word;
	if (count == 1 && strcmp(words[0], "machine") == 0) {
		char text[256];

		fprintf(out, "Taken on %s.\n", machine_text(results, text, sizeof(text)));
		return true;
	}
	return write_asked(out, results, words, count);
}

/* ---- the document ---- */

static bool opens_block(const char *line)
{
	return strncmp(line, BLOCK_BEGIN, strlen(BLOCK_BEGIN)) == 0 &&
	       strstr(line, BLOCK_CLOSE) != NULL;
}

static bool ends_block(const char *line)
{
	return strncmp(line, BLOCK_END, strlen(BLOCK_END)) == 0;
}

/* The old lines up to the end of the block; `out` is NULL: they are dropped. */
static bool pass_block(FILE *in, FILE *out, unsigned long *line_number)
{
	char line[LINE_BYTES];

	while (fgets(line, sizeof(line), in) != NULL) {
		++*line_number;
		if (ends_block(line))
			return true;
		if (opens_block(line))
			return false;
		if (out != NULL)
			fputs(line, out);
	}
	return false;
}

/* Returns 0, or the number of the line that opens a block without end. */
static unsigned long rewrite(FILE *in, FILE *out, const struct results *results, const char *path)
{
	char line[LINE_BYTES];
	unsigned long line_number = 0;

	while (fgets(line, sizeof(line), in) != NULL) {
		unsigned long opened = ++line_number;

		fputs(line, out);
		if (!opens_block(line))
			continue;
		bool written = write_block(out, results, line);

		if (!written)
			fprintf(stderr, "bench_report: %s: line %lu stays: no such results\n", path,
				opened);
		if (!pass_block(in, written ? NULL : out, &line_number))
			return opened;
		fputs(BLOCK_END "\n", out);
	}
	return 0;
}

static int complain(const char *path)
{
	fprintf(stderr, "bench_report: %s: %s\n", path, strerror(errno));
	return -1;
}

/* The new document takes the old one's place only when all of it is written. */
static int replace(const char *path, const char *text, size_t bytes)
{
	char beside[PATH_MAX];
	struct stat old;

	snprintf(beside, sizeof(beside), "%s.new", path);
	FILE *out = fopen(beside, "w");
	if (out == NULL)
		return complain(beside);
	bool good = fwrite(text, 1, bytes, out) == bytes;

	good = fclose(out) == 0 && good;
	good = good && stat(path, &old) == 0 && chmod(beside, old.st_mode & 0777) == 0;
	good = good && rename(beside, path) == 0;
	if (good)
		return 0;
	complain(path);
	remove(beside);
	return -1;
}

int document_update(const char *path, const struct results *results)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	size_t bytes = 0;

	if (in == NULL)
		return complain(path);
	FILE *out = open_memstream(&text, &bytes);
	if (out == NULL) {
		fclose(in);
		return complain(path);
	}
	unsigned long open = rewrite(in, out, results, path);
	int error = 0;

	fclose(in);
	fclose(out);
	if (open != 0) {
		fprintf(stderr, "bench_report: %s: line %lu: no \"" BLOCK_END "\" follows\n", path,
			open);
		error = -1;
	} else {
		error = replace(path, text, bytes);
	}
	free(text);
	return error;
}
