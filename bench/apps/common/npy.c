/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The .npy reader and writer. The header's dictionary is a Python literal; the scanner below knows
 * just the part of that language that numpy.lib.format writes: strings, True and False, tuples of
 * whole numbers.
 */
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are used as they are read");
_Static_assert(sizeof(double) == 8, "float64");

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6u
#define PREAMBLE_BYTES_MAX 12u /* magic, version, 4-byte length */
#define TEXT_MAX 32u

/* The unread part of the dictionary. */
struct scan {
	const char *at;
	const char *end;
};

/* What the dictionary said; each key comes once. */
struct fields {
	bool has_descr;
	bool has_order;
	bool has_shape;
	char descr[TEXT_MAX];
	bool fortran;
	size_t dimensions;
	uint64_t shape[2];
};

static void skip_blanks(struct scan *scan)
{
	while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n'))
		scan->at++;
}

static bool take(struct scan *scan, char c)
{
	skip_blanks(scan);
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

static bool take_word(struct scan *scan, const char *word)
{
	size_t length = strlen(word);

	skip_blanks(scan);
	if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
		return false;
	scan->at += length;
	return true;
}

/* A quoted string without escapes, shorter than TEXT_MAX. */
static bool take_string(struct scan *scan, char text[TEXT_MAX])
{
	skip_blanks(scan);
	if (scan->at == scan->end || (*scan->at != '\'' && *scan->at != '"'))
		return false;
	char quote = *scan->at++;
	size_t length = 0;
	while (scan->at < scan->end && *scan->at != quote) {
		if (*scan->at == '\\' || length == TEXT_MAX - 1)
			return false;
		text[length++] = *scan->at++;
	}
	text[length] = '\0';
	return take(scan, quote);
}

static bool take_number(struct scan *scan, uint64_t *out)
{
	uint64_t value = 0;

	skip_blanks(scan);
	const char *start = scan->at;
	for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++) {
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*scan->at - '0'), &value))
			return false;
	}
	*out = value;
	return scan->at != start;
}

/* "(3, 4)", "(3,)", "()". Dimensions past the second are counted, not kept. */
static bool take_shape(struct scan *scan, struct fields *fields)
{
	if (!take(scan, '('))
		return false;
	while (!take(scan, ')')) {
		uint64_t length = 0;

		if (!take_number(scan, &length))
			return false;
		if (fields->dimensions < 2)
			fields->shape[fields->dimensions] = length;
		fields->dimensions++;
		if (!take(scan, ','))
			return take(scan, ')');
	}
	return true;
}

static bool take_value(struct scan *scan, const char *key, struct fields *fields)
{
	if (strcmp(key, "descr") == 0 && !fields->has_descr) {
		fields->has_descr = true;
		return take_string(scan, fields->descr);
	}
	if (strcmp(key, "fortran_order") == 0 && !fields->has_order) {
		fields->has_order = true;
		fields->fortran = take_word(scan, "True");
		return fields->fortran || take_word(scan, "False");
	}
	if (strcmp(key, "shape") == 0 && !fields->has_shape) {
		fields->has_shape = true;
		return take_shape(scan, fields);
	}
	return false;
}

/* The whole dictionary, padded with blanks and a newline. */
static bool take_dictionary(struct scan *scan, struct fields *fields)
{
	char key[TEXT_MAX];

	if (!take(scan, '{'))
		return false;
	while (!take(scan, '}')) {
		if (!take_string(scan, key) || !take(scan, ':') || !take_value(scan, key, fields))
			return false;
		if (take(scan, ','))
			continue;
		if (!take(scan, '}'))
			return false;
		break;
	}
	skip_blanks(scan);
	return scan->at == scan->end && fields->has_descr && fields->has_order && fields->has_shape;
}

