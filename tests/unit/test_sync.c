/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synchronisation objects between four engines, as scripts: what a thread does, and which calls
 * come to an end then. "2b acquire R" is thread b of node 2; "2b=0 3a=EBUSY" are ends, "2b*=0" that
 * of the wait for a signal, "2b=+1" one with a value. Each script runs with the objects managed by
 * each node in turn and, unless it says where they are, with a central manager.
 */
#include "base/assert.h"
#include "base/hash.h"
#include "base/prng.h"
#include "engine_cluster.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the reader of scripts ---- */

struct line {
	const char *does;
	const char *ends;
};

#define LINES_MAX 48u

struct script {
	const char *name;
	struct line lines[LINES_MAX];
};

static const char *const op_names[SYNC_OP_END] = {
	[SYNC_INIT] = "init",		[SYNC_DESTROY] = "destroy", [SYNC_ACQUIRE] = "acquire",
	[SYNC_ACQUIRE_READ] = "read",	[SYNC_TRY] = "try",	    [SYNC_TRY_READ] = "tryread",
	[SYNC_RELEASE] = "release",	[SYNC_ENLIST] = "enlist",   [SYNC_SIGNAL] = "signal",
	[SYNC_BROADCAST] = "broadcast", [SYNC_ARRIVE] = "arrive",
};

/* An object's first letter is its kind. */
static const char kind_letters[SYNC_KIND_END + 1] = "?LRCSB";

static enum sync_op op_find(const char *name)
{
	for (unsigned int op = SYNC_INIT; op < SYNC_OP_END; op++) {
		if (strcmp(op_names[op], name) == 0)
			return (enum sync_op)op;
	}
	ASSERT(false);
	return SYNC_OP_END;
}

static enum sync_kind kind_find(char letter)
{
	const char *at = strchr(kind_letters, letter);

	ASSERT(at != NULL && at > kind_letters);
	return (enum sync_kind)(at - kind_letters);
}

/* The address of an object: one of this letter and digit that `manager` manages. */
static uint64_t object_name(const struct cluster *cluster, const char *object, unsigned int manager)
{
	uint64_t name = (uint64_t)object[0] * 4096 + (uint64_t)object[1] * 256;

	while (hash_u64(name) % cluster->config.node_count != manager)
		name++;
	return name;
}

/* A call that a script has begun; `waited`: the end of a wait for a signal. */
struct begun {
	struct token token;
	char actor[3];
	bool waited;
	bool told;
};

struct player {
	struct cluster *cluster;
	unsigned int manager;
	struct begun begun[2 * LINES_MAX];
	unsigned int begun_count;
};

static struct token begin(struct player *player, const char *actor, bool waited)
{
	struct begun *begun = &player->begun[player->begun_count++];

	*begun = (struct begun){ .token = cluster_token(player->cluster), .waited = waited };
	memcpy(begun->actor, actor, 2);
	return begun->token;
}

