/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words: the rule, texts cut into shares anywhere, the file reader, and the merged table, against
 * each other and against counts made by hand.
 */
#include "wordcount/stripe.h"
#include "wordcount/words.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t count_of(const struct word_table *table, const struct word_rule *rule,
			 const char *text)
{
	const struct word *word =
		word_table_find(table, word_hash(rule, text, strlen(text)), text, strlen(text));

	return word == NULL ? 0 : word->count;
}

static void scan_all(struct word_table *table, const struct word_rule *rule, const char *text)
{
	assert_true(word_table_init(table));
	assert_true(word_table_scan(table, rule, text, strlen(text), 0, strlen(text)));
}

static void test_rule(void **state)
{
	struct word_rule rule = word_rule(false);
	struct word_table table;

	(void)state;
	scan_all(&table, &rule, "The the\tthe,na\xc3\xafve-x1_x1\n\n(42) the");
	assert_int_equal(table.total, 8);
	assert_int_equal(table.word_count, 5);
	assert_int_equal(count_of(&table, &rule, "the"), 3);
	assert_int_equal(count_of(&table, &rule, "The"), 1);
	assert_int_equal(count_of(&table, &rule, "na\xc3\xafve"), 1);
	assert_int_equal(count_of(&table, &rule, "x1"), 2);
	assert_int_equal(count_of(&table, &rule, "42"), 1);
	assert_int_equal(count_of(&table, &rule, "4"), 0);
	word_table_fini(&table);
}

static void test_fold(void **state)
{
	struct word_rule rule = word_rule(true);
	struct word_table table;

	(void)state;
	scan_all(&table, &rule, "AZ az Az \xc3\x89 \xc3\xa9");
	assert_int_equal(count_of(&table, &rule, "az"), 3);
	assert_int_equal(count_of(&table, &rule, "\xc3\x89"), 1);
	assert_int_equal(count_of(&table, &rule, "\xc3\xa9"), 1);
	assert_int_equal(table.word_count, 3);
	word_table_fini(&table);
}

/* Two cuts anywhere: three shares count together what one count of the whole does. */
static void test_every_cut(void **state)
{
	static const char text[] = " ab a  abc,abc a-bc abcabcabc\nz";
	size_t bytes = strlen(text);
	struct word_rule rule = word_rule(false);
	struct word_table whole;

	(void)state;
	scan_all(&whole, &rule, text);
	for (size_t i = 0; i <= bytes; i++) {
		for (size_t j = i; j <= bytes; j++) {
			struct word_table cut;

			assert_true(word_table_init(&cut));
			assert_true(word_table_scan(&cut, &rule, text, bytes, 0, i));
			assert_true(word_table_scan(&cut, &rule, text, bytes, i, j));
			assert_true(word_table_scan(&cut, &rule, text, bytes, j, bytes));
			assert_int_equal(cut.total, whole.total);
			assert_int_equal(cut.word_count, whole.word_count);
			assert_int_equal(count_of(&cut, &rule, "abc"), 2);
			assert_int_equal(count_of(&cut, &rule, "abcabcabc"), 1);
			word_table_fini(&cut);
		}
	}
	word_table_fini(&whole);
}

/* A text of many words, each word `i` as often as i % 5 + 1; to be freed. */
static char *many_words(size_t word_count)
{
	char *text = malloc(word_count * 5 * 12 + 1);
	size_t at = 0;

	assert_non_null(text);
	for (size_t i = 0; i < word_count; i++) {
		for (size_t k = 0; k <= i % 5; k++) {
			size_t left = i;

			text[at++] = 'w';
			for (size_t digit = 0; digit < 8; digit++, left /= 10)
				text[at++] = (char)('0' + left % 10);
			text[at++] = ' ';
		}
	}
	text[at] = '\0';
	return text;
}

static void test_growth(void **state)
{
	struct word_rule rule = word_rule(false);
	struct word_table table;
	char *text = many_words(20000);

	(void)state;
	scan_all(&table, &rule, text);
	assert_int_equal(table.word_count, 20000);
	assert_int_equal(table.total, 60000);
	assert_int_equal(count_of(&table, &rule, "w40000000"), 5);
	assert_int_equal(count_of(&table, &rule, "w00000000"), 1);
	word_table_fini(&table);
	free(text);
}

static void test_file(void **state)
{
	struct word_rule rule = word_rule(false);
	struct word_table scanned;
	struct word_table read;
	char path[] = "/tmp/pergola-words-XXXXXX";
	char *text = many_words(10000);
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	scan_all(&scanned, &rule, text);
	assert_true(word_table_init(&read));
	assert_int_equal(word_table_read(&read, &rule, path), 0);
	assert_int_equal(read.total, scanned.total);
	assert_int_equal(read.word_count, scanned.word_count);
	assert_int_equal(count_of(&read, &rule, "w99990000"),
			 count_of(&scanned, &rule, "w99990000"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(word_table_read(&read, &rule, path), ENOENT);
	word_table_fini(&read);
	word_table_fini(&scanned);
	free(text);
}

static uint64_t stripe_count_of(const struct stripe *stripe, const struct word *word)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < stripe->place_count; i++) {
		const struct stripe_place *place = &stripe->place[i];

		if (place->count != 0 && place->length == word->length &&
		    memcmp(stripe_text(stripe, place), word->text, word->length) == 0)
			count += place->count;
	}
	return count;
}

/* Twice the same table merged: each word once, twice as often, in exactly the room announced. */
static void test_stripe(void **state)
{
	struct word_rule rule = word_rule(false);
	struct word_table table;
	char *text = many_words(300);
	struct stripe_need need = { 0, 0 };

	(void)state;
	scan_all(&table, &rule, text);
	for (size_t i = 0; i < table.place_count; i++) {
		need.words += table.place[i].count != 0;
		need.bytes += table.place[i].length;
	}
	struct stripe *stripe = malloc(stripe_bytes(&need));
	assert_non_null(stripe);
	stripe_init(stripe, &need);
	for (size_t i = 0; i < 2 * table.place_count; i++) {
		if (table.place[i % table.place_count].count != 0)
			stripe_add(stripe, &table.place[i % table.place_count]);
	}
	assert_int_equal(stripe->word_count, table.word_count);
	assert_true(stripe->used == stripe->size);
	for (size_t i = 0; i < table.place_count; i++) {
		if (table.place[i].count != 0)
			assert_int_equal(stripe_count_of(stripe, &table.place[i]),
					 2 * table.place[i].count);
	}
	free(stripe);
	word_table_fini(&table);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rule),	  cmocka_unit_test(test_fold),
		cmocka_unit_test(test_every_cut), cmocka_unit_test(test_growth),
		cmocka_unit_test(test_file),	  cmocka_unit_test(test_stripe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
