/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planted faults. A wrapper takes the sound fabric's events into a queue of its own, where they
 * can be dropped, doubled, swapped or changed, and hands them out from there. One fault is on at a
 * time; the processes of a case inherit which. Each process has one fabric at a time, so the
 * state is plain static variables.
 */
#include "mutants.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define QUEUE_MAX 1024u
#define TAKE 16
#define EXPECTED_MAX 65536u
/* A case that hangs shows the fault as well: wait no longer than this for a step. */
#define LIMIT_MS 700u

enum fault {
	FAULT_NONE,
	MESSAGE_DROPPED,
	MESSAGES_SWAPPED,
	MESSAGE_REPEATED,
	MESSAGE_BYTE_FLIPPED,
	MESSAGE_SHORTENED,
	MESSAGE_NOT_COPIED,
	SEND_UNBOUNDED,
	COMPLETION_LOST,
	COMPLETION_REPEATED,
	COMPLETION_TAG_WRONG,
	COMPLETION_KIND_WRONG,
	OLD_VALUE_WRONG,
	SWAP_ALWAYS_WON,
	CHAIN_NOT_ADDED,
	CHAIN_GUARD_WRONG,
	CHAIN_SHORT,
	CHAIN_SHIFTED,
	READ_SHORT,
	READ_LONG,
	READ_SHIFTED,
	WRITE_SHORT,
	WRITE_FORGOTTEN,
	OPERATIONS_ENDLESS,
	BOUNDS_IGNORED,
	ACCESS_IGNORED,
	SELF_REFUSED,
	KEY_KEPT,
	REGISTER_REFUSED,
	CREDIT_LOST,
	ARM_DEAF,
	ARM_FORGOTTEN,
	DESCRIPTOR_RESTLESS,
	DOWN_LOST,
	DOWN_REPEATED,
	DOWN_EARLY,
	DOWN_STATUS_SWAPPED,
	DOWN_NOT_REMEMBERED,
	SECRET_IGNORED,
	MISSING_NOT_NAMED,
	MISSING_IGNORED,
	CLOSE_LEAKS,
};

struct mutant {
	enum fault fault;
	const char *name;
	const char *caught_by;
};

static const struct mutant mutants[] = {
	{ MESSAGE_DROPPED, "message_dropped", "message_order" },
	{ MESSAGES_SWAPPED, "messages_swapped", "message_order" },
	{ MESSAGE_REPEATED, "message_repeated", "message_order" },
	{ MESSAGE_BYTE_FLIPPED, "message_byte_flipped", "message_sizes" },
	{ MESSAGE_SHORTENED, "message_shortened", "message_sizes" },
	{ MESSAGE_NOT_COPIED, "message_not_copied", "message_sizes" },
	{ SEND_UNBOUNDED, "send_unbounded", "message_credit" },
	{ COMPLETION_LOST, "completion_lost", "transfer_outstanding" },
	{ COMPLETION_REPEATED, "completion_repeated", "transfer_outstanding" },
	{ COMPLETION_TAG_WRONG, "completion_tag_wrong", "transfer_outstanding" },
	{ COMPLETION_KIND_WRONG, "completion_kind_wrong", "transfer_outstanding" },
	{ OLD_VALUE_WRONG, "old_value_wrong", "atomic_sum" },
	{ SWAP_ALWAYS_WON, "swap_always_won", "atomic_lock" },
	{ CHAIN_NOT_ADDED, "chain_not_added", "chain_values" },
	{ CHAIN_GUARD_WRONG, "chain_guard_wrong", "chain_values" },
	{ CHAIN_SHORT, "chain_short", "chain_values" },
	{ CHAIN_SHIFTED, "chain_shifted", "chain_sharers" },
	{ READ_SHORT, "read_short", "transfer_read" },
	{ READ_LONG, "read_long", "transfer_read" },
	{ READ_SHIFTED, "read_shifted", "transfer_read" },
	{ WRITE_SHORT, "write_short", "transfer_write" },
	{ WRITE_FORGOTTEN, "write_forgotten", "transfer_read_after_write" },
	{ OPERATIONS_ENDLESS, "operations_endless", "transfer_outstanding" },
	{ BOUNDS_IGNORED, "bounds_ignored", "transfer_refused" },
	{ ACCESS_IGNORED, "access_ignored", "transfer_access" },
	{ SELF_REFUSED, "self_refused", "transfer_self" },
	{ KEY_KEPT, "key_kept", "region_cycles" },
	{ REGISTER_REFUSED, "register_refused", "region_unseen" },
	{ CREDIT_LOST, "credit_lost", "message_credit" },
	{ ARM_DEAF, "arm_deaf", "sleep_not_with_work" },
	{ ARM_FORGOTTEN, "arm_forgotten", "sleep_ping_pong" },
	{ DESCRIPTOR_RESTLESS, "descriptor_restless", "sleep_idle" },
	{ DOWN_LOST, "down_lost", "loss_killed" },
	{ DOWN_REPEATED, "down_repeated", "loss_killed" },
	{ DOWN_EARLY, "down_early", "loss_last_words" },
	{ DOWN_STATUS_SWAPPED, "down_status_swapped", "loss_in_order" },
	{ DOWN_NOT_REMEMBERED, "down_not_remembered", "loss_killed" },
	{ SECRET_IGNORED, "secret_ignored", "connect_wrong_secret" },
	{ MISSING_NOT_NAMED, "missing_not_named", "connect_missing" },
	{ MISSING_IGNORED, "missing_ignored", "connect_missing" },
	{ CLOSE_LEAKS, "close_leaks", "close_any_time" },
};

