/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The litmus tests' files, parser and enumeration: the files of tests/litmus; what the C in them
 * means, against values worked out by hand; wrong files, each with its line and what is wrong; and
 * files damaged at random, which are refused or understood and nothing else.
 */
#include "alter.h"
#include "litmus.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FILES_MAX 256

static struct litmus_test parsed;
static struct litmus_outcomes outcomes;

/* From a block of just this size, so that AddressSanitizer sees a read past the end. */
static int parse(const char *text, size_t bytes, struct litmus_error *error)
{
	char *copy = malloc(bytes > 0 ? bytes : 1);
	int status;

	assert_non_null(copy);
	memcpy(copy, text, bytes);
	status = litmus_parse("f", copy, bytes, &parsed, error);
	free(copy);
	return status;
}

static int parse_and_judge(const char *text, struct litmus_error *error)
{
	int status = parse(text, strlen(text), error);

	if (status == 0)
		status = litmus_enumerate(&parsed, &outcomes, error);
	return status != 0 ? status : litmus_judge(&parsed, &outcomes, error);
}

/* ---- the files ---- */

static int is_litmus(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot != NULL && strcmp(dot, ".litmus") == 0;
}

static int list_files(struct dirent ***entries)
{
	int count = scandir(LITMUS_FOLDER, entries, is_litmus, alphasort);

	assert_true(count >= 20);
	return count;
}

static void free_files(struct dirent **entries, int count)
{
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
}

static void test_files(void **state)
{
	struct dirent **entries;
	int count = list_files(&entries);
	struct litmus_error error;
	char path[512];

	(void)state;
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), LITMUS_FOLDER "/%s", entries[i]->d_name);
		if (litmus_read(path, &parsed, &error) != 0 ||
		    litmus_enumerate(&parsed, &outcomes, &error) != 0 ||
		    litmus_judge(&parsed, &outcomes, &error) != 0)
			fail_msg("%s", error.text);
		/* Something to be seen, and something to be ruled out. */
		assert_true(outcomes.count >= 2);
		assert_true(parsed.result == LITMUS_NEVER || parsed.result == LITMUS_ALWAYS);
	}
	free_files(entries, count);
}

/* How many outcomes interleavings have, counted by hand (or 2^n - 1: all but the forbidden one). */
static const struct {
	const char *name;
	unsigned int count;
} known[] = {
	{ "SB", 3 },   { "MP", 3 },	{ "LB", 3 },	    { "R", 3 },	    { "S", 3 },
	{ "2+2W", 3 }, { "WRC", 7 },	{ "RWC", 7 },	    { "ISA2", 7 },  { "IRIW", 15 },
	{ "CoRR", 3 }, { "CoRR2", 72 }, { "CoWW", 3 },	    { "CoRW2", 3 }, { "CoWR", 3 },
	{ "3.SB", 7 }, { "4.SB", 15 },	{ "Tickets4", 24 }, { "CAS3", 3 },
};

static void test_known(void **state)
{
	struct litmus_error error;
	char path[512];

	(void)state;
	for (size_t i = 0; i < COUNT(known); i++) {
		snprintf(path, sizeof(path), LITMUS_FOLDER "/%s.litmus", known[i].name);
		assert_int_equal(litmus_read(path, &parsed, &error), 0);
		assert_int_equal(litmus_enumerate(&parsed, &outcomes, &error), 0);
		if (outcomes.count != known[i].count)
			fail_msg("%s: %u outcomes", known[i].name, outcomes.count);
	}
}

static bool permits(const char *text)
{
	char buffer[400];

	for (unsigned int i = 0; i < outcomes.count; i++) {
		if (strcmp(litmus_text(&parsed, &outcomes.list[i], buffer, sizeof(buffer)), text) ==
		    0)
			return true;
	}
	return false;
}

/* MP's outcomes one by one, and that the enumeration refuses the fourth. */
static void test_enumeration(void **state)
{
	struct litmus_error error;

	(void)state;
	assert_int_equal(litmus_read(LITMUS_FOLDER "/MP.litmus", &parsed, &error), 0);
	assert_int_equal(litmus_enumerate(&parsed, &outcomes, &error), 0);
	assert_int_equal(outcomes.count, 3);
	assert_true(permits("1:r0=0 1:r1=0 x=1 y=1"));
	assert_true(permits("1:r0=0 1:r1=1 x=1 y=1"));
	assert_true(permits("1:r0=1 1:r1=1 x=1 y=1"));

	struct litmus_outcome bad = outcomes.list[0];

	bad.registers[1][0] = 1;
	bad.registers[1][1] = 0;
	assert_int_equal(litmus_find(&outcomes, &bad), outcomes.count);
	assert_true(litmus_forbidden(&parsed, &bad));
	assert_false(litmus_forbidden(&parsed, &outcomes.list[0]));
	assert_int_equal(litmus_find(&outcomes, &outcomes.list[2]), 2);
}

/* ---- every shape can fail ---- */

