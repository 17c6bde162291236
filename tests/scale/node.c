/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node: its engine behind a single server, which takes messages, finished reads, faults and
 * timers first come, first served. Each costs its share of the processor before the next is taken;
 * what a command sends leaves when the command's turn has come, not at the end.
 *
 * A read is served by the adapter of the node that has the page, with no part of its processor.
 */
#include "base/assert.h"
#include "scale.h"
#include "sim/lines.h"

#include <string.h>
#include <time.h>

#define PAGER_DONE_MAX (2u * RUN_MAX)

/* A job being served. */
struct service {
	struct world *world;
	struct node *node;
	struct node_id id;
	const struct job *job; /* NULL: none brought it */
	uint64_t at_ps;	       /* so far */
	struct {
		struct run run;
		bool downgrade;
	} done[PAGER_DONE_MAX];
	unsigned int done_count;
};

static void spend(struct service *service, uint64_t ns)
{
	if (service->job != NULL)
		service->at_ps += ns * PS_PER_NS;
}

static void spend_send(struct service *service)
{
	if (service->world->setup.bug != BUG_FREE_SENDS)
		spend(service, service->world->setup.profile.send_ns);
	service->node->load.posts++;
}

static void spend_pager(struct service *service, uint64_t ns, uint32_t page_count)
{
	uint64_t before_ps = service->at_ps;

	spend(service, ns * page_count);
	service->node->load.pager_ps += service->at_ps - before_ps;
}

/* ---- commands ---- */

static bool is_request(uint16_t kind)
{
	return kind == MSG_READ_REQUEST || kind == MSG_WRITE_REQUEST;
}

static void note_request(struct service *service, const struct message_request *request)
{
	for (uint32_t i = 0; i < request->page_count; i++)
		thread_note_hops(service->world, node_id(request->node), page_id(request->page + i),
				 request->hops + 1u);
}

static void send_message(struct service *service, const struct command *command)
{
	const struct message *message = &command->message;
	struct job *job = job_new(&service->world->jobs, JOB_MESSAGE, message->bytes);

	ASSERT(message->bytes == message_bytes(message));
	memcpy(job->data, message, message->bytes);
	job->message_kind = message->kind;
	job->from = service->id;
	job->to = command->peer;
	job->wire_bytes = message->bytes;
	if (is_request(message->kind))
		note_request(service, &message->request);
	spend_send(service);
	net_send(service->world, job, service->at_ps);
}

/* The request's extended header is all that a read sends; the page comes back from the adapter. */
static void send_read(struct service *service, const struct command *command)
{
	struct job *job = job_new(&service->world->jobs, JOB_READ, 0);

	job->from = service->id;
	job->to = command->peer;
	job->run = command->run;
	job->wire_bytes = 16;
	spend_send(service);
	net_send(service->world, job, service->at_ps);
}

static void show(struct service *service, const struct command *command, uint64_t ns)
{
	struct world *world = service->world;

	if (world->setup.bug != BUG_EARLY_WAKE)
		spend_pager(service, ns, command->run.page_count);
	for (uint32_t i = 0; i < command->run.page_count; i++)
		thread_wake(world, service->id, page_add(command->run.page, i),
			    service->at_ps + world->setup.profile.wake_ns * PS_PER_NS);
}

static void take_away(struct service *service, const struct command *command, uint64_t ns)
{
	ASSERT(service->done_count < PAGER_DONE_MAX);
	spend_pager(service, ns, command->run.page_count);
	service->done[service->done_count].run = command->run;
	service->done[service->done_count++].downgrade = command->kind == CMD_DOWNGRADE;
}

static void print_time(const struct service *service)
{
	printf("%12.3f us  ", (double)service->at_ps * 1e-6);
}

static void carry_out(struct service *service, const struct command *command)
{
	const struct profile *profile = &service->world->setup.profile;

	if (service->world->trace) {
		print_time(service);
		line_command(stdout, service->id, command);
	}

	switch (command->kind) {
	case CMD_SEND:
		send_message(service, command);
		return;
	case CMD_READ:
		send_read(service, command);
		return;
	case CMD_MAP_READ:
	case CMD_MAP_WRITE:
		show(service, command, profile->map_ns);
		return;
	case CMD_UPGRADE:
		show(service, command, profile->protect_ns);
		return;
	case CMD_INVALIDATE:
		take_away(service, command, profile->drop_ns);
		return;
	case CMD_DOWNGRADE:
		take_away(service, command, profile->protect_ns);
		return;
	case CMD_COMPLETE:
		return; /* the calls that make the cluster */
	case CMD_UPDATE:
	case CMD_FAST_READ:
	case CMD_TAKE:
	case CMD_GATE:
	case CMD_COLLECT:
	case CMD_FAIL:
	case CMD_LOSE:
	case CMD_RELEASE:
	case CMD_FREE:
		break;
	}
	ASSERT(false && "nothing is lost, freed, under write-update or read fast here");
}

/* ---- events ---- */

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int engine_step_timed(struct world *world, struct engine *engine, const struct event *event)
{
	double begun = seconds_now();
	int error = engine_step(engine, event, &world->commands);

	world->engine_seconds += seconds_now() - begun;
	world->engine_steps++;
	return error;
}

