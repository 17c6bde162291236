/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress. The progress thread turns what the pager and the fabric report into engine events,
 * spins for a while when there is nothing, and then sleeps on their descriptors. Other threads may
 * make progress too while they wait; the pager's faults are left to the progress thread, or, with
 * inline delivery, are none of its business.
 *
 * Sleeping without losing a wake-up: the progress thread sleeps only after the fabric was armed and
 * had nothing. Another thread's poll disarms it; that thread arms it again in loop_settle() before
 * it leaves, as long as the progress thread sleeps.
 *
 * Where other threads poll again and again, to arm each time would make every message in between
 * cost its sender a system call, and this node a thread that wakes only to find the work done. Then
 * the progress thread dozes: it sleeps for DOZE_NS at most, with nothing armed, and looks whether
 * they still come. So a message waits for the next thread that polls, or for as long as that.
 * Before a thread sleeps in a call it ends the doze (loop_quiet()).
 */
#include "base/assert.h"
#include "node/times.h"
#include "port/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EVENTS_MAX 32

/* To go to sleep and to be woken costs more than to look for so long whether more is to come. */
#define LINGER_NS 2000u

/* A page stays at its holder for about as long anyway, and to wake up costs a tenth of it. */
#define DOZE_NS 50000u
/* While it slept, or dozed: fewer are worth waking for each message. */
#define DOZE_VISITS 3u
/* Of the progress thread: by so much a doze may be longer. */
#define SLACK_NS 5000ul

static int step_once(struct node *node, struct event *event)
{
	event->now_ns = clock_now_ns();
	node->commands.count = 0;
	node->steps++;
	int error = engine_step(node->engine, event, &node->commands);

	execute_commands(node);
	return error;
}

int loop_step(struct node *node, struct event *event)
{
	int error = step_once(node, event);

	while (node->pager_done_count > 0) {
		uint32_t last = --node->pager_done_count;
		struct event done = { .kind = EV_PAGER_DONE };

		done.pager.run = node->pager_done[last];
		done.pager.downgrade = node->pager_done_downgrade[last];
		ASSERT(step_once(node, &done) == 0);
	}
	return error;
}

int loop_fault(struct node *node, struct event *event)
{
	ahead_begin(node, event->fault.run.page);
	int error = loop_step(node, event);

	ahead_end(node);
	times_reach(node, TIMES_ASKED, event->fault.run);
	if (error == 0)
		ahead_fault(node, event->fault.run.page, event->fault.write);
	return error;
}

/* ---- the fabric ---- */

static void take_message(struct node *node, const struct fabric_event *arrived)
{
	const struct wire_limits limits = { node->node_count, node->page_limit };
	struct message message;

	node->counters.messages_received++;
	if (message_decode(arrived->data, arrived->bytes, &limits, &message) != 0) {
		loss_peer_broken(node, arrived->peer, "sent a malformed message");
		return;
	}
	if (message.kind == MSG_KEY_REQUEST) {
		reads_key_request(node, arrived->peer, &message);
		return;
	}
	if (message.kind == MSG_KEY_REPLY) {
		reads_key_reply(node, arrived->peer, &message);
		return;
	}
	if (message.kind == MSG_GATE_REQUEST) {
		gates_key_request(node, arrived->peer, &message);
		return;
	}
	if (message.kind == MSG_GATE_REPLY) {
		gates_key_reply(node, arrived->peer, &message);
		return;
	}
	if (message.kind == MSG_LOST) {
		loss_told(node, node_id(message.run.node));
		return;
	}
	struct event event = {
		.kind = EV_MESSAGE,
		.peer = arrived->peer,
		.message = &message,
	};
	if (loop_step(node, &event) != 0)
		loss_peer_broken(node, arrived->peer, message_name(message.kind));
	if (node->rumoured) {
		node->rumoured = false;
		loss_rumoured(node, node->rumour);
	}
}