/* The outcome that the file rules out comes about once the program is altered. */
static bool reached(const struct litmus_test *altered)
{
	struct litmus_error error;

	assert_int_equal(litmus_enumerate(altered, &outcomes, &error), 0);
	for (unsigned int i = 0; i < outcomes.count; i++) {
		if (litmus_forbidden(&parsed, &outcomes.list[i]))
			return true;
	}
	return false;
}

static bool reached_by_exchange(void)
{
	static struct litmus_test one, all;

	all = parsed;
	for (unsigned int t = 0; t < parsed.thread_count; t++) {
		for (unsigned int i = 0; i < parsed.threads[t].step_count; i++) {
			one = parsed;
			if (alter_exchange(&one, t, i) && reached(&one))
				return true;
		}
		alter_exchange_first(&all, t);
	}
	return reached(&all);
}

static bool reached_by_tearing(void)
{
	static struct litmus_test torn;

	torn = parsed;
	return alter_tear(&torn) && reached(&torn);
}

/* A value that nobody has stored: what is left where each store depends on what was read. */
static bool reached_by_invention(void)
{
	static struct litmus_test invented;

	invented = parsed;
	return strncmp(parsed.name, "LB+", 3) == 0 && alter_invent(&invented, 1) &&
	       reached(&invented);
}

static void test_can_fail(void **state)
{
	struct dirent **entries;
	int count = list_files(&entries);
	struct litmus_error error;
	char path[512];

	(void)state;
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), LITMUS_FOLDER "/%s", entries[i]->d_name);
		assert_int_equal(litmus_read(path, &parsed, &error), 0);
		assert_false(reached(&parsed));
		if (!reached_by_exchange() && !reached_by_tearing() && !reached_by_invention())
			fail_msg("%s: nothing brings its forbidden outcome about", parsed.name);
	}
	free_files(entries, count);
}

/* ---- what the C means ---- */

#define ONE(body, condition)                                                                       \
	"C one\n{ x=7; int y = -2; [z]; }\n"                                                       \
	"P0(volatile int* x, atomic_int* z, int volatile *y) { *z = *z; *y = *y; *x = *x;\n" body  \
	"}\nforall (" condition ")"

#define MO "memory_order_seq_cst"

/* One thread: one outcome, and the condition holds of it. */
static const char *const meanings[] = {
	ONE("", "x=7 /\\ y=-2 /\\ z=0"),
	ONE("int r0 = 2 + 3 * 4 - 1;", "0:r0=13"),
	ONE("int r0 = 10 - 3 - 2;", "0:r0=5"),
	ONE("int r0 = 1 | 6 ^ 3 & 2;", "0:r0=5"),
	ONE("int r0 = 3 == 1 + 2; int r1 = 3 != 1 + 2;", "0:r0=1 /\\ 0:r1=0"),
	ONE("int r0 = -1 < 0; int r1 = 2 <= 1; int r2 = 2 >= 2; int r3 = -1 > 1;",
	    "0:r0=1 /\\ 0:r1=0 /\\ 0:r2=1 /\\ 0:r3=0"),
	ONE("int r0 = 1 < 2 == 1;", "0:r0=1"),
	ONE("int r0 = (2 + 3) * (4 - 1);", "0:r0=15"),
	ONE("int r0 = 2147483647 + 1;", "0:r0=-2147483648"),
	ONE("int r0 = *x; *y = r0; int r1 = *y + 1;", "0:r0=7 /\\ y=7 /\\ 0:r1=8"),
	ONE("int r0; int r1 = r0; r0 = 3; r0 = r0 + 1;", "0:r0=4 /\\ 0:r1=0"),
	ONE("int r1; int r0 = *x; r1 = r0; r0 = 1;", "0:r0=1 /\\ 0:r1=7"),
	ONE("int r0 = 0; r0 = *x; *y = *x;", "0:r0=7 /\\ y=7"),
	ONE("*x = 1; /* (* not OCaml's *) */ // nor this }\n*x = (*x) * 2;", "x=2"),
	ONE("if (*x == 7) *x = 1; else *x = 2;", "x=1"),
	ONE("if (*x == 8) { *x = 1; *y = 1; } else { *x = 2; *y = 3; }", "x=2 /\\ y=3"),
	ONE("if (0) *x = 1;", "x=7"),
	ONE("if (1) if (0) *x = 1; else *x = 2;", "x=2"),
	ONE("if (*x) { int r0 = *y; if (r0 == -2) { *x = 9; } }", "x=9 /\\ 0:r0=-2"),
	ONE("int r0 = atomic_load(z); atomic_store(z, r0 + 5); int r1 = atomic_load_explicit(z, " MO
	    ");",
	    "0:r0=0 /\\ 0:r1=5"),
	ONE("atomic_store_explicit(z, 6, memory_order_release); atomic_thread_fence(" MO
	    "); int r0 = atomic_fetch_add_explicit(z, 2, memory_order_acq_rel);"
	    "int r1 = atomic_fetch_sub(z, 1); int r2 = *z;",
	    "0:r0=6 /\\ 0:r1=8 /\\ 0:r2=7"),
	ONE("*z = 12; int r0 = atomic_fetch_and(z, 10); int r1 = atomic_fetch_or(z, 1);"
	    "int r2 = atomic_fetch_xor(z, 3);",
	    "0:r0=12 /\\ 0:r1=8 /\\ 0:r2=9 /\\ z=10"),
	ONE("int r0 = atomic_exchange(z, *x); atomic_fetch_add(z, 1);", "0:r0=0 /\\ z=8"),
	ONE("*y = 0; int r0 = atomic_compare_exchange_strong(z, y, 4);", "0:r0=1 /\\ z=4 /\\ y=0"),
	ONE("int r0 = atomic_compare_exchange_strong_explicit(z, y, 4, " MO
	    ", memory_order_relaxed);",
	    "0:r0=0 /\\ z=0 /\\ y=0"),
	ONE("int r0 = 1 - atomic_compare_exchange_strong(z, x, *y);", "0:r0=1 /\\ z=0 /\\ x=0"),
	/* Propositions. */
	ONE("", "true /\\ ~false /\\ not (x=1)"),
	ONE("", "x=1 /\\ x=7 \\/ x=7"),
	ONE("", "x=7 \\/ x=7 /\\ x=1"),
	ONE("", "(x=1 => x=2) /\\ (x=7 => [x]==7) /\\ x!=3"),
	ONE("", "~x=1 /\\ x=7"),
	ONE("", "x=7 => x=1 => x=2"),
	ONE("", "~x=7 => x=1"),
};

