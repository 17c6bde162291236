/* SPDX-License-Identifier: Apache-2.0 */
/* All checks of a history, in the order in which they explain best. */
#include "words.h"

#include <string.h>

/* A thread does one thing at a time, and its clock does not stand still. */
bool history_check_threads(const struct history *history, struct verdict *verdict)
{
	const struct history_op *last[HISTORY_ALL_THREADS_MAX] = { NULL };

	for (size_t i = 0; i < history->count; i++) {
		const struct history_op *op = &history->ops[i];
		const struct history_op **before = &last[history_thread(op)];

		verdict->failed_count += op->state == HISTORY_FAILED;
		if (*before != NULL &&
		    ((*before)->state == HISTORY_PENDING || (*before)->end_ns >= op->begin_ns)) {
			verdict_say(verdict, "not a history: a thread began the second before the "
					     "first had ended\n");
			verdict_show(verdict, *before);
			return verdict_show(verdict, op);
		}
		*before = op;
	}
	return true;
}

static bool check_word(struct words *words, struct word *word, struct verdict *verdict)
{
	return words_settle(words, word, verdict) && words_link(words, word, verdict) &&
	       words_check_coherence(words, word, verdict);
}

bool history_check_words(const struct history *history, struct verdict *verdict)
{
	struct words words;
	bool good = true;

	words_make(&words, history);
	verdict->word_op_count = words.event_count - words.word_count;
	for (size_t i = 0; i < words.word_count && good; i++)
		good = check_word(&words, &words.words[i], verdict);
	good = good && words_check_order(&words, verdict);
	for (size_t i = 0; i < words.word_count && good && !history->no_clock; i++)
		good = words_check_times(&words, &words.words[i], verdict);
	words_free(&words);
	return good;
}

void history_check(const struct history *history, struct verdict *verdict)
{
	memset(verdict, 0, sizeof(*verdict));
	if (history_check_threads(history, verdict) && history_check_words(history, verdict) &&
	    history_check_mutexes(history, verdict) && history_check_rwlocks(history, verdict) &&
	    history_check_semaphores(history, verdict))
		history_check_barriers(history, verdict);
}