static int check_fields(const struct fields *fields, struct app_error *error)
{
	if (strcmp(fields->descr, "<f8") != 0)
		return app_error_set(error, "dtype '%s' is not little-endian float64 ('<f8')",
				     fields->descr);
	if (fields->fortran)
		return app_error_set(error, "Fortran order: write it with numpy.ascontiguousarray");
	if (fields->dimensions != 2)
		return app_error_set(error, "%zu dimension%s, but a matrix has 2",
				     fields->dimensions, fields->dimensions == 1 ? "" : "s");
	if (fields->shape[0] == 0 || fields->shape[1] == 0)
		return app_error_set(error, "empty matrix, shape (%llu, %llu)",
				     (unsigned long long)fields->shape[0],
				     (unsigned long long)fields->shape[1]);
	return 0;
}

static int check_size(const struct fields *fields, uint64_t data_bytes, struct app_error *error)
{
	unsigned long long rows = fields->shape[0];
	unsigned long long cols = fields->shape[1];
	unsigned long long bytes = 0;

	if (__builtin_mul_overflow(rows, cols, &bytes) ||
	    __builtin_mul_overflow(bytes, sizeof(double), &bytes) || bytes > SIZE_MAX / 2)
		return app_error_set(error, "shape (%llu, %llu) is more bytes than can be counted",
				     rows, cols);
	if (bytes > data_bytes)
		return app_error_set(error,
				     "truncated: shape (%llu, %llu) needs %llu bytes of "
				     "data, there are %llu",
				     rows, cols, bytes, (unsigned long long)data_bytes);
	if (bytes < data_bytes)
		return app_error_set(error,
				     "%llu bytes too many after the data of shape "
				     "(%llu, %llu)",
				     (unsigned long long)data_bytes - bytes, rows, cols);
	return 0;
}

