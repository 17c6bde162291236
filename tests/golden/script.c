/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the language of traces. A line of a file is a comment (#), empty, of the head (before
 * anything happens), something that happens ("> store n1 p5"), or, indented, what came of it. What
 * only prepares (">> store n1 p5") is not shown, and comes to rest at once.
 */
#include "golden.h"

#include "sim/lines.h"
#include "unit/engine_cluster.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char not_understood[] = "this is not understood";

/* ---- the head ---- */

static bool manager_parse(const char *name, enum manager_kind *manager)
{
	static const char *const names[] = {
		[MANAGER_FIXED] = "fixed",
		[MANAGER_CENTRAL] = "central",
		[MANAGER_BROADCAST] = "broadcast",
		[MANAGER_DYNAMIC] = "dynamic",
	};

	static_assert(sizeof(names) == (MANAGER_LAST + 1) * sizeof(names[0]), "a name for each");

	for (unsigned int i = MANAGER_FIXED; i <= MANAGER_LAST; i++) {
		if (strcmp(name, names[i]) == 0) {
			*manager = (enum manager_kind)i;
			return true;
		}
	}
	return false;
}

static bool ended(const char *text, int end)
{
	return end > 0 && text[end] == '\0';
}

static const char *head_line(struct play_head *head, const char *line)
{
	char name[16];
	unsigned int number = 0;
	int end = 0;

	if (sscanf(line, "nodes %u%n", &number, &end) == 1 && ended(line, end)) {
		head->node_count = number;
		return number >= 1 && number <= CLUSTER_NODES ? NULL : "too many nodes";
	}
	if (sscanf(line, "manager %15s%n", name, &end) == 1 && ended(line, end))
		return manager_parse(name, &head->manager) ? NULL : not_understood;
	if (sscanf(line, "hold %u ms%n", &number, &end) == 1 && ended(line, end)) {
		head->hold_ns = number * UINT64_C(1000000);
		return NULL;
	}
	if (sscanf(line, "update unit %u%n", &number, &end) == 1 && ended(line, end)) {
		if (number >= PLAY_UNITS)
			return "there is no such unit";
		head->update_units[number] = true;
		return NULL;
	}
	if (strcmp(line, "fast reads") == 0) {
		head->fast_read = true;
		return NULL;
	}
	if (strcmp(line, "homes unknown") == 0) {
		head->homes_unknown = true;
		return NULL;
	}
	return not_understood;
}

/* ---- what happens ---- */

static const char *no_page(uint64_t page, uint64_t page_count)
{
	uint64_t limit = PLAY_UNITS * (uint64_t)UNIT_PAGES;

	if (page_count == 0 || page_count > UNIT_PAGES || page > limit - page_count)
		return "there is no such page";
	return NULL;
}

/* "n1 p5 reading": for which of two uses? */
static bool use_parse(const char *use, bool *write)
{
	*write = strcmp(use, "writing") == 0;
	return *write || strcmp(use, "reading") == 0;
}

static const char *fault(struct play *play, const char *rest, bool write)
{
	unsigned int node;
	uint64_t page;
	int end = 0;

	if (sscanf(rest, "n%u p%" SCNu64 "%n", &node, &page, &end) != 2 || !ended(rest, end))
		return not_understood;
	return no_page(page, 1) != NULL ? no_page(page, 1) : play_fault(play, node, page, write);
}

static const char *load(struct play *play, const char *rest)
{
	return fault(play, rest, false);
}

static const char *store(struct play *play, const char *rest)
{
	return fault(play, rest, true);
}

static const char *evict(struct play *play, const char *rest)
{
	unsigned int node;
	uint64_t page;
	unsigned int count;
	int end = 0;

	if (sscanf(rest, "n%u p%" SCNu64 "+%u%n", &node, &page, &count, &end) != 3 ||
	    !ended(rest, end))
		return not_understood;
	if (no_page(page, count) != NULL)
		return no_page(page, count);
	return play_evict(play, node, (struct run){ page_id(page), count });
}