struct queued {
	struct fabric_event event;
	unsigned char data[FABRIC_MESSAGE_MAX];
};

static const struct fabric_ops *sound;
static enum fault fault;

static struct queued queue[QUEUE_MAX];
static unsigned int queue_first;
static unsigned int queue_count;
static struct queued handed[TAKE]; /* what the last poll() gave out */
static uint64_t event_number;
static uint64_t call_number;
static uint64_t expected_words[EXPECTED_MAX];
static int restless = -1;

/* Every so often: rare enough to pass by a careless look. */
static bool nth(uint64_t number, uint64_t period)
{
	return number % period == period - 1;
}

static struct queued *queue_at(unsigned int index)
{
	return &queue[(queue_first + index) % QUEUE_MAX];
}

static void queue_put(const struct fabric_event *event)
{
	struct queued *place = queue_at(queue_count++);

	place->event = *event;
	if (event->kind == FABRIC_MESSAGE)
		memcpy(place->data, event->data, event->bytes);
}

static void message_put(struct fabric_event event)
{
	struct queued *place;

	if (fault == MESSAGE_DROPPED && nth(event_number, 1000))
		return;
	if (fault == MESSAGE_SHORTENED && event.bytes > 200)
		event.bytes--;
	queue_put(&event);
	place = queue_at(queue_count - 1);
	if (fault == MESSAGE_BYTE_FLIPPED && event.bytes == 255)
		place->data[254] ^= 1;
	if (fault == MESSAGE_REPEATED && nth(event_number, 1000))
		queue_put(&(struct fabric_event){ .kind = FABRIC_MESSAGE,
						  .peer = event.peer,
						  .data = place->data,
						  .bytes = event.bytes });
	if (fault == MESSAGES_SWAPPED && nth(event_number, 100) && queue_count >= 2) {
		struct queued *before = queue_at(queue_count - 2);
		struct queued kept = *before;

		if (kept.event.kind == FABRIC_MESSAGE && node_equal(kept.event.peer, event.peer)) {
			*before = *place;
			*place = kept;
		}
	}
}

static void completion_put(struct fabric_event event)
{
	bool now = nth(event_number, 100);

	if (fault == COMPLETION_LOST && now)
		return;
	if (fault == COMPLETION_TAG_WRONG && now)
		event.tag++;
	if (fault == COMPLETION_KIND_WRONG && now)
		event.kind = FABRIC_WRITE_DONE;
	if (fault == OLD_VALUE_WRONG && now && event.kind == FABRIC_ATOMIC_DONE)
		event.value++;
	if (fault == SWAP_ALWAYS_WON && event.kind == FABRIC_ATOMIC_DONE)
		event.value = expected_words[event.tag % EXPECTED_MAX];
	queue_put(&event);
	if (fault == COMPLETION_REPEATED && now)
		queue_put(&event);
}

static void down_put(struct fabric_event event)
{
	if (fault == DOWN_LOST)
		return;
	if (fault == DOWN_STATUS_SWAPPED)
		event.status = event.status == 0 ? -EHOSTDOWN : 0;
	queue_put(&event);
	if (fault == DOWN_REPEATED)
		queue_put(&event);
	if (fault == DOWN_EARLY && queue_count >= 2) {
		struct queued *last = queue_at(queue_count - 1);
		struct queued kept = *last;

		*last = *queue_at(0);
		*queue_at(0) = kept;
	}
}

static void event_put(const struct fabric_event *event)
{
	event_number++;
	switch (event->kind) {
	case FABRIC_MESSAGE:
		message_put(*event);
		return;
	case FABRIC_READ_DONE:
	case FABRIC_WRITE_DONE:
	case FABRIC_ATOMIC_DONE:
	case FABRIC_CHAIN_DONE:
		completion_put(*event);
		return;
	case FABRIC_CREDIT:
		if (fault != CREDIT_LOST || !nth(event_number, 10))
			queue_put(event);
		return;
	case FABRIC_PEER_DOWN:
		down_put(*event);
		return;
	}
}

