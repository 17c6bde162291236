/* SPDX-License-Identifier: Apache-2.0 */
/* The word rule, the private table, and the two ways of finding words. */
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES_FIRST 1024u
#define BLOCK_BYTES (256u << 10)
#define READ_BYTES (64u << 10)

struct word_rule word_rule(bool fold)
{
	struct word_rule rule = { { 0 } };

	for (unsigned int c = 0; c < 256; c++) {
		bool capital = c >= 'A' && c <= 'Z';
		bool other = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;

		if (capital || other)
			rule.map[c] = (unsigned char)(capital && fold ? c - 'A' + 'a' : c);
	}
	return rule;
}

static unsigned char mapped(const struct word_rule *rule, char c)
{
	return rule->map[(unsigned char)c];
}

uint64_t word_hash(const struct word_rule *rule, const char *text, size_t length)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ mapped(rule, text[i])) * UINT64_C(0x100000001b3);
	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

bool word_table_init(struct word_table *table)
{
	*table = (struct word_table){ .place_count = PLACES_FIRST };
	table->place = calloc(table->place_count, sizeof(*table->place));
	return table->place != NULL;
}

void word_table_fini(struct word_table *table)
{
	while (table->blocks != NULL) {
		struct word_block *next = table->blocks->next;

		free(table->blocks);
		table->blocks = next;
	}
	free(table->place);
	*table = (struct word_table){ .place = NULL };
}

/* Bytes of the table's own, or NULL. */
static char *take_bytes(struct word_table *table, size_t length)
{
	struct word_block *block = table->blocks;

	if (block == NULL || block->size - block->used < length) {
		size_t size = length > BLOCK_BYTES ? length : BLOCK_BYTES;

		block = malloc(sizeof(*block) + size);
		if (block == NULL)
			return NULL;
		*block = (struct word_block){ .next = table->blocks, .size = size };
		table->blocks = block;
	}
	block->used += length;
	return block->bytes + block->used - length;
}

static bool grow(struct word_table *table)
{
	size_t count = 2 * table->place_count;
	struct word *place = calloc(count, sizeof(*place));

	if (place == NULL)
		return false;
	for (size_t i = 0; i < table->place_count; i++) {
		const struct word *word = &table->place[i];
		size_t at = word->hash & (count - 1);

		if (word->count == 0)
			continue;
		while (place[at].count != 0)
			at = (at + 1) & (count - 1);
		place[at] = *word;
	}
	free(table->place);
	table->place = place;
	table->place_count = count;
	return true;
}

static bool same_word(const struct word *word, uint64_t hash, const struct word_rule *rule,
		      const char *text, size_t length)
{
	if (word->hash != hash || word->length != length)
		return false;
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)word->text[i] != mapped(rule, text[i]))
			return false;
	}
	return true;
}

static bool add_new(struct word_table *table, struct word *place, uint64_t hash,
		    const struct word_rule *rule, const char *text, size_t length)
{
	char *copy = take_bytes(table, length);

	if (copy == NULL)
		return false;
	for (size_t i = 0; i < length; i++)
		copy[i] = (char)mapped(rule, text[i]);
	*place = (struct word){ .hash = hash, .count = 1, .text = copy, .length = length };
	table->total++;
	table->word_count++;
	return 2 * table->word_count <= table->place_count || grow(table);
}

bool word_table_add(struct word_table *table, const struct word_rule *rule, const char *text,
		    size_t length)
{
	uint64_t hash = word_hash(rule, text, length);
	size_t at = hash & (table->place_count - 1);

	for (; table->place[at].count != 0; at = (at + 1) & (table->place_count - 1)) {
		if (!same_word(&table->place[at], hash, rule, text, length))
			continue;
		table->place[at].count++;
		table->total++;
		return true;
	}
	return add_new(table, &table->place[at], hash, rule, text, length);
}

const struct word *word_table_find(const struct word_table *table, uint64_t hash, const char *text,
				   size_t length)
{
	size_t at = hash & (table->place_count - 1);

	for (; table->place[at].count != 0; at = (at + 1) & (table->place_count - 1)) {
		const struct word *word = &table->place[at];

		if (word->hash == hash && word->length == length &&
		    memcmp(word->text, text, length) == 0)
			return word;
	}
	return NULL;
}

bool word_table_scan(struct word_table *table, const struct word_rule *rule, const char *text,
		     size_t bytes, size_t first, size_t last)
{
	size_t at = first;

	if (first >= last)
		return true;
	if (first > 0 && mapped(rule, text[first - 1]) != 0) {
		while (at < last && mapped(rule, text[at]) != 0)
			at++;
	}
	while (at < last) {
		size_t begin = at;

		while (at < bytes && mapped(rule, text[at]) != 0)
			at++;
		if (at > begin && !word_table_add(table, rule, text + begin, at - begin))
			return false;
		at++;
	}
	return true;
}

/* A word as it grows, a byte at a time. */
struct growing {
	char *text;
	size_t length;
	size_t size;
};

static bool append(struct growing *word, char c)
{
	if (word->length == word->size) {
		size_t size = word->size == 0 ? 64 : 2 * word->size;
		char *text = realloc(word->text, size);

		if (text == NULL)
			return false;
		word->text = text;
		word->size = size;
	}
	word->text[word->length++] = c;
	return true;
}

static bool end_word(struct word_table *table, const struct word_rule *rule, struct growing *word)
{
	bool ok = word->length == 0 || word_table_add(table, rule, word->text, word->length);

	word->length = 0;
	return ok;
}

static int read_words(struct word_table *table, const struct word_rule *rule, int fd, char *buffer,
		      struct growing *word)
{
	ssize_t got = 0;

	while ((got = read(fd, buffer, READ_BYTES)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		for (ssize_t i = 0; i < got; i++) {
			bool ok = mapped(rule, buffer[i]) != 0 ? append(word, buffer[i])
							       : end_word(table, rule, word);

			if (!ok)
				return ENOMEM;
		}
	}
	return end_word(table, rule, word) ? 0 : ENOMEM;
}

int word_table_read(struct word_table *table, const struct word_rule *rule, const char *path)
{
	struct growing word = { .text = NULL };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	char *buffer = malloc(READ_BYTES);
	int error = buffer == NULL ? ENOMEM : read_words(table, rule, fd, buffer, &word);
	free(buffer);
	free(word.text);
	(void)close(fd);
	return error;
}