static void test_meanings(void **state)
{
	struct litmus_error error;

	(void)state;
	for (size_t i = 0; i < COUNT(meanings); i++) {
		if (parse_and_judge(meanings[i], &error) != 0)
			fail_msg("%s\n%s", meanings[i], error.text);
		assert_int_equal(outcomes.count, 1);
	}
}

#define SB_THREADS                                                                                 \
	"P0(volatile int* x, volatile int* y) { *x = 1; int r0 = *y; }\n"                          \
	"P1(volatile int* x, volatile int* y) { *y = 1; int r0 = *x; }\n"
#define BOTH_0 "(0:r0=0 /\\ 1:r0=0)"

/* Everything that a header may have; and what a condition may claim. */
static const char *const agreeing[] = {
	"C SB\n{}\n" SB_THREADS "~exists " BOTH_0,
	"C SB \"text on the line\"\n(* a (* nested *) comment *)\nGenerator=diyone7 (version 7)\n"
	"Orig = PodWR { Fre }\nResult=Never\n{ int x=0; volatile int y; }\n" SB_THREADS
	"locations [x; [y]; 0:r0;]\nexists " BOTH_0,
	"C SB\r\n\"text\r\nin \"\r\n{ x=0;\r\n y=0 }\r\n" SB_THREADS "exists (P0:r0=1)\r\n",
	"C SB\n{}\n" SB_THREADS "forall (0:r0=1 \\/ 1:r0=1) (* the end *)\n",
	"C SB\nResult=Always\n{}\n" SB_THREADS "exists (x=1 /\\ y=1)",
	"C SB\nResult=Sometimes\n{}\n" SB_THREADS "exists (0:r0=1)",
	"C SB\nResult=Always\n{}\n" SB_THREADS "forall (x=1)",
};

/* What the interleavings contradict, and in what words. */
static const struct {
	const char *text;
	const char *refused;
} contradicted[] = {
	{ "C SB\n{}\n" SB_THREADS "exists " BOTH_0, "f:5: no interleaving has this outcome" },
	{ "C SB\n{}\n" SB_THREADS "~exists (0:r0=1 /\\ 1:r0=1)",
	  "f:5: an interleaving has the outcome that is to be never: 0:r0=1 1:r0=1 x=1 y=1" },
	{ "C SB\nResult=Never\n{}\n" SB_THREADS "exists (x=1)", "f:6: an interleaving has" },
	{ "C SB\n{}\n" SB_THREADS "forall (0:r0=1)", "f:5: an interleaving has not the outcome" },
	{ "C SB\nResult=Sometimes\n{}\n" SB_THREADS "exists " BOTH_0, "f:6: no interleaving" },
	{ "C SB\nResult=Sometimes\n{}\n" SB_THREADS "exists (x=1)", "f:6: every interleaving" },
	{ "C SB\nResult=Always\n{}\n" SB_THREADS "exists (0:r0=1)",
	  "f:6: an interleaving has not" },
};

static void test_conditions(void **state)
{
	struct litmus_error error;

	(void)state;
	for (size_t i = 0; i < COUNT(agreeing); i++) {
		if (parse_and_judge(agreeing[i], &error) != 0)
			fail_msg("%s\n%s", agreeing[i], error.text);
		assert_int_equal(outcomes.count, 3);
	}
	for (size_t i = 0; i < COUNT(contradicted); i++) {
		assert_int_equal(parse_and_judge(contradicted[i].text, &error), -EINVAL);
		if (strstr(error.text, contradicted[i].refused) != error.text)
			fail_msg("%s\n%s", contradicted[i].text, error.text);
	}
}