static int mutant_poll(struct fabric *fabric, struct fabric_event *events, int event_count)
{
	struct fabric_event taken[TAKE];
	int count = 0;

	while (queue_count + 2 * TAKE < QUEUE_MAX) {
		int got = sound->poll(fabric, taken, TAKE);

		for (int i = 0; i < got; i++)
			event_put(&taken[i]);
		if (got < TAKE)
			break;
	}
	while (count < event_count && count < TAKE && queue_count > 0) {
		handed[count] = *queue_at(0);
		events[count] = handed[count].event;
		events[count].data = handed[count].data;
		queue_first = (queue_first + 1) % QUEUE_MAX;
		queue_count--;
		count++;
	}
	return count;
}

static int mutant_open(const struct fabric_config *config, struct fabric **out,
		       struct fabric_address *address)
{
	struct fabric_config changed = *config;

	if (fault == SECRET_IGNORED)
		memset(changed.secret, 0, sizeof(changed.secret));
	queue_count = 0;
	restless = -1;
	int error = sound->open(&changed, out, address);
	if (error == 0 && fault == DESCRIPTOR_RESTLESS)
		restless = eventfd(1, EFD_CLOEXEC);
	return error;
}

static int mutant_connect(struct fabric *fabric, const struct fabric_address *addresses)
{
	int error = sound->connect(fabric, addresses);

	if (error == -ETIMEDOUT && fault == MISSING_NOT_NAMED)
		error_set(error, "somebody is missing");
	if (error == -ETIMEDOUT && fault == MISSING_IGNORED)
		error = 0;
	return error;
}

static void mutant_close(struct fabric *fabric)
{
	sound->close(fabric);
	if (fault == CLOSE_LEAKS && eventfd(0, EFD_CLOEXEC) < 0)
		fprintf(stderr, "eventfd: %s\n", strerror(errno));
}

static int mutant_register(struct fabric *fabric, const struct fabric_memory *memory,
			   struct fabric_region **region, struct fabric_key *key)
{
	if (fault == REGISTER_REFUSED && ++call_number > 500)
		return error_set(-ENOSPC, "registered too often");
	return sound->memory_register(fabric, memory, region, key);
}

static void mutant_deregister(struct fabric *fabric, struct fabric_region *region)
{
	if (fault != KEY_KEPT)
		sound->memory_deregister(fabric, region);
}

/* What a peer that is down answers. */
static int after_down(int error)
{
	return fault == DOWN_NOT_REMEMBERED && error == -EHOSTDOWN ? -EAGAIN : error;
}

static int mutant_send(struct fabric *fabric, struct node_id peer, const void *data, size_t bytes)
{
	static unsigned char kept[FABRIC_MESSAGE_MAX];
	static size_t kept_bytes;
	const unsigned char *from = data;

	/* As if the buffer were read only later: the tail is that of the message before. */
	if (fault == MESSAGE_NOT_COPIED && bytes > 1 && kept_bytes >= bytes &&
	    bytes <= FABRIC_MESSAGE_MAX) {
		memcpy(kept, data, bytes / 2);
		from = kept;
	}
	int error = sound->send(fabric, peer, from, bytes);
	if (bytes <= FABRIC_MESSAGE_MAX) {
		memcpy(kept, data, bytes);
		kept_bytes = bytes;
	}
	if (fault == SEND_UNBOUNDED && error == -EAGAIN)
		return 0;
	return after_down(error);
}

/* The completion of an operation that was not done. */
static int completion_fake(enum fabric_event_kind kind, const struct fabric_remote *remote,
			   uint64_t tag)
{
	queue_put(&(struct fabric_event){ .kind = kind, .peer = remote->peer, .tag = tag });
	return 0;
}

static int operation_result(int error, enum fabric_event_kind kind,
			    const struct fabric_remote *remote, uint64_t tag)
{
	bool room = queue_count + 4 * TAKE < QUEUE_MAX;

	if (room && ((fault == BOUNDS_IGNORED && error == -EINVAL) ||
		     (fault == ACCESS_IGNORED && error == -EACCES) ||
		     (fault == OPERATIONS_ENDLESS && error == -EAGAIN)))
		return completion_fake(kind, remote, tag);
	if (fault == OPERATIONS_ENDLESS && error == -EAGAIN)
		return 0;
	return after_down(error);
}

static int mutant_read(struct fabric *fabric, const struct fabric_local *local,
		       const struct fabric_remote *remote, uint64_t tag)
{
	struct fabric_local to = *local;
	struct fabric_remote from = *remote;

	call_number++;
	if (fault == READ_SHORT && to.bytes > 4096)
		to.bytes--;
	if (fault == READ_LONG && to.bytes > 1 && to.bytes < 4096 && nth(call_number, 50))
		to.bytes++;
	if (fault == READ_SHIFTED && nth(call_number, 100))
		from.offset++;
	if (fault == SELF_REFUSED && from.offset == 24)
		return error_set(-EINVAL, "not to oneself");
	return operation_result(sound->read(fabric, &to, &from, tag), FABRIC_READ_DONE, remote,
				tag);
}