static void step(struct service *service, struct event *event)
{
	struct world *world = service->world;
	struct engine *engine = service->node->engine;
	int error;

	event->now_ns = service->at_ps / PS_PER_NS;
	if (world->trace) {
		print_time(service);
		line_event(stdout, service->id, event);
	}
	world->commands.count = 0;
	if (world->timed)
		error = engine_step_timed(world, engine, event);
	else
		error = engine_step(engine, event, &world->commands);
	ASSERT(error == 0);
	service->node->load.steps++;
	spend(service, world->setup.profile.step_ns);
	for (uint32_t i = 0; i < world->commands.count; i++)
		carry_out(service, &world->commands.list[i]);
}

/* What the pager has done is told after the step's last command, as src/node does it. */
static void step_and_pager(struct service *service, struct event *event)
{
	step(service, event);
	for (unsigned int i = 0; i < service->done_count; i++) {
		struct event done = { .kind = EV_PAGER_DONE };

		done.pager.run = service->done[i].run;
		done.pager.downgrade = service->done[i].downgrade;
		step(service, &done);
	}
	service->done_count = 0;
}

static void set_timer(struct world *world, struct node_id id)
{
	struct node *node = node_at(world, id);
	uint64_t due_ns = engine_timer_ns(node->engine);

	if (due_ns == UINT64_MAX || due_ns * PS_PER_NS >= node->timer_ps)
		return;
	struct job *job = job_new(&world->jobs, JOB_TIMER, 0);
	uint64_t due_ps = due_ns * PS_PER_NS;

	job->to = id;
	node->timer_ps = due_ps;
	agenda_add(&world->agenda, (struct happening){
					   .at_ps = due_ps > world->now_ps ? due_ps : world->now_ps,
					   .kind = HAPPEN_DELIVER,
					   .job = job,
				   });
}

static void serve_message(struct service *service)
{
	const struct job *job = service->job;
	const struct world *world = service->world;
	const struct wire_limits limits = {
		.node_count = world->setup.node_count,
		.page_limit = (uint64_t)world->setup.node_count * UNIT_PAGES,
	};
	struct message message;
	struct event event = { .kind = EV_MESSAGE, .peer = job->from, .message = &message };

	ASSERT(message_decode(job->data, job->bytes, &limits, &message) == 0);
	service->node->load.received++;
	spend(service, world->setup.profile.receive_ns);
	step_and_pager(service, &event);
}

static void serve(struct service *service)
{
	const struct job *job = service->job;
	struct event event = { .kind = EV_TIMER, .peer = job->from };

	switch (job->kind) {
	case JOB_MESSAGE:
		serve_message(service);
		return;
	case JOB_READ_DONE:
		event.kind = EV_READ_DONE;
		event.run = job->run;
		if (service->world->setup.bug != BUG_UNSEEN_READS)
			spend(service, service->world->setup.profile.receive_ns);
		break;
	case JOB_FAULT:
		event.kind = EV_FAULT;
		event.fault.run = job->run;
		event.fault.write = job->write;
		break;
	case JOB_TIMER:
		service->node->timer_ps = UINT64_MAX;
		break;
	case JOB_READ:
	case JOB_KINDS:
		ASSERT(false && "not for a server");
	}
	step_and_pager(service, &event);
}

/* ---- the server ---- */

static void start(struct world *world, struct node_id id, struct job *job)
{
	struct service service = {
		.world = world,
		.node = node_at(world, id),
		.id = id,
		.job = job,
		.at_ps = world->now_ps,
	};

	service.node->busy = true;
	service.node->load.jobs[job->kind]++;
	serve(&service);
	service.node->load.busy_ps += service.at_ps - world->now_ps;
	set_timer(world, id);
	job_done(&world->jobs, job);
	agenda_add(&world->agenda, (struct happening){
					   .at_ps = service.at_ps,
					   .kind = HAPPEN_FREE,
					   .node = id.value,
				   });
}

/* The adapter takes the page out of memory, and puts it in at the other end: `dma_ns` for both. */
static void answer_read(struct world *world, struct job *job)
{
	struct node_id reader = job->from;
	uint64_t dma_ns = world->setup.profile.dma_ns;

	if (world->setup.bug == BUG_LATE_READS)
		dma_ns *= 2;
	job->from = job->to;
	job->to = reader;
	job->kind = JOB_READ_DONE;
	job->wire_bytes = 4 + job->run.page_count * PAGE_BYTES; /* AETH, pages */
	net_send(world, job, world->now_ps + dma_ns * PS_PER_NS);
}

static void queue(struct node *node, struct job *job, bool first)
{
	if (node->head == NULL || first) {
		job->next = node->head;
		if (node->head == NULL)
			node->tail = job;
		node->head = job;
		return;
	}
	job->next = NULL;
	node->tail->next = job;
	node->tail = job;
}

void node_take(struct world *world, struct job *job)
{
	struct node *node = node_at(world, job->to);

	if (job->kind != JOB_FAULT && job->kind != JOB_TIMER)
		world->taken++;
	if (job->kind == JOB_READ) {
		answer_read(world, job);
		return;
	}
	if (!node->busy || world->setup.bug == BUG_MANY_SERVERS)
		start(world, job->to, job);
	else
		queue(node, job, world->setup.bug == BUG_LAST_FIRST);
}

void node_freed(struct world *world, struct node_id id)
{
	struct node *node = node_at(world, id);
	struct job *job = node->head;

	node->busy = false;
	if (job == NULL)
		return;
	node->head = job->next;
	start(world, id, job);
}

void node_step_free(struct world *world, struct node_id id, struct event *event)
{
	struct service service = {
		.world = world,
		.node = node_at(world, id),
		.id = id,
		.at_ps = world->now_ps,
	};

	step_and_pager(&service, event);
}