static void play(struct player *player, const char *does)
{
	char actor[8];
	char op[16];
	char object[8] = "";
	unsigned int argument = 0;
	unsigned int node;
	struct event event = { .kind = EV_SYNC };

	if (sscanf(does, "lose %u", &node) == 1) {
		cluster_lose(player->cluster, node);
		cluster_run(player->cluster);
		return;
	}
	/* "L1" or, as another kind than it is, "L1:S". */
	ASSERT(sscanf(does, "%7s %15s %7s %u", actor, op, object, &argument) >= 3);
	event.sync.op = op_find(op);
	event.sync.kind = kind_find(object[2] == ':' ? object[3] : object[0]);
	event.sync.name = object_name(player->cluster, object, player->manager);
	event.sync.thread = (uint32_t)actor[1];
	event.sync.argument = argument;
	event.token = begin(player, actor, false);
	if (event.sync.op == SYNC_ENLIST)
		event.sync.signal = begin(player, actor, true);
	ASSERT(cluster_step(player->cluster, (unsigned int)(actor[0] - '0'), &event) == 0);
	cluster_run(player->cluster);
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The words of `text`, which is changed, in alphabetical order. */
static void sort_words(char *text, char *sorted, size_t bytes)
{
	char *words[32];
	size_t count = 0;
	char *save = NULL;

	for (char *word = strtok_r(text, " ", &save); word != NULL;
	     word = strtok_r(NULL, " ", &save)) {
		ASSERT(count < 32);
		words[count++] = word;
	}
	qsort(words, count, sizeof(words[0]), compare_words);
	sorted[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		strncat(sorted, i ? " " : "", bytes - strlen(sorted) - 1);
		strncat(sorted, words[i], bytes - strlen(sorted) - 1);
	}
}

/* What ended since the last time. */
static void ends(struct player *player, char *text, size_t bytes)
{
	text[0] = '\0';
	for (unsigned int i = 0; i < player->begun_count; i++) {
		struct begun *begun = &player->begun[i];
		const struct cluster_result *result = &player->cluster->results[begun->token.value];
		char word[32];

		if (begun->told || result->count == 0)
			continue;
		begun->told = true;
		ASSERT(result->node.value == begun->actor[0] - '0');
		if (result->status != 0)
			snprintf(word, sizeof(word), " %s%s=%s", begun->actor,
				 begun->waited ? "*" : "", strerrorname_np(-result->status));
		else
			snprintf(word, sizeof(word), " %s%s=%s%lu", begun->actor,
				 begun->waited ? "*" : "", result->value ? "+" : "",
				 (unsigned long)result->value);
		strncat(text, word, bytes - strlen(text) - 1);
	}
}

static void play_line(struct player *player, const struct line *line)
{
	char got[512];
	char got_sorted[512];
	char wanted[512];
	char wanted_sorted[512];

	play(player, line->does);
	ends(player, got, sizeof(got));
	sort_words(got, got_sorted, sizeof(got_sorted));
	snprintf(wanted, sizeof(wanted), "%s", line->ends);
	sort_words(wanted, wanted_sorted, sizeof(wanted_sorted));
	if (strcmp(got_sorted, wanted_sorted) != 0)
		print_message("after \"%s\"\n", line->does);
	assert_string_equal(got_sorted, wanted_sorted);
}

static void play_script(const struct script *script, enum manager_kind kind, unsigned int manager)
{
	struct engine_config config = cluster_config();
	struct player player = { .manager = manager };

	config.manager = kind;
	player.cluster = cluster_open(&config);
	print_message("%s, %s manager %u\n", script->name,
		      kind == MANAGER_FIXED ? "fixed" : "central", manager);
	for (unsigned int i = 0; i < LINES_MAX && script->lines[i].does != NULL; i++)
		play_line(&player, &script->lines[i]);
	assert_true(cluster_quiet(player.cluster));
	cluster_close(player.cluster);
}

/* ---- scripts in which nobody is lost ---- */

static const struct script whole_scripts[] = {
	{ "names and kinds",
	  { { "0a acquire L1", "0a=ENOENT" },
	    { "0a destroy L1", "0a=ENOENT" },
	    { "1a init L1", "1a=0" },
	    { "2a init L1", "2a=EEXIST" },
	    { "2a init L1:S 1", "2a=EEXIST" },
	    { "2a acquire L1:S", "2a=EINVAL" },
	    { "2a acquire L1:R", "2a=EINVAL" },
	    { "2a destroy L1:C", "2a=EINVAL" },
	    { "2a enlist L1:C", "2a*=EINVAL 2a=EINVAL" },
	    { "2a enlist C1", "2a*=ENOENT 2a=ENOENT" },
	    { "0a init B1 0", "0a=EINVAL" },
	    { "0a arrive B1", "0a=ENOENT" },
	    { "0a init S1 2147483648", "0a=EINVAL" },
	    { "0a init S1 2147483647", "0a=0" },
	    { "3a destroy L1", "3a=0" },
	    { "3a acquire L1", "3a=ENOENT" },
	    { "3a init L1:B 1", "3a=0" },
	    { "3a arrive L1:B", "3a=+1" } } },

	{ "a lock passes in the order of asking",
	  { { "0a init L1", "0a=0" },
	    { "1a acquire L1", "1a=0" },
	    { "2a acquire L1", "" },
	    { "0b acquire L1", "" },
	    { "2b acquire L1", "" },
	    { "3a try L1", "3a=EBUSY" },
	    { "1a release L1", "1a=0 2a=0" },
	    { "1a acquire L1", "" },
	    { "2a release L1", "2a=0 0b=0" },
	    { "0b release L1", "0b=0 2b=0" },
	    { "2b release L1", "2b=0 1a=0" },
	    { "1a release L1", "1a=0" },
	    { "3a try L1", "3a=0" },
	    { "3a release L1", "3a=0" },
	    { "0a destroy L1", "0a=0" } } },

	{ "a lock belongs to one thread of one node",
	  { { "0a init L1", "0a=0" },
	    { "0a release L1", "0a=EPERM" },
	    { "1a acquire L1", "1a=0" },
	    { "1a acquire L1", "1a=EDEADLK" },
	    { "1a try L1", "1a=EBUSY" },
	    { "1b release L1", "1b=EPERM" },
	    { "2a release L1", "2a=EPERM" },
	    { "1b acquire L1", "" },
	    { "1b release L1", "1b=EPERM" },
	    { "0a destroy L1", "0a=EBUSY" },
	    { "1a release L1", "1a=0 1b=0" },
	    { "1a release L1", "1a=EPERM" },
	    { "0a destroy L1", "0a=EBUSY" },
	    { "1b release L1", "1b=0" },
	    { "0a destroy L1", "0a=0" } } },

	{ "a lock that nobody holds comes from the node that keeps it",
	  { { "0a init L1", "0a=0" },	       { "1a acquire L1", "1a=0" },
	    { "1a release L1", "1a=0" },       { "1b acquire L1", "1b=0" },
	    { "1a release L1", "1a=EPERM" },   { "1a try L1", "1a=EBUSY" },
	    { "1b acquire L1", "1b=EDEADLK" }, { "2a try L1", "2a=EBUSY" },
	    { "3a destroy L1", "3a=EBUSY" },   { "1b release L1", "1b=0" },
	    { "1b release L1", "1b=EPERM" },   { "2a try L1", "2a=0" },
	    { "1b acquire L1", "" },	       { "2b try L1", "2b=EBUSY" },
	    { "2a release L1", "2a=0 1b=0" },  { "1b release L1", "1b=0" },
	    { "3a acquire L1", "3a=0" },       { "3b acquire L1", "" },
	    { "3a release L1", "3a=0 3b=0" },  { "3b release L1", "3b=0" },
	    { "2a acquire L1", "2a=0" },       { "2a release L1", "2a=0" },
	    { "0a destroy L1", "0a=0" },       { "2a acquire L1", "2a=ENOENT" },
	    { "2a release L1", "2a=ENOENT" } } },

	{ "readers together, a waiting writer holds back later readers",
	  { { "0a init R1", "0a=0" },
	    { "1a read R1", "1a=0" },
	    { "2a read R1", "2a=0" },
	    { "3a try R1", "3a=EBUSY" },
	    { "3a acquire R1", "" },
	    { "0a tryread R1", "0a=EBUSY" },
	    { "0a read R1", "" },
	    { "0b acquire R1", "" },
	    { "0c read R1", "" },
	    { "1b read R1", "" },
	    { "1a release R1", "1a=0" },
	    { "2a release R1", "2a=0 3a=0" },
	    { "2a tryread R1", "2a=EBUSY" },
	    { "3a release R1", "3a=0 0a=0" },
	    { "0a release R1", "0a=0 0b=0" },
	    { "0a destroy R1", "0a=EBUSY" },
	    { "0b release R1", "0b=0 0c=0 1b=0" },
	    { "2a tryread R1", "2a=0" },
	    { "0a destroy R1", "0a=EBUSY" },
	    { "0c release R1", "0c=0" },
	    { "2a release R1", "2a=0" },
	    { "1b release R1", "1b=0" },
	    { "0a try R1", "0a=0" },
	    { "1a tryread R1", "1a=EBUSY" },
	    { "0a release R1", "0a=0" },
	    { "0a destroy R1", "0a=0" } } },

	{ "who reads and who writes",
	  { { "0a init R1", "0a=0" },
	    { "0a release R1", "0a=EPERM" },
	    { "1a read R1", "1a=0" },
	    { "1b release R1", "1b=EPERM" },
	    { "2a release R1", "2a=EPERM" },
	    { "1a acquire R1", "1a=EDEADLK" },
	    { "1a read R1", "1a=0" },
	    { "1a release R1", "1a=0" },
	    { "2a acquire R1", "" },
	    { "1a read R1", "1a=EDEADLK" },
	    { "1a release R1", "1a=0 2a=0" },
	    { "1a release R1", "1a=EPERM" },
	    { "2a acquire R1", "2a=EDEADLK" },
	    { "2a read R1", "2a=EDEADLK" },
	    { "2a release R1", "2a=0" } } },

	{ "a signal wakes one, the first; a broadcast all; neither is kept",
	  { { "0a init C1", "0a=0" },
	    { "0a signal C1", "0a=0" },
	    { "0a broadcast C1", "0a=0" },
	    { "1a enlist C1", "1a=0" },
	    { "2a enlist C1", "2a=0" },
	    { "0b enlist C1", "0b=0" },
	    { "3a destroy C1", "3a=EBUSY" },
	    { "3a signal C1", "3a=0 1a*=0" },
	    { "1a enlist C1", "1a=0" },
	    { "3a signal C1", "3a=0 2a*=0" },
	    { "3a broadcast C1", "3a=0 0b*=0 1a*=0" },
	    { "3a signal C1", "3a=0" },
	    { "3a destroy C1", "3a=0" },
	    { "3a signal C1", "3a=ENOENT" } } },

	{ "waiting for a condition with a lock",
	  { { "0a init C1", "0a=0" },
	    { "0a init L1", "0a=0" },
	    { "1a acquire L1", "1a=0" },
	    { "1a enlist C1", "1a=0" },
	    { "2a acquire L1", "" },
	    { "1a release L1", "1a=0 2a=0" },
	    { "2a signal C1", "2a=0 1a*=0" },
	    { "1a acquire L1", "" },
	    { "2a release L1", "2a=0 1a=0" },
	    { "1a release L1", "1a=0" } } },

	{ "a semaphore counts",
	  { { "0a init S1 2", "0a=0" },
	    { "1a acquire S1", "1a=0" },
	    { "2a try S1", "2a=0" },
	    { "3a try S1", "3a=EAGAIN" },
	    { "3a acquire S1", "" },
	    { "0a acquire S1", "" },
	    { "0b destroy S1", "0b=EBUSY" },
	    { "1a release S1", "1a=0 3a=0" },
	    { "0b try S1", "0b=EAGAIN" },
	    { "1b release S1", "1b=0 0a=0" },
	    { "1b release S1", "1b=0" },
	    { "0b try S1", "0b=0" },
	    { "0b destroy S1", "0b=0" } } },

	{ "a semaphore does not overflow",
	  { { "0a init S1 2147483646", "0a=0" },
	    { "1a release S1", "1a=0" },
	    { "1a release S1", "1a=EOVERFLOW" },
	    { "1a acquire S1", "1a=0" },
	    { "2a release S1", "2a=0" } } },

	{ "a barrier is used again and again",
	  { { "0a init B1 3", "0a=0" },
	    { "1a arrive B1", "" },
	    { "1b arrive B1", "" },
	    { "0b destroy B1", "0b=EBUSY" },
	    { "2a arrive B1", "1a=0 1b=0 2a=+1" },
	    { "0a arrive B1", "" },
	    { "2a arrive B1", "" },
	    { "3a arrive B1", "0a=0 2a=0 3a=+1" },
	    { "0b destroy B1", "0b=0" } } },

	{ "objects do not touch each other",
	  { { "0a init L1", "0a=0" },
	    { "0a init L2", "0a=0" },
	    { "0a init S1 0", "0a=0" },
	    { "1a acquire L1", "1a=0" },
	    { "1a acquire L2", "1a=0" },
	    { "2a acquire L1", "" },
	    { "3a acquire L2", "" },
	    { "2b acquire S1", "" },
	    { "1a release L2", "1a=0 3a=0" },
	    { "1a release L1", "1a=0 2a=0" },
	    { "3b release S1", "3b=0 2b=0" } } },
};

/* ---- scripts in which a node is lost ---- */

/* Node 3 is lost, and is not the manager. */
static const struct script loss_scripts[] = {
	{ "the holder of a lock is lost",
	  { { "0a init L1", "0a=0" },
	    { "3a acquire L1", "3a=0" },
	    { "1a acquire L1", "" },
	    { "2a acquire L1", "" },
	    { "3b acquire L1", "" },
	    { "lose 3", "1a=EOWNERDEAD 2a=EOWNERDEAD" },
	    { "1a acquire L1", "1a=EOWNERDEAD" },
	    { "0a try L1", "0a=EOWNERDEAD" },
	    { "0a release L1", "0a=EPERM" },
	    { "0a destroy L1", "0a=0" },
	    { "0a init L1", "0a=0" },
	    { "1a acquire L1", "1a=0" },
	    { "2a acquire L1", "" },
	    { "1a release L1", "1a=0 2a=0" } } },

	{ "one that waits for a lock is lost",
	  { { "0a init L1", "0a=0" },
	    { "0a acquire L1", "0a=0" },
	    { "3a acquire L1", "" },
	    { "1a acquire L1", "" },
	    { "3b acquire L1", "" },
	    { "2a acquire L1", "" },
	    { "lose 3", "" },
	    { "0a release L1", "0a=0 1a=0" },
	    { "1a release L1", "1a=0 2a=0" },
	    { "2a release L1", "2a=0" },
	    { "1a acquire L1", "1a=0" } } },

	{ "a waiting writer is lost: the readers behind it go on",
	  { { "0a init R1", "0a=0" },
	    { "0a read R1", "0a=0" },
	    { "3a acquire R1", "" },
	    { "1a read R1", "" },
	    { "2a read R1", "" },
	    { "2b acquire R1", "" },
	    { "lose 3", "1a=0 2a=0" },
	    { "0a release R1", "0a=0" },
	    { "1a release R1", "1a=0" },
	    { "2a release R1", "2a=0 2b=0" } } },

	{ "a reader is lost",
	  { { "0a init R1", "0a=0" },
	    { "3a read R1", "3a=0" },
	    { "1a read R1", "1a=0" },
	    { "2a acquire R1", "" },
	    { "lose 3", "2a=EOWNERDEAD" },
	    { "2a read R1", "2a=EOWNERDEAD" },
	    { "2a tryread R1", "2a=EOWNERDEAD" },
	    { "2a try R1", "2a=EOWNERDEAD" },
	    { "0a destroy R1", "0a=EBUSY" },
	    { "1a release R1", "1a=0" },
	    { "0a destroy R1", "0a=0" } } },

	{ "a writer is lost",
	  { { "0a init R1", "0a=0" },
	    { "3a acquire R1", "3a=0" },
	    { "1a read R1", "" },
	    { "2a acquire R1", "" },
	    { "lose 3", "1a=EOWNERDEAD 2a=EOWNERDEAD" },
	    { "0a destroy R1", "0a=0" } } },

	{ "no condition is waited for any more",
	  { { "0a init C1", "0a=0" },
	    { "1a enlist C1", "1a=0" },
	    { "3a enlist C1", "3a=0" },
	    { "lose 3", "1a*=EHOSTDOWN" },
	    { "1a enlist C1", "1a*=EHOSTDOWN 1a=EHOSTDOWN" },
	    { "1a signal C1", "1a=0" },
	    { "1a broadcast C1", "1a=0" },
	    { "1a destroy C1", "1a=0" } } },

	{ "no semaphore is waited for any more",
	  { { "0a init S1 0", "0a=0" },
	    { "1a acquire S1", "" },
	    { "3a acquire S1", "" },
	    { "lose 3", "1a=EHOSTDOWN" },
	    { "1a acquire S1", "1a=EHOSTDOWN" },
	    { "2a release S1", "2a=0" },
	    { "1a acquire S1", "1a=0" },
	    { "1a try S1", "1a=EAGAIN" } } },

	{ "no barrier is waited for any more",
	  { { "0a init B1 2", "0a=0" },
	    { "0a init B2 1", "0a=0" },
	    { "1a arrive B1", "" },
	    { "lose 3", "1a=EHOSTDOWN" },
	    { "2a arrive B1", "2a=EHOSTDOWN" },
	    { "2a arrive B2", "2a=+1" },
	    { "2a destroy B1", "2a=0" } } },

	{ "the node that keeps a lock is lost: nobody can tell whether a thread was inside",
	  { { "0a init L1", "0a=0" },
	    { "0a init L2", "0a=0" },
	    { "3a acquire L1", "3a=0" },
	    { "3a release L1", "3a=0" },
	    { "3a acquire L2", "3a=0" },
	    { "3a release L2", "3a=0" },
	    { "1a acquire L2", "1a=0" },
	    { "1a release L2", "1a=0" },
	    { "lose 3", "" },
	    { "2a try L1", "2a=EOWNERDEAD" },
	    { "2a destroy L1", "2a=0" },
	    { "2a acquire L2", "2a=0" } } },

	{ "several objects, and what the lost node never touched",
	  { { "0a init L1", "0a=0" },
	    { "0a init L2", "0a=0" },
	    { "0a init L3", "0a=0" },
	    { "0a destroy L2", "0a=0" },
	    { "3a acquire L3", "3a=0" },
	    { "1a acquire L1", "1a=0" },
	    { "2a acquire L1", "" },
	    { "2b acquire L3", "" },
	    { "lose 3", "2b=EOWNERDEAD" },
	    { "1a release L1", "1a=0 2a=0" },
	    { "2a release L1", "2a=0" } } },
};

/* Node 3 is lost, and is the manager. */
static const struct script manager_scripts[] = {
	{ "the manager of locks that are kept is lost",
	  { { "0a init L1", "0a=0" },
	    { "0a init L2", "0a=0" },
	    { "1a acquire L1", "1a=0" },
	    { "1a acquire L2", "1a=0" },
	    { "1a release L2", "1a=0" },
	    { "lose 3", "" },
	    { "1b try L1", "1b=EHOSTDOWN" },
	    { "1b release L1", "1b=EHOSTDOWN" },
	    { "1a release L1", "1a=EHOSTDOWN" },
	    { "1a acquire L1", "1a=EHOSTDOWN" },
	    { "1a acquire L2", "1a=EHOSTDOWN" } } },

	{ "the manager is lost",
	  { { "0a init L1", "0a=0" },
	    { "0a init C1", "0a=0" },
	    { "0a init S1 0", "0a=0" },
	    { "1a acquire L1", "1a=0" },
	    { "2a acquire L1", "" },
	    { "1b enlist C1", "1b=0" },
	    { "0a acquire S1", "" },
	    { "lose 3", "2a=EHOSTDOWN 1b*=EHOSTDOWN 0a=EHOSTDOWN" },
	    { "1a release L1", "1a=EHOSTDOWN" },
	    { "1a init L2", "1a=EHOSTDOWN" },
	    { "1b enlist C1", "1b*=EHOSTDOWN 1b=EHOSTDOWN" } } },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(whole_scripts); i++) {
		for (unsigned int manager = 0; manager < CLUSTER_NODES; manager++)
			play_script(&whole_scripts[i], MANAGER_FIXED, manager);
		play_script(&whole_scripts[i], MANAGER_CENTRAL, 3);
	}
}