/* ---- wrong files ---- */

/* A thread P0 in line 3 with x, a plain int, and z, an atomic one. */
#define IN_P0(body)                                                                                \
	"C t\n{ x=0; z=0; }\nP0(int* x, atomic_int* z) { *x = *z;\n" body "\n}\nexists (x=0)"
#define HEAD "C t\n{ x=0; }\nP0(int* x) {\n\tint r0 = *x;\n}\n"
#define DEEP "(((((((((((((((((((((((((((((((((((((((("

static const struct {
	const char *text;
	const char *refused;
} refusals[] = {
	/* the header */
	{ "", "f:1: the first line is to be \"C\" and the test's name" },
	{ "X86 SB\n{}\n", "f:1: the first line" },
	{ "C\n{}\n", "f:1: the test's name" },
	{ "C S/B\n{}\n", "f:1: the test's name" },
	{ "C 0123456789012345678901234567890123456789\n{}\n", "f:1: the test's name" },
	{ "C SB", "f:1: there is no initial state" },
	{ "C SB\n\n", "f:3: there is no initial state" },
	{ "C SB\n\"text\n\n{}", "f:2: this text has no closing quote" },
	{ "C SB \"one\"\n\"two\"\n{}", "f:2: a text for the second time" },
	{ "C SB\n(* (* *)\n{}", "f:2: this comment has no end" },
	{ "C SB\nno equals sign\n{}", "f:2: expected a line Key=value" },
	{ "C SB\nResult=Perhaps\n{}", "f:2: Result= is Never" },
	{ "C SB\nResult=Never\nResult=Never\n{}", "f:3: Result= for the second time" },
	/* the initial state */
	{ "C t\n{ x=0", "f:2: expected ';', and the file ends" },
	{ "C t\n{ x=0;", "f:2: expected a name, and the file ends" },
	{ "C t\n{ x=0 y=0 }", "f:2: expected ';', not 'y'" },
	{ "C t\n{ x=; }", "f:2: expected a number, not ';'" },
	{ "C t\n{ x=0;\n x=1; }", "f:3: x is set twice" },
	{ "C t\n{ x=2147483648; }", "f:2: 2147483648 is more than an int holds" },
	{ "C t\n{ x=-2147483649; }", "f:2: -2147483649 is more than an int holds" },
	{ "C t\n{ x=99999999999999999999999; }", "f:2: 99999999999999999999999 is more than" },
	{ "C t\n{ x=0x10; }", "f:2: numbers are decimal, and 'x' is no digit" },
	{ "C t\n{ 0:r0=1; }", "f:2: registers start as 0" },
	{ "C t\n{ x=y; }", "f:2: locations hold numbers here" },
	{ "C t\n{ x=&y; }", "f:2: locations hold numbers here" },
	{ "C t\n{ int* x; }", "f:2: locations hold numbers here" },
	{ "C t\n{ int x[2]; }", "f:2: expected ';', not '['" },
	{ "C t\n{ [x; }", "f:2: expected ']', not ';'" },
	{ "C t\n{ char x; }", "f:2: expected a name, not 'char'" },
	{ "C t\n{ int int x; }", "f:2: a word of the type is there twice" },
	{ "C t\n{ _Atomic atomic_int x; }", "f:2: a word of the type is there twice" },
	{ "C t\n{ volatile x; }", "f:2: expected int or atomic_int, not 'x'" },
	{ "C t\n{ P0=1; }", "f:2: expected a name, not 'P0'" },
	{ "C t\n{ a;b;c;d;e;f;\ng; }", "f:3: more than 6 locations" },
	{ "C t\n{ a234567890123456789012345678901234567890; }", "f:2: a name has 39 characters" },
	/* threads */
	{ "C t\n{}\nexists (true)", "f:3: expected P0 and its parameters, not 'exists'" },
	{ "C t\n{}\nP1(int* x) { }", "f:3: P1 where P0 is to be" },
	{ HEAD "P0(int* x) { *x = 1; }", "f:6: P0 where P1 is to be" },
	{ "C t\n{}\nP0 { }", "f:3: expected '(', not '{'" },
	{ "C t\n{}\nP0(int x) { }", "f:3: expected '*', not 'x'" },
	{ "C t\n{}\nP0(x) { }", "f:3: expected a parameter such as volatile int* x, not 'x'" },
	{ "C t\n{}\nP0(int* x, int* x) { }", "f:3: x is twice a parameter of P0" },
	{ "C t\n{}\nP0(int* x,) { }", "f:3: expected a parameter" },
	{ "C t\n{}\nP0(int* x", "f:3: expected ')', and the file ends" },
	{ "C t\n{ atomic_int x; }\nP0(int* x) { }", "f:3: x is a plain int here and atomic above" },
	{ HEAD "P1(atomic_int* x) { }", "f:6: x is atomic here and a plain int above" },
	{ "C t\n{}\nP0(int* x) { }\nexists (x=0)", "f:3: P0 does nothing" },
	{ "C t\n{ y=0; }\nP0(int* x) { *x = 1; }\nexists (x=0)", "f:4: no thread accesses y" },
	{ "C t\n{}\nP0(int* x) { *x = 1;\n", "f:4: expected a statement, and the file ends" },
	{ "C t\n{}\nP0(int* x) *x = 1;\n", "f:3: expected '{', not '*'" },
	/* statements */
	{ IN_P0("*x = 1"), "f:5: expected ';', not '}'" },
	{ IN_P0("*x + 1;"), "f:4: expected '=', not '+'" },
	{ IN_P0("*y = 1;"), "f:4: y is no parameter of P0" },
	{ IN_P0("x = 1;"), "f:4: 'x' is no register of P0, nor a statement" },
	{ IN_P0("*x = z;"), "f:4: z is a pointer: *z is its value" },
	{ IN_P0("r0 = 1;"), "f:4: 'r0' is no register of P0" },
	{ IN_P0("*x = r0;"), "f:4: 'r0' is no register of P0, nor a function here" },
	{ IN_P0("int r0 = r0;"), "f:4: 'r0' is no register of P0" },
	{ IN_P0("int r0 = 1;\nint r0 = 2;"), "f:5: r0 is declared twice" },
	{ IN_P0("int x = 1;"), "f:4: x is a location's name" },
	{ IN_P0("int if = 1;"), "f:4: expected a name, not 'if'" },
	{ IN_P0("int r0, r1;"), "f:4: expected '=', not ','" },
	{ IN_P0("int* r0;"), "f:4: expected a name, not '*'" },
	{ IN_P0(";"), "f:4: expected a statement, not ';'" },
	{ IN_P0("1;"), "f:4: expected a statement, not '1'" },
	{ IN_P0("while (*x) { }"), "f:4: 'while': the only control here is if and else" },
	{ IN_P0("for (;;) { }"), "f:4: 'for': the only control" },
	{ IN_P0("spin_lock(x);"), "f:4: 'spin_lock': locks are not covered" },
	{ IN_P0("if (*x == 0)"), "f:5: expected a statement, not '}'" },
	{ IN_P0("if *x { }"), "f:4: expected '(', not '*'" },
	{ IN_P0("else *x = 1;"), "f:4: 'else' is no register of P0, nor a statement" },
	{ IN_P0("*x++;"), "f:4: expected '=', not '++'" },
	{ IN_P0("*x += 1;"), "f:4: expected '=', not '+='" },
	{ IN_P0("WRITE_ONCE(*x, 1);"), "f:4: 'WRITE_ONCE' is no register of P0, nor a statement" },
	{ IN_P0("atomic_inc(z);"), "f:4: 'atomic_inc' is no register of P0, nor a function" },
	{ IN_P0("/* no end"), "f:4: this comment has no end" },
	{ IN_P0("*x = 1; #"), "f:4: byte 0x23 has no meaning here" },
	{ IN_P0("*x = '1';"), "f:4: byte 0x27 has no meaning here" },
	/* values */
	{ IN_P0("*x = ;"), "f:4: expected a value, not ';'" },
	{ IN_P0("*x = 1 +;"), "f:4: expected a value, not ';'" },
	{ IN_P0("*x = (1;"), "f:4: expected ')', not ';'" },
	{ IN_P0("*x = !1;"), "f:4: expected a value, not '!'" },
	{ IN_P0("*x = 1 && 1;"), "f:4: expected ';', not '&&'" },
	{ IN_P0("*x = 4 / 2;"), "f:4: expected ';', not '/'" },
	{ IN_P0("*x = *x + *z;"), "f:4: an expression that reads memory twice" },
	{ IN_P0("*x = (*x) + (*z);"), "f:4: an expression that reads memory twice" },
	{ IN_P0("*x = *x + atomic_load(z);"), "f:4: an expression that reads memory twice" },
	{ IN_P0("*x = " DEEP), "f:4: more than 24 deep" },
	{ IN_P0("if (1) {{{{{{{{{{{{{{{{{{{{{{{{{{{{{{"), "f:4: more than 24 deep" },
	/* functions */
	{ IN_P0("int r0 = atomic_load(x);"), "f:4: atomic_load needs an atomic_int*, and x is" },
	{ IN_P0("atomic_store(x, 1);"), "f:4: atomic_store needs an atomic_int*" },
	{ IN_P0("atomic_store(&z, 1);"), "f:4: parameters are pointers already" },
	{ IN_P0("atomic_store(1, 1);"), "f:4: expected a name, not '1'" },
	{ IN_P0("atomic_store(z);"), "f:4: expected ',', not ')'" },
	{ IN_P0("atomic_store(z, 1, " MO ");"), "f:4: expected ')', not ','" },
	{ IN_P0("atomic_store_explicit(z, 1);"), "f:4: expected ',', not ')'" },
	{ IN_P0("atomic_store_explicit(z, 1, memory_order_acquire);"),
	  "f:4: expected a memory order that atomic_store_explicit may have, not "
	  "'memory_order_ac" },
	{ IN_P0("*x = atomic_load_explicit(z, memory_order_release);"),
	  "f:4: expected a memory order that atomic_load_explicit may have" },
	{ IN_P0("*x = atomic_load_explicit(z, memory_order_acq_rel);"),
	  "f:4: expected a memory order that atomic_load_explicit may have" },
	{ IN_P0("*x = atomic_load_explicit(z, seq_cst);"), "f:4: expected a memory order that" },
	{ IN_P0("atomic_thread_fence();"), "f:4: expected a memory order" },
	{ IN_P0("atomic_thread_fence(memory_order_);"), "f:4: expected a memory order" },
	{ IN_P0("atomic_thread_fence(memory_order_sc);"), "f:4: expected a memory order that a f" },
	{ IN_P0("*x = atomic_compare_exchange_strong(z, z, 1);"),
	  "f:4: atomic_compare_exchange_st" },
	{ IN_P0("*x = atomic_compare_exchange_strong(z, 0, 1);"), "f:4: expected a name, not '0'" },
	{ IN_P0("*x = atomic_compare_exchange_weak(z, x, 1);"),
	  "f:4: 'atomic_compare_exchange_we" },
	{ IN_P0("*x = atomic_compare_exchange_strong_explicit(z, x, 1, " MO ", " MO ", " MO ");"),
	  "f:4: expected ')', not ','" },
	{ IN_P0("*x = atomic_compare_exchange_strong_explicit(z, x, 1, " MO
		", memory_order_release);"),
	  "f:4: expected a memory order that" },
	/* limits of a thread */
	{ IN_P0("*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;\n"
		"*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;*x=1;\n*x="
		"1;"),
	  "f:6: P0 has more than 32 steps" },
	{ IN_P0("int a;int b;int c;int d;int e;int f;int g;int h;int i;int j;int k;\nint l;"),
	  "f:5: P0 needs more than 12 registers" },
	/* the condition */
	{ HEAD, "f:6: expected exists, ~exists or forall, and the file ends" },
	{ HEAD "final (x=0)", "f:6: expected exists, ~exists or forall, not 'final'" },
	{ HEAD "~forall (x=0)", "f:6: expected exists, not 'forall'" },
	{ HEAD "filter (x=0) exists (x=0)", "f:6: 'filter': every outcome counts here" },
	{ "C t\nResult=Always\n{}\nP0(int* x) { *x = 1; }\n~exists (x=0)",
	  "f:5: Result= contradicts ~exists" },
	{ "C t\nResult=Never\n{}\nP0(int* x) { *x = 1; }\nforall (x=0)",
	  "f:5: Result= contradicts forall" },
	{ HEAD "exists", "f:6: expected a location, or a register such as 0:r0, and the file" },
	{ HEAD "exists (y=0)", "f:6: expected a location, or a register such as 0:r0, not 'y'" },
	{ HEAD "exists (r0=0)", "f:6: expected a location, or a register such as 0:r0, not 'r0'" },
	{ HEAD "exists (1:r0=0)", "f:6: there is no thread 1" },
	{ HEAD "exists (P7:r0=0)", "f:6: there is no thread 7" },
	{ HEAD "exists (0:r1=0)", "f:6: expected a register of that thread, not 'r1'" },
	{ HEAD "exists (0:=0)", "f:6: expected a register of that thread, not '='" },
	{ HEAD "exists (x)", "f:6: expected '=' or '!=', not ')'" },
	{ HEAD "exists (x=1:r0)", "f:6: expected ')', not ':'" },
	{ HEAD "exists ([x=1)", "f:6: expected ']', not '='" },
	{ HEAD "exists (x=0 /\\)", "f:6: expected a location, or a register" },
	{ HEAD "exists (x=0 && x=1)", "f:6: expected ')', not '&&'" },
	{ HEAD "exists (x=0\n", "f:7: expected ')', and the file ends" },
	{ HEAD "exists (x=0)\nexists (x=0)", "f:7: expected the end of the file, not 'exists'" },
	{ HEAD "locations [y;] exists (x=0)", "f:6: expected a location, or a register" },
	{ HEAD "locations [x] forall", "f:6: expected a location, or a register" },
	{ HEAD "locations x; forall", "f:6: expected '[', not 'x'" },
	{ HEAD "exists ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~x=0", "f:6: more than 24 deep" },
	{ HEAD "exists " DEEP, "f:6: more than 24 deep" },
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++) {
		struct litmus_error error = { "" };
		const char *text = refusals[i].text;

		if (parse(text, strlen(text), &error) != -EINVAL)
			fail_msg("accepted:\n%s", text);
		if (strstr(error.text, refusals[i].refused) != error.text)
			fail_msg("%s\nexpected %s\ngot      %s", text, refusals[i].refused,
				 error.text);
	}
}

