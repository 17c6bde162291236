/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes counted against what the interleavings permit. Node 0's, in its private memory. */
#include "play.h"

/* So many iterations show more than one outcome if the threads run at the same time at all. */
#define ENOUGH_TO_MEET 200u

/* Violations of a round that are printed. */
#define VIOLATIONS_SHOWN 5u

#define TEXT_BYTES 400

struct tally {
	struct litmus_outcomes permitted;
	unsigned int seen[LITMUS_OUTCOMES_MAX];
	unsigned int violations;
	unsigned int forbidden; /* violations that the file itself rules out */
};

struct tally *tally_open(const struct litmus_test *test)
{
	struct tally *tally = calloc(1, sizeof(*tally));
	struct litmus_error error;

	CHECK(tally != NULL);
	if (litmus_enumerate(test, &tally->permitted, &error) != 0)
		check_fail(__FILE__, __LINE__, error.text, 0);
	return tally;
}

static struct litmus_outcome outcome_of(struct play *play, const struct play_round *round,
					unsigned int instance)
{
	const struct litmus_test *test = round->test;
	struct litmus_outcome outcome;

	memset(&outcome, 0, sizeof(outcome));
	for (unsigned int t = 0; t < test->thread_count; t++) {
		struct litmus_player player = { .next = 0 };

		memcpy(player.registers, play->shared->results[t][instance],
		       sizeof(player.registers));
		litmus_note(test, t, &player, &outcome);
	}
	for (unsigned int i = 0; i < test->location_count; i++)
		outcome.last[i] = *play_word(play->shared, round, instance, i);
	return outcome;
}

static void count_violation(struct tally *tally, const struct litmus_test *test,
			    const struct litmus_outcome *outcome)
{
	bool forbidden = litmus_forbidden(test, outcome);
	char text[TEXT_BYTES];

	/* One that the file names is always shown, once. */
	if (tally->violations++ < VIOLATIONS_SHOWN || (forbidden && tally->forbidden == 0))
		printf("%s: VIOLATION: %s%s\n", test->name,
		       litmus_text(test, outcome, text, sizeof(text)),
		       forbidden ? " (the forbidden outcome)" : "");
	tally->forbidden += forbidden;
}

void tally_batch(struct tally *tally, struct play *play, const struct play_round *round)
{
	for (unsigned int i = 0; i < round->instance_count; i++) {
		struct litmus_outcome outcome = outcome_of(play, round, i);
		unsigned int place = litmus_find(&tally->permitted, &outcome);

		if (place < tally->permitted.count)
			tally->seen[place]++;
		else
			count_violation(tally, round->test, &outcome);
	}
}

static void report(const struct tally *tally, const struct play_round *round, unsigned int kinds)
{
	const struct litmus_test *test = round->test;
	char text[TEXT_BYTES];

	printf("%-10s %s %6u iterations, %u violations; %s; %u of %u permitted outcomes seen:",
	       test->name, round->placement == PLAY_ONE_PAGE ? "one page " : "own pages",
	       round->batch_count * round->instance_count, tally->violations, test->condition,
	       kinds, tally->permitted.count);
	for (unsigned int i = 0; i < tally->permitted.count; i++) {
		if (tally->seen[i] > 0)
			printf(" [%s] %u",
			       litmus_text(test, &tally->permitted.list[i], text, sizeof(text)),
			       tally->seen[i]);
	}
	printf("\n");
	fflush(stdout);
}

void tally_close(struct tally *tally, struct play *play, const struct play_round *round)
{
	unsigned int kinds = 0;

	for (unsigned int i = 0; i < tally->permitted.count; i++)
		kinds += tally->seen[i] > 0;
	report(tally, round, kinds);
	play->violation_count += tally->violations;
	if (kinds + tally->violations < 2 && tally->permitted.count >= 2 &&
	    play->iterations >= ENOUGH_TO_MEET)
		check_fail(__FILE__, __LINE__, "the threads never met: one outcome only", kinds);
	free(tally);
}
