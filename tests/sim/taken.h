/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows of docs/protocol.md the engines of this process have carried out, and how often: for
 * programs that are linked with an engine that tells of it (src/engine/rows.h). With another engine
 * none is ever taken.
 */
#ifndef PERGOLA_TESTS_TAKEN_H
#define PERGOLA_TESTS_TAKEN_H

/* From now on `listener` is told of each row too; NULL: nobody is. */
void taken_listen(void (*listener)(const char *row));

/* Different rows so far. */
unsigned int taken_count(void);

/* A line for each row that was taken, to standard output: its name, a tab, how often. */
void taken_print(void);

#endif