static void test_zero_byte(void **state)
{
	static const char text[] = "C t\n{ x=0;\0 }";
	struct litmus_error error;

	(void)state;
	assert_int_equal(parse(text, sizeof(text) - 1, &error), -EINVAL);
	assert_string_equal(error.text, "f:2: byte 0x00 has no meaning here");
}

/* More than can be enumerated is an error, not a wait. */
static void test_limits(void **state)
{
	char text[4096] = "C t\n{}\n";
	struct litmus_error error;

	(void)state;
	for (unsigned int t = 0; t < LITMUS_THREADS_MAX; t++) {
		size_t used = strlen(text);

		snprintf(text + used, sizeof(text) - used,
			 "P%u(int* a, int* b, int* c) {*a=%u;*b=%u;*c=%u;*a=7;*b=7;*c=7;*a=8;}\n",
			 t, t, t, t);
	}
	strcat(text, "exists (a=8)");
	assert_int_equal(parse(text, strlen(text), &error), 0);
	assert_int_equal(litmus_enumerate(&parsed, &outcomes, &error), -E2BIG);
	assert_string_equal(error.text, "f:1: t has more than 65536 states");

	/* 720 orders of the additions, each with b seen and not. */
	strcpy(text, "C t\n{}\n");
	for (unsigned int t = 0; t < 6; t++) {
		static const char *const more[] = { "int r1 = *b;", "", "", "", "", "*b = 1;" };
		size_t used = strlen(text);

		snprintf(text + used, sizeof(text) - used,
			 "P%u(atomic_int* a, int* b) { int r0 = atomic_fetch_add(a, 1); %s }\n", t,
			 more[t]);
	}
	strcat(text, "exists (a=8)");
	assert_int_equal(parse(text, strlen(text), &error), 0);
	assert_int_equal(litmus_enumerate(&parsed, &outcomes, &error), -E2BIG);
	assert_string_equal(error.text, "f:1: t has more than 1024 outcomes");
}