static void test_loss(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(loss_scripts); i++) {
		for (unsigned int manager = 0; manager < 3; manager++)
			play_script(&loss_scripts[i], MANAGER_FIXED, manager);
		play_script(&loss_scripts[i], MANAGER_CENTRAL, 3);
	}
}

static void test_manager_loss(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(manager_scripts); i++)
		play_script(&manager_scripts[i], MANAGER_FIXED, 3);
}

/* ---- limits, and peers that break the rules ---- */

static struct event sync_event_make(struct cluster *cluster, enum sync_kind kind, enum sync_op op,
				    uint64_t name, uint32_t thread)
{
	struct event event = { .kind = EV_SYNC, .token = cluster_token(cluster) };

	event.sync.kind = kind;
	event.sync.op = op;
	event.sync.name = name;
	event.sync.thread = thread;
	return event;
}

static int call(struct cluster *cluster, unsigned int node, enum sync_kind kind, enum sync_op op,
		uint64_t name)
{
	struct event event = sync_event_make(cluster, kind, op, name, 1);

	assert_int_equal(cluster_step(cluster, node, &event), 0);
	cluster_run(cluster);
	return cluster_status(cluster, event.token);
}

/* The table of objects fills, says so, and has room again after each destruction. */
static void test_object_limit(void **state)
{
	struct engine_config config = cluster_config();

	(void)state;
	config.node_count = 1;
	config.sync_objects = 5; /* no power of two */
	struct cluster *cluster = cluster_open(&config);

	for (unsigned int round = 0; round < 3; round++) {
		for (uint64_t name = 0; name < 5; name++)
			assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_INIT, name), 0);
		assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_INIT, 5), -ENOMEM);
		assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_DESTROY, round), 0);
		assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_INIT, 5), 0);
		assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_INIT, round), -ENOMEM);
		for (uint64_t name = 0; name <= 5; name++)
			assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_DESTROY, name),
					 name == round ? -ENOENT : 0);
	}
	cluster_close(cluster);
}

