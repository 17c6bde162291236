/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread's steps do. Arithmetic is that of int, but wraps round. */
#include "litmus.h"

uint32_t litmus_apply(enum litmus_operator op, uint32_t left, uint32_t right)
{
	switch (op) {
	case LITMUS_ADD:
		return left + right;
	case LITMUS_SUBTRACT:
		return left - right;
	case LITMUS_MULTIPLY:
		return left * right;
	case LITMUS_AND:
		return left & right;
	case LITMUS_OR:
		return left | right;
	case LITMUS_XOR:
		return left ^ right;
	case LITMUS_EQUAL:
		return left == right;
	case LITMUS_NOT_EQUAL:
		return left != right;
	case LITMUS_LESS:
		return (int32_t)left < (int32_t)right;
	case LITMUS_GREATER:
		return (int32_t)left > (int32_t)right;
	case LITMUS_LESS_EQUAL:
		return (int32_t)left <= (int32_t)right;
	case LITMUS_GREATER_EQUAL:
		return (int32_t)left >= (int32_t)right;
	case LITMUS_SECOND:
		return right;
	}
	return 0;
}

/* As deep as the tree, which the parser bounds. */
static uint32_t evaluate(const struct litmus_test *test, const struct litmus_player *player,
			 unsigned int number)
{
	const struct litmus_node *node = &test->nodes[number];

	switch (node->kind) {
	case LITMUS_CONSTANT:
		return node->value;
	case LITMUS_REGISTER:
		return player->registers[node->value];
	case LITMUS_BINARY:
		return litmus_apply(node->op, evaluate(test, player, node->left),
				    evaluate(test, player, node->right));
	}
	return 0;
}

bool litmus_advance(const struct litmus_test *test, unsigned int thread,
		    struct litmus_player *player, struct litmus_access *access)
{
	const struct litmus_thread *program = &test->threads[thread];

	while (player->next < program->step_count) {
		const struct litmus_step *step = &program->steps[player->next];
		uint32_t operand =
			step->kind == LITMUS_JUMP ? 0 : evaluate(test, player, step->operand);

		switch (step->kind) {
		case LITMUS_LOAD:
		case LITMUS_STORE:
		case LITMUS_UPDATE:
		case LITMUS_COMPARE:
			*access = (struct litmus_access){
				.kind = step->kind,
				.op = step->op,
				.location = step->location,
				.operand = operand,
				.expected = evaluate(test, player, step->expected),
			};
			return true;
		case LITMUS_SET:
			player->registers[step->result] = operand;
			player->next++;
			break;
		case LITMUS_UNLESS:
			player->next = operand == 0 ? step->target : player->next + 1;
			break;
		case LITMUS_JUMP:
			player->next = step->target;
			break;
		}
	}
	return false;
}

void litmus_accept(const struct litmus_test *test, unsigned int thread,
		   struct litmus_player *player, uint32_t seen)
{
	const struct litmus_step *step = &test->threads[thread].steps[player->next++];

	if (step->kind != LITMUS_STORE)
		player->registers[step->result] = seen;
}

uint32_t litmus_after(const struct litmus_access *access, uint32_t seen)
{
	switch (access->kind) {
	case LITMUS_STORE:
		return access->operand;
	case LITMUS_UPDATE:
		return litmus_apply(access->op, seen, access->operand);
	case LITMUS_COMPARE:
		return seen == access->expected ? access->operand : seen;
	case LITMUS_LOAD:
	case LITMUS_SET:
	case LITMUS_UNLESS:
	case LITMUS_JUMP:
		break;
	}
	return seen;
}

void litmus_note(const struct litmus_test *test, unsigned int thread,
		 const struct litmus_player *player, struct litmus_outcome *outcome)
{
	const struct litmus_thread *program = &test->threads[thread];

	for (unsigned int i = 0; i < program->register_count; i++) {
		if (program->registers[i].name[0] != '\0')
			outcome->registers[thread][i] = player->registers[i];
	}
}