/* A file must be there, be small, and be named after its test. */
static void test_read(void **state)
{
	char folder[] = "/tmp/litmus-test-XXXXXX", path[64];
	struct litmus_error error;
	FILE *stream;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/SB.litmus", folder);
	assert_int_equal(litmus_read(path, &parsed, &error), -ENOENT);
	assert_non_null(strstr(error.text, "SB.litmus: cannot be opened: "));

	stream = fopen(path, "w");
	assert_non_null(stream);
	fputs("C MP\n{}\n" SB_THREADS "~exists " BOTH_0, stream);
	fclose(stream);
	assert_int_equal(litmus_read(path, &parsed, &error), -EINVAL);
	assert_non_null(
		strstr(error.text, "SB.litmus:1: the test is MP, so the file is to be MP.litmus"));

	stream = fopen(path, "w");
	assert_non_null(stream);
	for (unsigned int i = 0; i <= LITMUS_FILE_BYTES_MAX; i++)
		fputc(' ', stream);
	fclose(stream);
	assert_int_equal(litmus_read(path, &parsed, &error), -EINVAL);
	assert_non_null(strstr(error.text, "SB.litmus: is larger than"));
	assert_int_equal(litmus_read(folder, &parsed, &error), -EIO);
	remove(path);
	remove(folder);
}