/*
 * Two of five locks are destroyed, in each order; the others are held by a node that is then lost.
 * Each of them must be found dead: the walk over all objects misses none.
 */
static void destroy_two_lose_three(uint64_t one, uint64_t two)
{
	struct engine_config config = cluster_config();

	config.manager = MANAGER_CENTRAL;
	config.sync_objects = 5;
	struct cluster *cluster = cluster_open(&config);

	for (uint64_t name = 0; name < 5; name++)
		assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_INIT, name), 0);
	assert_int_equal(call(cluster, 1, SYNC_LOCK, SYNC_DESTROY, one), 0);
	assert_int_equal(call(cluster, 1, SYNC_LOCK, SYNC_DESTROY, two), 0);
	for (uint64_t name = 5; name < 7; name++)
		assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_INIT, name), 0);
	for (uint64_t name = 0; name < 7; name++)
		assert_int_equal(call(cluster, 3, SYNC_LOCK, SYNC_ACQUIRE, name),
				 name == one || name == two ? -ENOENT : 0);
	cluster_lose(cluster, 3);
	for (uint64_t name = 0; name < 7; name++)
		assert_int_equal(call(cluster, 2, SYNC_LOCK, SYNC_ACQUIRE, name),
				 name == one || name == two ? -ENOENT : -EOWNERDEAD);
	cluster_close(cluster);
}

