/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words and counts of them in private memory.
 *
 * A word is a longest run of ASCII letters and digits and bytes of 0x80 and above (so that UTF-8
 * letters are not torn; what the bytes mean is not asked).
 */
#ifndef APPS_WORDCOUNT_WORDS_H
#define APPS_WORDCOUNT_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For each byte: 0 if it is no part of a word, else how it is counted. */
struct word_rule {
	unsigned char map[256];
};

struct word {
	uint64_t hash;
	uint64_t count; /* 0: a free place */
	char *text;	/* `length` bytes, mapped by the rule; the table's */
	size_t length;
};

/* A block of bytes that words are copied to. */
struct word_block {
	struct word_block *next;
	size_t used;
	size_t size;
	char bytes[];
};

/* Open addressing; the number of places is a power of two, at most half of them taken. */
struct word_table {
	struct word *place;
	size_t place_count;
	size_t word_count;
	uint64_t total; /* sum of all counts */
	struct word_block *blocks;
};

/* `fold`: ASCII capitals are counted as small letters. */
struct word_rule word_rule(bool fold);

/* A hash of `length` bytes as the rule maps them (FNV-1a, then mixed). */
uint64_t word_hash(const struct word_rule *rule, const char *text, size_t length);

bool word_table_init(struct word_table *table);
void word_table_fini(struct word_table *table);

/* Adds one to a word, which it copies when it is new. false: no memory. */
bool word_table_add(struct word_table *table, const struct word_rule *rule, const char *text,
		    size_t length);

/* The word's place, or NULL. `text` is mapped already. */
const struct word *word_table_find(const struct word_table *table, uint64_t hash, const char *text,
				   size_t length);

/*
 * Counts the words that begin within [first, last) of text[0 .. bytes): those that reach over
 * `last` are counted whole, the rest of one that began before `first` not at all. false: no memory.
 */
bool word_table_scan(struct word_table *table, const struct word_rule *rule, const char *text,
		     size_t bytes, size_t first, size_t last);

/*
 * Counts the words of a file, read in blocks: the independent, serial way. Returns 0, or a positive
 * errno (ENOMEM: no memory).
 */
int word_table_read(struct word_table *table, const struct word_rule *rule, const char *path);

#endif
