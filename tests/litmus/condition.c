/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions on outcomes, and outcomes as text. */
#include "litmus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* As deep as the tree, which the parser bounds. */
static bool holds(const struct litmus_test *test, const struct litmus_outcome *outcome,
		  unsigned int number)
{
	const struct litmus_prop *prop = &test->props[number];

	switch (prop->kind) {
	case LITMUS_PROP_CONSTANT:
		return prop->value != 0;
	case LITMUS_PROP_REGISTER:
		return outcome->registers[prop->thread][prop->index] == prop->value;
	case LITMUS_PROP_LAST:
		return outcome->last[prop->index] == prop->value;
	case LITMUS_PROP_NOT:
		return !holds(test, outcome, prop->left);
	case LITMUS_PROP_BOTH:
		return holds(test, outcome, prop->left) && holds(test, outcome, prop->right);
	case LITMUS_PROP_EITHER:
		return holds(test, outcome, prop->left) || holds(test, outcome, prop->right);
	case LITMUS_PROP_IMPLIES:
		return !holds(test, outcome, prop->left) || holds(test, outcome, prop->right);
	}
	return false;
}

bool litmus_forbidden(const struct litmus_test *test, const struct litmus_outcome *outcome)
{
	bool held = holds(test, outcome, test->prop_count - 1);

	return (test->result == LITMUS_NEVER && held) || (test->result == LITMUS_ALWAYS && !held);
}

__attribute__((format(printf, 3, 4))) static void append(char *text, size_t bytes,
							 const char *format, ...)
{
	size_t used = strlen(text);
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	vsnprintf(text + used, bytes - used, format, arguments);
	__builtin_va_end(arguments);
}

const char *litmus_text(const struct litmus_test *test, const struct litmus_outcome *outcome,
			char *text, size_t bytes)
{
	text[0] = '\0';
	for (unsigned int t = 0; t < test->thread_count; t++) {
		const struct litmus_thread *thread = &test->threads[t];

		for (unsigned int i = 0; i < thread->register_count; i++) {
			if (thread->registers[i].name[0] != '\0')
				append(text, bytes, "%s%u:%s=%d", text[0] == '\0' ? "" : " ", t,
				       thread->registers[i].name, (int)outcome->registers[t][i]);
		}
	}
	for (unsigned int i = 0; i < test->location_count; i++)
		append(text, bytes, "%s%s=%d", text[0] == '\0' ? "" : " ", test->locations[i].name,
		       (int)outcome->last[i]);
	return text;
}

static int contradiction(const struct litmus_test *test, struct litmus_error *error,
			 const char *what, const struct litmus_outcome *outcome)
{
	char text[200] = "";

	if (outcome != NULL)
		litmus_text(test, outcome, text, sizeof(text));
	snprintf(error->text, sizeof(error->text), "%s:%u: %s%s%s", test->path,
		 test->condition_line, what, outcome != NULL ? ": " : "", text);
	return -EINVAL;
}

int litmus_judge(const struct litmus_test *test, const struct litmus_outcomes *outcomes,
		 struct litmus_error *error)
{
	const struct litmus_outcome *held = NULL, *not_held = NULL;

	for (unsigned int i = 0; i < outcomes->count; i++) {
		if (holds(test, &outcomes->list[i], test->prop_count - 1))
			held = &outcomes->list[i];
		else
			not_held = &outcomes->list[i];
	}
	switch (test->result) {
	case LITMUS_POSSIBLE:
		if (held == NULL)
			return contradiction(test, error,
					     "no interleaving has this outcome: write ~exists, or "
					     "Result=Never above the initial state",
					     NULL);
		break;
	case LITMUS_NEVER:
		if (held != NULL)
			return contradiction(test, error,
					     "an interleaving has the outcome that is to be never",
					     held);
		break;
	case LITMUS_SOMETIMES:
		if (held == NULL || not_held == NULL)
			return contradiction(test, error,
					     held == NULL ? "no interleaving has this outcome"
							  : "every interleaving has this outcome",
					     NULL);
		break;
	case LITMUS_ALWAYS:
		if (not_held != NULL)
			return contradiction(
				test, error,
				"an interleaving has not the outcome that is to be always",
				not_held);
		break;
	}
	return 0;
}
