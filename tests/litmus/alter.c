/* SPDX-License-Identifier: Apache-2.0 */
#include "alter.h"

#include <string.h>

/* ---- exchanging ---- */

static bool reads_register(const struct litmus_test *test, unsigned int number, uint8_t reg)
{
	const struct litmus_node *node = &test->nodes[number];

	switch (node->kind) {
	case LITMUS_CONSTANT:
		return false;
	case LITMUS_REGISTER:
		return node->value == reg;
	case LITMUS_BINARY:
		return reads_register(test, node->left, reg) ||
		       reads_register(test, node->right, reg);
	}
	return false;
}

static bool is_target(const struct litmus_thread *thread, unsigned int number)
{
	for (unsigned int i = 0; i < thread->step_count; i++) {
		const struct litmus_step *step = &thread->steps[i];

		if ((step->kind == LITMUS_UNLESS || step->kind == LITMUS_JUMP) &&
		    step->target == number)
			return true;
	}
	return false;
}

bool alter_exchange(struct litmus_test *test, unsigned int thread, unsigned int number)
{
	struct litmus_thread *program = &test->threads[thread];
	struct litmus_step *step = &program->steps[number], first = *step;

	if (number + 1 >= program->step_count || step[0].kind > LITMUS_UPDATE ||
	    step[1].kind > LITMUS_UPDATE || is_target(program, number + 1))
		return false;
	if (step[0].kind != LITMUS_STORE && step[1].kind != LITMUS_LOAD &&
	    reads_register(test, step[1].operand, step[0].result))
		return false;
	step[0] = step[1];
	step[1] = first;
	return true;
}

bool alter_exchange_first(struct litmus_test *test, unsigned int thread)
{
	bool done = false;

	for (unsigned int i = 0; i < test->threads[thread].step_count && !done; i++)
		done = alter_exchange(test, thread, i);
	return done;
}

/* ---- more steps ---- */

/* Makes room for `count` steps after step `number`; branches to what follows go there still. */
static bool make_room(struct litmus_thread *thread, unsigned int number, unsigned int count)
{
	struct litmus_step *after = &thread->steps[number + 1];

	if (thread->step_count + count > LITMUS_STEPS_MAX)
		return false;
	for (unsigned int i = 0; i < thread->step_count; i++) {
		if (thread->steps[i].target > number)
			thread->steps[i].target = (uint8_t)(thread->steps[i].target + count);
	}
	memmove(after + count, after, (thread->step_count - number - 1) * sizeof(*after));
	memset(after, 0, count * sizeof(*after));
	thread->step_count += count;
	return true;
}

/* A node; 0 where there is no room: the caller has seen to that. */
static uint16_t add_node(struct litmus_test *test, struct litmus_node node)
{
	test->nodes[test->node_count] = node;
	return (uint16_t)test->node_count++;
}

static bool tear(struct litmus_test *test, struct litmus_thread *thread, unsigned int number)
{
	struct litmus_step *step = &thread->steps[number];
	const struct litmus_step whole = *step;
	bool compares = whole.kind == LITMUS_COMPARE;

	if (test->node_count + 2 > LITMUS_NODES_MAX || !make_room(thread, number, compares ? 2 : 1))
		return false;
	uint16_t seen = add_node(
		test, (struct litmus_node){ .kind = LITMUS_REGISTER, .value = whole.result });
	struct litmus_node result = { .kind = LITMUS_BINARY, .op = whole.op, .left = seen };

	result.right = compares ? whole.expected : whole.operand;
	result.op = compares ? LITMUS_EQUAL : whole.op;
	uint16_t after = add_node(test, result);

	*step++ = (struct litmus_step){ .kind = LITMUS_LOAD,
					.location = whole.location,
					.result = whole.result };
	if (compares)
		*step++ = (struct litmus_step){ .kind = LITMUS_UNLESS,
						.operand = after,
						.target = (uint8_t)(number + 3) };
	*step = (struct litmus_step){ .kind = LITMUS_STORE,
				      .location = whole.location,
				      .operand = compares ? whole.operand : after };
	return true;
}

bool alter_tear(struct litmus_test *test)
{
	bool found = false;

	for (unsigned int t = 0; t < test->thread_count; t++) {
		struct litmus_thread *thread = &test->threads[t];

		for (unsigned int i = 0; i < thread->step_count; i++) {
			enum litmus_step_kind kind = thread->steps[i].kind;

			if (kind != LITMUS_UPDATE && kind != LITMUS_COMPARE)
				continue;
			if (!tear(test, thread, i))
				return false;
			found = true;
		}
	}
	return found;
}

bool alter_invent(struct litmus_test *test, uint32_t value)
{
	bool found = false;

	if (test->node_count == LITMUS_NODES_MAX)
		return false;
	uint16_t constant =
		add_node(test, (struct litmus_node){ .kind = LITMUS_CONSTANT, .value = value });

	for (unsigned int t = 0; t < test->thread_count; t++) {
		struct litmus_thread *thread = &test->threads[t];

		for (unsigned int i = 0; i < thread->step_count; i++) {
			if (thread->steps[i].kind != LITMUS_LOAD)
				continue;
			if (!make_room(thread, i, 1))
				return false;
			thread->steps[i + 1] =
				(struct litmus_step){ .kind = LITMUS_SET,
						      .operand = constant,
						      .result = thread->steps[i].result };
			found = true;
		}
	}
	return found;
}
