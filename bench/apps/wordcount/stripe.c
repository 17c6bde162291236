/* SPDX-License-Identifier: Apache-2.0 */
/* One stripe of the merged table. Plain memory to this file: locking is the caller's. */
#include "stripe.h"

#include <string.h>

size_t stripe_index(uint64_t hash, size_t stripe_count)
{
	/* The low bits choose the place within a table; these are other ones. */
	return (size_t)((hash >> 40) % stripe_count);
}

static uint64_t places_for(const struct stripe_need *need)
{
	uint64_t count = 16;

	while (count < 2 * need->words)
		count *= 2;
	return count;
}

size_t stripe_bytes(const struct stripe_need *need)
{
	return sizeof(struct stripe) + places_for(need) * sizeof(struct stripe_place) + need->bytes;
}

void stripe_init(struct stripe *stripe, const struct stripe_need *need)
{
	uint64_t count = places_for(need);
	uint64_t used = sizeof(*stripe) + count * sizeof(stripe->place[0]);

	*stripe = (struct stripe){ .place_count = count, .used = used, .size = used + need->bytes };
	memset(stripe->place, 0, count * sizeof(stripe->place[0]));
}

void stripe_add(struct stripe *stripe, const struct word *word)
{
	uint64_t mask = stripe->place_count - 1;
	uint64_t at = word->hash & mask;

	for (; stripe->place[at].count != 0; at = (at + 1) & mask) {
		struct stripe_place *place = &stripe->place[at];

		if (place->hash == word->hash && place->length == word->length &&
		    memcmp(stripe_text(stripe, place), word->text, word->length) == 0) {
			place->count += word->count;
			return;
		}
	}
	stripe->place[at] = (struct stripe_place){ .hash = word->hash,
						   .count = word->count,
						   .offset = stripe->used,
						   .length = word->length };
	memcpy((char *)stripe + stripe->used, word->text, word->length);
	stripe->used += word->length;
	stripe->word_count++;
}