static void test_walk_after_destroying(void **state)
{
	(void)state;
	for (uint64_t one = 0; one < 5; one++) {
		for (uint64_t two = 0; two < 5; two++) {
			if (one != two)
				destroy_two_lose_three(one, two);
		}
	}
}

/* Reads past the limit fail; a queue of readers that meets the limit does not hang. */
static void test_reader_limit(void **state)
{
	struct engine_config config = cluster_config();

	(void)state;
	config.node_count = 1;
	config.sync_objects = 1;
	config.calls = 2; /* two threads that wait, and three that read */
	struct cluster *cluster = cluster_open(&config);

	assert_int_equal(call(cluster, 0, SYNC_RWLOCK, SYNC_INIT, 0), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(call(cluster, 0, SYNC_RWLOCK, SYNC_ACQUIRE_READ, 0), 0);
	assert_int_equal(call(cluster, 0, SYNC_RWLOCK, SYNC_ACQUIRE_READ, 0), -ENOMEM);
	assert_int_equal(call(cluster, 0, SYNC_RWLOCK, SYNC_TRY_READ, 0), -ENOMEM);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(call(cluster, 0, SYNC_RWLOCK, SYNC_RELEASE, 0), 0);
	assert_int_equal(call(cluster, 0, SYNC_RWLOCK, SYNC_RELEASE, 0), -EPERM);
	assert_int_equal(call(cluster, 0, SYNC_RWLOCK, SYNC_ACQUIRE, 0), 0);
	cluster_close(cluster);
}

/* All slots taken: -EAGAIN and no trace; the same call succeeds when one has come free. */
static void test_slots_run_out(void **state)
{
	struct engine_config config = cluster_config();

	(void)state;
	config.node_count = 1;
	config.calls = 3;
	struct cluster *cluster = cluster_open(&config);

	assert_int_equal(call(cluster, 0, SYNC_SEM, SYNC_INIT, 0), 0);
	assert_int_equal(call(cluster, 0, SYNC_COND, SYNC_INIT, 64), 0);
	assert_int_equal(call(cluster, 0, SYNC_SEM, SYNC_ACQUIRE, 0), CLUSTER_PENDING);
	assert_int_equal(call(cluster, 0, SYNC_SEM, SYNC_ACQUIRE, 0), CLUSTER_PENDING);
	struct event enlist = sync_event_make(cluster, SYNC_COND, SYNC_ENLIST, 64, 1);
	uint64_t calls = engine_stats(cluster->engines[0])->sync_calls;

	enlist.sync.signal = cluster_token(cluster);
	assert_int_equal(calls, 4);
	assert_int_equal(cluster_step(cluster, 0, &enlist), -EAGAIN);
	assert_int_equal(engine_stats(cluster->engines[0])->sync_calls, calls);
	assert_int_equal(call(cluster, 0, SYNC_SEM, SYNC_RELEASE, 0), 0);
	assert_int_equal(cluster_step(cluster, 0, &enlist), 0);
	assert_int_equal(cluster_status(cluster, enlist.token), 0);
	assert_int_equal(cluster_status(cluster, enlist.sync.signal), CLUSTER_PENDING);
	assert_int_equal(call(cluster, 0, SYNC_COND, SYNC_SIGNAL, 64), 0);
	assert_int_equal(cluster_status(cluster, enlist.sync.signal), 0);
	cluster_close(cluster);
}

/* More waiting threads than one step may wake: -ENOMEM, not a crash. One node lies about its slots.
 */
static void test_waiting_limit(void **state)
{
	struct engine_config config = cluster_config();
	struct message message = { .kind = MSG_SYNC_REQUEST };
	struct event event = { .kind = EV_MESSAGE, .peer = node_id(1), .message = &message };

	(void)state;
	config.node_count = 2;
	config.manager = MANAGER_CENTRAL;
	struct cluster *cluster = cluster_open(&config);

	assert_int_equal(call(cluster, 0, SYNC_SEM, SYNC_INIT, 0), 0);
	message.sync_request = (struct message_sync_request){
		.kind = SYNC_SEM,
		.op = SYNC_ACQUIRE,
	};
	message.bytes = (uint16_t)message_bytes(&message);
	for (unsigned int i = 0; i < 2 * config.calls; i++) {
		assert_int_equal(cluster_step(cluster, 0, &event), 0);
		assert_int_equal(cluster->queue_count, 0);
	}
	assert_int_equal(cluster_step(cluster, 0, &event), 0);
	assert_int_equal(cluster->queue_count, 1);
	assert_int_equal(cluster->queue[0].message.reply.status, -ENOMEM);
	cluster_close(cluster);
}

static void test_broken_requests(void **state)
{
	struct engine_config config = cluster_config();
	struct cluster *cluster = cluster_open(&config);
	struct message message = { .kind = MSG_SYNC_REQUEST };
	struct event event = { .kind = EV_MESSAGE, .peer = node_id(1), .message = &message };
	const struct message_sync_request broken[] = {
		{ .kind = SYNC_LOCK, .op = SYNC_ACQUIRE_READ },
		{ .kind = SYNC_LOCK, .op = SYNC_ENLIST },
		{ .kind = SYNC_COND, .op = SYNC_ACQUIRE },
		{ .kind = SYNC_SEM, .op = SYNC_SIGNAL },
		{ .kind = SYNC_BARRIER, .op = SYNC_RELEASE },
		{ .kind = SYNC_RWLOCK, .op = SYNC_ARRIVE },
		{ .kind = SYNC_LOCK, .op = SYNC_RETURN },
		{ .kind = SYNC_LOCK, .op = SYNC_HELD },
		{ .kind = SYNC_SEM, .op = SYNC_RETURN },
	};

	(void)state;
	message.bytes = sizeof(struct message_sync_request) + 8;
	for (size_t i = 0; i < COUNT(broken); i++) {
		message.sync_request = broken[i];
		message.sync_request.name = object_name(cluster, "L1", 2);
		assert_int_equal(cluster_step(cluster, 2, &event), -EPROTO);
	}
	/* A good one, but another node manages that name. */
	message.sync_request.kind = SYNC_LOCK;
	message.sync_request.op = SYNC_INIT;
	assert_int_equal(cluster_step(cluster, 0, &event), -EPROTO);
	assert_int_equal(cluster->queue_count, 0);
	assert_int_equal(cluster_step(cluster, 2, &event), 0);
	assert_int_equal(cluster->queue_count, 1);
	cluster_close(cluster);
}

/* ---- locks that a node keeps ---- */

/* `count` locks, the objects 0, 8, 16, ... */
static struct cluster *locks_open(uint32_t count)
{
	struct engine_config config = cluster_config();

	config.manager = MANAGER_CENTRAL;
	config.sync_objects = count;
	struct cluster *cluster = cluster_open(&config);

	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(call(cluster, 0, SYNC_LOCK, SYNC_INIT, i * 8), 0);
	return cluster;
}

static int lock_call(struct cluster *cluster, unsigned int node, enum sync_op op, uint64_t name)
{
	return call(cluster, node, SYNC_LOCK, op, name);
}

/* It is taken and left without a message, by a step or without; nobody takes what is held. */
static void test_kept_without_messages(void **state)
{
	struct cluster *cluster = locks_open(1);
	const struct engine *one = cluster->engines[1];

	(void)state;
	assert_false(engine_lock_take(one, 0, 1));
	assert_int_equal(lock_call(cluster, 1, SYNC_ACQUIRE, 0), 0);
	uint64_t messages = cluster->message_count;

	assert_false(engine_lock_take(one, 0, 1));
	assert_false(engine_lock_leave(one, 0, 2));
	assert_true(engine_lock_leave(one, 0, 1));
	assert_false(engine_lock_leave(one, 0, 1));
	assert_true(engine_lock_take(one, 0, 7));
	assert_int_equal(lock_call(cluster, 1, SYNC_TRY, 0), -EBUSY);
	assert_true(engine_lock_leave(one, 0, 7));
	assert_int_equal(lock_call(cluster, 1, SYNC_ACQUIRE, 0), 0);
	assert_int_equal(lock_call(cluster, 1, SYNC_RELEASE, 0), 0);
	assert_int_equal(cluster->message_count, messages);
	assert_int_equal(engine_lock_calls(one), 3);
	assert_false(engine_lock_take(one, 8, 1));
	cluster_close(cluster);
}

/* A recalled lock is not left behind the engine's back, nor taken once it is gone. */
static void test_kept_recalled(void **state)
{
	struct cluster *cluster = locks_open(1);
	struct event wait = sync_event_make(cluster, SYNC_LOCK, SYNC_ACQUIRE, 0, 1);

	(void)state;
	assert_int_equal(lock_call(cluster, 1, SYNC_ACQUIRE, 0), 0);
	assert_int_equal(cluster_step(cluster, 2, &wait), 0);
	cluster_run(cluster);
	assert_int_equal(cluster_status(cluster, wait.token), CLUSTER_PENDING);
	assert_false(engine_lock_leave(cluster->engines[1], 0, 1));
	assert_int_equal(lock_call(cluster, 1, SYNC_RELEASE, 0), 0);
	assert_int_equal(cluster_status(cluster, wait.token), 0);
	assert_false(engine_lock_take(cluster->engines[1], 0, 1));
	assert_true(engine_lock_leave(cluster->engines[2], 0, 1));
	cluster_close(cluster);
}

#define CROWDED 31u

/* Objects that all have the same few places among what a node keeps. */
static struct cluster *crowded_open(uint64_t names[CROWDED])
{
	struct cluster *cluster = locks_open(CROWDED);
	unsigned int count = 0;

	for (uint64_t i = 0; i < CROWDED; i++)
		assert_int_equal(lock_call(cluster, 0, SYNC_DESTROY, i * 8), 0);
	for (uint64_t name = 0; count < CROWDED; name += 8) {
		if ((hash_u64(name) >> 48 & 7) == 0)
			names[count++] = name;
	}
	for (unsigned int i = 0; i < CROWDED; i++)
		assert_int_equal(lock_call(cluster, 0, SYNC_INIT, names[i]), 0);
	return cluster;
}

/* More locks than a node has room to keep: the rest is held as well, and others make room. */
static void test_kept_no_room(void **state)
{
	uint64_t names[CROWDED];
	struct cluster *cluster = crowded_open(names);

	(void)state;
	for (unsigned int i = 0; i < CROWDED; i++)
		assert_int_equal(lock_call(cluster, 1, SYNC_ACQUIRE, names[i]), 0);
	for (unsigned int i = 0; i < CROWDED; i++) {
		assert_int_equal(lock_call(cluster, 2, SYNC_TRY, names[i]), -EBUSY);
		assert_int_equal(lock_call(cluster, 1, SYNC_ACQUIRE, names[i]), -EDEADLK);
		assert_int_equal(lock_call(cluster, 1, SYNC_RELEASE, names[i]), 0);
		assert_int_equal(lock_call(cluster, 1, SYNC_RELEASE, names[i]), -EPERM);
	}
	for (unsigned int node = 1; node < 3; node++) {
		for (unsigned int i = 0; i < CROWDED; i++) {
			assert_int_equal(lock_call(cluster, node, SYNC_ACQUIRE, names[i]), 0);
			assert_int_equal(lock_call(cluster, node, SYNC_RELEASE, names[i]), 0);
		}
	}
	for (unsigned int i = 0; i < CROWDED; i++)
		assert_int_equal(lock_call(cluster, 3, SYNC_DESTROY, names[i]), 0);
	assert_true(cluster_quiet(cluster));
	cluster_close(cluster);
}

/* A thread whose number has no room in a word locks too, with a message. */
static void test_kept_late_thread(void **state)
{
	struct cluster *cluster = locks_open(1);
	struct event event = sync_event_make(cluster, SYNC_LOCK, SYNC_ACQUIRE, 0, 1u << 22);

	(void)state;
	assert_int_equal(lock_call(cluster, 1, SYNC_ACQUIRE, 0), 0);
	assert_int_equal(lock_call(cluster, 1, SYNC_RELEASE, 0), 0);
	assert_false(engine_lock_take(cluster->engines[1], 0, 1u << 22));
	assert_int_equal(cluster_step(cluster, 1, &event), 0);
	cluster_run(cluster);
	assert_int_equal(cluster_status(cluster, event.token), 0);
	assert_false(engine_lock_take(cluster->engines[1], 0, 1));
	assert_int_equal(lock_call(cluster, 2, SYNC_TRY, 0), -EBUSY);
	event = sync_event_make(cluster, SYNC_LOCK, SYNC_RELEASE, 0, 1u << 22);
	assert_int_equal(cluster_step(cluster, 1, &event), 0);
	cluster_run(cluster);
	assert_int_equal(cluster_status(cluster, event.token), 0);
	assert_int_equal(lock_call(cluster, 2, SYNC_TRY, 0), 0);
	cluster_close(cluster);
}

/* Only a lock's manager recalls it; only who has it returns it. */
static void test_kept_broken(void **state)
{
	struct cluster *cluster = locks_open(1);
	struct message message = { .kind = MSG_SYNC_RECALL, .bytes = 16 };
	struct event event = { .kind = EV_MESSAGE, .peer = node_id(2), .message = &message };

	(void)state;
	assert_int_equal(lock_call(cluster, 1, SYNC_ACQUIRE, 0), 0);
	assert_int_equal(cluster_step(cluster, 1, &event), -EPROTO);
	message = (struct message){ .kind = MSG_SYNC_REQUEST, .bytes = 32 };
	message.sync_request.kind = SYNC_LOCK;
	message.sync_request.op = SYNC_RETURN;
	assert_int_equal(cluster_step(cluster, 0, &event), -EPROTO);
	event.peer = node_id(1);
	assert_int_equal(cluster_step(cluster, 0, &event), 0);
	assert_int_equal(cluster_step(cluster, 0, &event), -EPROTO);
	cluster_close(cluster);
}

/* ---- many threads at random ---- */

#define THREADS 24u
#define OBJECTS 3u

enum doing {
	IDLE = 0,
	ASKED_READ,
	ASKED_WRITE,
	READING,
	WRITING,
	RELEASING,
};

struct crowd {
	struct cluster *cluster;
	struct prng prng;
	struct {
		enum doing doing;
		uint64_t object;
		struct token token;
	} threads[THREADS];
	bool dead[OBJECTS]; /* held by a lost node once */
};

static unsigned int thread_node(unsigned int thread)
{
	return thread % CLUSTER_NODES;
}

static void crowd_call(struct crowd *crowd, unsigned int thread, enum sync_op op, enum doing doing)
{
	struct event event = sync_event_make(crowd->cluster, SYNC_RWLOCK, op,
					     crowd->threads[thread].object, thread);

	crowd->threads[thread].doing = doing;
	crowd->threads[thread].token = event.token;
	assert_int_equal(cluster_step(crowd->cluster, thread_node(thread), &event), 0);
}

static void crowd_look(struct crowd *crowd, unsigned int thread)
{
	uint64_t object = crowd->threads[thread].object;
	enum doing *doing = &crowd->threads[thread].doing;

	if (*doing != ASKED_READ && *doing != ASKED_WRITE && *doing != RELEASING)
		return;
	int status = cluster_status(crowd->cluster, crowd->threads[thread].token);

	if (status == CLUSTER_PENDING)
		return;
	if (status == -EOWNERDEAD) {
		assert_true(crowd->dead[object] && *doing != RELEASING);
		*doing = IDLE;
		return;
	}
	assert_int_equal(status, 0);
	*doing = *doing == RELEASING ? IDLE : *doing == ASKED_READ ? READING : WRITING;
}

static bool crowd_lost(const struct crowd *crowd, unsigned int thread)
{
	return crowd->cluster->lost[thread_node(thread)];
}

/* Many readers or one writer, of what live nodes know. */
static void crowd_check(struct crowd *crowd)
{
	for (uint64_t object = 0; object < OBJECTS; object++) {
		unsigned int readers = 0;
		unsigned int writers = 0;

		for (unsigned int thread = 0; thread < THREADS; thread++) {
			if (crowd_lost(crowd, thread) || crowd->threads[thread].object != object)
				continue;
			crowd_look(crowd, thread);
			readers += crowd->threads[thread].doing == READING;
			writers += crowd->threads[thread].doing == WRITING;
		}
		assert_true(writers == 0 || (writers == 1 && readers == 0));
	}
}

static void crowd_act(struct crowd *crowd, unsigned int thread)
{
	enum doing doing = crowd->threads[thread].doing;

	if (crowd_lost(crowd, thread))
		return;
	if (doing == READING || doing == WRITING) {
		crowd_call(crowd, thread, SYNC_RELEASE, RELEASING);
	} else if (doing == IDLE) {
		crowd->threads[thread].object = prng_below(&crowd->prng, OBJECTS);
		if (prng_below(&crowd->prng, 3) == 0)
			crowd_call(crowd, thread, SYNC_ACQUIRE, ASKED_WRITE);
		else
			crowd_call(crowd, thread, SYNC_ACQUIRE_READ, ASKED_READ);
	}
}

/* With all messages delivered, so that what the lost node holds is known. */
static void crowd_lose(struct crowd *crowd, unsigned int node)
{
	cluster_run(crowd->cluster);
	crowd_check(crowd);
	for (unsigned int thread = 0; thread < THREADS; thread++) {
		enum doing doing = crowd->threads[thread].doing;

		if (thread_node(thread) == node && (doing == READING || doing == WRITING))
			crowd->dead[crowd->threads[thread].object] = true;
	}
	cluster_lose(crowd->cluster, node);
	cluster_run(crowd->cluster);
	crowd_check(crowd);
}

/* Whoever holds lets go, until nobody waits any more. */
static void crowd_finish(struct crowd *crowd)
{
	for (unsigned int round = 0; round < THREADS + 1; round++) {
		for (unsigned int thread = 0; thread < THREADS; thread++) {
			enum doing doing = crowd->threads[thread].doing;

			if (doing == READING || doing == WRITING)
				crowd_act(crowd, thread);
		}
		cluster_run(crowd->cluster);
		crowd_check(crowd);
	}
	for (unsigned int thread = 0; thread < THREADS; thread++)
		assert_true(crowd_lost(crowd, thread) || crowd->threads[thread].doing == IDLE);
	assert_true(cluster_quiet(crowd->cluster));
}

static void test_crowd(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct engine_config config = cluster_config();

		config.manager = MANAGER_CENTRAL;
		struct crowd crowd = { .prng = prng_init(seed), .cluster = cluster_open(&config) };

		print_message("seed %lu\n", (unsigned long)seed);
		for (uint64_t object = 0; object < OBJECTS; object++)
			assert_int_equal(call(crowd.cluster, 0, SYNC_RWLOCK, SYNC_INIT, object), 0);
		for (unsigned int step = 0; step < 2000; step++) {
			crowd_act(&crowd, (unsigned int)prng_below(&crowd.prng, THREADS));
			if (prng_below(&crowd.prng, 3) == 0)
				cluster_run(crowd.cluster);
			crowd_check(&crowd);
			if (step == 1000 && seed % 2 == 0)
				crowd_lose(&crowd, 1 + (unsigned int)prng_below(&crowd.prng, 3));
		}
		cluster_run(crowd.cluster);
		crowd_check(&crowd);
		crowd_finish(&crowd);
		cluster_close(crowd.cluster);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_loss),
		cmocka_unit_test(test_manager_loss),
		cmocka_unit_test(test_object_limit),
		cmocka_unit_test(test_reader_limit),
		cmocka_unit_test(test_slots_run_out),
		cmocka_unit_test(test_waiting_limit),
		cmocka_unit_test(test_broken_requests),
		cmocka_unit_test(test_walk_after_destroying),
		cmocka_unit_test(test_kept_without_messages),
		cmocka_unit_test(test_kept_recalled),
		cmocka_unit_test(test_kept_no_room),
		cmocka_unit_test(test_kept_late_thread),
		cmocka_unit_test(test_kept_broken),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