static void take_fabric_event(struct node *node, const struct fabric_event *event)
{
	switch (event->kind) {
	case FABRIC_MESSAGE:
		take_message(node, event);
		return;
	case FABRIC_READ_DONE:
		reads_completed(node, event);
		return;
	case FABRIC_CREDIT:
		outbox_flush(node, event->peer);
		return;
	case FABRIC_PEER_DOWN:
		loss_peer_down(node, event->peer, event->status);
		return;
	case FABRIC_ATOMIC_DONE:
		gates_completed(node, event);
		return;
	case FABRIC_CHAIN_DONE:
		fast_completed(node, event);
		return;
	case FABRIC_WRITE_DONE:
		break;
	}
	ASSERT(false && "an operation this node did not post");
}

static bool take_link(struct node *node, const struct link *link)
{
	struct fabric_event events[EVENTS_MAX];
	int count = link->ops->poll(link->fabric, events, EVENTS_MAX);

	for (int i = 0; i < count; i++)
		take_fabric_event(node, &events[i]);
	return count > 0;
}

static bool take_fabrics(struct node *node)
{
	bool any = false;

	node->armed = false;
	for (unsigned int i = 0; i < node->link_count; i++)
		any |= take_link(node, &node->links[i]);
	return any;
}

static bool take_timer(struct node *node)
{
	uint64_t due_ns = engine_timer_ns(node->engine);
	struct event event = { .kind = EV_TIMER };

	if (due_ns == UINT64_MAX || clock_now_ns() < due_ns)
		return false;
	loop_step(node, &event);
	return true;
}

bool loop_post(struct node *node)
{
	bool posted = false;
	uint64_t before;

	/* What ends here may bring about more to be posted. */
	do {
		before = node->steps;
		posted |= gates_retry(node);
		posted |= fast_retry(node);
		reads_retry(node);
	} while (node->steps != before);
	return posted;
}

/* Polls after posting, where what was posted may be over at once, and bring more about. */
#define POLLS_AFTER 3

static bool post_and_poll(struct node *node)
{
	bool posted = loop_post(node);
	unsigned int polls = 0;

	/* It ends with posting, or with nothing new: who polled last may be about to sleep. */
	while (posted && polls < POLLS_AFTER && take_fabrics(node)) {
		posted = loop_post(node);
		polls++;
	}
	return polls > 0;
}

bool loop_look(struct node *node)
{
	bool any = take_fabrics(node);

	any |= post_and_poll(node);
	return any;
}

bool loop_progress(struct node *node)
{
	bool any = take_fabrics(node);

	any |= take_timer(node);
	cache_trim(node);
	any |= post_and_poll(node);
	return any;
}

/* ---- the pager ---- */

static bool take_faults(struct node *node)
{
	bool any = false;

	if (node->inline_delivery)
		return false;
	if (node->fault_next == node->fault_count) {
		node->fault_next = 0;
		node->fault_count = node->pager_ops->poll(node->pager, node->faults, 64);
		if (node->fault_count < 0)
			loss_fatal("reading page faults");
	}
	while (node->fault_next < node->fault_count) {
		const struct pager_fault *fault = &node->faults[node->fault_next];
		struct event event = { .kind = EV_FAULT };

		event.fault.run = (struct run){ fault->page, 1 };
		event.fault.write = fault->write;
		times_reach(node, TIMES_TAKEN, event.fault.run);
		if (loop_fault(node, &event) == -EAGAIN)
			break; /* kept for later; its thread waits on */
		node->fault_next++;
		any = true;
	}
	return any;
}

/* ---- sleeping ---- */

void loop_kick(struct node *node)
{
	const uint64_t one = 1;

	if (node->kicked)
		return;
	node->kicked = true;
	ASSERT(write(node->kick_fd, &one, sizeof(one)) == sizeof(one));
}

/* When there is something to do though nobody says anything. */
static uint64_t timer_ns(const struct node *node)
{
	uint64_t engine_ns = engine_timer_ns(node->engine);
	uint64_t cache_ns = cache_due_ns(node);

	return engine_ns < cache_ns ? engine_ns : cache_ns;
}

void loop_settle(struct node *node)
{
	node->visits++;
	if (!node->asleep)
		return;
	loop_post(node);
	while (!node->armed && !node->dozing) {
		if (links_arm(node) == 0)
			node->armed = true;
		else
			loop_progress(node);
	}
	if (timer_ns(node) < node->sleep_until_ns)
		loop_kick(node);
}

