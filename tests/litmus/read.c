/* SPDX-License-Identifier: Apache-2.0 */
/* Litmus files on disk: what is SB is in SB.litmus. */
#include "litmus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX ".litmus"

static int fail(struct litmus_error *error, const char *path, const char *what, int status)
{
	snprintf(error->text, sizeof(error->text), "%s: %s%s%s", path, what,
		 status == -EINVAL ? "" : ": ", status == -EINVAL ? "" : strerror(-status));
	return status;
}

/* The file's name is the test's, so that no name is there twice in one folder. */
static int check_name(const struct litmus_test *test, struct litmus_error *error)
{
	const char *slash = strrchr(test->path, '/');
	const char *base = slash == NULL ? test->path : slash + 1;
	size_t length = strlen(test->name);

	if (strncmp(base, test->name, length) == 0 && strcmp(base + length, SUFFIX) == 0)
		return 0;
	snprintf(error->text, sizeof(error->text),
		 "%s:1: the test is %s, so the file is to be %s%s", test->path, test->name,
		 test->name, SUFFIX);
	return -EINVAL;
}

/* Fowler, Noll and Vo's. */
static uint64_t hash(const char *text, size_t bytes)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < bytes; i++)
		value = (value ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return value;
}

static int parse_stream(FILE *stream, const char *path, char *text, struct litmus_test *test,
			struct litmus_error *error)
{
	size_t bytes = fread(text, 1, LITMUS_FILE_BYTES_MAX + 1, stream);
	int status;

	if (ferror(stream) != 0)
		return fail(error, path, "cannot be read", -EIO);
	if (bytes > LITMUS_FILE_BYTES_MAX)
		return fail(error, path, "is larger than a litmus file may be (64 KiB)", -EINVAL);
	status = litmus_parse(path, text, bytes, test, error);
	test->hash = hash(text, bytes);
	return status != 0 ? status : check_name(test, error);
}

int litmus_read(const char *path, struct litmus_test *test, struct litmus_error *error)
{
	FILE *stream = fopen(path, "rb");
	char *text;
	int status;

	if (stream == NULL)
		return fail(error, path, "cannot be opened", -errno);
	text = malloc(LITMUS_FILE_BYTES_MAX + 1);
	status = text == NULL ? fail(error, path, "cannot be read", -ENOMEM)
			      : parse_stream(stream, path, text, test, error);
	free(text);
	fclose(stream);
	return status;
}