/* Where the dictionary stands: [*start, *start + *length). */
static int parse_preamble(const unsigned char *bytes, size_t size, uint64_t file_bytes,
			  size_t *start, size_t *length, struct app_error *error)
{
	if (size < MAGIC_BYTES + 2 || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
		return app_error_set(error, "not a .npy file (no \\x93NUMPY at its start)");
	unsigned int major = bytes[MAGIC_BYTES];
	unsigned int minor = bytes[MAGIC_BYTES + 1];
	if (major < 1 || major > 3 || minor != 0)
		return app_error_set(error, ".npy version %u.%u is not 1.0, 2.0 or 3.0", major,
				     minor);
	size_t length_bytes = major == 1 ? 2 : 4;
	*start = MAGIC_BYTES + 2 + length_bytes;
	if (size < *start)
		return app_error_set(error, "truncated in the header");
	*length = 0;
	for (size_t i = 0; i < length_bytes; i++)
		*length |= (size_t)bytes[MAGIC_BYTES + 2 + i] << (8 * i);
	if (*length > file_bytes - *start)
		return app_error_set(error, "the header claims %zu bytes, more than the file has",
				     *length);
	if (*length > NPY_HEADER_MAX || *length > size - *start)
		return app_error_set(error, "the header has %zu bytes, at most %u are read",
				     *length, NPY_HEADER_MAX);
	return 0;
}

int npy_header_parse(const unsigned char *bytes, size_t size, uint64_t file_bytes,
		     struct npy_header *out, struct app_error *error)
{
	size_t start = 0;
	size_t length = 0;
	struct fields fields = { 0 };

	if (file_bytes == 0)
		return app_error_set(error, "empty file");
	int status = parse_preamble(bytes, size, file_bytes, &start, &length, error);
	if (status != 0)
		return status;
	struct scan scan = { (const char *)bytes + start, (const char *)bytes + start + length };
	if (!take_dictionary(&scan, &fields))
		return app_error_set(error, "the header is not a dictionary of descr, "
					    "fortran_order and shape");
	status = check_fields(&fields, error);
	if (status == 0)
		status = check_size(&fields, file_bytes - start - length, error);
	if (status != 0)
		return status;
	*out = (struct npy_header){ .rows = (size_t)fields.shape[0],
				    .cols = (size_t)fields.shape[1],
				    .data_offset = start + length };
	return 0;
}

static int prefix_path(const char *path, struct app_error *error)
{
	struct app_error cause = *error;

	return app_error_set(error, "%s: %.380s", path, cause.text);
}

/* Reads until `bytes` are there or the file ends; returns how many, or -1 (errno). */
static ssize_t read_full(int fd, void *to, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t got = read(fd, (char *)to + done, bytes - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int read_header(struct npy_file *file, uint64_t file_bytes, struct app_error *error)
{
	size_t limit = PREAMBLE_BYTES_MAX + NPY_HEADER_MAX;
	size_t size = file_bytes < limit ? (size_t)file_bytes : limit;
	unsigned char *bytes = malloc(limit);
	struct npy_header header;

	if (bytes == NULL)
		return app_error_set(error, "no memory for the header");
	int status = 0;
	if (read_full(file->fd, bytes, size) != (ssize_t)size)
		status = app_error_set(error, "cannot be read: %s", strerror(errno));
	if (status == 0)
		status = npy_header_parse(bytes, size, file_bytes, &header, error);
	free(bytes);
	if (status != 0)
		return status;
	file->rows = header.rows;
	file->cols = header.cols;
	if (lseek(file->fd, (off_t)header.data_offset, SEEK_SET) < 0)
		return app_error_set(error, "cannot be read: %s", strerror(errno));
	return 0;
}

int npy_open(struct npy_file *file, const char *path, struct app_error *error)
{
	struct stat info;

	*file = (struct npy_file){ .fd = open(path, O_RDONLY | O_CLOEXEC), .path = path };
	if (file->fd < 0)
		return app_error_set(error, "%s: %s", path, strerror(errno));
	int status = 0;
	if (fstat(file->fd, &info) != 0 || !S_ISREG(info.st_mode))
		status = app_error_set(error, "not a regular file");
	if (status == 0)
		status = read_header(file, (uint64_t)info.st_size, error);
	if (status == 0)
		return 0;
	(void)close(file->fd);
	file->fd = -1;
	return prefix_path(path, error);
}

int npy_read(struct npy_file *file, double *to, size_t count, struct app_error *error)
{
	ssize_t got = read_full(file->fd, to, count * sizeof(*to));

	if (got == (ssize_t)(count * sizeof(*to)))
		return 0;
	if (got < 0)
		return app_error_set(error, "%s: %s", file->path, strerror(errno));
	return app_error_set(error, "%s: became shorter while it was read", file->path);
}

static int write_full(struct npy_file *file, const void *from, size_t bytes,
		      struct app_error *error)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t put = write(file->fd, (const char *)from + done, bytes - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return app_error_set(error, "%s: %s", file->path, strerror(errno));
		done += (size_t)put;
	}
	return 0;
}

int npy_create(struct npy_file *file, const char *path, size_t rows, size_t cols,
	       struct app_error *error)
{
	char header[128];
	char dictionary[112];

	*file = (struct npy_file){ .path = path, .rows = rows, .cols = cols };
	file->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (file->fd < 0)
		return app_error_set(error, "%s: %s", path, strerror(errno));
	(void)snprintf(dictionary, sizeof(dictionary),
		       "{'descr': '<f8', 'fortran_order': False, 'shape': (%zu, %zu), }", rows,
		       cols);
	/* 10 bytes of preamble and 118 of dictionary, the last a newline: a multiple of 64. */
	memset(header, ' ', sizeof(header));
	memcpy(header, MAGIC "\x01\x00\x76\x00", 10);
	memcpy(header + 10, dictionary, strlen(dictionary));
	header[127] = '\n';
	int status = write_full(file, header, sizeof(header), error);
	if (status != 0)
		(void)close(file->fd);
	return status;
}

int npy_write(struct npy_file *file, const double *from, size_t count, struct app_error *error)
{
	return write_full(file, from, count * sizeof(*from), error);
}

int npy_close(struct npy_file *file, struct app_error *error)
{
	if (close(file->fd) == 0)
		return 0;
	return app_error_set(error, "%s: %s", file->path, strerror(errno));
}