void loop_quiet(struct node *node)
{
	loop_settle(node);
	node->visits_seen = node->visits;
	if (node->asleep && node->dozing)
		loop_kick(node);
}

static void sleep_until(struct node *node, uint64_t due_ns)
{
	struct pollfd fds[2 + LINKS_MAX] = {
		{ .fd = node->inline_delivery ? -1 : node->pager_ops->fd(node->pager),
		  .events = POLLIN },
		{ .fd = node->kick_fd, .events = POLLIN },
	};
	struct timespec timeout;
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;

	for (unsigned int i = 0; i < node->link_count; i++) {
		const struct link *link = &node->links[i];

		/* Not armed it may be readable for what is over. */
		fds[2 + i].fd = node->dozing ? -1 : link->ops->fd(link->fabric);
		fds[2 + i].events = POLLIN;
	}
	timeout.tv_sec = (time_t)(left_ns / UINT64_C(1000000000));
	timeout.tv_nsec = (long)(left_ns % UINT64_C(1000000000));
	ppoll(fds, 2 + node->link_count, due_ns == UINT64_MAX ? NULL : &timeout, NULL);
}

/* Do other threads make progress: are they at it, or have they been since this one last looked? */
static bool others_come(const struct node *node)
{
	return node->visits - node->visits_seen >= DOZE_VISITS ||
	       atomic_load_explicit(&node->pollers, memory_order_relaxed) > 0;
}

static uint64_t wake_ns(const struct node *node)
{
	uint64_t due_ns = timer_ns(node);
	uint64_t doze_ns = node->dozing ? clock_now_ns() + DOZE_NS : UINT64_MAX;

	return due_ns < doze_ns ? due_ns : doze_ns;
}

/* With the lock, which is given up while asleep. */
static void go_to_sleep(struct node *node)
{
	uint64_t drained;

	if (node->fault_next < node->fault_count)
		return;
	node->asleep = true;
	node->dozing = node->wait_spin_ns > 0 && others_come(node);
	node->visits_seen = node->visits;
	node->sleep_until_ns = wake_ns(node);
	if (node->dozing || links_arm(node) == 0) {
		node->armed = !node->dozing;
		pthread_mutex_unlock(&node->lock);
		sleep_until(node, node->sleep_until_ns);
		pthread_mutex_lock(&node->lock);
	}
	node->asleep = false;
	node->dozing = false;
	if (node->kicked) {
		node->kicked = false;
		ASSERT(read(node->kick_fd, &drained, sizeof(drained)) == sizeof(drained));
	}
}

/*
 * A thread of this node sleeps until a page comes, and cannot use its core: polling costs nobody
 * anything. (With inline delivery a thread that waits polls for itself before it sleeps.)
 */
static uint64_t patience_ns(const struct node *node)
{
	bool sleeps = node->inline_delivery ? atomic_load_explicit(&node->arrival_sleepers,
								   memory_order_relaxed) > 0
					    : engine_threads_waiting(node->engine);

	if (node->wait_spin_ns > 0 && others_come(node))
		return 0; /* it would only be in their way */
	if (node->loop_spin_ns > 0)
		return node->loop_spin_ns;
	if (node->wait_spin_ns == 0)
		return 0;
	return sleeps ? node->wait_spin_ns : LINGER_NS;
}

void *loop_main(void *argument)
{
	struct node *node = argument;
	uint64_t idle_since_ns = clock_now_ns();

	prctl(PR_SET_TIMERSLACK, SLACK_NS);
	pthread_mutex_lock(&node->lock);
	while (!node->stop) {
		bool faults = take_faults(node);
		bool rest = loop_progress(node);

		if (faults || rest) {
			idle_since_ns = clock_now_ns();
		} else if (clock_now_ns() - idle_since_ns >= patience_ns(node)) {
			go_to_sleep(node);
			idle_since_ns = clock_now_ns();
		}
		/* Let waiting threads in: a mutex is not fair to them in a tight loop. */
		pthread_mutex_unlock(&node->lock);
		pthread_mutex_lock(&node->lock);
	}
	pthread_mutex_unlock(&node->lock);
	return NULL;
}