/* ---- damaged files ---- */

#define TEXT_MAX 4096
#define DAMAGED_FILES 20000

struct corpus {
	int count;
	size_t bytes[FILES_MAX];
	char text[FILES_MAX][TEXT_MAX];
};

/* Marsaglia's xorshift64. */
static uint64_t draw(uint64_t *state, uint64_t limit)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % limit;
}

static void read_corpus(struct corpus *corpus)
{
	struct dirent **entries;
	int count = list_files(&entries);
	char path[512];

	assert_true(count <= FILES_MAX);
	corpus->count = count;
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), LITMUS_FOLDER "/%s", entries[i]->d_name);
		FILE *stream = fopen(path, "rb");

		assert_non_null(stream);
		corpus->bytes[i] = fread(corpus->text[i], 1, TEXT_MAX, stream);
		assert_true(corpus->bytes[i] > 0 && corpus->bytes[i] < TEXT_MAX);
		fclose(stream);
	}
	free_files(entries, count);
}

/* Puts `bytes` at `from` over the `gone` bytes at `at` of the text. Returns its new length. */
static size_t splice(char *text, size_t length, size_t at, size_t gone, const char *from,
		     size_t bytes)
{
	if (length - gone + bytes > TEXT_MAX)
		return length;
	memmove(text + at + bytes, text + at + gone, length - at - gone);
	memcpy(text + at, from, bytes);
	return length - gone + bytes;
}