static const char *prefetch(struct play *play, const char *rest)
{
	unsigned int node;
	uint64_t page;
	unsigned int count;
	char use[16];
	bool write = false;

	if (sscanf(rest, "n%u p%" SCNu64 "+%u %15s", &node, &page, &count, use) != 4)
		return not_understood;
	bool guess = strcmp(use, "guessing") == 0;

	if (!guess && !use_parse(use, &write))
		return not_understood;
	if (no_page(page, count) != NULL)
		return no_page(page, count);
	return play_prefetch(play, node, (struct run){ page_id(page), count }, write, guess);
}

static const char *pinning(struct play *play, const char *rest, bool unpin)
{
	unsigned int node;
	uint64_t page;
	char use[16];
	bool write;

	if (sscanf(rest, "n%u p%" SCNu64 " %15s", &node, &page, use) != 3 ||
	    !use_parse(use, &write))
		return not_understood;
	if (no_page(page, 1) != NULL)
		return no_page(page, 1);
	return unpin ? play_unpin(play, node, page, write) : play_pin(play, node, page, write);
}

static const char *pin(struct play *play, const char *rest)
{
	return pinning(play, rest, false);
}

static const char *unpin(struct play *play, const char *rest)
{
	return pinning(play, rest, true);
}

static const char *cancel(struct play *play, const char *rest)
{
	unsigned int node;
	uint64_t call;
	int end = 0;

	if (sscanf(rest, "n%u call %" SCNu64 "%n", &node, &call, &end) != 2 || !ended(rest, end))
		return not_understood;
	return play_cancel(play, node, call);
}

/* "n1 acquire 8 by 2": thread 2 of n1, lock 8. */
static const char *lock(struct play *play, const char *rest)
{
	static const enum sync_op ops[] = { SYNC_INIT, SYNC_DESTROY, SYNC_ACQUIRE, SYNC_TRY,
					    SYNC_RELEASE };
	unsigned int node;
	char name[16];
	uint64_t lock;
	unsigned int thread;
	int end = 0;

	if (sscanf(rest, "n%u %15s %" SCNu64 " by %u%n", &node, name, &lock, &thread, &end) != 4 ||
	    !ended(rest, end))
		return not_understood;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(name, line_sync_op(ops[i])) == 0)
			return play_lock(play, node, ops[i], lock, thread);
	}
	return not_understood;
}

static const char *bytes(struct play *play, const char *rest)
{
	unsigned int node;
	char how[8];

	if (sscanf(rest, "n%u %7s", &node, how) != 2)
		return not_understood;
	if (strcmp(how, "ok") != 0 && strcmp(how, "error") != 0)
		return not_understood;
	return play_bytes(play, node, strcmp(how, "error") == 0);
}

static const char *delaying(struct play *play, const char *rest, bool delayed)
{
	unsigned int from;
	unsigned int to;
	int end = 0;

	if (sscanf(rest, "n%u n%u%n", &from, &to, &end) == 2 && ended(rest, end))
		return play_delay(play, from, to, delayed);
	end = 0;
	if (sscanf(rest, "n%u%n", &from, &end) == 1 && ended(rest, end))
		return play_delay(play, from, from, delayed);
	return not_understood;
}

static const char *delay(struct play *play, const char *rest)
{
	return delaying(play, rest, true);
}

static const char *resume(struct play *play, const char *rest)
{
	return delaying(play, rest, false);
}

static const char *settle(struct play *play, const char *rest)
{
	return *rest == '\0' ? play_settle(play) : not_understood;
}

static const char *pass_time(struct play *play, const char *rest)
{
	unsigned int ms;
	int end = 0;

	if (sscanf(rest, "+%u ms%n", &ms, &end) != 1 || !ended(rest, end))
		return not_understood;
	return play_time(play, ms * UINT64_C(1000000));
}

/* Of what is said of one node, or of two. */
static const char *of_node(struct play *play, const char *rest,
			   const char *(*happen)(struct play *play, unsigned int node))
{
	unsigned int node;
	int end = 0;

	if (sscanf(rest, "n%u%n", &node, &end) != 1 || !ended(rest, end))
		return not_understood;
	return happen(play, node);
}

