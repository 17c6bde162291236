/* SPDX-License-Identifier: Apache-2.0 */
/*
 * golden: traces of the coherence protocol, compared line by line.
 *
 *   golden FILE...             exit status 1, and what differs with file and line, if one does
 *   golden --record FILE...    writes into each what comes of its script now
 */
#include "golden.h"

#include <stdlib.h>
#include <string.h>

static bool write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
		perror(path);
		return false;
	}
	return true;
}

static bool run(const char *path, bool record)
{
	struct lines expected;
	struct lines came;
	bool good;

	lines_read(&expected, path);
	char *text = script_play(path, &expected);

	if (text == NULL) {
		good = false;
	} else if (record) {
		good = write_file(path, text);
		free(text);
	} else {
		lines_split(&came, text);
		good = lines_compare(path, &expected, &came);
		lines_free(&came);
	}
	lines_free(&expected);
	return good;
}

int main(int argc, char **argv)
{
	bool record = argc > 1 && strcmp(argv[1], "--record") == 0;
	int first = record ? 2 : 1;
	bool good = true;

	if (argc <= first || argv[first][0] == '-') {
		fprintf(stderr, "usage: golden [--record] FILE...\n");
		return 2;
	}
	for (int i = first; i < argc; i++)
		good = run(argv[i], record) && good;
	if (good)
		printf("%d traces\n", argc - first);
	return good ? 0 : 1;
}
