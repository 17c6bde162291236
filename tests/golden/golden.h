/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden traces: a file is a script of what happens to a few engines, with what comes of it, line
 * by line. docs/testing.md says what may stand in one.
 *
 *   main.c     the files, one after another: compared, or written anew
 *   script.c   a file's lines: head, what happens, what is expected
 *   play.c     the cluster: what happens, and what the engines say
 *   lines.c    texts as lines, and how two differ
 */
#ifndef PERGOLA_TESTS_GOLDEN_H
#define PERGOLA_TESTS_GOLDEN_H

#include "engine/engine.h"

#include <stdio.h>

/* ---- lines.c ---- */

/* A text, and where each of its lines begins; the '\n' are '\0'. */
struct lines {
	char *text;
	char **at;
	size_t count;
};

/* Ends the process when the file cannot be read. */
void lines_read(struct lines *lines, const char *path);
/* Takes `text`, which is freed by lines_free(). */
void lines_split(struct lines *lines, char *text);
void lines_free(struct lines *lines);

/* False, and to standard output what differs: "FILE:LINE: -expected", "FILE:LINE: +what came". */
bool lines_compare(const char *path, const struct lines *expected, const struct lines *came);

/* ---- play.c ---- */

#define PLAY_UNITS 8u

/* What the head of a file says. */
struct play_head {
	unsigned int node_count;
	enum manager_kind manager;
	uint64_t hold_ns;
	bool fast_read;
	bool homes_unknown;	       /* else all nodes have been told all homes */
	bool update_units[PLAY_UNITS]; /* under write-update */
};

struct play;

/* Each line that the engines say goes to `out`. */
struct play *play_open(const struct play_head *head, FILE *out);
void play_close(struct play *play);
/* Are lines shown from now on? */
void play_show(struct play *play, bool shown);

/*
 * What happens. NULL, or why it cannot happen: no such node, nothing like that is under way.
 * Reads and the pager's work end oldest first, messages of one channel too.
 */
const char *play_fault(struct play *play, unsigned int node, uint64_t page, bool write);
const char *play_prefetch(struct play *play, unsigned int node, struct run run, bool write,
			  bool guess);
const char *play_deliver(struct play *play, unsigned int from, unsigned int to);
/*
 * While delayed, messages of that channel come only by play_deliver(); of one node, its reads and
 * its pager end only by play_bytes() and play_pager().
 */
const char *play_delay(struct play *play, unsigned int from, unsigned int to, bool delayed);
const char *play_bytes(struct play *play, unsigned int node, bool fail);
/* The node's oldest fast read that has not yet: its bit is added, and the gate read. */
const char *play_look(struct play *play, unsigned int node);
/* The sharers that the node collects are fetched and cleared. */
const char *play_collected(struct play *play, unsigned int node);
const char *play_pager(struct play *play, unsigned int node);
/* Everything that is under way, until nothing is: reads and the pager first, then messages. */
const char *play_settle(struct play *play);
const char *play_time(struct play *play, uint64_t ns);
const char *play_timer(struct play *play, unsigned int node);
/* The node says nothing more. What it has said may arrive until others are told of the loss. */
const char *play_lose(struct play *play, unsigned int node);
const char *play_told(struct play *play, unsigned int node, unsigned int lost);
const char *play_evict(struct play *play, unsigned int node, struct run run);
const char *play_pin(struct play *play, unsigned int node, uint64_t page, bool write);
const char *play_unpin(struct play *play, unsigned int node, uint64_t page, bool write);
const char *play_cancel(struct play *play, unsigned int node, uint64_t call);
const char *play_lock(struct play *play, unsigned int node, enum sync_op op, uint64_t lock,
		      uint32_t thread);
const char *play_publish(struct play *play, unsigned int node);

/* NULL, or what is still under way when a script is over. */
const char *play_rest(struct play *play);

/* ---- script.c ---- */

/*
 * Plays the file's script. Returns the whole file as it should be: its own comments, head and
 * script, with what came of it. malloc()ed; NULL: something was not understood, which is said.
 */
char *script_play(const char *path, const struct lines *lines);

#endif