/* What the grammar is made of, so that damage goes deeper than the first line. */
static const char *const pieces[] = {
	"{",
	"}",
	"(",
	")",
	";",
	"*",
	"=",
	"==",
	"exists",
	"~",
	"/\\",
	"\\/",
	"=>",
	"if",
	"else",
	"int ",
	"P0",
	"P9",
	"0:r0",
	"x",
	"*x",
	"(*",
	"*)",
	"/*",
	"//",
	"\"",
	"\n",
	"-",
	"2147483647",
	"[x]",
	"forall",
	"true",
	"not ",
	"Result=",
	"C ",
	",",
	"volatile ",
	"atomic_int* ",
	"atomic_load(x)",
	"atomic_fetch_add(x, 1)",
	"memory_order_relaxed",
	"atomic_compare_exchange_strong(x, y, 1)",
};

static size_t damage(const struct corpus *corpus, char *text, size_t length, uint64_t *random)
{
	size_t at = draw(random, length + 1), rest = length - at;
	size_t gone = draw(random, (rest < 20 ? rest : 20) + 1);
	int other = (int)draw(random, (uint64_t)corpus->count);
	size_t from = draw(random, corpus->bytes[other]);
	size_t bytes = draw(random, corpus->bytes[other] - from) + 1;
	const char *piece = pieces[draw(random, COUNT(pieces))];
	char any = (char)draw(random, 256), again[64];

	switch (draw(random, 6)) {
	case 0: /* another byte */
		return splice(text, length, at, rest > 0 ? 1 : 0, &any, 1);
	case 1: /* something missing */
		return splice(text, length, at, gone, "", 0);
	case 2: /* cut off */
		return at;
	case 3: /* a part of another file */
		return splice(text, length, at, gone, corpus->text[other] + from, bytes);
	case 4: /* something said twice */
		memcpy(again, text + at, rest < sizeof(again) ? rest : sizeof(again));
		return splice(text, length, at, 0, again, rest < sizeof(again) ? rest : gone);
	default: /* a piece of the grammar */
		return splice(text, length, at, draw(random, 2) * gone, piece, strlen(piece));
	}
}

static void check_program(const struct litmus_test *test)
{
	assert_in_range(test->thread_count, 1, LITMUS_THREADS_MAX);
	assert_in_range(test->location_count, 1, LITMUS_LOCATIONS_MAX);
	assert_in_range(test->prop_count, 1, LITMUS_PROPS_MAX);
	for (unsigned int t = 0; t < test->thread_count; t++) {
		const struct litmus_thread *thread = &test->threads[t];

		assert_in_range(thread->step_count, 1, LITMUS_STEPS_MAX);
		assert_in_range(thread->register_count, 0, LITMUS_REGISTERS_MAX);
		for (unsigned int i = 0; i < thread->step_count; i++) {
			const struct litmus_step *step = &thread->steps[i];

			if (step->kind == LITMUS_UNLESS || step->kind == LITMUS_JUMP)
				assert_in_range(step->target, i + 1, thread->step_count);
			assert_true(step->location < test->location_count);
			assert_true(step->kind == LITMUS_JUMP || step->operand == 0 ||
				    step->operand < test->node_count);
		}
	}
}

/* "f:LINE: text", and the file has so many lines. */
static void check_refusal(const struct litmus_error *error, const char *text, size_t length)
{
	unsigned int line = 0, lines = 1;
	int used = 0;

	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	assert_int_equal(sscanf(error->text, "f:%u: %n", &line, &used), 1);
	assert_true(used > 0 && error->text[used] != '\0');
	assert_in_range(line, 1, lines);
}

static void test_damaged(void **state)
{
	static struct corpus corpus;
	const char *seed = getenv("FUZZ_SEED");
	uint64_t random = seed != NULL ? strtoull(seed, NULL, 0) : 20130701;
	unsigned int understood = 0, refused = 0;

	(void)state;
	read_corpus(&corpus);
	for (unsigned int i = 0; i < DAMAGED_FILES; i++) {
		uint64_t first = random;
		struct litmus_error error = { "" };
		char text[TEXT_MAX];
		int file = (int)draw(&random, (uint64_t)corpus.count);
		size_t length = corpus.bytes[file];

		memcpy(text, corpus.text[file], length);
		for (uint64_t n = draw(&random, 3) + 1; n > 0; n--)
			length = damage(&corpus, text, length, &random);
		int status = parse(text, length, &error);

		if (status != 0 && status != -EINVAL)
			fail_msg("FUZZ_SEED=%llu: %d", (unsigned long long)first, status);
		if (status != 0) {
			refused++;
			check_refusal(&error, text, length);
			continue;
		}
		understood++;
		check_program(&parsed);
		if (understood % 16 == 0)
			litmus_enumerate(&parsed, &outcomes, &error);
	}
	print_message("%u damaged files refused, %u understood\n", refused, understood);
	assert_true(refused > DAMAGED_FILES / 4 && understood > DAMAGED_FILES / 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),	    cmocka_unit_test(test_known),
		cmocka_unit_test(test_enumeration), cmocka_unit_test(test_can_fail),
		cmocka_unit_test(test_meanings),    cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_refusals),    cmocka_unit_test(test_zero_byte),
		cmocka_unit_test(test_limits),	    cmocka_unit_test(test_read),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