static int mutant_write(struct fabric *fabric, const struct fabric_local *local,
			const struct fabric_remote *remote, uint64_t tag)
{
	struct fabric_local from = *local;

	if (fault == WRITE_SHORT && from.bytes > 4096)
		from.bytes--;
	if (fault == WRITE_FORGOTTEN && nth(++call_number, 100))
		return completion_fake(FABRIC_WRITE_DONE, remote, tag);
	return operation_result(sound->write(fabric, &from, remote, tag), FABRIC_WRITE_DONE, remote,
				tag);
}

static int mutant_fetch_add(struct fabric *fabric, const struct fabric_remote *remote, uint64_t add,
			    uint64_t tag)
{
	return operation_result(sound->fetch_add(fabric, remote, add, tag), FABRIC_ATOMIC_DONE,
				remote, tag);
}

static int mutant_compare_swap(struct fabric *fabric, const struct fabric_remote *remote,
			       uint64_t expected, uint64_t desired, uint64_t tag)
{
	expected_words[tag % EXPECTED_MAX] = expected;
	return operation_result(sound->compare_swap(fabric, remote, expected, desired, tag),
				FABRIC_ATOMIC_DONE, remote, tag);
}

static int mutant_chain(struct fabric *fabric, const struct fabric_chain *chain, uint64_t tag)
{
	struct fabric_chain changed = *chain;

	call_number++;
	if (fault == CHAIN_NOT_ADDED && nth(call_number, 20))
		changed.add = 0;
	if (fault == CHAIN_GUARD_WRONG && nth(call_number, 20))
		changed.guard.offset -= 8;
	if (fault == CHAIN_SHORT && nth(call_number, 20) && changed.local.bytes > 8)
		changed.local.bytes -= 8;
	if (fault == CHAIN_SHIFTED && nth(call_number, 20))
		changed.source.offset += 8;
	return operation_result(sound->chain(fabric, &changed, tag), FABRIC_CHAIN_DONE,
				&chain->word, tag);
}

static int mutant_fd(struct fabric *fabric)
{
	return restless >= 0 ? restless : sound->fd(fabric);
}

static int mutant_arm(struct fabric *fabric)
{
	if (queue_count > 0)
		return 1;
	if (fault == ARM_FORGOTTEN)
		return 0;
	int armed = sound->arm(fabric);
	return fault == ARM_DEAF ? 0 : armed;
}

static const struct fabric_ops mutant_ops = {
	.name = "mutant",
	.open = mutant_open,
	.connect = mutant_connect,
	.close = mutant_close,
	.memory_register = mutant_register,
	.memory_deregister = mutant_deregister,
	.send = mutant_send,
	.read = mutant_read,
	.write = mutant_write,
	.fetch_add = mutant_fetch_add,
	.compare_swap = mutant_compare_swap,
	.chain = mutant_chain,
	.poll = mutant_poll,
	.fd = mutant_fd,
	.arm = mutant_arm,
};

/* The wrapper alone must pass where its faults are to be caught, or their failing says nothing. */
static int suite_run(enum fault planted, const char *test)
{
	struct contract_options options = { .only = test, .quiet = true };

	options.limit_ms = planted == FAULT_NONE ? 0 : LIMIT_MS;
	fault = planted;
	return contract_run(&mutant_ops, &options);
}

static bool sound_already(unsigned int before)
{
	for (unsigned int i = 0; i < before; i++) {
		if (strcmp(mutants[i].caught_by, mutants[before].caught_by) == 0)
			return true;
	}
	return false;
}

int mutants_main(const struct fabric_ops *ops, int argc, char **argv)
{
	const unsigned int count = sizeof(mutants) / sizeof(mutants[0]);
	unsigned int bad = 0;

	sound = ops;
	for (unsigned int i = 0; i < count; i++) {
		const struct mutant *mutant = &mutants[i];

		if (argc > 1 && strcmp(argv[1], mutant->name) != 0)
			continue;
		if (!sound_already(i) && suite_run(FAULT_NONE, mutant->caught_by) != 0) {
			printf("FAILED %s fails without any fault\n", mutant->caught_by);
			bad++;
		}
		bool caught = suite_run(mutant->fault, mutant->caught_by) > 0;
		printf("%s %s by %s\n", caught ? "caught" : "MISSED", mutant->name,
		       mutant->caught_by);
		fflush(stdout);
		bad += !caught;
	}
	return bad == 0 ? 0 : 1;
}
