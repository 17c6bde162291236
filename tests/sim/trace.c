/* SPDX-License-Identifier: Apache-2.0 */
/* Readable lines, and the end of a world that broke a rule. */
#include "engine/internal.h"
#include "lines.h"
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The world under way, for the line that replays it also when an assertion ends the process. */
static const struct world *current;

const char *sim_mode_name(enum sim_mode mode)
{
	static const char *const names[] = { "pages", "loss", "many", "pins", "update" };

	return names[mode];
}

const char *sim_manager_name(enum manager_kind manager)
{
	static const char *const names[] = {
		[MANAGER_FIXED] = "fixed",
		[MANAGER_CENTRAL] = "central",
		[MANAGER_BROADCAST] = "broadcast",
		[MANAGER_DYNAMIC] = "dynamic",
	};

	static_assert(sizeof(names) == (MANAGER_LAST + 1) * sizeof(names[0]), "a name for each");

	return names[manager];
}

void sim_print_replay(void)
{
	char line[128];

	if (current == NULL)
		return;
	int bytes = snprintf(line, sizeof(line),
			     "replay: sim --mode %s --seed %" PRIu64 "%s%s --trace\n",
			     sim_mode_name(current->mode), current->seed,
			     current->forced != 0 ? " --manager " : "",
			     current->forced != 0 ? sim_manager_name(current->forced) : "");

	if (write(STDERR_FILENO, line, (size_t)bytes) < 0)
		_exit(1);
}

static void prefix(struct world *world)
{
	current = world;
	printf("%7" PRIu64 " %9" PRIu64 "ns ", world->step, world->now_ns);
}

void trace_line(struct world *world, const char *format, ...)
{
	va_list args;

	current = world;
	if (!world->trace)
		return;
	prefix(world);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

/* ---- events and commands ---- */

void trace_event(struct world *world, struct node_id id, const struct event *event)
{
	current = world;
	if (!world->trace)
		return;
	prefix(world);
	line_event(stdout, id, event);
}

void trace_command(struct world *world, struct node_id id, const struct command *command)
{
	if (!world->trace)
		return;
	printf("%22s", "");
	line_command(stdout, id, command);
}

/* ---- failing ---- */

static void print_page(struct world *world, struct page_id page)
{
	const struct model *model = &world->pages[page.value];

	fprintf(stderr, "page %" PRIu64 ": latest %" PRIu64 " before %" PRIu64 "%s%s%s\n",
		page.value, model->latest, model->before, model->undecided ? " undecided" : "",
		model->must_refuse ? " must-refuse" : "", model->lost ? " lost" : "");
	for (unsigned int i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];
		const struct page_entry *entry = &node->engine->pages[page.value];
		struct directory_view view;

		if (node->mapping[page.value] != PAGE_INVALID || entry->version != 0 ||
		    entry->pending != 0)
			fprintf(stderr,
				"  n%u%s: pager %d state %u pending %u version %" PRId64
				" frame %" PRIu64 "/%" PRIu64 "\n",
				i, node->alive ? "" : " (dead)", node->mapping[page.value],
				entry->state, entry->pending, (int64_t)entry->version,
				node->frames[page.value].half[0], node->frames[page.value].half[1]);
		if (engine_directory_view(node->engine, page, &view) && view.version != 0)
			fprintf(stderr,
				"  n%u manages: owner n%u version %" PRIu64
				" exclusive %d lost %d busy %d holders %" PRIx64 "\n",
				i, view.owner.value, view.version, view.exclusive, view.lost,
				view.busy, view.holders[0]);
	}
}

void sim_fail(struct world *world, const struct page_id *page, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "sim: step %" PRIu64 ": ", world->step);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (page != NULL)
		print_page(world, *page);
	current = world;
	sim_print_replay();
	exit(1);
}