static const char *of_nodes(struct play *play, const char *rest,
			    const char *(*happen)(struct play *play, unsigned int first,
						  unsigned int second))
{
	unsigned int first;
	unsigned int second;
	int end = 0;

	if (sscanf(rest, "n%u n%u%n", &first, &second, &end) != 2 || !ended(rest, end))
		return not_understood;
	return happen(play, first, second);
}

static const struct {
	const char *name;
	const char *(*parse)(struct play *play, const char *rest);
	const char *(*of_node)(struct play *play, unsigned int node);
	const char *(*of_nodes)(struct play *play, unsigned int first, unsigned int second);
} verbs[] = {
	{ .name = "load", .parse = load },
	{ .name = "store", .parse = store },
	{ .name = "prefetch", .parse = prefetch },
	{ .name = "evict", .parse = evict },
	{ .name = "pin", .parse = pin },
	{ .name = "unpin", .parse = unpin },
	{ .name = "cancel", .parse = cancel },
	{ .name = "lock", .parse = lock },
	{ .name = "publish", .of_node = play_publish },
	{ .name = "deliver", .of_nodes = play_deliver },
	{ .name = "delay", .parse = delay },
	{ .name = "resume", .parse = resume },
	{ .name = "bytes", .parse = bytes },
	{ .name = "look", .of_node = play_look },
	{ .name = "collected", .of_node = play_collected },
	{ .name = "pager", .of_node = play_pager },
	{ .name = "settle", .parse = settle },
	{ .name = "time", .parse = pass_time },
	{ .name = "timer", .of_node = play_timer },
	{ .name = "lose", .of_node = play_lose },
	{ .name = "told", .of_nodes = play_told },
};

static const char *happen(struct play *play, const char *line)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		size_t length = strlen(verbs[i].name);

		if (strncmp(line, verbs[i].name, length) != 0 ||
		    (line[length] != ' ' && line[length] != '\0'))
			continue;
		const char *rest = line[length] == ' ' ? &line[length + 1] : &line[length];

		if (verbs[i].of_node != NULL)
			return of_node(play, rest, verbs[i].of_node);
		if (verbs[i].of_nodes != NULL)
			return of_nodes(play, rest, verbs[i].of_nodes);
		return verbs[i].parse(play, rest);
	}
	return not_understood;
}

static const char *prepare(struct play *play, const char *line)
{
	play_show(play, false);
	const char *why = happen(play, line);

	if (why == NULL)
		why = play_settle(play);
	play_show(play, true);
	return why;
}

/* ---- a file ---- */

static const char *take_line(struct play_head *head, struct play **play, const char *line,
			     FILE *out)
{
	if (line[0] == ' ')
		return *play == NULL ? not_understood : NULL;
	fprintf(out, "%s\n", line);
	if (line[0] == '\0' || line[0] == '#')
		return NULL;
	bool happens = strncmp(line, "> ", 2) == 0;
	bool prepares = strncmp(line, ">> ", 3) == 0;

	if (!happens && !prepares)
		return *play == NULL ? head_line(head, line) : not_understood;
	if (*play == NULL)
		*play = play_open(head, out);
	return happens ? happen(*play, &line[2]) : prepare(*play, &line[3]);
}

char *script_play(const char *path, const struct lines *lines)
{
	struct play_head head = { .node_count = 2, .manager = MANAGER_FIXED };
	struct play *play = NULL;
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	const char *why = out == NULL ? "no memory" : NULL;
	size_t i = 0;

	for (; i < lines->count && why == NULL; i++)
		why = take_line(&head, &play, lines->at[i], out);
	if (why == NULL)
		why = play == NULL ? "nothing happens" : play_rest(play);
	if (play != NULL)
		play_close(play);
	if (out != NULL)
		fclose(out);
	if (why == NULL)
		return text;
	printf("%s:%zu: %s\n%s", path, i, why, text == NULL ? "" : text);
	free(text);
	return NULL;
}
