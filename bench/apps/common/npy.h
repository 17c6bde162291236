/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrices in NumPy's .npy files: two dimensions, float64, little-endian, C order; format versions
 * 1.0, 2.0 and 3.0 are read, 1.0 is written (NumPy Enhancement Proposal 1, "A simple file format
 * for NumPy arrays"; numpy.lib.format). Bytes move by read(2) and write(2) straight from and to the
 * caller's memory, which may be shared memory.
 *
 * Errors: functions return 0 or APP_BAD_INPUT with a sentence that names the file and the cause.
 */
#ifndef APPS_COMMON_NPY_H
#define APPS_COMMON_NPY_H

#include "app.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of a header's dictionary at most; NumPy's own are below 200. */
#define NPY_HEADER_MAX 65536u

/* What stands before the data: magic, version, length, dictionary. */
struct npy_header {
	size_t rows;
	size_t cols;
	uint64_t data_offset; /* bytes from the start of the file */
};

/* A file opened for reading or writing, at the next element. */
struct npy_file {
	int fd;
	const char *path; /* the caller's */
	size_t rows;
	size_t cols;
};

/*
 * Parses the first `size` bytes of a file of `file_bytes` bytes in all (size is the smaller of
 * file_bytes and the header's maximum). The data must end where the file ends. The text does not
 * name the file.
 */
int npy_header_parse(const unsigned char *bytes, size_t size, uint64_t file_bytes,
		     struct npy_header *out, struct app_error *error);

int npy_open(struct npy_file *file, const char *path, struct app_error *error);
int npy_create(struct npy_file *file, const char *path, size_t rows, size_t cols,
	       struct app_error *error);

/* The next `count` elements. */
int npy_read(struct npy_file *file, double *to, size_t count, struct app_error *error);
int npy_write(struct npy_file *file, const double *from, size_t count, struct app_error *error);

/* Also says whether what was written has reached the file. */
int npy_close(struct npy_file *file, struct app_error *error);

#endif
