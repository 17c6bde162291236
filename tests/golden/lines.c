/* SPDX-License-Identifier: Apache-2.0 */
/* Owns texts as lines, and the difference of two: a longest common subsequence. */
#include "golden.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

void lines_split(struct lines *lines, char *text)
{
	size_t count = 0;

	for (const char *c = text; *c != '\0'; c++)
		count += *c == '\n';
	*lines = (struct lines){ .text = text, .at = malloc((count + 1) * sizeof(char *)) };
	ASSERT(lines->at != NULL);
	for (char *next = text; lines->count < count; lines->count++) {
		lines->at[lines->count] = next;
		next = strchr(next, '\n');
		*next++ = '\0';
	}
}

void lines_read(struct lines *lines, const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t bytes = 0;

	/* All of it, whatever is in it. */
	if (file == NULL || getdelim(&text, &bytes, '\0', file) < 0) {
		perror(path);
		exit(2);
	}
	fclose(file);
	lines_split(lines, text);
}

void lines_free(struct lines *lines)
{
	free(lines->text);
	free(lines->at);
}

/* length[i * (b + 1) + j]: of what the rest of both, from i and j on, has in common. */
static unsigned int *common(const struct lines *a, const struct lines *b)
{
	size_t stride = b->count + 1;
	unsigned int *length = calloc((a->count + 1) * stride, sizeof(*length));

	ASSERT(length != NULL);
	for (size_t i = a->count; i-- > 0;) {
		for (size_t j = b->count; j-- > 0;) {
			unsigned int *at = &length[i * stride + j];

			if (strcmp(a->at[i], b->at[j]) == 0)
				*at = at[stride + 1] + 1;
			else
				*at = at[stride] > at[1] ? at[stride] : at[1];
		}
	}
	return length;
}

bool lines_compare(const char *path, const struct lines *expected, const struct lines *came)
{
	unsigned int *length = common(expected, came);
	size_t stride = came->count + 1;
	size_t i = 0;
	size_t j = 0;
	bool same = true;

	while (i < expected->count || j < came->count) {
		const unsigned int *at = &length[i * stride + j];

		if (i < expected->count && j < came->count &&
		    strcmp(expected->at[i], came->at[j]) == 0) {
			i++;
			j++;
			continue;
		}
		same = false;
		if (j == came->count || (i < expected->count && at[stride] >= at[1])) {
			printf("%s:%zu: -%s\n", path, i + 1, expected->at[i]);
			i++;
		} else {
			printf("%s:%zu: +%s\n", path, i + 1, came->at[j]);
			j++;
		}
	}
	free(length);
	return same;
}
