/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histories: what the threads of a job did to shared objects, when each operation began and ended,
 * and what it returned; and the judgement whether shared memory can have behaved so.
 *
 * In text a history is one line for each operation, a thread's lines in program order:
 *
 *   NODE.THREAD KIND OBJECT [w=WRITTEN] [e=EXPECTED] [r=RESULT] [g=GOT] @BEGIN-[END]
 *       [in=ENTERED-[LEFT]] [failed]
 *
 * as in "1.0 xchg e3 w=7 r=5 @120-190"; times are in ns. An operation with no END was under way
 * when its node was killed, or when the run ended. Lines of other kinds:
 *
 *   set OBJECT NUMBER   a queue's capacity, a semaphore's first count, a barrier's threads
 *   lost NODE           the node was killed
 *   settled             a killed node's store counts once the node has called dsm_*() after it
 *   no-clock            times of different threads do not compare
 *   # ...               nothing
 *
 * Objects are a letter and a number. x: a word with loads, stores, exchanges, compare-exchanges; e:
 * a word whose stores are all exchanges; a: a word that is only added to, 1 at a time; all words
 * begin as 0 and values written to one x or e are distinct. m: a counter and a queue under a mutex;
 * r: a version under a reader-writer lock; s: a semaphore; b: a barrier.
 */
#ifndef PERGOLA_TESTS_HISTORY_H
#define PERGOLA_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HISTORY_NODES_MAX 16u
#define HISTORY_THREADS_MAX 8u /* of one node */
#define HISTORY_ALL_THREADS_MAX (HISTORY_NODES_MAX * HISTORY_THREADS_MAX)
#define HISTORY_NUMBERS_MAX 64u /* objects of one letter */
#define HISTORY_OP_TEXT_MAX 256u
#define HISTORY_NEVER UINT64_MAX

enum history_kind {
	HISTORY_LOAD = 0, /* result */
	HISTORY_STORE,	  /* written */
	HISTORY_EXCHANGE, /* written; result: the value before */
	HISTORY_COMPARE,  /* written if the value was `expected`; result: the value found */
	HISTORY_ADD,	  /* adds 1; result: the value before */
	HISTORY_COUNT, /* result: the counter before; it went up by 1, here and in the next two */
	HISTORY_PUT,   /* written: put into the queue; got: 1, or 0: the queue was full */
	HISTORY_GET,   /* got: taken from the queue, or 0: it was empty */
	HISTORY_READ_LOCKED,  /* result: the version; got: its copy */
	HISTORY_WRITE_LOCKED, /* result: the version before; it went up by 1, so did its copy */
	HISTORY_DOWN,
	HISTORY_TRY_DOWN, /* result: 1, or 0: the count was 0 */
	HISTORY_UP,
	HISTORY_MEET, /* result: 1 for one thread of each round, 0 for the others */
	HISTORY_KIND_COUNT,
};

enum history_state {
	HISTORY_PENDING = 0, /* nobody knows whether it took effect */
	HISTORY_DONE,
	HISTORY_FAILED, /* with an error or SIGBUS: as little is known, but the thread went on */
};

struct history_object {
	char letter;
	unsigned int number;
};

struct history_op {
	unsigned int node;
	unsigned int thread; /* of its node */
	enum history_kind kind;
	enum history_state state;
	struct history_object object;
	uint64_t written;
	uint64_t expected;
	uint64_t result;
	uint64_t got;
	uint64_t begin_ns;
	uint64_t entered_ns; /* m and r: after the lock was taken; 0: not that far */
	uint64_t left_ns;    /* m and r: before it was given back, with all work done; 0: not */
	uint64_t end_ns;     /* 0 while pending */
};

struct history {
	struct history_op *ops; /* each thread's in program order */
	size_t count;
	size_t capacity;
	bool lost[HISTORY_NODES_MAX];
	bool settled;
	bool no_clock;
	uint64_t parameters[26][HISTORY_NUMBERS_MAX]; /* by letter and number: "set" */
};

/* What a check found: `text` says what cannot be, or nothing while `wrong` is false. */
struct verdict {
	bool wrong;
	size_t length;
	size_t word_op_count;
	size_t section_op_count;
	size_t edge_count; /* of the graph over all words */
	size_t failed_count;
	size_t unseen_count; /* operations of lost nodes that left no trace, and need not have */
	char text[8192];
};

void history_init(struct history *history);
void history_fini(struct history *history);
void history_add(struct history *history, const struct history_op *op);

/* One line of text. False: it is not one; `reason` says why. */
bool history_parse(struct history *history, const char *line, const char **reason);

/* A whole file. False: `reason`, and the line's number (0: the file could not be read). */
bool history_read(struct history *history, FILE *file, const char **reason, size_t *line_number);
void history_write(const struct history *history, FILE *file);

/* The operation's line, without its newline. */
const char *history_op_text(const struct history_op *op, char text[HISTORY_OP_TEXT_MAX]);

unsigned int history_thread(const struct history_op *op);
bool history_object_equal(struct history_object a, struct history_object b);
bool history_is_word(enum history_kind kind);

/* All checks, one after the other; the first that finds something wrong is the last. */
void history_check(const struct history *history, struct verdict *verdict);

/* The parts of history_check(). Each returns false when it has found something wrong. */
bool history_check_threads(const struct history *history, struct verdict *verdict);
bool history_check_words(const struct history *history, struct verdict *verdict);
bool history_check_mutexes(const struct history *history, struct verdict *verdict);
bool history_check_rwlocks(const struct history *history, struct verdict *verdict);
bool history_check_semaphores(const struct history *history, struct verdict *verdict);
bool history_check_barriers(const struct history *history, struct verdict *verdict);

/* Adds to the text; the verdict is "wrong" from then on. Returns false. */
__attribute__((format(printf, 2, 3))) bool verdict_say(struct verdict *verdict, const char *format,
						       ...);

/* Adds an operation, indented, with a newline. Returns false. */
bool verdict_show(struct verdict *verdict, const struct history_op *op);

#endif
