/* SPDX-License-Identifier: Apache-2.0 */
/* What sequential consistency permits: every interleaving is carried out on a model of memory. */
#include "litmus.h"

#include <assert.h>
#include <stdio.h>

struct model {
	unsigned int next[LITMUS_THREADS_MAX]; /* operation of each thread */
	unsigned int memory[LITMUS_LOCATIONS_MAX];
	unsigned int registers[LITMUS_REGISTERS_MAX];
};

unsigned int litmus_find(const struct litmus_outcomes *outcomes, struct litmus_outcome outcome)
{
	unsigned int i = 0;

	while (i < outcomes->count && outcomes->list[i].code != outcome.code)
		i++;
	return i;
}

static void note(const struct model *model, struct litmus_outcomes *out)
{
	struct litmus_outcome outcome = { 0 };

	for (unsigned int i = 0; i < LITMUS_REGISTERS_MAX; i++)
		outcome.code |= litmus_register(i, model->registers[i]).code;
	for (unsigned int i = 0; i < LITMUS_LOCATIONS_MAX; i++)
		outcome.code |= litmus_last(i, model->memory[i]).code;
	if (litmus_find(out, outcome) < out->count)
		return;
	assert(out->count < LITMUS_OUTCOMES_MAX);
	out->list[out->count++] = outcome;
}

static void step(struct model *model, const struct litmus_op *op)
{
	if (op->kind == LITMUS_STORE)
		model->memory[op->location] = op->number;
	else
		model->registers[op->number] = model->memory[op->location];
}

/* Each thread that is not done goes next, in turn: as deep as there are operations, 8 at most. */
static void explore(const struct litmus_test *test, struct model model, struct litmus_outcomes *out)
{
	bool done = true;

	for (unsigned int t = 0; t < test->thread_count; t++) {
		struct model after = model;

		if (model.next[t] == LITMUS_OPS_MAX ||
		    test->ops[t][model.next[t]].kind == LITMUS_NONE)
			continue;
		done = false;
		step(&after, &test->ops[t][after.next[t]++]);
		explore(test, after, out);
	}
	if (done)
		note(&model, out);
}

void litmus_enumerate(const struct litmus_test *test, struct litmus_outcomes *out)
{
	struct model start = { { 0 }, { 0 }, { 0 } };

	out->count = 0;
	explore(test, start, out);
}

static unsigned int value_of(struct litmus_outcome outcome, bool last, unsigned int number)
{
	return outcome.code >> (4 * (number + (last ? LITMUS_REGISTERS_MAX : 0))) & 15;
}

bool litmus_forbidden(const struct litmus_test *test, struct litmus_outcome outcome)
{
	for (unsigned int i = 0; i < LITMUS_CONDITIONS_MAX; i++) {
		const struct litmus_condition *condition = &test->forbidden[i];

		if (condition->used &&
		    value_of(outcome, condition->last, condition->number) != condition->value)
			return false;
	}
	return true;
}

const char *litmus_text(const struct litmus_test *test, struct litmus_outcome outcome)
{
	static char text[64];
	size_t used = 0;

	for (unsigned int i = 0; i < test->register_count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "r%u=%u ", i,
					 value_of(outcome, false, i));
	for (unsigned int i = 0; i < test->location_count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%c=%u ", "xyz"[i],
					 value_of(outcome, true, i));
	text[used - 1] = '\0';
	return text;
}
